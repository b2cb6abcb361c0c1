//! What is said about wrong machine files: the place, and what was expected.

use p2pdma_pci::machine::{Machine, Problem};

use crate::{EVERYTHING, SMALL};

/// The message about a text.
fn message(text: &str) -> String {
    Machine::parse(text, "m.toml").unwrap_err().to_string()
}

/// The message about the small file with more lines; they begin with line 9.
fn with(more: &str) -> String {
    message(&format!("{SMALL}{more}"))
}

/// The same with an SSD to which lines are added; they begin with line 12.
fn ssd(more: &str) -> String {
    with(&format!("[[nvme]]\nname = \"nvme0\"\nbelow = \"rp0\"\n{more}"))
}

#[test]
fn syntax() {
    assert_eq!(
        message("name = \"x\"\nabout =\n"),
        "m.toml:2:8: string values must be quoted, expected literal string"
    );
    assert_eq!(message("name = 1\nname = 2"), "m.toml:2:1: duplicate key");
    assert_eq!(
        message("name = 'é'x"),
        "m.toml:1:11: unexpected key or value, expected newline, `#`"
    );
}

#[test]
fn keys_that_are_not_known() {
    assert_eq!(
        with("[[nvme]]\nname = \"nvme0\"\nbellow = \"rp0\"\n"),
        "m.toml:11:1: unknown key 'bellow' in [[nvme]]; did you mean 'below'?"
    );
    assert_eq!(
        with("\n[hosts]\nname = 1\n"),
        "m.toml:10:2: unknown key 'hosts' in the machine file; did you mean 'host'?"
    );
    assert_eq!(with("[host]\nzebra = 1\n"), "m.toml:10:1: unknown key 'zebra' in [host]");
    assert_eq!(
        ssd("[[nvme.namespace]]\nsize = \"1G\"\nmetdata = 8\n"),
        "m.toml:14:1: unknown key 'metdata' in [[nvme.namespace]]; did you mean 'metadata'?"
    );
    assert_eq!(
        ssd("cmb = { size = \"1G\", barr = 2 }\n"),
        "m.toml:12:22: unknown key 'barr' in cmb; did you mean 'bar'?"
    );
    // The first in the file, not in the alphabet.
    assert_eq!(
        with("[timing]\nzoo = 1\napple = 1\n"),
        "m.toml:10:1: unknown key 'zoo' in [timing]"
    );
}

#[test]
fn keys_that_are_missing() {
    assert_eq!(message(""), "m.toml:1:1: the machine file needs the key 'name'");
    assert_eq!(message("name = \"x\""), "m.toml:1:1: the machine file needs the key 'host-bridge'");
    assert_eq!(with("[[nvme]]\nbelow = \"rp0\"\n"), "m.toml:9:1: [[nvme]] needs the key 'name'");
    assert_eq!(
        with("\n[[nvme]]\nname = \"nvme0\"\n"),
        "m.toml:10:1: [[nvme]] needs the key 'below'"
    );
    assert_eq!(
        ssd("[[nvme.namespace]]\nblock = 512\n"),
        "m.toml:12:1: [[nvme.namespace]] needs the key 'size'"
    );
    assert_eq!(ssd("cmb = { bar = 2 }"), "m.toml:12:7: cmb needs the key 'size'");
    assert_eq!(
        with("[[switch]]\nname = \"sw0\"\nbelow = \"rp0\"\n"),
        "m.toml:9:1: [[switch]] needs the key 'ports'"
    );
    assert_eq!(with("[iommu]\n"), "m.toml:9:1: [iommu] needs the key 'mode'");
}

#[test]
fn values_of_the_wrong_type() {
    assert_eq!(message("name = 7"), "m.toml:1:8: 'name' must be a string, not integer");
    assert_eq!(
        message("name = \"x\"\nhost-bridge = 1"),
        "m.toml:2:15: 'host-bridge' must be an array of tables, not integer"
    );
    assert_eq!(
        message("name = \"x\"\nhost-bridge = [1]"),
        "m.toml:2:16: 'host-bridge' must be a table, not integer"
    );
    assert_eq!(
        with("acs = true\n"),
        "m.toml:9:7: 'acs' must be \"none\" or a list such as [\"SV\", \"RR\", \"CR\", \"UF\"], not boolean"
    );
    assert_eq!(
        ssd("cmb = 1.5\n"),
        "m.toml:12:7: 'cmb' must be a size such as \"64M\" (k M G T binary, kB MB GB TB decimal), not \
         float"
    );
    assert_eq!(
        with("[host]\nmemory-latency = 90\n"),
        "m.toml:10:18: 'memory-latency' must be a time such as \"80us\" (ps, ns, us, ms or s), not \
         integer"
    );
    assert_eq!(ssd("function = \"0\""), "m.toml:12:12: 'function' must be an integer, not string");
    assert_eq!(
        with("[os]\ndisable-acs-redir = \"rp0\"\n"),
        "m.toml:10:21: 'disable-acs-redir' must be a list of names such as [\"rp0\", \"sw0.1\"], not \
         string"
    );
}

#[test]
fn values_that_are_not_understood() {
    assert_eq!(
        with("[host]\nmemory = \"lots\"\n"),
        "m.toml:10:10: 'memory' is \"lots\": expected a size such as \"64M\" (k M G T binary, kB MB GB \
         TB decimal)"
    );
    assert_eq!(
        with("[host]\nmemory = \"1M\"\n"),
        "m.toml:10:10: 'memory' is \"1M\": expected 16M to 16T, in multiples of 4k"
    );
    for cpu in [
        "Intel",
        "GenuineIntel/",
        "/6",
        "GenuineIntel/0x",
        "GenuineIntel/-1",
        "A/+6",
        "A/0x+6",
        "A/70000",
    ] {
        assert_eq!(
            with(&format!("[host]\ncpu = \"{cpu}\"\n")),
            format!(
                "m.toml:10:7: 'cpu' is \"{cpu}\": expected vendor and family such as \
                 \"GenuineIntel/6\" or \"AuthenticAMD/0x19\""
            )
        );
    }
    assert_eq!(
        with("[host]\nmemory-bandwidth = -1\n"),
        "m.toml:10:20: 'memory-bandwidth' is \"-1\": expected a rate in GB/s such as 7 or 25.6"
    );
    assert_eq!(
        with("[iommu]\nmode = \"on\"\n"),
        "m.toml:10:8: 'mode' is \"on\": expected \"off\" or \"passthrough\" or \"translate\""
    );
    assert_eq!(
        with("[timing]\nmodel = \"pcie\"\nmax-payload = 300\n"),
        "m.toml:11:15: 'max-payload' is \"300\": expected 128, 256, 512, 1024, 2048 or 4096"
    );
    assert_eq!(
        with("[timing]\nmodel = \"pcie\"\nroot-hop = \"fast\"\n"),
        "m.toml:11:12: 'root-hop' is \"fast\": expected a time such as \"80us\" (ps, ns, us, ms or s)"
    );
    assert_eq!(
        message(&SMALL.replace("8086:29c0", "8086")),
        "m.toml:4:6: 'id' is \"8086\": expected vendor and device such as \"8086:29c0\""
    );
}

#[test]
fn links_and_acs() {
    let link = "a generation and a width such as \"gen4 x16\" (gen1 to gen6; x1 x2 x4 x8 x16)";
    assert_eq!(
        ssd("link = \"gen9 x4\"\n"),
        format!("m.toml:12:8: 'link' is \"gen9 x4\": expected {link}")
    );
    assert_eq!(
        with("link = \"gen4 x3\"\n"),
        format!("m.toml:9:8: 'link' is \"gen4 x3\": expected {link}")
    );
    assert_eq!(
        ssd("link = \"gen5 x4\"\nlink-max = \"gen4 x4\"\n"),
        "m.toml:13:12: 'link' is what the link runs at, and cannot exceed 'link-max'"
    );
    assert_eq!(
        with("acs = [\"RR\", \"XX\"]\n"),
        "m.toml:9:14: 'acs' is \"XX\": expected SV, TB, RR, CR, UF, EC or DT"
    );
    assert_eq!(
        with("acs = \"RR\"\n"),
        "m.toml:9:7: 'acs' is \"RR\": expected \"none\" or a list such as [\"SV\", \"RR\", \"CR\", \"UF\"]"
    );
    assert_eq!(
        ssd("egress = [1]\n"),
        "m.toml:12:10: 'egress' is part of ACS, which is not there (acs = \"none\")"
    );
    assert_eq!(
        ssd("acs = [\"RR\", \"SV\"]\n"),
        "m.toml:12:7: SV, TB and UF are of ports: a device's functions have RR, CR, EC and DT"
    );
    assert_eq!(ssd("egress = [8]\n"), "m.toml:12:11: 'egress' is 8: expected 0 to 7");
}

#[test]
fn names() {
    let long = "x".repeat(65);
    for name in ["../x", "/x", "..", "", "a b", "\u{e9}", long.as_str()] {
        let expected = format!(
            "m.toml:1:8: 'name' is \"{name}\": expected letters, digits, '-' and '_', at most 64"
        );
        assert_eq!(message(&format!("name = \"{name}\"")), expected);
    }
    assert_eq!(
        with("[[nvme]]\nname = \"nvme 0\"\nbelow = \"rp0\"\n"),
        "m.toml:10:8: \"nvme 0\" cannot be a name: expected letters, digits, '-' and '_', at most 20"
    );
    assert_eq!(
        with("[[nvme]]\nname = \"rp0\"\nbelow = \"rp0\"\n"),
        "m.toml:10:8: the name \"rp0\" is taken: see line 7"
    );
    assert_eq!(
        with("[[nvme]]\nname = \"nvme0\"\nbelow = \"rp1\"\n"),
        "m.toml:11:9: there is no port \"rp1\"; did you mean 'rp0'?"
    );
    assert_eq!(
        message(&SMALL.replace("on = \"host0\"", "on = \"host\"")),
        "m.toml:8:6: there is no host bridge \"host\"; did you mean 'host0'?"
    );
    let switch = "[[switch]]\nname = \"sw0\"\nbelow = \"rp0\"\nports = 2\n";
    let below =
        |port: &str| with(&format!("{switch}[[nvme]]\nname = \"nvme0\"\nbelow = \"{port}\"\n"));
    assert_eq!(below("sw1.0"), "m.toml:15:9: there is no switch \"sw1\"; did you mean 'sw0'?");
    assert_eq!(below("sw0"), "m.toml:15:9: there is no port \"sw0\"; did you mean 'sw0.0'?");
    assert_eq!(below("sw0.2"), "m.toml:15:9: sw0 has no port 2: it has ports 0 to 1");
    for port in ["x", "", "+1", "01", "-1"] {
        let expected = format!("m.toml:15:9: sw0 has no port {port}: it has ports 0 to 1");
        assert_eq!(below(&format!("sw0.{port}")), expected);
    }
    assert_eq!(
        with("[os]\ndisable-acs-redir = [\"rp0\", \"sw7.1\"]\n"),
        "m.toml:10:29: there is no switch \"sw7\""
    );
}

#[test]
fn switches() {
    assert_eq!(
        with("[[switch]]\nname = \"sw0\"\nbelow = \"rp0\"\nports = 0\n"),
        "m.toml:12:9: 'ports' is 0: expected 1 to 32"
    );
    assert_eq!(
        with("[[switch]]\nname = \"sw0\"\nbelow = \"rp0\"\nports = 33\n"),
        "m.toml:12:9: 'ports' is 33: expected 1 to 32"
    );
    let two = "[[switch]]\nname = \"sw0\"\nbelow = \"rp0\"\nports = 2\n";
    assert_eq!(
        with(&format!("{two}[switch.port.2]\nacs = []\n")),
        "m.toml:13:14: sw0 has no port 2: it has ports 0 to 1"
    );
    assert_eq!(
        with(&format!("{two}[switch.port.1]\nasc = []\n")),
        "m.toml:14:1: unknown key 'asc' in [switch.port.N]; did you mean 'acs'?"
    );
    assert_eq!(
        with(&format!("{two}egress = [0, 2]\n")),
        "m.toml:13:14: 'egress' is 2: expected 0 to 1"
    );
    assert_eq!(
        with(&format!("{two}acs = \"none\"\negress = [0]\n")),
        "m.toml:14:10: 'egress' is part of ACS, which is not there (acs = \"none\")"
    );
    assert_eq!(
        with(&format!("{two}acs = \"none\"\n[os]\ndisable-acs-redir = [\"sw0.1\"]\n")),
        "m.toml:15:22: sw0.1 has no ACS (acs = \"none\"), so there is no redirection to disable"
    );
    let circle = "[[switch]]\nname = \"sw0\"\nbelow = \"sw1.0\"\nports = 1\n\
                  [[switch]]\nname = \"sw1\"\nbelow = \"sw0.0\"\nports = 1\n";
    assert_eq!(with(circle), "m.toml:10:8: sw0 is below itself");
}

#[test]
fn two_on_one_link() {
    let switch = "[[switch]]\nname = \"sw0\"\nbelow = \"rp0\"\nports = 2\n";
    let ssd =
        |name: &str, more: &str| format!("[[nvme]]\nname = \"{name}\"\nbelow = \"rp0\"\n{more}");
    assert_eq!(
        with(&format!("{switch}{}", ssd("nvme0", ""))),
        "m.toml:14:8: nvme0 cannot be below rp0: sw0 is, see line 10"
    );
    assert_eq!(
        with(&format!("{}{switch}", ssd("nvme0", ""))),
        "m.toml:13:8: sw0 cannot be below rp0: nvme0 is, see line 10"
    );
    assert_eq!(
        with(&(switch.to_owned() + &switch.replace("sw0", "sw1"))),
        "m.toml:14:8: sw1 cannot be below rp0: sw0 is, see line 10"
    );
    assert_eq!(
        with(&(ssd("nvme0", "") + &ssd("nvme1", ""))),
        "m.toml:13:8: nvme1 cannot be function 0 below rp0: nvme0 is, see line 10"
    );
    // Kinds are read in another order than the file has them; the second is still the later one.
    let memory = "[[bar-memory]]\nname = \"ram0\"\nbelow = \"rp0\"\nsize = \"1M\"\n";
    assert_eq!(
        with(&(memory.to_owned() + &ssd("nvme0", ""))),
        "m.toml:14:8: nvme0 cannot be function 0 below rp0: ram0 is, see line 10"
    );
    assert_eq!(
        with(&ssd("nvme0", "function = 8\n")),
        "m.toml:12:12: 'function' is 8: expected 0 to 7"
    );
    assert_eq!(
        with(&ssd("nvme0", "function = 2\n")),
        "m.toml:10:8: the device below rp0 has no function 0; nvme0 is function 2"
    );
}

#[test]
fn memories() {
    assert_eq!(
        ssd("cmb = { size = \"64M\", bar-size = \"32M\" }\n"),
        "m.toml:12:16: cmb ends at 0x4000000 bytes, beyond its BAR of 0x2000000 bytes"
    );
    assert_eq!(
        ssd("cmb = { size = \"32M\", offset = \"1M\", bar-size = \"32M\" }\n"),
        "m.toml:12:16: cmb ends at 0x2100000 bytes, beyond its BAR of 0x2000000 bytes"
    );
    let units = "a size that CMBSZ can say: up to 1048575 units of 4k, 64k, 1M, 16M, 256M, 4G or 64G, the \
                 offset in the same units";
    for cmb in ["1000", "0", "5k", "4194308k", "16777215T"] {
        let expected = format!("m.toml:12:7: 'cmb' is \"{cmb}\": expected {units}");
        assert_eq!(ssd(&format!("cmb = \"{cmb}\"\n")), expected);
    }
    // Where the size can be said, it is the offset.
    assert_eq!(
        ssd("cmb = { size = \"64M\", offset = \"100\" }\n"),
        format!("m.toml:12:32: 'offset' is \"100\": expected {units}")
    );
    assert_eq!(
        ssd("cmb = { size = \"1M\", bar-size = \"3M\" }\n"),
        "m.toml:12:33: 'bar-size' is \"3M\": expected a power of two from 4k to 256T, as BARs have"
    );
    assert_eq!(
        ssd("cmb = { size = \"1M\", bar = 3 }\n"),
        "m.toml:12:28: 'bar' is \"3\": expected 2 or 4: 64-bit BARs, 0 has the registers"
    );
    assert_eq!(
        ssd("cmb = { size = \"1M\", uses = [\"rds\", \"wd\"] }\n"),
        "m.toml:12:37: 'uses' is \"wd\": expected sqs, cqs, lists, rds or wds"
    );
    assert_eq!(
        ssd("pmr = \"3M\"\n"),
        "m.toml:12:7: 'pmr' is \"3M\": expected a power of two from 4k to 256T, as BARs have"
    );
    assert_eq!(
        ssd("cmb = \"1M\"\npmr = { size = \"1M\", bar = 2 }\n"),
        "m.toml:13:7: 'pmr' is in BAR2, where 'cmb' is"
    );
    let memory =
        |more: &str| with(&format!("[[bar-memory]]\nname = \"ram0\"\nbelow = \"rp0\"\n{more}"));
    assert_eq!(
        memory("size = \"3M\"\n"),
        "m.toml:12:8: 'size' is \"3M\": expected a power of two from 4k to 256T, as BARs have"
    );
    assert_eq!(
        memory("size = \"1M\"\nwindow = \"2M\"\n"),
        "m.toml:13:10: the window cannot be larger than the memory behind it"
    );
}

#[test]
fn namespaces_and_queues() {
    let namespace = |more: &str| ssd(&format!("[[nvme.namespace]]\n{more}"));
    let size = "a multiple of the block size, 512, from one block to 1024T";
    assert_eq!(namespace("size = 0\n"), format!("m.toml:13:8: 'size' is \"0\": expected {size}"));
    assert_eq!(
        namespace("size = \"1000\"\n"),
        format!("m.toml:13:8: 'size' is \"1000\": expected {size}")
    );
    assert_eq!(
        namespace("size = \"1G\"\nblock = 520\n"),
        "m.toml:14:9: 'block' is \"520\": expected 512 or 4096"
    );
    assert_eq!(
        namespace("size = \"1G\"\nmetadata = 7\n"),
        "m.toml:14:12: 'metadata' is \"7\": expected 0 or 8 or 16 or 64"
    );
    assert_eq!(
        namespace("size = \"1G\"\nprotection = 4\n"),
        "m.toml:14:14: 'protection' is 4: expected 0 to 3"
    );
    assert_eq!(
        namespace("size = \"1G\"\nprotection = 1\n"),
        "m.toml:12:1: protection needs 'metadata' of at least 8 bytes a block"
    );
    assert_eq!(
        namespace("size = \"1G\"\nmedia = \"tape\"\n"),
        "m.toml:14:9: 'media' is \"tape\": expected \"persistent\" or \"memory\" or \"null\""
    );
    assert_eq!(ssd("queues = 0\n"), "m.toml:12:10: 'queues' is 0: expected 1 to 4095");
    assert_eq!(
        ssd("queue-entries = 99999999999999999999\n"),
        "m.toml:12:17: 'queue-entries' is 99999999999999999999: expected 2 to 65536"
    );
    assert_eq!(
        ssd("mdts = \"100k\"\n"),
        "m.toml:12:8: 'mdts' is \"100k\": expected a power of two from 8k to 256M, or \"none\" for no limit"
    );
}

#[test]
fn buses() {
    let bridge = |name: &str, bus: u16| {
        format!(
            "[[host-bridge]]\nname = \"{name}\"\nid = \"1b36:000b\"\np2p = \"refuse\"\nbus = {bus}\n"
        )
    };
    assert_eq!(
        with(&bridge("host1", 1)),
        "m.toml:2:1: host0 needs 2 buses from 0 on, and there are 1"
    );
    assert_eq!(
        with(&bridge("host1", 0)),
        "m.toml:2:1: host0 needs 2 buses from 0 on, and there are 0"
    );
    assert_eq!(
        with(&(bridge("host1", 255) + &bridge("host2", 2).replace("bus = 2\n", ""))),
        "m.toml:14:1: host2 needs 1 buses from 256 on, and there are 0"
    );
    let mut chain = String::new();
    for number in 0..9 {
        let below = match number {
            0 => "rp0".to_owned(),
            _ => format!("sw{}.0", number - 1),
        };
        chain += &format!("[[switch]]\nname = \"sw{number}\"\nbelow = \"{below}\"\nports = 32\n");
    }
    // 1 root bus, 1 behind rp0, and 33 for each switch.
    assert_eq!(with(&chain), "m.toml:2:1: host0 needs 299 buses from 0 on, and there are 256");
    let ports: String = (1..=31)
        .map(|number| format!("[[root-port]]\nname = \"rp{number}\"\non = \"host0\"\n"))
        .collect();
    assert_eq!(with(&ports), "m.toml:100:8: host0 has more than 31 root ports");
}

#[test]
fn a_long_chain_of_switches_is_refused_without_recursion() {
    let mut text = SMALL.to_owned();
    for number in 0..20_000 {
        let below = match number {
            0 => "rp0".to_owned(),
            _ => format!("s{}.0", number - 1),
        };
        text += &format!("[[switch]]\nname = \"s{number}\"\nbelow = \"{below}\"\nports = 1\n");
    }
    let error = Machine::parse(&text, "m.toml").unwrap_err();
    assert!(matches!(*error.problem, Problem::TooManyBuses { needed: 40_002, .. }));
}

#[test]
fn the_full_file_is_right() {
    assert!(Machine::parse(EVERYTHING, "m.toml").is_ok());
}
