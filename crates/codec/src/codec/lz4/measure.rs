//! The length of what a block holds, and whether it is a block at all.
//!
//! liblz4 takes some blocks or refuses them by how much room there is behind their content, and takes an
//! offset of zero for one. What is read must not depend on that, so blocks are walked through first.
//!
//! By the LZ4 Block Format the last match starts 12 bytes before the end of the content. `mkfs.erofs` cuts
//! blocks without regard to it, and the kernel reads them, so this is not asked for.

/// Behind the literals of all sequences but the last one a block has so many bytes: an offset, a token and
/// the literals that every block ends in, five at least.
const REST_BYTES_MIN: usize = 2 + 1 + 5;
const MATCH_BYTES_MIN: usize = 4;
/// A half of the token with this value goes on in the bytes that follow.
const MORE: u8 = 15;

/// The room that liblz4 takes behind the content of a block, in bytes, to read whatever it reads with more.
pub(crate) const SPARE_BYTES: usize = 12;

/// The length in bytes of what a block holds. `None` where it is malformed.
pub(crate) fn plain_len(block: &[u8]) -> Option<usize> {
    let mut rest = block;
    let mut len = 0_usize;
    loop {
        let (&token, behind) = rest.split_first()?;
        rest = behind;
        let literals = run_len(token >> 4, &mut rest)?;
        rest = rest.get(literals..)?;
        len = len.checked_add(literals)?;
        if rest.is_empty() {
            return Some(len);
        }
        if rest.len() < REST_BYTES_MIN {
            return None;
        }
        let (offset, behind) = rest.split_first_chunk()?;
        rest = behind;
        let offset = usize::from(u16::from_le_bytes(*offset));
        if offset == 0 || offset > len {
            return None;
        }
        len = len.checked_add(MATCH_BYTES_MIN + run_len(token & 15, &mut rest)?)?;
    }
}

/// A length whose first part stands in a token.
fn run_len(first: u8, rest: &mut &[u8]) -> Option<usize> {
    let mut len = usize::from(first);
    if first == MORE {
        loop {
            let (&more, behind) = rest.split_first()?;
            *rest = behind;
            len = len.checked_add(usize::from(more))?;
            if more < u8::MAX {
                break;
            }
        }
    }
    Some(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_well_formed_blocks_have_a_length() {
        let ends_in = |literals: u8| {
            let mut block = vec![0x17, b'a', 1, 0, literals << 4];
            block.extend(vec![b'b'; usize::from(literals)]);
            block
        };
        assert_eq!(plain_len(&[0]), Some(0));
        assert_eq!(plain_len(&[0x20, 1, 2]), Some(2));
        assert_eq!(plain_len(&ends_in(5)), Some(1 + 11 + 5));
        assert_eq!(plain_len(&[0x10, b'a', 1, 0, 0x50, 1, 2, 3, 4, 5]), Some(10), "as mkfs.erofs cuts them");
        assert_eq!(plain_len(&[&[0xf0, 255, 0][..], &[7; 270]].concat()), Some(270));
        for (block, why) in [
            (vec![], "no token"),
            (vec![0x20, 1], "too few literals"),
            (vec![0xf0, 255], "a length without end"),
            (ends_in(4), "a match too close to the end"),
            (vec![0x17, b'a', 0, 0, 0x50, 1, 2, 3, 4, 5], "an offset of zero"),
            (vec![0x17, b'a', 2, 0, 0x50, 1, 2, 3, 4, 5], "bytes before the first"),
            (vec![0x17, b'a', 1], "half an offset"),
            (vec![0, 0, 0, 0x5b, 0x9d, 0xb3, 0xf7, 0xd8, 0x29], "found by fuzzing: an offset of zero"),
        ] {
            assert_eq!(plain_len(&block), None, "{why}");
        }
    }
}
