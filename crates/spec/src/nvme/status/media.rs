//! Media and Data Integrity Errors (NVMe Base 2.1 §4.2.3.3, Figure 106).

use super::statuses;

statuses! { MEDIA, MEDIA:
    /// The data could not be committed to the media.
    WRITE_FAULT = 0x80 => "Write Fault",
    /// The data could not be recovered from the media.
    UNRECOVERED_READ_ERROR = 0x81 => "Unrecovered Read Error",
    /// The guard of the protection information does not match the data.
    GUARD_CHECK_ERROR = 0x82 => "End-to-end Guard Check Error",
    /// The application tag of the protection information is not the expected one.
    APPLICATION_TAG_CHECK_ERROR = 0x83 => "End-to-end Application Tag Check Error",
    /// The reference tag of the protection information is not the expected one.
    REFERENCE_TAG_CHECK_ERROR = 0x84 => "End-to-end Reference Tag Check Error",
    /// The data differ from what the command was given to compare with.
    COMPARE_FAILURE = 0x85 => "Compare Failure",
    /// The host lacks the right to access the data.
    ACCESS_DENIED = 0x86 => "Access Denied",
    /// The logical block was deallocated or never written.
    DEALLOCATED_BLOCK = 0x87 => "Deallocated or Unwritten Logical Block",
    /// The storage tag of the protection information is not the expected one.
    STORAGE_TAG_CHECK_ERROR = 0x88 => "End-to-End Storage Tag Check Error",
}
