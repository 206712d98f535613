//! What was told of programs and not proved: when parity has come, it may be corrected without being told again.

use std::io;

use crate::limits::FILES_CHUNK_BYTES_MAX;
use crate::spool::{Spool, Strand, StrandReader, StrandWriter};

/// Bytes before each guess: the piece and how long it is, and where the old space has the like of it.
const HEAD_BYTES: usize = 4 + 4 + 8;

/// What a piece may be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Guess {
    pub(crate) piece: u32,
    /// Where the old space has the like of it.
    pub(crate) place: u64,
    pub(crate) bytes: Vec<u8>,
}

/// Keeps guesses.
pub(crate) struct GuessWriter<'b> {
    /// `None` if nobody will ask for them.
    strand: Option<StrandWriter<'b>>,
}

impl<'b> GuessWriter<'b> {
    /// Keeps guesses in a spool.
    pub(crate) fn new(spool: &'b Spool<'b>) -> Self {
        Self { strand: Some(spool.writer()) }
    }

    /// Keeps nothing.
    pub(crate) fn none() -> Self {
        Self { strand: None }
    }

    /// Keeps a guess.
    pub(crate) fn put(&mut self, guess: &Guess) {
        let Some(strand) = &mut self.strand else { return };
        strand.put(&guess.piece.to_le_bytes());
        strand.put(&(guess.bytes.len() as u32).to_le_bytes());
        strand.put(&guess.place.to_le_bytes());
        strand.put(&guess.bytes);
    }

    /// The guesses, if all of them were kept.
    pub(crate) fn finish(self) -> Option<Strand> {
        self.strand?.finish()
    }
}

/// Reads the next guess; answers whether there is one.
///
/// # Errors
/// What the storage reports, also where it holds something else than was written.
pub(crate) fn read_next(reader: &mut StrandReader<'_>, guess: &mut Guess) -> io::Result<bool> {
    if reader.is_at_end() {
        return Ok(false);
    }
    let mut head = [0; HEAD_BYTES];
    reader.fill(&mut head)?;
    let number = |at: usize, width: usize| {
        head[at..at + width].iter().rev().fold(0, |sum, &byte| sum << 8 | u64::from(byte))
    };
    (guess.piece, guess.place) = (number(0, 4) as u32, number(8, 8));
    let len = number(4, 4) as usize;
    if len > FILES_CHUNK_BYTES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    guess.bytes.resize(len, 0);
    reader.fill(&mut guess.bytes)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use fluvial_delta::scratch::MemoryScratch;

    use super::*;

    #[test]
    fn guesses_come_back_in_order() {
        let spool = Spool::new(&MemoryScratch);
        let guesses: Vec<Guess> = (0..300_u32)
            .map(|index| {
                let place = u64::MAX - u64::from(index);
                Guess { piece: u32::MAX - index, place, bytes: vec![index as u8; index as usize * 7] }
            })
            .collect();
        let mut writer = GuessWriter::new(&spool);
        for guess in &guesses {
            writer.put(guess);
        }
        let strand = writer.finish().unwrap();
        let mut reader = spool.reader(&strand);
        let mut guess = Guess::default();
        for expected in &guesses {
            assert!(read_next(&mut reader, &mut guess).unwrap());
            assert_eq!(guess, *expected);
        }
        assert!(!read_next(&mut reader, &mut guess).unwrap());
    }

    #[test]
    fn what_no_guess_can_be_is_an_error() {
        let spool = Spool::new(&MemoryScratch);
        let mut writer = spool.writer();
        writer.put(&[0xff; 100]);
        let strand = writer.finish().unwrap();
        let mut reader = spool.reader(&strand);
        assert!(read_next(&mut reader, &mut Guess::default()).is_err());
    }
}
