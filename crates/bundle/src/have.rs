//! What a device has.

use std::io;

use fluvial_delta::structure::{Extent, ReadAt};

/// Streams one behind the other: the old space.
pub(crate) struct Have<'a> {
    streams: Vec<&'a dyn ReadAt>,
    /// Where each begins and ends.
    extents: Vec<Extent>,
}

impl<'a> Have<'a> {
    pub(crate) fn new(streams: Vec<&'a dyn ReadAt>) -> Self {
        let mut at = 0;
        let place = |stream: &&dyn ReadAt| {
            let extent = Extent { offset: at, len: stream.len() };
            at += extent.len;
            extent
        };
        let extents = streams.iter().map(place).collect();
        Self { streams, extents }
    }

    /// The streams.
    pub(crate) fn streams(&self) -> &[&'a dyn ReadAt] {
        &self.streams
    }

    /// Where each stands.
    pub(crate) fn extents(&self) -> &[Extent] {
        &self.extents
    }

    /// Which stream stands at a place.
    pub(crate) fn stream_at(&self, place: u64) -> Option<usize> {
        let stream = self.extents.partition_point(|extent| extent.end() <= place);
        (stream < self.extents.len()).then_some(stream)
    }
}

impl ReadAt for Have<'_> {
    fn len(&self) -> u64 {
        self.extents.last().map_or(0, |extent| extent.end())
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let (mut at, mut done) = (offset, 0);
        let mut index = self.stream_at(offset).unwrap_or(self.extents.len());
        while done < buf.len() {
            let Some(extent) = self.extents.get(index) else {
                return Err(io::ErrorKind::UnexpectedEof.into());
            };
            let step = (extent.end() - at).min((buf.len() - done) as u64) as usize;
            self.streams[index].read_at(at - extent.offset, &mut buf[done..done + step])?;
            done += step;
            at += step as u64;
            index += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_stand_one_behind_the_other() {
        let (one, none, two) = (b"abc".to_vec(), Vec::new(), b"defg".to_vec());
        let have = Have::new(vec![&one, &none, &two]);
        let mut bytes = [0; 5];
        have.read_at(1, &mut bytes).unwrap();
        assert_eq!(&bytes, b"bcdef");
        assert!(have.read_at(3, &mut bytes).is_err());
        assert_eq!(have.len(), 7);
    }
}
