//! What would make a path, as data: printed, never applied.

use std::fmt;

use super::build::Place;
use super::{NodeId, REDIRECTING, Topology};
use crate::Bdf;

/// A change that turns ACS redirection off on one function, until the next boot.
///
/// The kernel remembers its verdict about a pair until the provider's driver is unbound: one that it
/// has given before the change stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setpci {
    /// The function.
    pub bdf: Bdf,
}

impl fmt::Display for Setpci {
    /// A command line that clears RR, CR and EC and leaves the other bits as they are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mask = REDIRECTING.into_bits();
        let bdf = self.bdf;
        f.write_str("setpci -s ")?;
        if bdf.domain() != 0 {
            write!(f, "{:04x}:", bdf.domain())?;
        }
        // The control register is 6 bytes into the capability (PCIe 6.0 §7.7.11.3).
        write!(
            f,
            "{:02x}:{:02x}.{:x} ECAP_ACS+6.w=0000:{mask:04x}",
            bdf.bus(),
            bdf.device(),
            bdf.function()
        )
    }
}

/// Functions for which the kernel should turn ACS redirection off at every boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootParameter {
    /// Each function's path: its root bus device first, down to itself. A path survives the
    /// renumbering of buses.
    pub paths: Vec<Vec<Bdf>>,
}

impl fmt::Display for BootParameter {
    /// A kernel parameter: `pci=disable_acs_redir=0000:00:01.0/00.0/08.0;…`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("pci=disable_acs_redir=")?;
        for (index, path) in self.paths.iter().enumerate() {
            if index > 0 {
                f.write_str(";")?;
            }
            for (step, bdf) in path.iter().enumerate() {
                if step == 0 {
                    write!(f, "{bdf}")?;
                } else {
                    write!(f, "/{:02x}.{:x}", bdf.device(), bdf.function())?;
                }
            }
        }
        Ok(())
    }
}

/// The changes by which the kernel would let a pair use bus addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fix {
    /// Now, until the next boot: one command for each function.
    pub now: Vec<Setpci>,
    /// At every boot.
    pub boot: BootParameter,
    /// What is lost: functions that would no longer be isolated from one another.
    pub cost: Vec<super::Merge>,
}

impl Topology {
    /// The fix by which several clients would all reach one provider; `None` if access control is in
    /// nobody's way, or nobody is there. Its cost is that of all changes together.
    #[must_use]
    pub fn fix_for(&self, clients: &[Bdf], provider: Bdf) -> Option<Fix> {
        let provider = self.find(provider)?;
        let mut noted = Vec::new();
        for client in clients.iter().filter_map(|client| self.find(*client)) {
            let meeting = self.meet(provider.0, client.0);
            for at in self.noted_nodes(client, provider, &meeting) {
                if client != provider && !noted.contains(&at) {
                    noted.push(at);
                }
            }
        }
        (!noted.is_empty()).then(|| self.fix(&noted))
    }

    /// The fix that clears redirection on these functions.
    pub(super) fn fix(&self, noted: &[NodeId]) -> Fix {
        Fix {
            now: noted.iter().map(|at| Setpci { bdf: self.bdf_at(at.0) }).collect(),
            boot: BootParameter {
                paths: noted.iter().map(|at| self.path_from_root(at.0)).collect(),
            },
            cost: self.cost_of_clearing(noted),
        }
    }

    fn path_from_root(&self, at: u32) -> Vec<Bdf> {
        let mut path = Vec::with_capacity(usize::from(self.place(at).depth) + 1);
        let mut at = at;
        while at != Place::NONE {
            path.push(self.bdf_at(at));
            at = self.place(at).parent;
        }
        path.reverse();
        path
    }
}
