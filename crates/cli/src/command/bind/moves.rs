//! What is checked before devices are moved, and how they are.

use std::io::ErrorKind;

use p2pdma::Bdf;
use p2pdma::linux::Survey;
use p2pdma::linux::bind::{Binding, Step, StepError, Uses};

use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::platform::is_bridge;

/// Refuses devices that are in use, that no IOMMU guards, or that share a group with one in use.
pub(super) fn check(survey: &Survey, bindings: &[Binding], devices: &[Bdf]) -> Result<()> {
    let uses = Uses::read(survey);
    for binding in bindings.iter().filter(|binding| !binding.is_taken()) {
        let bdf = binding.bdf;
        let node = survey.topology.find(bdf).map(|id| survey.topology.node(id));
        if node.is_some_and(is_bridge) {
            let message = format!("{bdf} is a bridge, and no device that could be driven");
            return Err(Failure::usage(message).remedy("name what is below it"));
        }
        let uses = uses.of(bdf);
        if !uses.is_empty() {
            let message = format!("{bdf} is in use: {}; nothing was changed", uses.join(", "));
            return Err(Failure::refused("IN-USE", message).remedy("unmount or stop that first"));
        }
        let Some(group) = binding.group else {
            let message = format!("{bdf} is in no IOMMU group: no IOMMU is in charge of it");
            return Err(Failure::refused("NO-IOMMU", message).remedy(
                "switch the IOMMU on: in the firmware, and with intel_iommu=on where it is Intel's",
            ));
        };
        let others: Vec<String> =
            binding.in_the_way(devices).map(|(bdf, driver)| format!("{bdf} ({driver})")).collect();
        if !others.is_empty() {
            let message = format!(
                "IOMMU group {group} of {bdf} is shared with {}, which the kernel uses; nothing was changed",
                others.join(", ")
            );
            return Err(Failure::refused("VFIO-SHARED", message)
                .remedy("the IOMMU cannot tell them apart: take all of them, or none"));
        }
    }
    Ok(())
}

/// Prints steps as a shell would do them.
pub(super) fn print(out: &Output, steps: Vec<Step>) -> Result<()> {
    let lines: String = steps.iter().map(|step| format!("{step}\n")).collect();
    Ok(out.text(&lines)?)
}

/// Takes devices; if a step fails or a signal comes, all go back.
pub(super) fn take(steps: Vec<Step>, before: &[Binding], interrupt: &Interrupt) -> Result<()> {
    let mut done = Ok(());
    for step in steps {
        if interrupt.raised() {
            done = Err(Failure::interrupted());
            break;
        }
        if let Err(error) = step.run() {
            done = Err(failed(&error));
            break;
        }
    }
    let not_taken = before.iter().find(|was| !Binding::of(was.bdf).is_some_and(|is| is.is_taken()));
    let done = done.and_then(|()| match not_taken {
        Some(was) => Err(refused(was.bdf, "vfio-pci")),
        None => Ok(()),
    });
    // It may have come while the last step was done: nobody waits for what would follow.
    let done = done.and_then(|()| match interrupt.raised() {
        true => Err(Failure::interrupted()),
        false => Ok(()),
    });
    done.map_err(|failure| match give_back(before) {
        Ok(()) => failure.append("; all devices have their drivers back"),
        Err(also) => failure.append(&format!("; and not all went back: {}", also.parts().1)),
    })
}

/// Gives back what was not vfio's before.
pub(super) fn give_back(before: &[Binding]) -> Result<()> {
    let mut worst = Ok(());
    for was in before.iter().filter(|was| !was.is_taken()) {
        let given = restore(was);
        worst = worst.and(given);
    }
    worst
}

fn restore(was: &Binding) -> Result<()> {
    let bdf = was.bdf;
    let Some(now) = Binding::of(bdf) else { return Ok(()) };
    // A step that failed may have left it with no driver, and a word on which may have it.
    run(was.back(&now))?;
    let back = Binding::of(bdf).is_none_or(|now| now.driver == was.driver);
    if back { Ok(()) } else { Err(refused(bdf, was.driver.as_deref().unwrap_or("no driver"))) }
}

/// Gives devices back to the kernel's drivers, each of them whole: one that does not go keeps no other, and a signal is heeded
/// between two.
pub(super) fn give(bindings: &[Binding], interrupt: &Interrupt) -> Result<()> {
    let mut worst = Ok(());
    for binding in bindings {
        if interrupt.raised() {
            return worst.and_then(|()| Err(Failure::interrupted()));
        }
        let given = run(binding.give()).and_then(|()| left_vfio(binding.bdf));
        worst = worst.and(given);
    }
    worst
}

fn left_vfio(bdf: Bdf) -> Result<()> {
    match Binding::of(bdf) {
        Some(now) if now.is_taken() => Err(refused(bdf, "a driver of the kernel's")),
        _ => Ok(()),
    }
}

fn run(steps: Vec<Step>) -> Result<()> {
    steps.iter().try_for_each(Step::run).map_err(|error| failed(&error))
}

fn refused(bdf: Bdf, driver: &str) -> Failure {
    let message = format!("{bdf} did not come to {driver}");
    Failure::new(Exit::Io, "BIND", message).remedy("the kernel's log says why: dmesg | tail")
}

fn failed(error: &StepError) -> Failure {
    let message = error.to_string();
    match (&error.step, error.source.kind()) {
        (Step::Load, _) => Failure::new(Exit::Io, "VFIO", message)
            .remedy("load vfio-pci as this machine's kernel has it; not every kernel does"),
        (_, kind @ ErrorKind::PermissionDenied) => Failure::operating_system(kind, message)
            .remedy("run it as root: which driver has a device is root's to say"),
        (_, kind) => Failure::operating_system(kind, message)
            .or_remedy("the kernel's log may say why: dmesg | tail"),
    }
}
