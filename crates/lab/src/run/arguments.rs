//! QEMU's arguments for what every guest has: console, channels, kernel.

use super::{Accelerator, Settings};
use crate::Arch;
use crate::guest::PORTS;
use crate::machine::{OWN_DEVICE, Plan};
use crate::provide::Provisions;

/// The file with the guest's first file system, in the folder that QEMU runs in.
pub(super) const INITRAMFS: &str = "initramfs";
/// The socket of the serial console.
pub(super) const SERIAL: &str = "serial";
/// The socket of QEMU's monitor.
pub(super) const QMP: &str = "qmp";

/// The name of a channel's socket.
pub(super) fn socket(channel: &str) -> String {
    format!("{channel}.socket")
}

/// The arguments, after those of the machine.
pub(super) fn own(
    provisions: &Provisions,
    plan: &Plan,
    settings: &Settings<'_>,
    interactive: bool,
) -> Vec<String> {
    let mut list = List(Vec::new());
    let accelerator = match settings.accelerator {
        Accelerator::Tcg => "tcg,thread=multi",
        Accelerator::Kvm => "kvm",
    };
    list.pair("-accel", accelerator);
    list.pair("-smp", "2");
    for word in ["-nodefaults", "-no-user-config", "-no-reboot"] {
        list.0.push(word.to_owned());
    }
    list.pair("-display", "none");
    if interactive {
        // Ctrl-A x ends QEMU; Ctrl-C is the guest's.
        list.pair("-chardev", &format!("stdio,id={SERIAL},mux=on,signal=off"));
        list.pair("-mon", &format!("chardev={SERIAL},mode=readline"));
    } else {
        list.channel(SERIAL);
    }
    list.pair("-serial", &format!("chardev:{SERIAL}"));
    list.channel(QMP);
    list.pair("-mon", &format!("chardev={QMP},mode=control"));
    list.pair(
        "-device",
        &format!("virtio-serial-pci,id=lab,bus=pcie.0,addr={OWN_DEVICE:#x},multifunction=on"),
    );
    if let Some(bytes) = settings.virtio_disk {
        list.pair("-blockdev", &format!("null-co,node-name=disk,size={bytes},read-zeroes=on"));
        list.pair(
            "-device",
            &format!("virtio-blk-pci,drive=disk,bus=pcie.0,addr={OWN_DEVICE:#x}.1"),
        );
    }
    for port in PORTS {
        list.channel(port);
        list.pair("-device", &format!("virtserialport,bus=lab.0,chardev={port},name={port}"));
    }
    list.pair("-kernel", &provisions.kernel().display().to_string());
    list.pair("-initrd", INITRAMFS);
    list.pair("-append", &kernel(plan, settings));
    list.0
}

fn kernel(plan: &Plan, settings: &Settings<'_>) -> String {
    let console = match plan.arch() {
        Arch::X86_64 | Arch::Riscv64 => "ttyS0",
        Arch::Aarch64 => "ttyAMA0",
    };
    // A panic ends QEMU at once, by way of a reboot that it does not make.
    let mut words = vec![format!("console={console}"), "panic=-1".to_owned(), "quiet".to_owned()];
    if plan.arch() == Arch::X86_64 {
        // An emulator on a busy machine does not tick in time for the kernel's test of its timer, which ends in
        // a panic behind an IOMMU (`panic_if_irq_remap()`, arch/x86/kernel/apic/io_apic.c).
        words.push("no_timer_check".to_owned());
    }
    words.extend(plan.kernel_arguments());
    words.extend(settings.kernel_arguments.iter().cloned());
    words.join(" ")
}

struct List(Vec<String>);

impl List {
    fn pair(&mut self, option: &str, value: &str) {
        self.0.push(option.to_owned());
        self.0.push(value.to_owned());
    }

    /// A socket that we listen at, so that it is there before QEMU is.
    fn channel(&mut self, name: &str) {
        let path = socket(name);
        self.pair("-chardev", &format!("socket,id={name},path={path},server=off"));
    }
}
