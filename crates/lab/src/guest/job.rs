//! What is to run in the guest.

use std::path::{Path, PathBuf};

/// What is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// A program of this machine. It goes into the guest, with the libraries that it needs.
    Host(PathBuf),
    /// A program of the guest: one of busybox's, one that was brought along, or a path.
    Guest(String),
    /// A shell at the guest's console.
    Shell,
}

/// A file of this machine that goes into the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestFile {
    /// Where it is here.
    pub source: PathBuf,
    /// Where it is to be there: an absolute path.
    pub target: String,
}

/// A program with its arguments, files and surroundings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    pub(crate) program: Program,
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) programs: Vec<PathBuf>,
    pub(crate) files: Vec<GuestFile>,
    pub(crate) modules: Vec<String>,
    pub(crate) packages: Vec<String>,
    pub(crate) input: Vec<u8>,
    /// Lines of standard output, and the devices that are unplugged when they come.
    pub(crate) unplugs: Vec<(String, String)>,
}

impl Job {
    /// A job that runs this program.
    #[must_use]
    pub const fn new(program: Program) -> Self {
        Self {
            program,
            arguments: Vec::new(),
            environment: Vec::new(),
            programs: Vec::new(),
            files: Vec::new(),
            modules: Vec::new(),
            packages: Vec::new(),
            input: Vec::new(),
            unplugs: Vec::new(),
        }
    }

    /// A job that runs a program of this machine.
    #[must_use]
    pub fn host(program: impl AsRef<Path>) -> Self {
        Self::new(Program::Host(program.as_ref().to_owned()))
    }

    /// A job that runs lines of shell in the guest.
    #[must_use]
    pub fn script(text: &str) -> Self {
        Self::new(Program::Guest("sh".to_owned())).arguments(["-c", text])
    }

    /// A job that is a shell at the guest's console.
    #[must_use]
    pub const fn shell() -> Self {
        Self::new(Program::Shell)
    }

    /// Adds arguments.
    #[must_use]
    pub fn arguments<S: Into<String>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable. Its name is one that a shell takes: letters, digits, `_`.
    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Brings a program of this machine along, with the libraries that it needs: it is found by its name.
    #[must_use]
    pub fn program(mut self, path: impl AsRef<Path>) -> Self {
        self.programs.push(path.as_ref().to_owned());
        self
    }

    /// Brings a file along, to an absolute path in the guest.
    #[must_use]
    pub fn file(mut self, source: impl AsRef<Path>, target: &str) -> Self {
        let source = source.as_ref().to_owned();
        self.files.push(GuestFile { source, target: target.to_owned() });
        self
    }

    /// Loads a kernel module, with those that it depends on, before the program starts. What is built
    /// into the kernel is loaded already.
    #[must_use]
    pub fn module(mut self, name: &str) -> Self {
        self.modules.push(name.to_owned());
        self
    }

    /// Brings the programs of a Debian package along, with the libraries that they need: they are found by
    /// their names. [`run`](crate::run) fetches what is not in the cache. Nothing is set up as an
    /// installation would: no configuration files, and no other programs that they may call.
    #[must_use]
    pub fn package(mut self, name: &str) -> Self {
        self.packages.push(name.to_owned());
        self
    }

    /// What the program reads on its standard input.
    #[must_use]
    pub fn input(mut self, bytes: &[u8]) -> Self {
        self.input = bytes.to_owned();
        self
    }

    /// Unplugs a device, by its name in the machine file, when the program has written this line to its
    /// standard output. The guest's kernel is asked to let it go, and takes five seconds to
    /// (`pciehp_handle_button_press()`, drivers/pci/hotplug/pciehp_ctrl.c).
    #[must_use]
    pub fn unplug(mut self, line: &str, device: &str) -> Self {
        self.unplugs.push((line.to_owned(), device.to_owned()));
        self
    }

    /// Whether the guest's console is for a person.
    pub(crate) fn is_interactive(&self) -> bool {
        self.program == Program::Shell
    }
}
