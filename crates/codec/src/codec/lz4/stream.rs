//! Decoders of LZ4 frames and of legacy frames.

use std::io::{self, Read};

use crate::codec::lz4::ffi::{self, FrameContext};
use crate::format::LZ4_LEGACY_MAGIC;
use crate::input::Input;

/// Content of every block of a legacy frame but the last: 8 MiB.
pub(crate) const LEGACY_BLOCK_BYTES: usize = 8 << 20;

/// Decodes one LZ4 frame (LZ4 Frame Format 1.6), checksums included.
pub(crate) struct FrameDecoder<I> {
    input: I,
    context: FrameContext,
    ended: bool,
}

impl<I: Input> FrameDecoder<I> {
    pub(crate) fn new(input: I) -> io::Result<Self> {
        Ok(FrameDecoder { input, context: FrameContext::new()?, ended: false })
    }

    pub(crate) fn into_input(self) -> I {
        self.input
    }
}

impl<I: Input> Read for FrameDecoder<I> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while !self.ended && !out.is_empty() {
            let packed = self.input.fill_buf()?;
            let at_end = packed.is_empty();
            let (taken, given, ended) = self.context.step(packed, out)?;
            self.input.consume(taken);
            self.ended = ended;
            if given > 0 {
                return Ok(given);
            }
            if at_end && !ended {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(0)
    }
}

/// Decodes one legacy frame: the magic, then blocks of 8 MiB of content, each behind its packed
/// length, until the first that holds less, or something that can be no block.
///
/// Linux' build appends the content's length to the frame (four bytes, little-endian); like every
/// reader of the format, this one takes it for the end.
pub(crate) struct LegacyDecoder<I> {
    input: I,
    packed: Vec<u8>,
    plain: Vec<u8>,
    /// How much of `plain` was given.
    given: usize,
    /// Content so far.
    total: u64,
    started: bool,
    ended: bool,
}

impl<I: Input> LegacyDecoder<I> {
    pub(crate) fn new(input: I) -> Self {
        LegacyDecoder {
            input,
            packed: Vec::new(),
            plain: Vec::new(),
            given: 0,
            total: 0,
            started: false,
            ended: false,
        }
    }

    pub(crate) fn into_input(self) -> I {
        self.input
    }

    /// Fetches and decodes the next block, or notes the end.
    fn next_block(&mut self) -> io::Result<()> {
        if !self.started {
            if self.input.peek(LZ4_LEGACY_MAGIC.len())? != LZ4_LEGACY_MAGIC {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "no legacy LZ4 frame"));
            }
            self.input.consume(LZ4_LEGACY_MAGIC.len());
            self.started = true;
        }
        // The byte behind the length is looked at, too: the appended length of a kernel of exactly
        // so many blocks has none.
        let head = self.input.peek(5)?;
        let len = match head {
            [a, b, c, d, rest @ ..] => match u32::from_le_bytes([*a, *b, *c, *d]) as usize {
                len if !is_block_len(len) => None,
                len if rest.is_empty() && self.total == len as u64 => None,
                len => Some(len),
            },
            _ => None,
        };
        let Some(len) = len else {
            self.ended = true;
            return Ok(());
        };
        self.input.consume(4);
        self.packed.clear();
        // A block is at most a little longer than its content: see `is_block_len`.
        self.packed.reserve_exact(len);
        if (&mut self.input).take(len as u64).read_to_end(&mut self.packed)? < len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.plain.clear();
        self.given = 0;
        ffi::decompress(&self.packed, LEGACY_BLOCK_BYTES, &mut self.plain)?;
        self.total += self.plain.len() as u64;
        self.ended = self.plain.len() < LEGACY_BLOCK_BYTES;
        Ok(())
    }
}

/// Whether a legacy block can be so long, packed.
fn is_block_len(len: usize) -> bool {
    len > 0 && ffi::bound(LEGACY_BLOCK_BYTES).is_some_and(|bound| len <= bound)
}

impl<I: Input> Read for LegacyDecoder<I> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.given == self.plain.len() && !self.ended {
            self.next_block()?;
        }
        let count = (&self.plain[self.given..]).read(out)?;
        self.given += count;
        Ok(count)
    }
}
