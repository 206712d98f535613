//! The chunks of a stream, one after another.

use std::io::{self, ErrorKind, Read};

use super::Chunker;

/// The chunks of a stream, as [`Chunker::chunks`] cuts them.
#[derive(Debug)]
pub struct Chunks<R> {
    chunker: Chunker,
    stream: R,
    window: Vec<u8>,
    /// What of the window has been read and not given away.
    start: usize,
    end: usize,
    is_end: bool,
}

impl<R> Chunks<R> {
    pub(super) fn new(chunker: Chunker, stream: R) -> Self {
        let window = vec![0; 4 * chunker.bytes_max()];
        Self { chunker, stream, window, start: 0, end: 0, is_end: false }
    }
}

impl<R: Read> Chunks<R> {
    /// The next chunk; `None` at the end.
    ///
    /// # Errors
    /// What the stream reports.
    pub fn next_chunk(&mut self) -> io::Result<Option<&[u8]>> {
        if self.end - self.start < self.chunker.bytes_max() {
            self.fill()?;
        }
        let rest = &self.window[self.start..self.end];
        let Some(len) = self.chunker.first(rest, self.is_end) else { return Ok(None) };
        self.start += len;
        Ok(Some(&rest[..len]))
    }

    fn fill(&mut self) -> io::Result<()> {
        self.window.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        while !self.is_end && self.end < self.window.len() {
            match self.stream.read(&mut self.window[self.end..]) {
                Ok(0) => self.is_end = true,
                Ok(len) => self.end += len,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a few bytes at a time, and is interrupted in between.
    struct Trickle<'a>(&'a [u8], bool);

    impl Read for Trickle<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(ErrorKind::Interrupted.into());
            }
            let len = buf.len().min(997).min(self.0.len());
            buf[..len].copy_from_slice(&self.0[..len]);
            self.0 = &self.0[len..];
            Ok(len)
        }
    }

    #[test]
    fn a_stream_has_the_chunks_of_its_bytes() {
        let bytes: Vec<u8> = (0..200_000_u32).map(|value| (value.wrapping_mul(value) >> 7) as u8).collect();
        for name in ["casync-4", "fixed-3"] {
            let chunker: Chunker = name.parse().unwrap();
            let mut chunks = chunker.chunks(Trickle(&bytes, false));
            let mut rest = &bytes[..];
            while let Some(chunk) = chunks.next_chunk().unwrap() {
                assert_eq!(Some(chunk.len()), chunker.first(rest, true));
                assert_eq!(chunk, &rest[..chunk.len()]);
                rest = &rest[chunk.len()..];
            }
            assert!(rest.is_empty());
            assert!(chunks.next_chunk().unwrap().is_none());
        }
    }

    #[test]
    fn what_the_stream_reports_is_passed_on() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(ErrorKind::ConnectionReset.into())
            }
        }
        let mut chunks = Chunker::fixed(4).unwrap().chunks(Broken);
        assert_eq!(chunks.next_chunk().unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
}
