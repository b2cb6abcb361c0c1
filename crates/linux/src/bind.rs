//! Moving a device from one driver to another (Documentation/ABI/testing/sysfs-bus-pci: `driver_override`, `unbind`,
//! `drivers_probe`).

mod files;
mod uses;

use std::fmt;
use std::io;

use p2pdma_pci::Bdf;
use p2pdma_spec::pci::class::ClassCode;

pub use uses::Uses;

use crate::vfio::{DRIVER, place};
use crate::{Function, Survey};

/// Which driver a device has, and who shares its IOMMU group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// The device.
    pub bdf: Bdf,
    /// Its driver, if it has one.
    pub driver: Option<String>,
    /// The driver that alone may have it, if one was named (`driver_override`), and this was read where it runs.
    pub named: Option<String>,
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
        let (driver, named) = (place::driver(bdf), place::named(bdf));
        Some(Self { bdf, driver, named, group, others })
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
        Self { bdf, driver: driver(function), named: None, group: own, others }
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

    /// The steps that bring it from how it is `now` back to this, with the driver that was named for it; to none, if it
    /// had none.
    #[must_use]
    pub fn back(&self, now: &Self) -> Vec<Step> {
        let bdf = self.bdf;
        let named = Step::Override { bdf, driver: self.named.clone() };
        if now.driver == self.driver {
            return if now.named == self.named { Vec::new() } else { vec![named] };
        }
        // Named for vfio-pci, and not with it yet: its own driver has to find it once more before.
        let (first, last) = match self.named.as_deref() == Some(DRIVER) {
            true => (Step::Override { bdf, driver: None }, Some(named)),
            false => (named, None),
        };
        let unbind = now.is_taken().then_some(Step::Unbind { bdf });
        // Whoever had no driver gets none, though one may fit.
        let probe = self.driver.is_some().then_some(Step::Probe { bdf });
        [first].into_iter().chain(unbind).chain(probe).chain(last).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(driver: Option<&str>) -> Binding {
        let bdf: Bdf = "0000:03:00.0".parse().unwrap();
        let others = [("0000:03:00.1", Some("nvme")), ("0000:02:00.0", Some("pcieport"))];
        let others = others.map(|(bdf, driver)| (bdf.parse().unwrap(), driver.map(str::to_owned)));
        let driver = driver.map(str::to_owned);
        Binding { bdf, driver, named: None, group: Some(3), others: others.into() }
    }

    #[test]
    fn the_way_back_names_the_driver_that_was_named_before() {
        let shell = |steps: Vec<Step>| -> Vec<String> {
            let name =
                |step: Step| step.to_string().replace("/sys/bus/pci/devices/0000:03:00.0/", "");
            steps.into_iter().map(name).collect()
        };
        let named = |name: &str| Binding { named: Some(name.to_owned()), ..binding(Some("nvme")) };
        let (taken, unbind) = (binding(Some(DRIVER)), "echo 0000:03:00.0 > driver/unbind");
        let probe = "echo 0000:03:00.0 > /sys/bus/pci/drivers_probe";
        let [free, own, vfio] =
            ["''", "nvme", DRIVER].map(|name| format!("echo {name} > driver_override"));
        assert_eq!(shell(binding(Some("nvme")).back(&taken)), [&free, unbind, probe]);
        assert_eq!(shell(named("nvme").back(&taken)), [&own, unbind, probe]);
        assert_eq!(shell(named(DRIVER).back(&taken)), [&free, unbind, probe, &vfio]);
        // It had none.
        assert_eq!(shell(binding(None).back(&taken)), [&free, unbind]);
        // A step failed before it was taken.
        assert_eq!(shell(named("nvme").back(&binding(Some("nvme")))), [own.as_str()]);
        assert_eq!(shell(named("nvme").back(&binding(None))), [&own, probe]);
        // The first one did.
        assert_eq!(shell(named("nvme").back(&named("nvme"))), [""; 0]);
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
