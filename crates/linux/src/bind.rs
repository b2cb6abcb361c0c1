//! Moving a device from one driver to another (Documentation/ABI/testing/sysfs-bus-pci: `driver_override`, `unbind`,
//! `drivers_probe`).

use std::fmt;
use std::io;

use p2pdma_pci::Bdf;
use p2pdma_spec::pci::class::ClassCode;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::vfio::{DRIVER, place};
use crate::{Function, Survey};

/// Which driver a device has, and who shares its IOMMU group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// The device.
    pub bdf: Bdf,
    /// Its driver, if it has one.
    pub driver: Option<String>,
    /// Its IOMMU group, if an IOMMU is in charge of it.
    pub group: Option<u32>,
    /// The others of that group, with their drivers.
    pub others: Vec<(Bdf, Option<String>)>,
}

/// A step of a move: what is written where, or a module that is loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The module of vfio-pci is loaded.
    Load,
    /// The kernel is told which driver alone may have the device; `None` is every one that fits it.
    Override {
        /// The device.
        bdf: Bdf,
        /// The driver.
        driver: Option<String>,
    },
    /// The device is taken from its driver.
    Unbind {
        /// The device.
        bdf: Bdf,
    },
    /// The kernel looks for a driver for the device.
    Probe {
        /// The device.
        bdf: Bdf,
    },
}

/// A step that failed.
#[derive(Debug, thiserror::Error)]
#[error("'{step}' failed: {source}")]
pub struct StepError {
    /// The step.
    pub step: Step,
    /// What the operating system says.
    pub source: io::Error,
}

impl Binding {
    /// How a device of the running machine is bound; `None` if there is no such device.
    #[must_use]
    pub fn of(bdf: Bdf) -> Option<Self> {
        if !place::folder(bdf).exists() {
            return None;
        }
        let group = place::group(bdf).ok();
        let members = group.map(place::members).unwrap_or_default();
        let others = members.into_iter().filter(|&member| member != bdf);
        let others = others.map(|member| (member, place::driver(member))).collect();
        Some(Self { bdf, driver: place::driver(bdf), group, others })
    }

    /// How a function of a survey is bound, as far as that is known.
    #[must_use]
    pub fn surveyed(survey: &Survey, function: &Function) -> Self {
        let driver = |function: &Function| function.driver.value()?.as_deref().map(str::to_owned);
        let group = |function: &Function| Some((*function.iommu_group.value()?)?.number);
        let (bdf, own) = (function.bdf, group(function));
        let shares = |other: &&Function| other.bdf != bdf && own.is_some() && group(other) == own;
        let others = survey.functions.iter().filter(shares);
        let others = others.map(|other| (other.bdf, driver(other))).collect();
        Self { bdf, driver: driver(function), group: own, others }
    }

    /// Whether it is bound to vfio-pci.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        self.driver.as_deref() == Some(DRIVER)
    }

    /// The others of the group that keep vfio from handing it out, were these devices taken too.
    pub fn in_the_way<'a>(&'a self, taken: &'a [Bdf]) -> impl Iterator<Item = (Bdf, &'a str)> {
        let used = self.others.iter().filter_map(|(bdf, driver)| Some((*bdf, driver.as_deref()?)));
        used.filter(|(bdf, driver)| !taken.contains(bdf) && !place::harmless(driver))
    }

    /// The steps that bring it to vfio-pci; none if it is there.
    #[must_use]
    pub fn take(&self) -> Vec<Step> {
        if self.is_taken() {
            return Vec::new();
        }
        let load = (!place::has_vfio()).then_some(Step::Load);
        load.into_iter().chain(self.to(Some(DRIVER.to_owned()))).collect()
    }

    /// The steps that bring it back to the driver that fits it; none if vfio-pci has not got it.
    #[must_use]
    pub fn give(&self) -> Vec<Step> {
        if self.is_taken() { self.to(None) } else { Vec::new() }
    }

    fn to(&self, driver: Option<String>) -> Vec<Step> {
        let bdf = self.bdf;
        let unbind = self.driver.is_some().then_some(Step::Unbind { bdf });
        let ends = [Step::Override { bdf, driver }, Step::Probe { bdf }];
        let [first, last] = ends;
        [first].into_iter().chain(unbind).chain([last]).collect()
    }
}

impl Step {
    /// Does it.
    ///
    /// # Errors
    /// [`StepError`]; of a device that no driver takes, too.
    pub fn run(&self) -> Result<(), StepError> {
        let done = match self {
            Self::Load => load(),
            Self::Override { driver, .. } => {
                // An empty line takes the word back.
                let name = driver.as_deref().unwrap_or_default();
                std::fs::write(self.path(), format!("{name}\n"))
            }
            Self::Unbind { bdf } | Self::Probe { bdf } => {
                std::fs::write(self.path(), bdf.to_string())
            }
        };
        done.map_err(|source| StepError { step: self.clone(), source })
    }

    fn path(&self) -> String {
        match self {
            Self::Load => String::new(),
            Self::Override { bdf, .. } => format!("/sys/bus/pci/devices/{bdf}/driver_override"),
            Self::Unbind { bdf } => format!("/sys/bus/pci/devices/{bdf}/driver/unbind"),
            Self::Probe { .. } => "/sys/bus/pci/drivers_probe".to_owned(),
        }
    }
}

impl fmt::Display for Step {
    /// As somebody would do it in a shell.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Load => write!(f, "modprobe {DRIVER}"),
            Self::Override { driver, .. } => {
                let driver = driver.as_deref().unwrap_or("''");
                write!(f, "echo {driver} > {}", self.path())
            }
            Self::Unbind { bdf } | Self::Probe { bdf } => {
                write!(f, "echo {bdf} > {}", self.path())
            }
        }
    }
}

fn load() -> io::Result<()> {
    let status = std::process::Command::new("modprobe").arg(DRIVER).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("modprobe: {status}"))) }
}

/// The devices that are taken as a rule: NVMe controllers, and what vfio-pci has.
#[must_use]
pub fn usual(survey: &Survey) -> Vec<Binding> {
    let bindings = survey.topology.nodes().iter().filter_map(|node| {
        let is_nvme = node.class == ClassCode::NVME;
        Binding::of(node.bdf).filter(|binding| is_nvme || binding.is_taken())
    });
    bindings.collect()
}

/// What of this machine stands on a device: file systems, swap areas, volumes that are made of it.
#[must_use]
pub fn uses(survey: &Survey, bdf: Bdf) -> Vec<String> {
    let blocks = &survey.blocks;
    let mut uses = Vec::new();
    if blocks.devices.value().and(blocks.mounts.value()).and(blocks.swap.value()).is_none() {
        uses.push("what stands on it cannot be read".to_owned());
    }
    for device in blocks.devices.value().into_iter().flatten() {
        let name = &device.name;
        let stack = blocks.stack(name, survey.system.kernel);
        if !stack.is_some_and(|stack| stack.functions.contains(&bdf)) {
            continue;
        }
        uses.extend(
            blocks.mounts_of(name).map(|mount| format!("{name} is mounted at {}", mount.point)),
        );
        let mut swap = blocks.swap.value().into_iter().flatten();
        uses.extend(
            swap.any(|area| area.device == *name).then(|| format!("{name} is a swap area")),
        );
        let holders = device.holders.value().into_iter().flatten();
        uses.extend(holders.map(|holder| format!("{holder} is made of {name}")));
        if uses.is_empty() && is_claimed(name) {
            uses.push(format!("{name} is claimed by the kernel, or by another process"));
        }
    }
    uses
}

/// Whether somebody has a block device for himself: what no list of the kernel's shows, such as the second device of a
/// file system, a mount in another namespace, a pool, a copy.
fn is_claimed(name: &str) -> bool {
    let flags = OFlags::RDONLY | OFlags::EXCL | OFlags::CLOEXEC;
    let opened = rustix::fs::open(format!("/dev/{}", name.replace('!', "/")), flags, Mode::empty());
    opened.is_err_and(|errno| errno == Errno::BUSY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(driver: Option<&str>) -> Binding {
        let bdf: Bdf = "0000:03:00.0".parse().unwrap();
        let others = [("0000:03:00.1", Some("nvme")), ("0000:02:00.0", Some("pcieport"))];
        let others = others.map(|(bdf, driver)| (bdf.parse().unwrap(), driver.map(str::to_owned)));
        let driver = driver.map(str::to_owned);
        Binding { bdf, driver, group: Some(3), others: others.into() }
    }

    #[test]
    fn the_steps_are_those_of_a_shell() {
        let steps: Vec<String> = binding(Some(DRIVER)).give().iter().map(Step::to_string).collect();
        assert_eq!(
            steps,
            [
                "echo '' > /sys/bus/pci/devices/0000:03:00.0/driver_override",
                "echo 0000:03:00.0 > /sys/bus/pci/devices/0000:03:00.0/driver/unbind",
                "echo 0000:03:00.0 > /sys/bus/pci/drivers_probe",
            ]
        );
        let steps = binding(None).take();
        let wanted = "echo vfio-pci > /sys/bus/pci/devices/0000:03:00.0/driver_override";
        assert!(steps.iter().any(|step| step.to_string() == wanted));
        assert!(!steps.iter().any(|step| matches!(step, Step::Unbind { .. })), "it has no driver");
        assert!(binding(Some(DRIVER)).take().is_empty());
        assert!(binding(Some("nvme")).give().is_empty());
    }

    #[test]
    fn who_shares_the_group_and_starts_requests_is_in_the_way() {
        let binding = binding(Some("nvme"));
        let other: Bdf = "0000:03:00.1".parse().unwrap();
        assert_eq!(binding.in_the_way(&[]).collect::<Vec<_>>(), [(other, "nvme")]);
        assert_eq!(binding.in_the_way(&[other]).count(), 0);
    }

    #[test]
    fn a_survey_tells_who_shares_a_group() {
        let capture = include_bytes!("../../../topologies/captures/vfio.snapshot");
        let survey = Survey::from_capture(capture, p2pdma_pci::topology::Allowlist::kernel());
        let mut survey = survey.unwrap();
        let is_nvme = |function: &Function| {
            function.driver.value().and_then(Option::as_deref) == Some("nvme")
        };
        let ssds: Vec<usize> = (0..survey.functions.len())
            .filter(|&index| is_nvme(&survey.functions[index]))
            .collect();
        let [first, second, ..] = *ssds else { panic!("{ssds:?}") };
        let alone = Binding::surveyed(&survey, &survey.functions[first]);
        assert!(!alone.is_taken() && alone.group.is_some() && alone.others.is_empty());
        survey.functions[second].iommu_group = survey.functions[first].iommu_group;
        survey.functions[first].driver = p2pdma_pci::topology::Known::Value(Some(DRIVER.into()));
        let binding = Binding::surveyed(&survey, &survey.functions[first]);
        assert!(binding.is_taken());
        let other = survey.functions[second].bdf;
        assert_eq!(binding.in_the_way(&[]).collect::<Vec<_>>(), [(other, "nvme")]);
    }

    #[test]
    fn a_step_that_fails_says_which() {
        let bdf = "ffff:ff:1f.7".parse().unwrap();
        let error = Step::Unbind { bdf }.run().unwrap_err();
        assert_eq!(error.source.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().contains("driver/unbind' failed: "), "{error}");
        assert_eq!(Binding::of(bdf), None);
    }
}
