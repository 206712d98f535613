//! A payload in the order in which it is cut: first what stands between files, then the files.

use std::io;
use std::ops::Range;

use fluvial_delta::apply::Target;
use fluvial_delta::structure::{Extent, Files, ReadAt};

/// What stands nearer than this to other bytes is fetched with them: a medium takes longer to begin than to go on.
const NEAR_BYTES: u64 = 64 << 10;

/// Scattered bytes of a stream, one behind the other.
///
/// Headers of an archive that stand together pack to a fraction of what they take between files, and a
/// file's content is cut the same wherever it stands. Holes are zeros, and what is written to them is lost.
#[derive(Debug, Clone)]
pub struct Scatter<S> {
    stream: S,
    /// Where each extent begins in this order, and the extent.
    extents: Vec<(u64, Extent)>,
    len: u64,
}

/// What stands between `files`, which are in order and do not overlap, in a stream of `len` bytes.
pub fn gaps(files: &[Extent], len: u64) -> Vec<Extent> {
    let mut at = 0;
    let mut gaps = Vec::new();
    for end in files.iter().copied().chain([Extent { offset: len, len: 0 }]) {
        if end.offset > at {
            gaps.push(Extent { offset: at, len: end.offset - at });
        }
        at = end.end();
    }
    gaps
}

/// What stands between `files` and `packed` files, which are in order each and do not overlap.
pub fn between(files: &Files, packed: &[Vec<Extent>], len: u64) -> Vec<Extent> {
    let mut taken: Vec<Extent> = files.stored().chain(packed.iter().flatten().copied()).collect();
    taken.sort_unstable();
    gaps(&taken, len)
}

impl<S> Scatter<S> {
    /// Puts extents of `stream` one behind the other.
    pub fn new(stream: S, extents: impl IntoIterator<Item = Extent>) -> Self {
        let mut len = 0;
        let place = |extent: Extent| {
            let at = len;
            len += extent.len;
            (at, extent)
        };
        let extents = extents.into_iter().filter(|extent| extent.len > 0).map(place).collect();
        Self { stream, extents, len }
    }

    /// What is scattered.
    pub(crate) fn stream(&self) -> &S {
        &self.stream
    }

    /// Where the stream has the byte at `offset`, or in a hole the next one that stands somewhere; its end where
    /// there is none.
    pub(crate) fn place_of(&self, offset: u64) -> u64 {
        let index = self.extents.partition_point(|(at, extent)| at + extent.len <= offset);
        let next = self.extents[index..].iter().find(|(_, extent)| !extent.is_hole());
        next.map_or(u64::MAX, |(at, extent)| extent.offset + offset.saturating_sub(*at))
    }

    /// Calls `each` with the pieces of the stream behind `len` bytes at `offset`: where each stands there, and
    /// which of the bytes it is. Holes are left out.
    pub(crate) fn pieces(
        &self,
        offset: u64,
        len: usize,
        mut each: impl FnMut(u64, Range<usize>) -> io::Result<()>,
    ) -> io::Result<()> {
        self.walk(offset, len, |place, range| place.map_or(Ok(()), |place| each(place, range)))
    }

    /// Calls `each` with all pieces, in order: where each stands, if it is no hole.
    fn walk(
        &self,
        offset: u64,
        len: usize,
        mut each: impl FnMut(Option<u64>, Range<usize>) -> io::Result<()>,
    ) -> io::Result<()> {
        if offset.checked_add(len as u64).is_none_or(|end| end > self.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut index = self.extents.partition_point(|(at, extent)| at + extent.len <= offset);
        let mut done = 0;
        while done < len {
            let Some((at, extent)) = self.extents.get(index) else {
                return Err(io::ErrorKind::UnexpectedEof.into());
            };
            let inside = offset + done as u64 - at;
            let step = (extent.len - inside).min((len - done) as u64) as usize;
            let place = (!extent.is_hole()).then(|| extent.offset + inside);
            each(place, done..done + step)?;
            done += step;
            index += 1;
        }
        Ok(())
    }
}

impl<S: std::ops::Deref<Target: ReadAt> + Send + Sync> ReadAt for Scatter<S> {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.walk(offset, buf.len(), |place, range| {
            if let Some(place) = place {
                return self.stream.read_at(place, &mut buf[range]);
            }
            buf[range].fill(0);
            Ok(())
        })
    }

    fn prefetch(&self, offset: u64, len: u64) {
        let len = len.min(self.len.saturating_sub(offset)) as usize;
        let mut row: Option<Extent> = None;
        // What is asked for is inside, and is asked for in order.
        let _ = self.pieces(offset, len, |place, range| {
            let piece = Extent { offset: place, len: range.len() as u64 };
            match &mut row {
                // What stands between them is mostly wanted, too.
                Some(row) if (row.offset..row.end() + NEAR_BYTES).contains(&place) => {
                    row.len = row.len.max(piece.end() - row.offset);
                }
                _ => {
                    if let Some(row) = row.replace(piece) {
                        self.stream.prefetch(row.offset, row.len);
                    }
                }
            }
            Ok(())
        });
        if let Some(row) = row {
            self.stream.prefetch(row.offset, row.len);
        }
    }
}

impl<S: std::ops::Deref<Target: Target> + Send + Sync> Target for Scatter<S> {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.pieces(offset, bytes.len(), |at, range| self.stream.write_at(at, &bytes[range]))
    }
}

#[cfg(test)]
mod tests {
    use fluvial_delta::memory::MemoryTarget;

    use super::*;

    #[test]
    fn gaps_come_first_and_files_behind() {
        let bytes = b"hhAAAhBBhh".to_vec();
        let files = [Extent { offset: 2, len: 3 }, Extent { offset: 6, len: 2 }];
        let gaps = gaps(&files, 10);
        let order = Scatter::new(&bytes, gaps.into_iter().chain(files));
        let mut all = [0; 10];
        order.read_at(0, &mut all).unwrap();
        assert_eq!(&all, b"hhhhhAAABB");
        let mut some = [0; 4];
        order.read_at(4, &mut some).unwrap();
        assert_eq!(&some, b"hAAA");
        assert!(order.read_at(7, &mut some).is_err());
    }

    #[test]
    fn holes_are_zeros_that_stand_nowhere() {
        let target = MemoryTarget::from(b"AAhBB".to_vec());
        let file =
            [Extent { offset: 3, len: 2 }, Extent::hole(3), Extent { offset: 0, len: 2 }, Extent::hole(1)];
        let stream = Scatter::new(&target, file);
        let mut all = [7; 8];
        stream.read_at(0, &mut all).unwrap();
        assert_eq!(&all, b"BB\0\0\0AA\0");
        stream.write_at(1, b"bxxxab").unwrap();
        stream.write_at(7, b"x").unwrap();
        assert!(stream.write_at(7, b"xx").is_err());
        assert_eq!([0, 1, 2, 4, 5, 6, 7].map(|at| stream.place_of(at)), [3, 4, 0, 0, 0, 1, u64::MAX]);
        let mut pieces = Vec::new();
        let each = |at, range: Range<usize>| {
            pieces.push((at, range));
            Ok(())
        };
        stream.pieces(1, 6, each).unwrap();
        assert_eq!(pieces, [(4, 0..1), (0, 4..6)]);
        assert_eq!(target.into_bytes(), b"abhBb");
    }

    /// Notes what will be read.
    struct Noting(std::sync::Mutex<Vec<(u64, u64)>>);

    impl ReadAt for Noting {
        fn len(&self) -> u64 {
            1 << 30
        }

        fn read_at(&self, _offset: u64, _buf: &mut [u8]) -> io::Result<()> {
            unreachable!()
        }

        fn prefetch(&self, offset: u64, len: u64) {
            self.0.lock().unwrap().push((offset, len));
        }
    }

    #[test]
    fn what_will_be_read_is_told_where_it_stands_and_near_bytes_together() {
        let noting = Noting(std::sync::Mutex::default());
        let asked = || std::mem::take(&mut *noting.0.lock().unwrap());
        let near = Extent { offset: 1000 + NEAR_BYTES, len: 50 };
        let far = Extent { offset: near.end() + NEAR_BYTES, len: 60 };
        let extents = [Extent { offset: 900, len: 150 }, Extent::hole(30), near, far];
        let order = Scatter::new(&noting, extents);
        order.prefetch(100, u64::MAX);
        assert_eq!(asked(), [(1000, NEAR_BYTES + 50), (far.offset, 60)]);
        order.prefetch(160, 10);
        assert_eq!(asked(), []);
        // A stream that goes back begins anew.
        Scatter::new(&noting, [near, extents[0]]).prefetch(0, 60);
        assert_eq!(asked(), [(near.offset, 50), (900, 10)]);
        let (here, gone): (&dyn ReadAt, _) = (&noting, extents[..3].to_vec());
        fluvial_delta::structure::Gathered::new(here, &gone).prefetch(140, 60);
        assert_eq!(asked(), [(1040, 10), (near.offset, 20)]);
        crate::Behind::new(here, here).prefetch((1 << 30) - 5, 12);
        assert_eq!(asked(), [((1 << 30) - 5, 5), (0, 7)]);
    }

    #[test]
    fn a_payload_of_files_alone_has_no_gaps() {
        assert_eq!(gaps(&[Extent { offset: 0, len: 4 }], 4), []);
        assert_eq!(gaps(&[], 4), [Extent { offset: 0, len: 4 }]);
        assert_eq!(gaps(&[], 0), []);
    }
}
