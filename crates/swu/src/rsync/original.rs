//! The base itself, compared with the target.

use std::io;
use std::ops::Range;

use fluvial_delta::structure::ReadAt;

/// So many bytes are read first, because most comparisons end soon; then twice as many each time.
const READ_BYTES_MIN: usize = 4 << 10;
const READ_BYTES_MAX: usize = 128 << 10;
/// Equal bytes in a row that are worth a copy where the base goes on as the last copy did. A copy takes 7 bytes,
/// and parts a literal in two.
const RESUME_BYTES_MIN: usize = 32;
/// As many are looked at together; a row of [`RESUME_BYTES_MIN`] has them somewhere at a multiple of themselves.
const PROBE_BYTES: usize = 16;
const _: () = assert!(RESUME_BYTES_MIN >= 2 * PROBE_BYTES - 1);

/// So many are read where the target is compared step by step with what follows in the base.
const AHEAD_BYTES: usize = 32 << 10;

/// A base, and what of it was read last: neighbouring changes are compared with the same bytes.
pub(super) struct Original<'a> {
    base: &'a dyn ReadAt,
    /// One for each way to guess where the base goes on, and one for what is compared but once.
    held: [Held; 3],
}

/// Bytes of the base.
#[derive(Default)]
struct Held {
    bytes: Vec<u8>,
    offset: u64,
}

impl Held {
    /// Where such bytes stand in it.
    fn place(&self, offset: u64, len: usize) -> Option<Range<usize>> {
        let start = usize::try_from(offset.checked_sub(self.offset)?).ok()?;
        let end = start.checked_add(len)?;
        (end <= self.bytes.len()).then_some(start..end)
    }
}

/// Why bytes of the base are read.
#[derive(Clone, Copy)]
pub(super) enum Reading {
    /// The base may go on as the last copy did.
    OnDiagonal,
    /// The base may have them where the target has them.
    InPlace,
    /// A block may be like.
    Once,
}

impl<'a> Original<'a> {
    pub(super) fn new(base: &'a dyn ReadAt) -> Self {
        Self { base, held: Default::default() }
    }

    /// `len` bytes at `offset`, all of which the base has.
    fn read(&mut self, reading: Reading, offset: u64, len: usize) -> io::Result<&[u8]> {
        let found = self.held.iter().position(|held| held.place(offset, len).is_some());
        let held = &mut self.held[found.unwrap_or(reading as usize)];
        if found.is_none() {
            let left = usize::try_from(self.base.len().saturating_sub(offset)).unwrap_or(usize::MAX);
            let ahead = if matches!(reading, Reading::Once) { len } else { len.max(AHEAD_BYTES.min(left)) };
            // Should reading fail, nothing is held.
            held.offset = u64::MAX;
            held.bytes.resize(ahead, 0);
            self.base.read_at(offset, &mut held.bytes)?;
            held.offset = offset;
        }
        let start = (offset - held.offset) as usize;
        Ok(&held.bytes[start..start + len])
    }

    /// How many of `bytes` the base has at `offset`.
    pub(super) fn common_front(&mut self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        let len = bytes.len().min(self.base.len().saturating_sub(offset) as usize);
        let (mut have, mut step) = (0, READ_BYTES_MIN);
        while have < len {
            let bytes = &bytes[have..len.min(have + step)];
            let same = common_front(self.read(Reading::Once, offset + have as u64, bytes.len())?, bytes);
            have += same;
            if same < bytes.len() {
                break;
            }
            step = READ_BYTES_MAX.min(2 * step);
        }
        Ok(have)
    }

    /// How many at the end of `bytes` the base has before `offset`.
    pub(super) fn common_back(&mut self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        let len = bytes.len().min(usize::try_from(offset).unwrap_or(usize::MAX));
        let (mut have, mut step) = (0, READ_BYTES_MIN);
        while have < len {
            let end = bytes.len() - have;
            let bytes = &bytes[end - step.min(len - have)..end];
            let same = common_back(
                self.read(Reading::Once, offset - (have + bytes.len()) as u64, bytes.len())?,
                bytes,
            );
            have += same;
            if same < bytes.len() {
                break;
            }
            step = READ_BYTES_MAX.min(2 * step);
        }
        Ok(have)
    }

    /// The first place in `bytes` where a row of them stands in the base at `offset` and as much further.
    pub(super) fn first_row(
        &mut self,
        reading: Reading,
        offset: i64,
        bytes: &[u8],
    ) -> io::Result<Option<usize>> {
        let skipped = offset.min(0).unsigned_abs();
        let Ok(skipped) = usize::try_from(skipped) else { return Ok(None) };
        let offset = offset.max(0) as u64;
        let Some(bytes) = bytes.get(skipped..) else { return Ok(None) };
        let len = bytes.len().min(self.base.len().saturating_sub(offset) as usize);
        if len < RESUME_BYTES_MIN {
            return Ok(None);
        }
        let base = self.read(reading, offset, len)?;
        Ok(first_row(base, &bytes[..len]).map(|at| skipped + at))
    }
}

/// How many bytes are the same from the front on.
fn common_front(a: &[u8], b: &[u8]) -> usize {
    const STEP: usize = 64;
    let steps = a.chunks_exact(STEP).zip(b.chunks_exact(STEP));
    let front = STEP * steps.take_while(|(a, b)| a == b).count();
    front + a[front..].iter().zip(&b[front..]).take_while(|(a, b)| a == b).count()
}

/// How many bytes are the same from the end on.
fn common_back(a: &[u8], b: &[u8]) -> usize {
    a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count()
}

fn first_row(a: &[u8], b: &[u8]) -> Option<usize> {
    let (mut at, len) = (0, a.len().min(b.len()));
    while at + PROBE_BYTES <= len {
        let end = at + PROBE_BYTES;
        if a[at..end] == b[at..end] {
            let start = at - common_back(&a[..at], &b[..at]);
            let end = end + common_front(&a[end..len], &b[end..len]);
            if end - start >= RESUME_BYTES_MIN {
                return Some(start);
            }
        }
        at = end;
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rows_are_found_where_they_begin(
            a in prop::collection::vec(0u8..2, 0..200),
            same in prop::collection::vec(any::<bool>(), 200),
            row in 0usize..150,
        ) {
            let mut b: Vec<u8> =
                a.iter().zip(&same).map(|(&byte, &same)| if same { byte } else { 2 }).collect();
            let len = b.len();
            let row = row.min(len)..len.min(row + RESUME_BYTES_MIN);
            b[row.clone()].copy_from_slice(&a[row]);
            let is_row = |at: &usize| a[*at..at + RESUME_BYTES_MIN] == b[*at..at + RESUME_BYTES_MIN];
            let expected = (0..(len + 1).saturating_sub(RESUME_BYTES_MIN)).find(is_row);
            prop_assert_eq!(first_row(&a, &b), expected);
        }
    }

    #[test]
    fn bytes_are_compared_up_to_the_ends_of_the_base() {
        let base: Vec<u8> = (0..20_000u32).map(|at| ((at * at) >> 7) as u8).collect();
        let mut original = Original::new(&base);
        assert_eq!(original.common_front(100, &base[100..]).unwrap(), 19_900);
        assert_eq!(original.common_front(100, &[&base[100..], &[1]].concat()).unwrap(), 19_900);
        assert_eq!(original.common_front(30_000, &base).unwrap(), 0);
        assert_eq!(original.common_back(15_000, &base[..15_000]).unwrap(), 15_000);
        assert_eq!(original.common_back(15_000, &[&[1], &base[..15_000]].concat()).unwrap(), 15_000);
        let mut other = base.clone();
        other[9_000] ^= 1;
        assert_eq!(original.common_front(0, &other).unwrap(), 9_000);
        assert_eq!(original.common_back(20_000, &other).unwrap(), 10_999);
        assert_eq!(
            original.first_row(Reading::InPlace, -7, &[&[9; 7], &base[..64]].concat()).unwrap(),
            Some(7)
        );
        assert_eq!(original.first_row(Reading::InPlace, 19_960, &base[19_960..]).unwrap(), Some(0));
        assert_eq!(original.first_row(Reading::InPlace, 19_980, &base[19_980..]).unwrap(), None);
        assert_eq!(original.first_row(Reading::InPlace, i64::MAX, &base).unwrap(), None);
        assert_eq!(original.first_row(Reading::InPlace, i64::MIN, &base).unwrap(), None);
    }
}
