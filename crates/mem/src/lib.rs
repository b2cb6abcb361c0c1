//! Bytes that two parties touch at once.
//!
//! A DMA buffer, a queue, a controller memory buffer: each is memory that a driver and a device (or
//! two threads that play them) read and write with no lock between them. A Rust reference into such
//! memory would be a promise that nobody keeps, so this crate hands out none: [`SharedMemory`] is
//! accessed by value and by bounds-checked copies only.
//!
//! **Rules**, which every function here keeps and no caller can break:
//!
//! 1. No `&[u8]`, `&mut [u8]` or `&T` into shared memory ever exists.
//! 2. Every access is atomic in the machine's sense, word by word: a racing access may yield old or new
//!    bytes, never undefined behaviour. Ordering between words is given only by [`SharedMemory::load`]
//!    and [`SharedMemory::store`] with an explicit [`Ordering`](std::sync::atomic::Ordering).
//! 3. Every range is checked; what lies outside is [`OutOfBounds`], never a panic.
//!
//! Such memory may be a file's, and files can be read and written with it directly
//! ([`SharedMemory::map_file`], [`SharedMemory::read_file`]). [`SharedEntries`] is such memory as the
//! slots of a ring. [`RangeAllocator`] keeps track of who has
//! which part of such memory, or of an address space. The crate knows neither devices nor addresses on a
//! bus. Nothing of this project is below it.
//!
//! ```
//! use p2pdma_mem::SharedMemory;
//! let memory = SharedMemory::anonymous(4096)?;
//! memory.write(16, b"peer to peer")?;
//! let mut back = [0; 12];
//! memory.read(16, &mut back)?;
//! assert_eq!(&back, b"peer to peer");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![expect(unsafe_code, reason = "shared memory is what this crate makes safe")]

mod copy;
mod entries;
mod file;
#[cfg(target_os = "linux")]
mod pages;
mod ranges;
mod shared;

pub use copy::prefetch;
pub use entries::{SharedEntries, SharedEntry};
pub use ranges::RangeAllocator;
pub use shared::{OutOfBounds, SharedMemory, Word};
