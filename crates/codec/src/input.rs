//! Packed bytes that a decoder reads with a look ahead.

use std::io::{self, BufRead, Read};

/// How much of a stream is read at a time.
const INPUT_BYTES: usize = 64 << 10;
/// The longest look ahead: a magic number and what stands next to it.
pub(crate) const PEEK_BYTES_MAX: usize = 16;

/// A source whose next bytes can be seen before they are taken.
pub(crate) trait Input: BufRead {
    /// The next `count` bytes (at most [`PEEK_BYTES_MAX`]); fewer only at the end.
    fn peek(&mut self, count: usize) -> io::Result<&[u8]>;
}

impl Input for &[u8] {
    fn peek(&mut self, count: usize) -> io::Result<&[u8]> {
        Ok(&self[..count.min(self.len())])
    }
}

/// Adds the look ahead to any reader, with a buffer of 64 KiB.
pub(crate) struct Buffered<R> {
    inner: R,
    buf: Box<[u8]>,
    start: usize,
    end: usize,
}

impl<R: Read> Buffered<R> {
    pub(crate) fn new(inner: R) -> Self {
        Buffered { inner, buf: vec![0; INPUT_BYTES].into_boxed_slice(), start: 0, end: 0 }
    }

    /// Reads once into the free end of the buffer; zero bytes mean the end.
    fn fill(&mut self) -> io::Result<usize> {
        loop {
            match self.inner.read(&mut self.buf[self.end..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(count) => {
                    self.end += count;
                    return Ok(count);
                }
            }
        }
    }
}

impl<R: Read> Read for Buffered<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut have = self.fill_buf()?;
        let count = have.read(out)?;
        self.consume(count);
        Ok(count)
    }
}

impl<R: Read> BufRead for Buffered<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            self.fill()?;
        }
        Ok(&self.buf[self.start..self.end])
    }

    fn consume(&mut self, amount: usize) {
        self.start = (self.start + amount).min(self.end);
    }
}

impl<R: Read> Input for Buffered<R> {
    fn peek(&mut self, count: usize) -> io::Result<&[u8]> {
        let count = count.min(PEEK_BYTES_MAX);
        if self.end - self.start < count {
            self.buf.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            while self.end < count && self.fill()? > 0 {}
        }
        Ok(&self.buf[self.start..self.end.min(self.start + count)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives one byte a call, as a slow pipe does.
    struct ByteAtATime<'a>(&'a [u8]);

    impl Read for ByteAtATime<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let count = out.len().min(1);
            self.0.read(&mut out[..count])
        }
    }

    #[test]
    fn peeking_takes_nothing() {
        let bytes: Vec<u8> = (0..40).collect();
        let mut input = Buffered::new(ByteAtATime(&bytes));
        assert_eq!(input.peek(6).unwrap(), &bytes[..6]);
        let mut head = [0; 30];
        input.read_exact(&mut head).unwrap();
        assert_eq!(head, bytes[..30]);
        assert_eq!(input.peek(16).unwrap(), &bytes[30..]);
        let mut rest = Vec::new();
        input.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, bytes[30..]);
        assert!(input.peek(1).unwrap().is_empty());
    }
}
