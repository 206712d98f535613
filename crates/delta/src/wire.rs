//! Numbers and byte strings of the patch format.
//!
//! Integers are LEB128 (DWARF 5, section 7.6), signed ones zigzag first, so that small numbers of
//! either sign are short.

use thiserror::Error;

/// A number or a string of bytes could not be read.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum WireError {
    /// The bytes end inside a value.
    #[error("ends in the middle of a value")]
    Truncated,
    /// An integer does not fit 64 bits.
    #[error("an integer is longer than 64 bits")]
    Overlong,
    /// A count or a length is above its limit.
    #[error("{what} is {value}, above the limit of {limit}")]
    Limit {
        /// What is counted.
        what: &'static str,
        /// The value that was read.
        value: u64,
        /// The highest value allowed.
        limit: u64,
    },
    /// A name is not UTF-8.
    #[error("a name is not UTF-8")]
    NotUtf8,
    /// A value has no meaning here.
    #[error("{0}")]
    Invalid(&'static str),
    /// Bytes are left over behind the last value.
    #[error("{0} bytes are left over")]
    LeftOver(usize),
}

/// Appends values to a buffer.
#[derive(Debug, Default, Clone)]
pub struct WireWriter {
    /// What was written so far.
    pub bytes: Vec<u8>,
}

impl WireWriter {
    /// Appends an unsigned integer.
    pub fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    /// Appends a signed integer.
    pub fn signed(&mut self, value: i64) {
        self.number(((value << 1) ^ (value >> 63)) as u64);
    }

    /// Appends bytes as they are; the reader has to know their number.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends a length and so many bytes.
    pub fn string(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.raw(bytes);
    }
}

/// Takes values off the front of a slice.
#[derive(Debug, Clone)]
pub struct WireReader<'a> {
    rest: &'a [u8],
}

impl<'a> WireReader<'a> {
    /// Starts at the front of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Takes an unsigned integer.
    ///
    /// # Errors
    /// [`WireError::Truncated`] and [`WireError::Overlong`].
    pub fn number(&mut self) -> Result<u64, WireError> {
        let mut value = 0_u64;
        for (index, &byte) in self.rest.iter().enumerate() {
            let shift = 7 * index as u32;
            let bits = u64::from(byte & 0x7f);
            if shift > 63 || (shift == 63 && bits > 1) {
                return Err(WireError::Overlong);
            }
            value |= bits << shift;
            if byte < 0x80 {
                self.rest = &self.rest[index + 1..];
                return Ok(value);
            }
        }
        Err(WireError::Truncated)
    }

    /// Takes a signed integer.
    ///
    /// # Errors
    /// As [`WireReader::number`].
    pub fn signed(&mut self) -> Result<i64, WireError> {
        let value = self.number()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// Takes an unsigned integer of at most `limit`.
    ///
    /// # Errors
    /// As [`WireReader::number`], and [`WireError::Limit`] with `what` in its text.
    pub fn limited(&mut self, what: &'static str, limit: u64) -> Result<u64, WireError> {
        let value = self.number()?;
        if value > limit {
            return Err(WireError::Limit { what, value, limit });
        }
        Ok(value)
    }

    /// Takes the number of items that follow, each at least one byte long: more items than bytes
    /// left are a lie, and found out before memory is taken for them.
    ///
    /// # Errors
    /// As [`WireReader::limited`], and [`WireError::Truncated`].
    pub fn count(&mut self, what: &'static str, limit: usize) -> Result<usize, WireError> {
        let count = self.limited(what, limit as u64)? as usize;
        if count > self.rest.len() {
            return Err(WireError::Truncated);
        }
        Ok(count)
    }

    /// Takes `len` bytes as they are.
    ///
    /// # Errors
    /// [`WireError::Truncated`].
    pub fn raw(&mut self, len: usize) -> Result<&'a [u8], WireError> {
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(WireError::Truncated)?;
        self.rest = rest;
        Ok(bytes)
    }

    /// Takes a length of at most `limit` and so many bytes.
    ///
    /// # Errors
    /// As [`WireReader::limited`] and [`WireReader::raw`].
    pub fn string(&mut self, what: &'static str, limit: usize) -> Result<&'a [u8], WireError> {
        let len = self.limited(what, limit as u64)?;
        self.raw(len as usize)
    }

    /// Takes a name: a string of UTF-8.
    ///
    /// # Errors
    /// As [`WireReader::string`], and [`WireError::NotUtf8`].
    pub fn name(&mut self, limit: usize) -> Result<String, WireError> {
        let bytes = self.string("a name's length", limit)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| WireError::NotUtf8)
    }

    /// Whether everything has been taken.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// [`WireError::LeftOver`] unless everything has been taken.
    pub fn finish(self) -> Result<(), WireError> {
        if self.is_empty() { Ok(()) } else { Err(WireError::LeftOver(self.rest.len())) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_come_back(values: Vec<u64>, signed: Vec<i64>) {
            let mut writer = WireWriter::default();
            for &value in &values {
                writer.number(value);
            }
            for &value in &signed {
                writer.signed(value);
            }
            let mut reader = WireReader::new(&writer.bytes);
            for value in values {
                prop_assert_eq!(reader.number(), Ok(value));
            }
            for value in signed {
                prop_assert_eq!(reader.signed(), Ok(value));
            }
            prop_assert_eq!(reader.finish(), Ok(()));
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            let mut reader = WireReader::new(&bytes);
            while reader.number().is_ok() {}
        }
    }

    #[test]
    fn a_number_beyond_64_bits_is_refused() {
        let mut reader = WireReader::new(&[0xff; 11]);
        assert_eq!(reader.number(), Err(WireError::Overlong));
    }

    #[test]
    fn a_count_beyond_the_bytes_left_is_refused() {
        let mut reader = WireReader::new(&[100, 1, 2]);
        assert_eq!(reader.count("items", 1000), Err(WireError::Truncated));
    }
}
