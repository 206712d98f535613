//! The ways to cut a payload.

use std::fmt;
use std::str::FromStr;

use fluvial_delta::structure::Files;
use fluvial_delta::wire::{WireReader, WireWriter};
use thiserror::Error;

use crate::chunker::{Chunker, ChunkerError};
use crate::error::IndexError;
use crate::limits::{
    CHUNK_BYTES_MAX, CHUNKER_KIB_MAX, FILES_CHUNK_BYTES_MAX, GROUP_BYTES_MAX, RUN_BYTES_MAX,
};

/// Chunks that have so many bytes on average, or more, are runs of their own. They pack well by themselves, and
/// whoever lacks one lacks no more than it.
const ALONE_BYTES_MIN: usize = 16 << 10;
/// The longest average of chunks in groups, and the longest of such chunks: casync's have four times the average.
const GROUPED_CHUNK_BYTES_MAX: usize = 4 * (ALONE_BYTES_MIN - (1 << 10));
const _: () = assert!(4 * ((CHUNKER_KIB_MAX as usize) << 10) <= CHUNK_BYTES_MAX);
const _: () = assert!(GROUP_BYTES_MAX <= RUN_BYTES_MAX && CHUNK_BYTES_MAX <= RUN_BYTES_MAX);
const _: () = assert!(GROUP_BYTES_MAX >= (64 << 10) + GROUPED_CHUNK_BYTES_MAX);

/// How a payload is cut: `files`, or as another tool's chunker does, `casync-N` and `fixed-N`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Cutting {
    /// What stands between files is a stream, and each file another one; small chunks are cut by content, in
    /// programs with references masked. Finds the most.
    #[default]
    Files,
    /// The payload is one stream whose chunks are those of a chunker. Files and programs mean nothing.
    Blocks(Chunker),
}

/// It is no way of cutting that is known here.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CuttingError {
    /// It is named otherwise than `files`, `casync-N` and `fixed-N`.
    #[error("`{0}` is no way of cutting: give files, casync-N or fixed-N, N in KiB")]
    Name(String),
    /// A chunker's size is out of range.
    #[error(transparent)]
    Chunker(ChunkerError),
}

impl Cutting {
    /// The longest chunk, in bytes; [`CHUNK_BYTES_MAX`] at most.
    pub fn chunk_bytes_max(&self) -> usize {
        match self {
            Self::Files => FILES_CHUNK_BYTES_MAX,
            Self::Blocks(chunker) => chunker.bytes_max(),
        }
    }

    /// The longest run that is not zeros, in bytes; [`RUN_BYTES_MAX`] at most.
    pub fn run_bytes_max(&self) -> usize {
        match self {
            Self::Blocks(chunker) if is_alone(*chunker) => chunker.bytes_max(),
            _ => GROUP_BYTES_MAX,
        }
    }

    /// Of these files those that are cut by themselves: all or none.
    pub(crate) fn files(self, files: &Files) -> &Files {
        static NONE: Files = Files::new();
        match self {
            Self::Files => files,
            Self::Blocks(_) => &NONE,
        }
    }

    /// Writes it as an index has it.
    pub(crate) fn write(self, writer: &mut WireWriter) {
        let Self::Blocks(chunker) = self else { return writer.raw(&[0]) };
        writer.raw(&[if chunker.is_fixed() { 2 } else { 1 }]);
        writer.number((chunker.bytes_avg() >> 10) as u64);
    }

    /// Reads it.
    pub(crate) fn read(reader: &mut WireReader<'_>) -> Result<Self, IndexError> {
        let make = match reader.raw(1)?[0] {
            0 => return Ok(Self::Files),
            1 => Chunker::casync,
            2 => Chunker::fixed,
            _ => return Err(IndexError::Invalid("its way of cutting is not known here")),
        };
        let kib = reader.limited("the size of chunks in KiB", u64::from(CHUNKER_KIB_MAX))? as u16;
        let chunker = make(kib).map_err(|_| IndexError::Invalid("its chunks have a size that cannot be"))?;
        Ok(Self::Blocks(chunker))
    }
}

/// Whether each chunk is a run of its own.
pub(crate) fn is_alone(chunker: Chunker) -> bool {
    chunker.bytes_avg() >= ALONE_BYTES_MIN
}

impl fmt::Display for Cutting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Files => f.write_str("files"),
            Self::Blocks(chunker) => chunker.fmt(f),
        }
    }
}

impl FromStr for Cutting {
    type Err = CuttingError;

    fn from_str(text: &str) -> Result<Self, CuttingError> {
        if text == "files" {
            return Ok(Self::Files);
        }
        match text.parse() {
            Ok(chunker) => Ok(Self::Blocks(chunker)),
            Err(ChunkerError::Name(name)) => Err(CuttingError::Name(name)),
            Err(error) => Err(CuttingError::Chunker(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_read_as_they_are_written() {
        for name in ["files", "casync-4", "casync-64", "casync-256", "fixed-1", "fixed-4", "fixed-256"] {
            let cutting: Cutting = name.parse().unwrap();
            assert_eq!(cutting.to_string(), name);
            assert!(cutting.chunk_bytes_max() <= cutting.run_bytes_max());
            assert!(cutting.run_bytes_max() <= RUN_BYTES_MAX);
            let mut writer = WireWriter::default();
            cutting.write(&mut writer);
            assert_eq!(Cutting::read(&mut WireReader::new(&writer.bytes)).unwrap(), cutting);
        }
        assert_eq!(Cutting::default().to_string(), "files");
        let parse = |text: &str| text.parse::<Cutting>().unwrap_err().to_string();
        assert!(parse("file").contains("give files, casync-N or fixed-N"));
        assert!(parse("casync-257").contains("from 4 to 256"));
    }

    #[test]
    fn what_no_chunker_has_is_refused() {
        for bytes in [&[3][..], &[1, 3], &[1, 0], &[2, 0], &[2, 129, 2], &[1, 129, 2], &[1], &[]] {
            assert!(Cutting::read(&mut WireReader::new(bytes)).is_err(), "{bytes:?}");
        }
        assert_eq!(Cutting::read(&mut WireReader::new(&[2, 128, 2])).unwrap().to_string(), "fixed-256");
    }
}
