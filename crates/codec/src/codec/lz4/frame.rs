//! LZ4 frames (LZ4 Frame Format 1.6), as the `lz4` tool writes them.

use std::fmt;
use std::io;

use crate::codec::lz4::ffi::{FrameEncoder, FrameFlags};
use crate::codec::lz4::{ENGINE, Level, Parameters};
use crate::codec::{Codec, Method};
use crate::format::LZ4_FRAME_MAGIC;
use crate::packer::{PackError, Packer, Promise};
use crate::prover::{Bench, Effort, Found};
use crate::recipe::{RecipeError, Way, take_u8};

/// Levels to try: 1 is the default of the tool; 9 and 12 are what people ask for.
const LEVELS_FAST: &[Level] = &[Level::Fast(1), Level::High(9), Level::High(12)];
const LEVELS_MAX: &[Level] = &[
    Level::Fast(1),
    Level::High(9),
    Level::High(12),
    Level::High(3),
    Level::High(4),
    Level::High(6),
    Level::High(5),
    Level::High(7),
    Level::High(8),
    Level::High(10),
    Level::High(11),
    Level::High(2),
];

/// One frame. Corrections are empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Recipe {
    parameters: Parameters,
    flags: FrameFlags,
}

/// The flags in one byte: those of the frame's own descriptor, with the block size in the low bits.
fn flags_byte(flags: FrameFlags) -> u8 {
    u8::from(flags.linked) << 7
        | u8::from(flags.block_checksum) << 6
        | u8::from(flags.content_size) << 5
        | u8::from(flags.content_checksum) << 4
        | flags.block_size
}

fn flags_of(byte: u8) -> Option<FrameFlags> {
    let block_size = byte & 0xf;
    (4..=7).contains(&block_size).then_some(FrameFlags {
        linked: byte & 0x80 != 0,
        block_checksum: byte & 0x40 != 0,
        content_size: byte & 0x20 != 0,
        content_checksum: byte & 0x10 != 0,
        block_size,
    })
}

/// Reads the descriptor of a frame; `None` if it wants a dictionary.
fn read_descriptor(packed: &[u8]) -> Option<FrameFlags> {
    let [flags, block, ..] = packed.strip_prefix(LZ4_FRAME_MAGIC)? else { return None };
    if flags & 1 != 0 {
        return None;
    }
    Some(FrameFlags {
        linked: flags & 0x20 == 0,
        block_checksum: flags & 0x10 != 0,
        content_size: flags & 8 != 0,
        content_checksum: flags & 4 != 0,
        block_size: (block >> 4 & 7).max(4),
    })
}

impl Recipe {
    pub(crate) fn read(bytes: &mut &[u8]) -> Result<Self, RecipeError> {
        let parameters = Parameters::read(bytes)?;
        let flags = flags_of(take_u8(bytes)?).ok_or(RecipeError::Malformed)?;
        if parameters.level == Level::FastAhead {
            return Err(RecipeError::Malformed);
        }
        Ok(Recipe { parameters, flags })
    }
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -B{}", self.parameters, self.flags.block_size)?;
        for (set, name) in [
            (self.flags.linked, " -BD"),
            (self.flags.block_checksum, " -BX"),
            (self.flags.content_size, " --content-size"),
            (!self.flags.content_checksum, " --no-frame-crc"),
        ] {
            f.write_str(if set { name } else { "" })?;
        }
        Ok(())
    }
}

impl Method for Recipe {
    fn write(&self, bytes: &mut Vec<u8>) {
        self.parameters.write(bytes);
        bytes.push(flags_byte(self.flags));
    }

    fn check_linked(&self) -> Result<(), RecipeError> {
        self.parameters.check_linked()
    }

    /// The engine's working memory, its buffer (a block, and 128 KiB where blocks are linked), a
    /// block, and its packed bytes.
    fn memory_bytes(&self, plain_len: u64, _packed_len_max: u64) -> u64 {
        let full = self.flags.block_bytes() as u64;
        let block = plain_len.min(full);
        self.parameters.engine_bytes() + full + (128 << 10) + 2 * block + block / 255 + (64 << 10)
    }

    fn packer(
        &self,
        plain_len: u64,
        _packed_len_max: u64,
        _corrections: &[u8],
    ) -> Result<Box<dyn Packer>, PackError> {
        let mut packed = Vec::new();
        let encoder = FrameEncoder::new(self.parameters.level, self.flags, plain_len, &mut packed)
            .map_err(|_| failed())?;
        Ok(Box::new(FramePacker {
            promise: Promise::new(plain_len),
            encoder,
            block: Vec::new(),
            block_bytes: plain_len.clamp(1, self.flags.block_bytes() as u64) as usize,
            packed,
        }))
    }
}

fn failed() -> PackError {
    PackError::Engine { engine: ENGINE, reason: "the frame encoder failed" }
}

/// Hands the encoder whole blocks: what linked blocks refer to depends on how content is handed in.
struct FramePacker {
    promise: Promise,
    encoder: FrameEncoder,
    block: Vec<u8>,
    block_bytes: usize,
    /// Not written yet.
    packed: Vec<u8>,
}

impl FramePacker {
    fn flush(&mut self, sink: &mut dyn io::Write) -> Result<(), PackError> {
        if !self.block.is_empty() {
            self.encoder.block(&self.block, &mut self.packed).map_err(|_| failed())?;
            self.block.clear();
        }
        sink.write_all(&self.packed).map_err(PackError::Sink)?;
        self.packed.clear();
        Ok(())
    }
}

impl Packer for FramePacker {
    fn write(&mut self, mut plain: &[u8], sink: &mut dyn io::Write) -> Result<(), PackError> {
        self.promise.take(plain.len())?;
        while !plain.is_empty() {
            if self.block.capacity() == 0 {
                self.block.reserve_exact(self.block_bytes);
            }
            let (head, rest) = plain.split_at(plain.len().min(self.block_bytes - self.block.len()));
            self.block.extend_from_slice(head);
            plain = rest;
            if self.block.len() == self.block_bytes {
                self.flush(sink)?;
            }
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>, sink: &mut dyn io::Write) -> Result<(), PackError> {
        self.promise.keep()?;
        self.flush(sink)?;
        self.encoder.end(&mut self.packed).map_err(|_| failed())?;
        sink.write_all(&self.packed).map_err(PackError::Sink)
    }
}

/// How LZ4 frames were packed.
pub(crate) struct Frame;

impl Codec for Frame {
    fn prove(&self, packed: &[u8], plain: &[u8], bench: &mut Bench<'_>) -> Option<Found> {
        let flags = read_descriptor(packed)?;
        let levels = if bench.effort() == Effort::Max { LEVELS_MAX } else { LEVELS_FAST };
        let candidates = levels
            .iter()
            .map(|&level| Way::Lz4Frame(Recipe { parameters: Parameters::new(level), flags }).into())
            .collect();
        let recipe = bench
            .rank(candidates, plain.len())
            .into_iter()
            .find(|recipe| bench.reproduces(recipe, &[], plain, packed))?;
        Some(Found { recipe, corrections: Vec::new() })
    }
}
