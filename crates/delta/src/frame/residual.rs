//! Residuals: what covers differ by, as runs of zeros and runs of other bytes.

use std::io::{self, Read};

use crate::wire::WireWriter;

/// Zeros inside a residual that are too few to end a run of bytes that differ.
const ZERO_RUN_MIN: u64 = 2;

/// Takes differences and writes runs.
#[derive(Debug, Default)]
pub(super) struct ResidualWriter {
    skips: WireWriter,
    runs: WireWriter,
    differences: Vec<u8>,
    zeros: u64,
    nonzeros: u64,
}

impl ResidualWriter {
    /// Appends so many zeros.
    pub(super) fn same(&mut self, len: u64) {
        self.zeros += len;
    }

    /// Appends differences.
    pub(super) fn differences(&mut self, differences: &[u8]) {
        for &difference in differences {
            if difference == 0 {
                self.zeros += 1;
                continue;
            }
            if self.zeros >= ZERO_RUN_MIN || self.nonzeros == 0 {
                self.end_run();
                self.skips.number(self.zeros);
            } else {
                let inner = self.zeros as usize;
                self.differences.resize(self.differences.len() + inner, 0);
                self.nonzeros += self.zeros;
            }
            self.zeros = 0;
            self.differences.push(difference);
            self.nonzeros += 1;
        }
    }

    /// Ends the run of differing bytes, if there is one.
    fn end_run(&mut self) {
        if self.nonzeros > 0 {
            self.runs.number(self.nonzeros);
            self.nonzeros = 0;
        }
    }

    /// Lengths of runs of zeros, lengths of the runs of differing bytes behind them, and these bytes.
    /// Zeros at the end are left out.
    pub(super) fn finish(mut self) -> [Vec<u8>; 3] {
        self.end_run();
        [self.skips.bytes, self.runs.bytes, self.differences]
    }
}

/// Reads runs and adds differences.
pub(super) struct ResidualReader {
    skips: io::BufReader<Box<dyn Read + Send>>,
    runs: io::BufReader<Box<dyn Read + Send>>,
    differences: io::BufReader<Box<dyn Read + Send>>,
    zeros: u64,
    nonzeros: u64,
    ended: bool,
}

impl ResidualReader {
    pub(super) fn new([skips, runs, differences]: [Box<dyn Read + Send>; 3]) -> Self {
        Self {
            skips: io::BufReader::new(skips),
            runs: io::BufReader::new(runs),
            differences: io::BufReader::new(differences),
            zeros: 0,
            nonzeros: 0,
            ended: false,
        }
    }

    /// Adds the next differences to `bytes`.
    pub(super) fn add(&mut self, mut bytes: &mut [u8]) -> io::Result<()> {
        let mut differences = [0; 512];
        while !bytes.is_empty() {
            if self.zeros == 0 && self.nonzeros == 0 && !self.ended {
                self.next_run()?;
            }
            if self.ended && self.nonzeros == 0 {
                return Ok(());
            }
            if self.zeros > 0 {
                let len = self.zeros.min(bytes.len() as u64);
                bytes = &mut bytes[len as usize..];
                self.zeros -= len;
                continue;
            }
            let len = self.nonzeros.min(bytes.len() as u64).min(differences.len() as u64) as usize;
            self.differences.read_exact(&mut differences[..len])?;
            for (byte, difference) in bytes.iter_mut().zip(&differences[..len]) {
                *byte = byte.wrapping_add(*difference);
            }
            bytes = &mut bytes[len..];
            self.nonzeros -= len as u64;
        }
        Ok(())
    }

    fn next_run(&mut self) -> io::Result<()> {
        match number(&mut self.skips)? {
            None => self.ended = true,
            Some(zeros) => {
                self.zeros = zeros;
                self.nonzeros = number(&mut self.runs)?.ok_or(io::ErrorKind::UnexpectedEof)?;
            }
        }
        Ok(())
    }
}

fn number(reader: &mut impl Read) -> io::Result<Option<u64>> {
    let (mut value, mut shift) = (0_u64, 0);
    let mut byte = [0];
    loop {
        if reader.read(&mut byte)? == 0 {
            return if shift == 0 { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        if shift > 56 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a run is too long"));
        }
        value |= u64::from(byte[0] & 0x7f) << shift;
        shift += 7;
        if byte[0] < 0x80 {
            return Ok(Some(value));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn differences_come_back(differences in prop::collection::vec(prop_oneof![3 => Just(0_u8), 1 => any::<u8>()], 0..2000)) {
            let mut writer = ResidualWriter::default();
            writer.differences(&differences);
            let streams = writer.finish().map(|bytes| Box::new(io::Cursor::new(bytes)) as Box<dyn Read + Send>);
            let mut reader = ResidualReader::new(streams);
            let mut found = vec![0; differences.len()];
            for part in found.chunks_mut(77) {
                reader.add(part).unwrap();
            }
            prop_assert_eq!(found, differences);
        }
    }
}
