//! Data that tells where it belongs: a block in the wrong place, an old one or a lost one all show.

/// Fills `data`, which stands at `position`, with the pattern of a seed.
pub(crate) fn fill(seed: u64, position: u64, data: &mut [u8]) {
    for (at, byte) in (0_u64..).zip(data.iter_mut()) {
        *byte = byte_at(seed, position.wrapping_add(at));
    }
}

/// Where `data` first differs from the pattern.
pub(crate) fn first_difference(seed: u64, position: u64, data: &[u8]) -> Option<usize> {
    let differs = |&(at, byte): &(u64, &u8)| *byte != byte_at(seed, position.wrapping_add(at));
    let found = (0_u64..).zip(data).find(differs)?;
    usize::try_from(found.0).ok()
}

/// Every eight bytes are one word, mixed from their position and the seed (the finaliser of
/// splitmix64, a bijection: two positions never share a word).
fn byte_at(seed: u64, position: u64) -> u8 {
    let mut word = (position / 8).wrapping_add(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^= word >> 31;
    word.to_le_bytes()[usize::from(position.to_le_bytes()[0] % 8)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_piece_is_the_same_wherever_it_is_cut(seed: u64, start in 0u64..1 << 40, cut in 0usize..100) {
            let mut whole = [0; 100];
            fill(seed, start, &mut whole);
            let mut rest = vec![0; 100 - cut];
            fill(seed, start + cut as u64, &mut rest);
            prop_assert_eq!(&whole[cut..], &rest[..]);
            prop_assert_eq!(first_difference(seed, start, &whole), None);
            whole[cut.min(99)] ^= 1;
            prop_assert_eq!(first_difference(seed, start, &whole), Some(cut.min(99)));
        }
    }

    #[test]
    fn neighbours_and_seeds_differ() {
        let block = |seed, start| {
            let mut data = [0; 4096];
            fill(seed, start, &mut data);
            data
        };
        assert_ne!(block(1, 0), block(2, 0));
        assert_ne!(block(1, 0), block(1, 4096));
    }
}
