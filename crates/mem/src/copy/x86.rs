//! Long copies with the processor's own wide moves.

use std::arch::asm;
use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};

/// From here the string move is as fast as any loop, and it needs no registers. Below, its start is most
/// of what it costs: 18 ns for 512 bytes against 5 with 32-byte moves (Zen 4, hot).
const STRING_MOVE: usize = 16 << 10;
/// The same where there are only 16-byte moves.
const STRING_MOVE_NARROW: usize = 1024;

/// Copies at least 64 bytes.
///
/// # Safety
/// As [`copy`](super::copy).
#[inline(never)]
pub(super) unsafe fn copy_long(source: *const u8, target: *mut u8, len: usize) {
    if len < ROW {
        // SAFETY: the caller's promise, passed on.
        return unsafe { copy_narrow(source, target, len) };
    }
    let wide = is_x86_feature_detected!("avx");
    if len >= if wide { STRING_MOVE } else { STRING_MOVE_NARROW } {
        // SAFETY: reads `len` bytes at `source` and writes `len` at `target`, as promised; the
        // direction flag is clear on entry by the ABI, and the flags are not changed.
        unsafe {
            asm!(
                "rep movsb",
                inout("rcx") len => _, inout("rsi") source => _, inout("rdi") target => _,
                options(nostack, preserves_flags)
            );
        }
        return;
    }
    let done = if wide { len / ROW * ROW } else { 0 };
    // SAFETY: AVX was found where `done` is not zero, and `done <= len`, so both parts lie within the
    // promised ranges.
    unsafe {
        if done > 0 {
            copy_wide(source, target, done);
        }
        if done < len {
            copy_narrow(source.add(done), target.add(done), len - done);
        }
    }
}

/// How many bytes a turn of [`copy_wide`] moves.
const ROW: usize = 256;

/// Copies with 32-byte moves.
///
/// # Safety
/// As [`copy`](super::copy), and the processor has AVX. `len` is a positive multiple of [`ROW`].
#[target_feature(enable = "avx")]
unsafe fn copy_wide(source: *const u8, target: *mut u8, len: usize) {
    // The upper halves are cleared at the end: the compiler, which does so for vectors of its own, does not look
    // into assembly. While one is dirty, a 16-byte instruction of the older encoding, as the compiler uses for all
    // else, merges into its register instead of replacing it, so that each has to wait for the one before, and the
    // first for the loads of this loop (Intel's optimization manual on transitions between AVX and SSE).
    // SAFETY: moves `len` bytes, from the beginning on: `at` counts from `-len` up to 0, where both ends are.
    // Unaligned moves are used, and every register that is written is declared.
    unsafe {
        asm!(
            "2:",
            "vmovdqu {a}, [{source} + {at}]",
            "vmovdqu {b}, [{source} + {at} + 32]",
            "vmovdqu {c}, [{source} + {at} + 64]",
            "vmovdqu {d}, [{source} + {at} + 96]",
            "vmovdqu {e}, [{source} + {at} + 128]",
            "vmovdqu {f}, [{source} + {at} + 160]",
            "vmovdqu {g}, [{source} + {at} + 192]",
            "vmovdqu {h}, [{source} + {at} + 224]",
            "vmovdqu [{target} + {at}], {a}",
            "vmovdqu [{target} + {at} + 32], {b}",
            "vmovdqu [{target} + {at} + 64], {c}",
            "vmovdqu [{target} + {at} + 96], {d}",
            "vmovdqu [{target} + {at} + 128], {e}",
            "vmovdqu [{target} + {at} + 160], {f}",
            "vmovdqu [{target} + {at} + 192], {g}",
            "vmovdqu [{target} + {at} + 224], {h}",
            "add {at}, 256",
            "jnz 2b",
            "vzeroupper",
            source = in(reg) source.add(len),
            target = in(reg) target.add(len),
            at = inout(reg) len.wrapping_neg() => _,
            a = out(ymm_reg) _, b = out(ymm_reg) _, c = out(ymm_reg) _, d = out(ymm_reg) _,
            e = out(ymm_reg) _, f = out(ymm_reg) _, g = out(ymm_reg) _, h = out(ymm_reg) _,
            out("ymm8") _, out("ymm9") _, out("ymm10") _, out("ymm11") _,
            out("ymm12") _, out("ymm13") _, out("ymm14") _, out("ymm15") _,
            options(nostack)
        );
    }
}

/// Copies with 16-byte moves, and the last 63 bytes word by word.
///
/// # Safety
/// As [`copy`](super::copy).
#[inline]
unsafe fn copy_narrow(source: *const u8, target: *mut u8, len: usize) {
    let blocks = len / 64;
    if blocks > 0 {
        // SAFETY: moves `blocks` times 64 bytes, which is at most `len`; unaligned moves are used, and
        // every register that is written is declared.
        unsafe {
            asm!(
                "2:",
                "movups {a}, [{source}]",
                "movups {b}, [{source} + 16]",
                "movups {c}, [{source} + 32]",
                "movups {d}, [{source} + 48]",
                "movups [{target}], {a}",
                "movups [{target} + 16], {b}",
                "movups [{target} + 32], {c}",
                "movups [{target} + 48], {d}",
                "add {source}, 64",
                "add {target}, 64",
                "dec {blocks}",
                "jnz 2b",
                source = inout(reg) source => _,
                target = inout(reg) target => _,
                blocks = inout(reg) blocks => _,
                a = out(xmm_reg) _, b = out(xmm_reg) _, c = out(xmm_reg) _, d = out(xmm_reg) _,
                options(nostack)
            );
        }
    }
    let done = blocks * 64;
    if done < len {
        // SAFETY: `done <= len`, so the rest lies within the promised ranges.
        unsafe { super::copy_words(source.add(done), target.add(done), len - done) }
    }
}

/// Copies 64 bytes with 16-byte moves, but for bytes 32 to 47: of a command that is sent again and again, its second
/// data pointer and its first block, of which the latter was written just now (`Command::aim` in the driver). A
/// processor cannot pass on sixteen bytes of which it has stored eight before they are in its cache.
///
/// # Safety
/// As [`copy`](super::copy), for 64 bytes.
#[inline(always)]
pub(super) unsafe fn copy_line(source: *const u8, target: *mut u8) {
    // SAFETY: moves 64 bytes with unaligned moves, and every register that is written is declared.
    unsafe {
        asm!(
            "movups {a}, [{source}]",
            "movups {b}, [{source} + 16]",
            "mov {c}, [{source} + 32]",
            "mov {d}, [{source} + 40]",
            "movups {e}, [{source} + 48]",
            "movups [{target}], {a}",
            "movups [{target} + 16], {b}",
            "mov [{target} + 32], {c}",
            "mov [{target} + 40], {d}",
            "movups [{target} + 48], {e}",
            source = in(reg) source,
            target = in(reg) target,
            a = out(xmm_reg) _, b = out(xmm_reg) _, c = out(reg) _, d = out(reg) _, e = out(xmm_reg) _,
            options(nostack, preserves_flags)
        );
    }
}

/// Asks for each line of 64 bytes, which are those of all processors with this instruction set so far. Into the
/// second-level cache: a random block of 4 KiB is copied in 0.38 µs then, and in 0.45 if it is asked into the first
/// (Emerald Rapids).
#[inline]
pub(super) fn prefetch(bytes: &[u8]) {
    let (mut line, end) = (bytes.as_ptr().addr() / 64 * 64, bytes.as_ptr_range().end.addr());
    while line < end {
        // SAFETY: a prefetch accesses nothing, whatever its address.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(bytes.as_ptr().with_addr(line).cast()) };
        line += 64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stores the upper halves of the registers that a wide copy moves through, and changes none.
    #[target_feature(enable = "avx")]
    fn upper_halves(halves: &mut [u128; 8]) {
        // SAFETY: stores eight halves of 16 bytes into an array of as many.
        unsafe {
            asm!(
                "vextractf128 [{to}], ymm0, 1",
                "vextractf128 [{to} + 16], ymm1, 1",
                "vextractf128 [{to} + 32], ymm2, 1",
                "vextractf128 [{to} + 48], ymm3, 1",
                "vextractf128 [{to} + 64], ymm4, 1",
                "vextractf128 [{to} + 80], ymm5, 1",
                "vextractf128 [{to} + 96], ymm6, 1",
                "vextractf128 [{to} + 112], ymm7, 1",
                to = in(reg) halves,
                options(nostack, preserves_flags)
            );
        }
    }

    #[test]
    fn a_wide_copy_leaves_no_upper_halves_behind() {
        if !is_x86_feature_detected!("avx") {
            return println!("this processor has no AVX, and no upper halves");
        }
        let (source, mut target, mut halves) = ([0xA5_u8; 4096], [0_u8; 4096], [1_u128; 8]);
        // SAFETY: both are private and have as many bytes, and AVX was found.
        unsafe {
            copy_long(source.as_ptr(), target.as_mut_ptr(), source.len());
            upper_halves(&mut halves);
        }
        assert_eq!(halves, [0; 8]);
        assert!(target == source);
    }

    #[test]
    fn any_bytes_can_be_prefetched() {
        let bytes = [7_u8; 300];
        for (from, to) in [(0, 0), (0, 1), (0, 64), (0, 65), (13, 300), (300, 300)] {
            prefetch(&bytes[from..to]);
        }
        assert_eq!(bytes, [7; 300]);
    }
}
