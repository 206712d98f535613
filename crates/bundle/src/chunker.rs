//! Chunks as other tools cut them: casync's content-defined ones, and blocks of one length.
//!
//! Payloads are cut otherwise unless one asks for these ([`crate::Cutting`]); they are for indexes in other
//! tools' terms, and for comparing with them.

mod buzhash;
mod chunks;

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

pub use self::chunks::Chunks;
use crate::limits::{CASYNC_KIB_MIN, CHUNKER_KIB_MAX};

/// A way to cut a stream into chunks, named `casync-N` or `fixed-N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Chunker {
    kind: Kind,
    kib: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Casync,
    Fixed,
}

/// A chunker's name or size makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ChunkerError {
    /// It is named otherwise than `casync-N` and `fixed-N`.
    #[error("`{0}` is no chunker: give casync-N or fixed-N, N in KiB")]
    Name(String),
    /// The size is out of range.
    #[error("chunks of {kib} KiB: from {min} to {CHUNKER_KIB_MAX} are possible")]
    Size {
        /// The size in KiB.
        kib: u64,
        /// The smallest one that is possible, in KiB.
        min: u16,
    },
}

impl Chunker {
    /// Cuts as casync does: chunks of `kib` KiB on average, from a quarter of that to four times as much,
    /// where the bytes say so.
    ///
    /// The same cuts as casync 2 makes of a file without cut marks, with its default minimum and maximum
    /// (casync, `src/cachunker.c` and `src/cachunker.h`), and as Rugix's `casync-N`.
    ///
    /// # Errors
    /// [`ChunkerError::Size`] where `kib` is not from 4 to 256.
    pub fn casync(kib: u16) -> Result<Self, ChunkerError> {
        Self::checked(Kind::Casync, u64::from(kib))
    }

    /// Cuts blocks of `kib` KiB; the last one may be shorter.
    ///
    /// # Errors
    /// [`ChunkerError::Size`] where `kib` is not from 1 to 256.
    pub fn fixed(kib: u16) -> Result<Self, ChunkerError> {
        Self::checked(Kind::Fixed, u64::from(kib))
    }

    fn checked(kind: Kind, kib: u64) -> Result<Self, ChunkerError> {
        let min = match kind {
            Kind::Casync => CASYNC_KIB_MIN,
            Kind::Fixed => 1,
        };
        match u16::try_from(kib) {
            Ok(kib) if (min..=CHUNKER_KIB_MAX).contains(&kib) => Ok(Self { kind, kib }),
            _ => Err(ChunkerError::Size { kib, min }),
        }
    }

    /// The length in bytes that chunks have on average, or all have but the last.
    pub fn bytes_avg(&self) -> usize {
        usize::from(self.kib) << 10
    }

    /// The longest chunk, in bytes.
    pub fn bytes_max(&self) -> usize {
        match self.kind {
            Kind::Casync => 4 * self.bytes_avg(),
            Kind::Fixed => self.bytes_avg(),
        }
    }

    /// The shortest chunk but the last one of a stream, in bytes.
    pub fn bytes_min(&self) -> usize {
        match self.kind {
            Kind::Casync => self.bytes_avg() / 4,
            Kind::Fixed => self.bytes_avg(),
        }
    }

    /// Whether every chunk stands at a multiple of its length.
    pub fn is_fixed(&self) -> bool {
        self.kind == Kind::Fixed
    }

    /// The length of the chunk that `window` begins with; `None` where more bytes have to be seen first, which
    /// is never so with [`bytes_max`](Self::bytes_max) of them. At the end of the stream what is left is a
    /// chunk; an empty window has none.
    pub fn first(&self, window: &[u8], is_end: bool) -> Option<usize> {
        let found = match self.kind {
            Kind::Fixed => (window.len() >= self.bytes_max()).then(|| self.bytes_max()),
            Kind::Casync => buzhash::first(window, self.bytes_min(), self.bytes_avg(), self.bytes_max()),
        };
        found.or_else(|| (is_end && !window.is_empty()).then_some(window.len()))
    }

    /// All chunks of a stream, in order. Memory: four times the longest chunk.
    pub fn chunks<R>(&self, stream: R) -> Chunks<R> {
        Chunks::new(*self, stream)
    }
}

impl fmt::Display for Chunker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Casync => "casync",
            Kind::Fixed => "fixed",
        };
        write!(f, "{kind}-{}", self.kib)
    }
}

impl FromStr for Chunker {
    type Err = ChunkerError;

    fn from_str(text: &str) -> Result<Self, ChunkerError> {
        let unknown = || ChunkerError::Name(text.to_owned());
        let (name, size) = text.split_once('-').ok_or_else(unknown)?;
        let kind = match name {
            "casync" => Kind::Casync,
            "fixed" => Kind::Fixed,
            _ => return Err(unknown()),
        };
        // One name for each chunker: no sign, no leading zero.
        let is_plain = size.bytes().all(|byte| byte.is_ascii_digit()) && !size.starts_with('0');
        let kib = size.parse().ok().filter(|_| is_plain).ok_or_else(unknown)?;
        Self::checked(kind, kib)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_chunker() -> impl Strategy<Value = Chunker> {
        prop_oneof![
            (4_u16..=32).prop_map(|kib| Chunker::casync(kib).unwrap()),
            (1_u16..=32).prop_map(|kib| Chunker::fixed(kib).unwrap()),
        ]
    }

    /// Bytes that look like data: no two parts the same.
    fn noise(len: usize, seed: u64) -> Vec<u8> {
        let mut state = seed | 1;
        let next = |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[0]
        };
        (0..len).map(next).collect()
    }

    fn lens(chunker: Chunker, mut bytes: &[u8]) -> Vec<usize> {
        let mut lens = Vec::new();
        while let Some(len) = chunker.first(bytes, true) {
            lens.push(len);
            bytes = &bytes[len..];
        }
        lens
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn chunks_leave_nothing_out_and_keep_to_their_lengths(
            chunker in any_chunker(), len in 0_usize..400_000, seed: u64, is_same: bool,
        ) {
            let bytes = if is_same { vec![seed as u8; len] } else { noise(len, seed) };
            let lens = lens(chunker, &bytes);
            prop_assert_eq!(lens.iter().sum::<usize>(), len);
            for (index, &chunk) in lens.iter().enumerate() {
                let is_last = index + 1 == lens.len();
                prop_assert!(chunk <= chunker.bytes_max());
                prop_assert!(chunk >= chunker.bytes_min() || is_last);
            }
        }

        #[test]
        fn a_window_of_the_longest_chunk_is_enough(chunker in any_chunker(), seed: u64) {
            let bytes = noise(2 * chunker.bytes_max(), seed);
            let window = &bytes[..chunker.bytes_max()];
            let first = chunker.first(window, false);
            prop_assert!(first.is_some());
            prop_assert_eq!(first, chunker.first(&bytes, false));
            prop_assert_eq!(chunker.first(&window[..first.unwrap() - 1], false), None);
        }

        #[test]
        fn an_insertion_changes_few_chunks(seed: u64, at in 0_usize..1_000_000) {
            let chunker = Chunker::casync(8).unwrap();
            let old = noise(1_000_000, seed);
            let mut new = old.clone();
            new.splice(at..at, [1, 2, 3]);
            let set = |bytes: &[u8]| {
                let mut offset = 0;
                let mut chunks = std::collections::HashSet::new();
                for len in lens(chunker, bytes) {
                    chunks.insert(bytes[offset..offset + len].to_vec());
                    offset += len;
                }
                chunks
            };
            let (old, new) = (set(&old), set(&new));
            // Chunks in step find each other again after a few of them: 8 are far beyond what was seen.
            prop_assert!(new.difference(&old).count() <= 24, "{} of {}", new.difference(&old).count(), new.len());
        }

        #[test]
        fn names_are_read_as_they_are_written(chunker in any_chunker()) {
            prop_assert_eq!(chunker.to_string().parse::<Chunker>(), Ok(chunker));
        }

        #[test]
        fn any_text_is_a_chunker_or_an_error(text in "\\PC{0,24}") {
            if let Ok(chunker) = text.parse::<Chunker>() {
                prop_assert_eq!(chunker.to_string(), text);
            }
        }
    }

    #[test]
    fn names_and_sizes_are_checked() {
        let parse = |text: &str| text.parse::<Chunker>();
        assert_eq!(parse("casync-64"), Chunker::casync(64));
        assert_eq!(parse("fixed-4"), Chunker::fixed(4));
        for name in ["", "casync", "casync-", "casync-x", "fixed-04", "fixed-+4", "Fixed-4", "rolling-4"] {
            assert_eq!(parse(name), Err(ChunkerError::Name(name.to_owned())));
        }
        assert_eq!(parse("casync-3"), Err(ChunkerError::Size { kib: 3, min: 4 }));
        assert_eq!(parse("casync-257"), Err(ChunkerError::Size { kib: 257, min: 4 }));
        assert_eq!(parse("fixed-65540"), Err(ChunkerError::Size { kib: 65540, min: 1 }));
        assert_eq!(Chunker::fixed(0), Err(ChunkerError::Size { kib: 0, min: 1 }));
    }
}
