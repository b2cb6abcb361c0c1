//! Exit statuses: what a script can tell apart.

use std::process::ExitCode;

use schemars::JsonSchema;
use serde::Serialize;

/// How the command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It did what was asked.
    Done = 0,
    /// A device, a file or the operating system failed.
    Io = 1,
    /// What was asked makes no sense.
    Usage = 2,
    /// There is no peer-to-peer path.
    NoPath = 3,
    /// Data differ from what they must be, or would.
    Mismatch = 4,
    /// This user may not do that.
    Permission = 5,
    /// Something is in use, or would be destroyed.
    Refused = 6,
    /// Broken off by a signal.
    Interrupted = 130,
}

impl Exit {
    /// The number that the shell sees.
    pub(crate) const fn status(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.status())
    }
}

/// The numbers, for `--help`.
pub(crate) const HELP: &str = "\
Exit status:
  0    done
  1    I/O or device error
  2    usage
  3    no peer-to-peer path
  4    data mismatch, or a path that is known to lose data
  5    permission denied
  6    refused for safety: in use, or would destroy data
  130  interrupted";

impl Serialize for Exit {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(self.status())
    }
}

impl JsonSchema for Exit {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ExitStatus".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "integer", "enum": [0, 1, 2, 3, 4, 5, 6, 130] })
    }
}
