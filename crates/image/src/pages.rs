//! A small cache for metadata that is read in little bits.

use fluvial_delta::structure::{Extent, ReadAt};

/// Bytes read at once.
const PAGE_BYTES: u64 = 16 << 10;
/// Pages kept: 2 MiB.
const PAGES: u64 = 128;

/// Reads small pieces of a stream through a direct-mapped cache.
pub(crate) struct Pages<'a> {
    stream: &'a dyn ReadAt,
    slots: Vec<Option<(u64, Box<[u8]>)>>,
}

impl<'a> Pages<'a> {
    /// An empty cache in front of a stream.
    pub(crate) fn new(stream: &'a dyn ReadAt) -> Self {
        Self { stream, slots: (0..PAGES).map(|_| None).collect() }
    }

    /// Fills `buf` with the bytes at `offset`. `None` past the end and where reading fails.
    pub(crate) fn read(&mut self, offset: u64, buf: &mut [u8]) -> Option<()> {
        let mut done = 0;
        while done < buf.len() {
            let at = offset.checked_add(done as u64)?;
            let page = self.page(at / PAGE_BYTES)?;
            let bytes = page.get((at % PAGE_BYTES) as usize..).filter(|bytes| !bytes.is_empty())?;
            let len = bytes.len().min(buf.len() - done);
            buf[done..done + len].copy_from_slice(&bytes[..len]);
            done += len;
        }
        Some(())
    }

    /// The `N` bytes at `offset`.
    pub(crate) fn array<const N: usize>(&mut self, offset: u64) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        self.read(offset, &mut bytes)?;
        Some(bytes)
    }

    /// `len` bytes at `offset`; checks against the stream's end before it allocates.
    pub(crate) fn vec(&mut self, offset: u64, len: u64) -> Option<Vec<u8>> {
        if offset.checked_add(len)? > self.stream.len() {
            return None;
        }
        let mut bytes = vec![0; usize::try_from(len).ok()?];
        self.read(offset, &mut bytes)?;
        Some(bytes)
    }

    /// Tells the medium that these bytes will be read.
    pub(crate) fn prefetch(&self, extent: Extent) {
        let start = extent.offset / PAGE_BYTES * PAGE_BYTES;
        self.stream.prefetch(start, extent.end().saturating_sub(start).next_multiple_of(PAGE_BYTES));
    }

    fn page(&mut self, number: u64) -> Option<&[u8]> {
        let slot = self.slots.get_mut((number % PAGES) as usize)?;
        if slot.as_ref().is_none_or(|(held, _)| *held != number) {
            let start = number.checked_mul(PAGE_BYTES)?;
            let len = self.stream.len().checked_sub(start)?.min(PAGE_BYTES);
            let mut bytes = vec![0; len as usize].into_boxed_slice();
            self.stream.read_at(start, &mut bytes).ok()?;
            *slot = Some((number, bytes));
        }
        slot.as_ref().map(|(_, bytes)| &bytes[..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_across_pages_and_stops_at_the_end() {
        let stream: Vec<u8> = (0..100_000_u32).map(|n| (n / 7) as u8).collect();
        let mut pages = Pages::new(&stream);
        for (offset, len) in [(0, 1), (16_380, 8), (5, 70_000), (99_999, 1), (32_768, 16_384)] {
            assert_eq!(pages.vec(offset, len).unwrap(), stream[offset as usize..(offset + len) as usize]);
        }
        assert_eq!(pages.vec(99_999, 2), None);
        assert_eq!(pages.array::<2>(99_999), None);
        assert_eq!(pages.array::<4>(u64::MAX - 1), None);
    }
}
