//! Copies between private and shared memory that tolerate a racing party.
//!
//! Rust has no bytewise-atomic `memcpy` (RFC 3301 is open), and the compiler does not merge relaxed
//! word accesses into vector ones, which costs half of the bandwidth. So long copies on x86-64 are
//! inline assembly: to the abstract machine an assembly block stands for *some* sequence of operations
//! that Rust code could have made, and the sequence that this one stands for is relaxed single-byte
//! atomic loads and stores (the processor makes them at least that fine). Elsewhere, and under Miri,
//! the words are copied one by one.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

#[cfg(all(target_arch = "x86_64", not(miri)))]
mod x86;

/// Copies `len` bytes, each by an access that may race.
///
/// # Safety
/// `source` must be readable and `target` writable for `len` bytes. Either may be accessed by others
/// at the same time, if they too use atomic accesses or are outside this program. The two ranges must
/// not overlap.
#[inline]
pub(crate) unsafe fn copy(source: *const u8, target: *mut u8, len: usize) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    if len >= 64 {
        // SAFETY: the caller's promise, passed on.
        return unsafe { x86::copy_long(source, target, len) };
    }
    // A loop takes longer to set up than two words take: completions have as many.
    // SAFETY: the caller's promise, passed on.
    unsafe {
        match len {
            16 => copy_words(source, target, 16),
            _ => copy_words(source, target, len),
        }
    }
}

/// Copies 64 bytes.
///
/// # Safety
/// As [`copy`], for 64 bytes.
#[inline(always)]
pub(crate) unsafe fn copy_line(source: *const u8, target: *mut u8) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: the caller's promise, passed on.
    return unsafe { x86::copy_line(source, target) };
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    // SAFETY: the caller's promise, passed on.
    unsafe {
        copy_words(source, target, 64);
    }
}

/// Asks the processor to bring bytes near that are read soon. A hint, which changes nothing else, and which
/// processors other than x86-64 are not given.
#[inline]
pub fn prefetch(bytes: &[u8]) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    x86::prefetch(bytes);
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = bytes;
}

/// Word by word where both sides are aligned alike, else byte by byte.
///
/// # Safety
/// As [`copy`].
#[inline(always)]
unsafe fn copy_words(source: *const u8, target: *mut u8, len: usize) {
    let words = if (source as usize | target as usize).is_multiple_of(8) { len / 8 } else { 0 };
    for word in 0..words {
        // SAFETY: `word * 8 + 8 <= len`, and both pointers were just checked to be 8-byte aligned.
        // Atomics have the layout of their integers, and a shared atomic may alias anything that
        // the caller's promise allows.
        unsafe {
            let from = &*source.add(word * 8).cast::<AtomicU64>();
            let to = &*target.add(word * 8).cast::<AtomicU64>();
            to.store(from.load(Relaxed), Relaxed);
        }
    }
    for byte in words * 8..len {
        // SAFETY: `byte < len`; a byte has no alignment.
        unsafe {
            let from = &*source.add(byte).cast::<AtomicU8>();
            let to = &*target.add(byte).cast::<AtomicU8>();
            to.store(from.load(Relaxed), Relaxed);
        }
    }
}

/// Sets `len` bytes, each by an access that may race.
///
/// # Safety
/// `target` must be writable for `len` bytes; others may access it as for [`copy`].
pub(crate) unsafe fn fill(target: *mut u8, len: usize, value: u8) {
    let block = [value; 4096];
    let mut done = 0;
    while done < len {
        let part = block.len().min(len - done);
        // SAFETY: `done + part <= len`, and the block is a private local that cannot overlap.
        unsafe { copy(block.as_ptr(), target.add(done), part) };
        done += part;
    }
}
