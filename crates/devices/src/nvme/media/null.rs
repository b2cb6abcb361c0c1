//! A medium without bytes, to measure everything but the copying.

use super::{Fill, Media, MediaError, Take, take_zeroes};

/// Reads move no data, writes are dropped.
#[derive(Debug)]
pub(crate) struct NullMedia;

impl Media for NullMedia {
    fn holds_data(&self) -> bool {
        false
    }

    /// Only commands that must look at data (Compare, Verify, Copy) come here.
    fn read(&mut self, _: u64, len: u64, take: &mut Take<'_>) -> Result<(), MediaError> {
        let _ = take_zeroes(len, take);
        Ok(())
    }

    fn write(&mut self, _: u64, _: u64, _: &mut Fill<'_>) -> Result<(), MediaError> {
        Ok(())
    }

    fn discard(&mut self, _: u64, _: u64) -> Result<(), MediaError> {
        Ok(())
    }

    fn flush(&mut self, _: u64, _: u64) -> Result<(), MediaError> {
        Ok(())
    }

    fn power_cut(&mut self) {}
}
