//! Debian's programs in the guest.

use p2pdma_lab::machine::Plan;
use p2pdma_lab::{Arch, Error, Job, Options, Outcome, Settings, run};
use p2pdma_pci::machine::Machine;

const MACHINE: &str = r#"
    name = "one-ssd"
    [host]
    memory = "512M"
    [[host-bridge]]
    name = "host0"
    id = "8086:29c0"
    p2p = "forward"
    [[root-port]]
    name = "rp0"
    on = "host0"
    [[nvme]]
    name = "nvme0"
    below = "rp0"
    queues = 2
    [[nvme.namespace]]
    size = "64M"
"#;

fn boot(options: &Options, job: &Job) -> Result<Outcome, Error> {
    let machine = Machine::parse(MACHINE, "one-ssd.toml").unwrap();
    let plan = Plan::new(&machine, Arch::X86_64).unwrap();
    let provisions = options.provide(&mut ()).unwrap_or_else(|error| panic!("{error}"));
    run(&provisions, &plan, job, &Settings::default(), &mut ())
}

#[test]
fn their_programs_run_beside_those_of_this_machine() {
    // mkfs.ext4 is a link to mke2fs, and that is told by its name; dynamic programs of this machine have
    // their own C library; xfs needs other modules.
    let script = "until [ -b /dev/nvme0n1 ]; do sleep 0.1; done
                  mkfs.ext4 -q /dev/nvme0n1 && mount /dev/nvme0n1 /mnt && grep /mnt /proc/mounts
                  true && grep xfs /proc/filesystems; echo dmsetup: $(dmsetup mknodes 2>&1)
                  /job/bin/echo $(command -v dumpe2fs)";
    let job = Job::script(script).module("xfs").module("dm-mod").program("/bin/echo");
    let job = job.package("e2fsprogs").package("dmsetup");
    let outcome = boot(&Options::new(Arch::X86_64), &job).unwrap_or_else(|error| panic!("{error}"));
    let (out, err) = (String::from_utf8_lossy(&outcome.out), String::from_utf8_lossy(&outcome.err));
    let lines: Vec<&str> = out.lines().collect();
    let [mounted, xfs, dmsetup, found] = lines.as_slice() else { panic!("{out}{err}") };
    assert!(mounted.starts_with("/dev/nvme0n1 /mnt ext4 "), "{mounted}");
    assert_eq!(*xfs, "\txfs");
    assert_eq!(*dmsetup, "dmsetup:");
    assert_eq!(*found, "/job/bin/dumpe2fs");
}

#[test]
fn a_package_that_cannot_be_had_is_told() {
    // Whatever else is in the cache by now; this is no package that anybody fetched.
    Options::new(Arch::X86_64).provide(&mut ()).unwrap_or_else(|error| panic!("{error}"));
    let offline = Options { offline: true, ..Options::new(Arch::X86_64) };
    let error = boot(&offline, &Job::script("true").package("no-such-package")).unwrap_err();
    assert!(matches!(error, Error::Offline { .. }), "{error}");
    for word in ["the package no-such-package", "run once with network", "--bring"] {
        assert!(error.to_string().contains(word), "{error}");
    }
    let job = Job::script("true").package("../up");
    let error = boot(&Options::new(Arch::X86_64), &job).unwrap_err();
    assert!(matches!(error, Error::PackageName { .. }), "{error}");
}
