//! The patch is applied before it is given away: one that does not make the new side is worth nothing.

use std::io;
use std::sync::{Mutex, PoisonError};

use super::{DiffError, DiffObserver, Phase};
use crate::apply::{ApplyError, ApplyObserver, Checkpoint, Patch, Target};
use crate::space::Space;
use crate::structure::{Extent, ReadAt};

/// Applies a patch, whose bytes stand in `parts` one after another, to the old space, and compares what
/// is made with the new side.
pub(super) fn verify(
    parts: &[Vec<u8>],
    space: &Space<'_>,
    new: &[&dyn ReadAt],
    observer: &dyn DiffObserver,
) -> Result<(), DiffError> {
    observer.begin(Phase::Verify, new.iter().map(|stream| stream.len()).sum());
    let joined = Joined::new(parts);
    let targets: Vec<Expected<'_>> = new.iter().map(|&stream| Expected::new(stream)).collect();
    let target_refs: Vec<&dyn Target> = targets.iter().map(|target| target as &dyn Target).collect();
    let applied = Patch::open(&joined)
        .and_then(|patch| patch.apply_in(space, &target_refs, Checkpoint::default(), &mut Heard(observer)));
    match applied {
        Ok(()) if targets.iter().all(Expected::is_whole) => Ok(()),
        Ok(()) => Err(DiffError::Internal("a part of the new side is not made, or made twice")),
        Err(ApplyError::Cancelled) => Err(DiffError::Cancelled),
        Err(error) => Err(DiffError::Unsound(error)),
    }
}

/// Byte strings, one after another.
struct Joined<'a> {
    parts: &'a [Vec<u8>],
    ends: Vec<u64>,
}

impl<'a> Joined<'a> {
    fn new(parts: &'a [Vec<u8>]) -> Self {
        let ends = parts.iter().scan(0, |end, part| {
            *end += part.len() as u64;
            Some(*end)
        });
        Self { parts, ends: ends.collect() }
    }
}

impl ReadAt for Joined<'_> {
    fn len(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    fn read_at(&self, mut offset: u64, mut buf: &mut [u8]) -> io::Result<()> {
        let mut index = self.ends.partition_point(|&end| end <= offset);
        while !buf.is_empty() {
            let (part, end) =
                self.parts.get(index).zip(self.ends.get(index)).ok_or(io::ErrorKind::UnexpectedEof)?;
            let start = part.len() - (end - offset) as usize;
            let len = (part.len() - start).min(buf.len());
            let (now, rest) = buf.split_at_mut(len);
            now.copy_from_slice(&part[start..start + len]);
            (offset, buf, index) = (offset + len as u64, rest, index + 1);
        }
        Ok(())
    }
}

/// A target that is there already: it takes only the bytes that it has.
struct Expected<'a> {
    stream: &'a dyn ReadAt,
    written: Mutex<Vec<Extent>>,
}

impl<'a> Expected<'a> {
    fn new(stream: &'a dyn ReadAt) -> Self {
        Self { stream, written: Mutex::default() }
    }

    /// Whether each byte was written once.
    fn is_whole(&self) -> bool {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner).clone();
        written.sort_unstable_by_key(|extent| extent.offset);
        let end = written.iter().try_fold(0, |end, extent| (extent.offset == end).then(|| extent.end()));
        end == Some(self.stream.len())
    }
}

impl ReadAt for Expected<'_> {
    fn len(&self) -> u64 {
        self.stream.len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.stream.read_at(offset, buf)
    }
}

impl Target for Expected<'_> {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut expected = vec![0; bytes.len()];
        self.stream.read_at(offset, &mut expected)?;
        if expected != bytes {
            return Err(io::Error::other(format!("other bytes are made from offset {offset} on")));
        }
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        match written.last_mut() {
            Some(last) if last.end() == offset => last.len += bytes.len() as u64,
            _ => written.push(Extent { offset, len: bytes.len() as u64 }),
        }
        Ok(())
    }
}

/// Tells the one who waits for the patch.
struct Heard<'a>(&'a dyn DiffObserver);

impl ApplyObserver for Heard<'_> {
    fn made(&mut self, bytes: u64) -> bool {
        self.0.advance(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diff::{DiffOptions, Named, Unobserved, diff};
    use crate::scratch::MemoryScratch;
    use crate::structure::Opaque;

    /// A patch from `old` to `new` in three parts.
    fn patch(old: &[u8], new: &[u8]) -> Vec<Vec<u8>> {
        let (old, new) = ([Named::new("old", &old)], [Named::new("new", &new)]);
        let mut patch = Vec::new();
        let options = DiffOptions::default();
        diff(&old, &new, &Opaque, &MemoryScratch, &options, &Unobserved, &mut patch).expect("a patch");
        patch.chunks(patch.len() / 3 + 1).map(<[u8]>::to_vec).collect()
    }

    #[test]
    fn only_a_patch_that_makes_the_new_side_passes() {
        let old: Vec<u8> =
            (0..100_000_u32).flat_map(|number| number.wrapping_mul(0x9e37_79b1).to_le_bytes()).collect();
        let mut new = old.clone();
        new[5000] ^= 1;
        let parts = patch(&old, &new);
        let streams: [&dyn ReadAt; 1] = [&old];
        let space = Space::new(&streams, &MemoryScratch);
        verify(&parts, &space, &[&new], &Unobserved).expect("it makes the new side");

        new[350_000] ^= 1;
        let unsound = verify(&parts, &space, &[&new], &Unobserved);
        assert!(matches!(unsound, Err(DiffError::Unsound(ApplyError::WriteTarget(_)))), "{unsound:?}");
    }

    #[test]
    fn what_is_made_twice_or_not_at_all_is_seen() {
        let bytes = vec![1_u8; 100];
        let written = |extents: &[(usize, usize)]| {
            let expected = Expected::new(&bytes);
            for &(from, to) in extents {
                expected.write_at(from as u64, &bytes[from..to]).expect("the same bytes");
            }
            expected.is_whole()
        };
        assert!(written(&[(40, 100), (0, 20), (20, 40)]));
        assert!(!written(&[(0, 20), (40, 100)]), "a gap");
        assert!(!written(&[(0, 50), (40, 100)]), "an overlap");
        assert!(!written(&[(0, 99)]), "the end is missing");
    }
}
