//! The machine file.
