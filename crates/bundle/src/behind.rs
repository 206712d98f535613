//! Two streams, one behind the other.

use std::io;
use std::ops::{Deref, Range};

use fluvial_delta::apply::Target;
use fluvial_delta::structure::ReadAt;

/// A payload, and behind it what is packed in it.
#[derive(Debug, Clone)]
pub struct Behind<A, B> {
    first: A,
    second: B,
    first_len: u64,
}

impl<A: Deref<Target: ReadAt>, B> Behind<A, B> {
    /// Shows `second` behind `first`.
    pub fn new(first: A, second: B) -> Self {
        let first_len = first.len();
        Self { first, second, first_len }
    }
}

/// How much of a range stands in the first stream.
fn split(first_len: u64, offset: u64, len: usize) -> usize {
    first_len.saturating_sub(offset).min(len as u64) as usize
}

/// Where what is left of a range stands in the second stream.
fn rest(first_len: u64, offset: u64, range: &Range<usize>) -> u64 {
    (offset + range.start as u64).saturating_sub(first_len)
}

impl<A, B> ReadAt for Behind<A, B>
where
    A: Deref<Target: ReadAt> + Send + Sync,
    B: Deref<Target: ReadAt> + Send + Sync,
{
    fn len(&self) -> u64 {
        self.first_len + self.second.len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let at = split(self.first_len, offset, buf.len());
        if at > 0 {
            self.first.read_at(offset, &mut buf[..at])?;
        }
        if at < buf.len() {
            let place = rest(self.first_len, offset, &(at..buf.len()));
            self.second.read_at(place, &mut buf[at..])?;
        }
        Ok(())
    }

    fn prefetch(&self, offset: u64, len: u64) {
        let first = self.first_len.saturating_sub(offset).min(len);
        if first > 0 {
            self.first.prefetch(offset, first);
        }
        if first < len {
            self.second.prefetch((offset + first).saturating_sub(self.first_len), len - first);
        }
    }
}

impl<A, B> Target for Behind<A, B>
where
    A: Deref<Target: Target> + Send + Sync,
    B: Deref<Target: Target> + Send + Sync,
{
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let at = split(self.first_len, offset, bytes.len());
        if at > 0 {
            self.first.write_at(offset, &bytes[..at])?;
        }
        if at < bytes.len() {
            let place = rest(self.first_len, offset, &(at..bytes.len()));
            self.second.write_at(place, &bytes[at..])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_stands_behind_the_other() {
        let (first, second) = (b"abc".to_vec(), b"defg".to_vec());
        let both = Behind::new(&first, &second);
        assert_eq!(both.len(), 7);
        for (offset, expected) in [(0, &b"abcdefg"[..]), (1, b"bc"), (2, b"cd"), (3, b"def"), (5, b"fg")] {
            let mut bytes = vec![0; expected.len()];
            both.read_at(offset, &mut bytes).unwrap();
            assert_eq!(bytes, expected);
        }
        assert!(both.read_at(6, &mut [0; 2]).is_err());
        assert!(both.read_at(8, &mut [0]).is_err());
    }
}
