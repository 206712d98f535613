//! The length of what a block holds, and whether it is a block at all.
//!
//! liblz4 refuses some malformed blocks where there is just room for their content, and takes them where
//! there is more, or copies from before the first byte by an offset of zero. What one device reads all
//! devices must read, so blocks are held to the letter of the LZ4 Block Format first.

/// The last bytes of a block are literals: so many, unless it holds nothing else.
const LAST_LITERALS: usize = 5;
/// The last match starts so many bytes before the end of the content, or more.
const LAST_MATCH_BYTES: usize = 12;
const MATCH_BYTES_MIN: usize = 4;
/// A half of the token with this value goes on in the bytes that follow.
const MORE: u8 = 15;

/// The length in bytes of what a block holds. `None` where it is malformed.
pub(crate) fn plain_len(block: &[u8]) -> Option<usize> {
    let mut rest = block;
    let mut len = 0_usize;
    let mut last_match = None;
    loop {
        let (&token, behind) = rest.split_first()?;
        rest = behind;
        let literals = run_len(token >> 4, &mut rest)?;
        rest = rest.get(literals..)?;
        len = len.checked_add(literals)?;
        if rest.is_empty() {
            let is_whole =
                last_match.is_none_or(|start| literals >= LAST_LITERALS && len - start >= LAST_MATCH_BYTES);
            return is_whole.then_some(len);
        }
        let (offset, behind) = rest.split_first_chunk()?;
        rest = behind;
        let offset = usize::from(u16::from_le_bytes(*offset));
        if offset == 0 || offset > len {
            return None;
        }
        last_match = Some(len);
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
    fn only_blocks_by_the_letter_have_a_length() {
        let ends_in = |literals: u8| {
            let mut block = vec![0x17, b'a', 1, 0, literals << 4];
            block.extend(vec![b'b'; usize::from(literals)]);
            block
        };
        assert_eq!(plain_len(&[0]), Some(0));
        assert_eq!(plain_len(&[0x20, 1, 2]), Some(2));
        assert_eq!(plain_len(&ends_in(5)), Some(1 + 11 + 5));
        assert_eq!(plain_len(&[&[0xf0, 255, 0][..], &[7; 270]].concat()), Some(270));
        for (block, why) in [
            (vec![], "no token"),
            (vec![0x20, 1], "too few literals"),
            (vec![0xf0, 255], "a length without end"),
            (ends_in(4), "a match too close to the end"),
            (vec![0x10, b'a', 1, 0, 0x50, 1, 2, 3, 4, 5], "a match that starts too close to the end"),
            (vec![0x17, b'a', 0, 0, 0x50, 1, 2, 3, 4, 5], "an offset of zero"),
            (vec![0x17, b'a', 2, 0, 0x50, 1, 2, 3, 4, 5], "bytes before the first"),
            (vec![0x17, b'a', 1], "half an offset"),
            (vec![0, 0, 0, 0x5b, 0x9d, 0xb3, 0xf7, 0xd8, 0x29], "found by fuzzing: both"),
        ] {
            assert_eq!(plain_len(&block), None, "{why}");
        }
    }
}
