//! Path Related Status (NVMe Base 2.1 §4.2.3.4, Figure 107).

use super::statuses;

statuses! { PATH, PATH:
    /// This controller had an error of its own; another may not have it.
    INTERNAL_PATH_ERROR = 0x00 => "Internal Path Error",
    /// This controller has lost its access to the namespace for good.
    ASYMMETRIC_ACCESS_PERSISTENT_LOSS = 0x01 => "Asymmetric Access Persistent Loss",
    /// This controller has no access to the namespace.
    ASYMMETRIC_ACCESS_INACCESSIBLE = 0x02 => "Asymmetric Access Inaccessible",
    /// This controller's access to the namespace is changing.
    ASYMMETRIC_ACCESS_TRANSITION = 0x03 => "Asymmetric Access Transition",
    /// The controller found the path to be broken.
    CONTROLLER_PATHING_ERROR = 0x60 => "Controller Pathing Error",
    /// The host found the path to be broken.
    HOST_PATHING_ERROR = 0x70 => "Host Pathing Error",
    /// The host gave the command up.
    ABORTED_BY_HOST = 0x71 => "Command Aborted By Host",
}
