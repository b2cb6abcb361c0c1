//! The system around the devices: processor, kernel, its configuration, boot parameters.

mod boot;
mod cpu;
mod kernel_config;

use std::sync::Arc;

use p2pdma_pci::topology::{Cause, Cpu, KernelVersion, Known};

pub use boot::BootParameters;
pub use cpu::Architecture;
pub(crate) use kernel_config::SYMBOLS;
pub use kernel_config::{KernelConfig, Setting};

use crate::attribute::text;
use crate::{Failure, Note, NoteKind, Tree};

/// What is known of the system.
#[derive(Debug, Clone, PartialEq)]
pub struct System {
    /// The architecture.
    pub architecture: Known<Architecture>,
    /// The processor's make and family, as far as the kernel's rule asks.
    pub cpu: Known<Cpu>,
    /// The kernel's release, as `uname -r` prints it.
    pub release: Known<Arc<str>>,
    /// Its version.
    pub kernel: Known<KernelVersion>,
    /// How it was built.
    pub config: Known<KernelConfig>,
    /// Whether its symbols have peer-to-peer DMA: looked for where its configuration is unknown and a memory buffer is
    /// there that it does not lend.
    pub symbols: Known<bool>,
    /// What it was told at boot.
    pub boot: Known<BootParameters>,
    /// Whether NVMe namespaces with several paths get a multipath head
    /// (`/sys/module/nvme_core/parameters/multipath`); `None` without the module.
    pub nvme_multipath: Known<Option<bool>>,
    /// Whether the NVMe driver places submission queues in controller memory buffers
    /// (`/sys/module/nvme/parameters/use_cmb_sqs`); `None` without the module.
    pub nvme_use_cmb_sqs: Known<Option<bool>>,
    /// The IOMMUs that the kernel drives, by name (`/sys/class/iommu`): `dmar0`, `ivhd0`.
    pub iommus: Known<Vec<Arc<str>>>,
}

impl System {
    /// A system of which nothing is known; `cause` is why.
    #[must_use]
    pub const fn unknown(cause: Cause) -> Self {
        Self {
            architecture: Known::Unknown(cause),
            cpu: Known::Unknown(cause),
            release: Known::Unknown(cause),
            kernel: Known::Unknown(cause),
            config: Known::Unknown(cause),
            symbols: Known::Unknown(cause),
            boot: Known::Unknown(cause),
            nvme_multipath: Known::Unknown(cause),
            nvme_use_cmb_sqs: Known::Unknown(cause),
            iommus: Known::Unknown(cause),
        }
    }

    /// Whether the kernel was built with peer-to-peer DMA (`CONFIG_PCI_P2PDMA`): by its configuration, or else by
    /// its symbols.
    #[must_use]
    pub fn has_p2pdma(&self) -> Known<bool> {
        match &self.config {
            Known::Value(config) => Known::Value(config.is_on("PCI_P2PDMA")),
            Known::Unknown(_) => self.symbols,
        }
    }

    /// Looks for peer-to-peer DMA among the kernel's symbols, if its configuration is unknown. There are a hundred
    /// thousand of them, which takes the kernel a tenth of a second.
    pub(crate) fn look_at_symbols(&mut self, tree: &dyn Tree) {
        if self.config.value().is_none() {
            self.symbols = kernel_config::has_p2pdma(tree);
        }
    }
}

/// Reads the system.
pub(crate) fn read(tree: &dyn Tree, notes: &mut Vec<Note>) -> System {
    let mut noted = |path: &str, failure: Failure| {
        notes.push(NoteKind::Unreadable { path: path.to_owned(), failure }.into());
        failure.cause()
    };
    let release = match text(tree, RELEASE) {
        Ok(text) => Known::Value(Arc::<str>::from(text)),
        Err(failure) => Known::Unknown(noted(RELEASE, failure)),
    };
    let kernel = match &release {
        Known::Unknown(cause) => Known::Unknown(*cause),
        Known::Value(release) => match release.parse() {
            Ok(version) => Known::Value(version),
            Err(_) => Known::Unknown(noted(RELEASE, Failure::Malformed)),
        },
    };
    let (architecture, cpu) = match cpu::read(tree) {
        Ok(found) => found,
        Err(failure) => {
            let cause = noted(cpu::PATH, failure);
            (Known::Unknown(cause), Known::Unknown(cause))
        }
    };
    let boot = match boot::read(tree) {
        Ok(boot) => Known::Value(boot),
        Err(failure) => Known::Unknown(noted(boot::PATH, failure)),
    };
    let config = kernel_config::read(tree, release.value().map(AsRef::as_ref));
    let symbols = Known::Unknown(config.cause().unwrap_or(Cause::NotCaptured));
    System {
        architecture,
        cpu,
        kernel,
        config,
        symbols,
        release,
        boot,
        nvme_multipath: switch(tree, "sys/module/nvme_core/parameters/multipath"),
        nvme_use_cmb_sqs: switch(tree, "sys/module/nvme/parameters/use_cmb_sqs"),
        iommus: iommus(tree),
    }
}

const RELEASE: &str = "proc/sys/kernel/osrelease";

/// A module's parameter that is yes or no.
fn switch(tree: &dyn Tree, path: &str) -> Known<Option<bool>> {
    match text(tree, path) {
        Ok(text) => match text.as_str() {
            "Y" | "1" => Known::Value(Some(true)),
            "N" | "0" => Known::Value(Some(false)),
            _ => Known::Unknown(Cause::Unreadable),
        },
        Err(Failure::Missing) => Known::Value(None),
        Err(failure) => Known::Unknown(failure.cause()),
    }
}

fn iommus(tree: &dyn Tree) -> Known<Vec<Arc<str>>> {
    match tree.list("sys/class/iommu") {
        Ok(names) => Known::Value(names.iter().map(|name| Arc::from(name.as_str())).collect()),
        Err(Failure::Missing) => Known::Value(Vec::new()),
        Err(failure) => Known::Unknown(failure.cause()),
    }
}

#[cfg(test)]
mod tests;
