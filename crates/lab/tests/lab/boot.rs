//! Guests that boot, or do not.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use p2pdma_lab::machine::Plan;
use p2pdma_lab::{Arch, Error, Job, Observer, Options, Provisions, Settings, Stage, Step, run};
use p2pdma_pci::machine::Machine;

const MACHINE: &str = r#"
    name = "small"
    [host]
    memory = "512M"
    [[host-bridge]]
    name = "host0"
    id = "8086:29c0"
    p2p = "forward"
    [[host-bridge]]
    name = "host1"
    id = "1b36:000c"
    p2p = "forward"
    [[root-port]]
    name = "rp0"
    on = "host0"
    [[root-port]]
    name = "rp1"
    on = "host0"
    [[root-port]]
    name = "rp2"
    on = "host1"
    [[switch]]
    name = "sw0"
    below = "rp0"
    ports = 3
    [[switch]]
    name = "sw1"
    below = "sw0.1"
    ports = 2
    [[nvme]]
    name = "nvme0"
    below = "sw0.0"
    queues = 2
    cmb = "4M"
    [[nvme.namespace]]
    size = "1M"
    [[nvme]]
    name = "nvme1"
    below = "sw1.1"
    queues = 2
    [[nvme]]
    name = "nvme2"
    below = "rp1"
    queues = 2
    [[nvme]]
    name = "nvme3"
    below = "rp1"
    function = 3
    queues = 2
    [[nvme]]
    name = "nvme4"
    below = "rp2"
    queues = 2
"#;

fn plan() -> Plan {
    let machine = Machine::parse(MACHINE, "small.toml").unwrap();
    Plan::new(&machine, Arch::X86_64).unwrap()
}

fn provisions() -> Provisions {
    Options::new(Arch::X86_64).provide(&mut ()).unwrap_or_else(|error| panic!("{error}"))
}

/// A guest may take as long as it does on a machine that has other things to do.
fn patient() -> Settings<'static> {
    Settings { limit: Duration::from_secs(600), ..Settings::default() }
}

#[test]
fn a_job_runs_and_everything_is_where_the_plan_says() {
    let plan = plan();
    let script = "for d in /sys/bus/pci/devices/*; do echo ${d##*/} $(cat $d/class); done; \
                  echo oops >&2; /job/given; exit 42";
    let job = Job::script(script).file("/bin/echo", "/job/given").environment("A", "b c");
    let job = job.module("vfio-pci");
    let outcome = run(&provisions(), &plan, &job, &patient(), &mut ()).unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!(outcome.status, 42, "{outcome:?}");
    assert_eq!(text(&outcome.err).lines().next(), Some("oops"));
    let found = text(&outcome.out);
    for placed in plan.placed() {
        let class = if placed.secondary.is_some() { "0x060400" } else { "0x010802" };
        assert!(found.contains(&format!("{} {class}", placed.bdf)), "{placed:?}\n{found}");
    }
    let bridges_and_ssds =
        found.lines().filter(|l| l.ends_with("0x060400") || l.ends_with("0x010802"));
    assert_eq!(bridges_and_ssds.count(), plan.placed().len(), "{found}");
    assert!(text(&outcome.log).contains("Linux version"));
    println!("functions where they were planned: {}", plan.placed().len());
    println!(
        "up after {:.1} s, off after {:.1} s",
        outcome.boot.as_secs_f32(),
        outcome.total.as_secs_f32()
    );
}

#[test]
fn a_kernel_that_panics_is_told_with_its_reason() {
    let job = Job::script("echo c >/proc/sysrq-trigger; sleep 60");
    let error = run(&provisions(), &plan(), &job, &patient(), &mut ()).unwrap_err();
    let Error::Panic { stage: Stage::Job, message, serial } = error else { panic!("{error}") };
    assert!(message.contains("sysrq"), "{message}");
    assert!(serial.contains("Kernel Offset"), "{serial}");
}

#[test]
fn a_guest_that_takes_too_long_is_stopped() {
    let settings = Settings { limit: Duration::from_millis(500), ..Settings::default() };
    let begin = Instant::now();
    let error = run(&provisions(), &plan(), &Job::script("true"), &settings, &mut ()).unwrap_err();
    assert!(matches!(error, Error::TimeLimit { stage: Stage::Boot, .. }), "{error}");
    assert!(begin.elapsed() < Duration::from_secs(20));
}

/// Counts boots, and those that are begun again.
#[derive(Default)]
struct Boots(u32, u32);

impl Observer for Boots {
    fn step(&mut self, step: &Step) {
        self.0 += u32::from(matches!(step, Step::Boot { .. }));
        self.1 += u32::from(matches!(step, Step::BootAgain { .. }));
    }
}

#[test]
fn a_guest_that_does_not_come_up_is_booted_again_once() {
    let settings = Settings { boot_limit: Duration::from_millis(300), ..patient() };
    let mut boots = Boots::default();
    let job = Job::script("echo up; exit 3");
    let outcome = run(&provisions(), &plan(), &job, &settings, &mut boots).unwrap();
    assert_eq!((outcome.status, outcome.out.as_slice()), (3, b"up\n".as_slice()));
    assert_eq!((boots.0, boots.1), (2, 1));
}

/// Wants the run to end as soon as QEMU starts.
struct Impatient<'a>(&'a AtomicBool);

impl Observer for Impatient<'_> {
    fn step(&mut self, step: &Step) {
        if matches!(step, Step::Boot { .. }) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

#[test]
fn a_run_is_broken_off_when_asked_to() {
    let stop = AtomicBool::new(false);
    let settings = Settings { stop: Some(&stop), ..Settings::default() };
    let job = Job::script("true");
    let error = run(&provisions(), &plan(), &job, &settings, &mut Impatient(&stop)).unwrap_err();
    assert!(matches!(error, Error::Stopped { .. }), "{error}");
}

#[test]
fn what_qemu_complains_about_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let kernel = folder.path().join("vmlinuz");
    std::fs::write(&kernel, "no kernel").unwrap();
    let options = Options { kernel: Some(kernel), ..Options::new(Arch::X86_64) };
    let provisions = options.provide(&mut ()).unwrap_or_else(|error| panic!("{error}"));
    let error =
        run(&provisions, &plan(), &Job::script("true"), &Settings::default(), &mut ()).unwrap_err();
    let Error::Qemu { stage: Stage::Boot, output, .. } = &error else { panic!("{error}") };
    assert!(!output.is_empty());
}

#[test]
fn a_path_that_leads_out_of_the_guest_is_refused() {
    for target in ["relative", "/a/../../b", "/", "/a//b"] {
        let job = Job::script("true").file("/bin/true", target);
        let error = run(&provisions(), &plan(), &job, &patient(), &mut ()).unwrap_err();
        assert!(matches!(error, Error::GuestPath { .. }), "{error}");
    }
}
