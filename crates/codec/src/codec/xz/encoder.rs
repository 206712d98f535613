//! The encoders of the linked liblzma.

use std::io;

use liblzma::stream::{Action, LzmaOptions, Status, Stream};

use crate::codec::xz::container::{self, Check, FilterFlags};
use crate::codec::xz::header::Bits;
use crate::codec::xz::raw::{Failed, Filters, RawEncoder};
use crate::codec::xz::{ENGINE, Recipe, Shape};
use crate::packer::{PackError, Packer, Promise};

/// How much packed data is fetched at a time.
const OUTPUT_BYTES: usize = 64 << 10;
/// Memory of an encoder that liblzma does not count, and the output buffer.
const SLACK_BYTES: u64 = 256 << 10;

/// The linked version in liblzma's own counting: 50080042 is 5.8.4.
pub(crate) fn version() -> u32 {
    // SAFETY: takes nothing and returns a constant.
    unsafe { liblzma_sys::lzma_version_number() }
}

/// The size of blocks that the threaded encoder takes by default for a dictionary.
pub(crate) fn default_block_bytes(dict_bytes: u32) -> u64 {
    (3 * u64::from(dict_bytes)).max(1 << 20)
}

/// The most that LZMA2 makes of so many bytes (section 5.3): chunks of 64 KiB that do not pack, and the end.
fn packed_bytes_max(plain_len: u64) -> u64 {
    const CHUNK_BYTES: u64 = 1 << 16;
    const CHUNK_HEADER_BYTES: u64 = 3;
    plain_len.saturating_add(plain_len.div_ceil(CHUNK_BYTES) * CHUNK_HEADER_BYTES + 1)
}

/// The length after packing that the threaded encoder reserves room for in the header of a block.
fn reserved_bytes(block_bytes: u64) -> u64 {
    /// A block header, the largest check, and padding.
    const AROUND_BYTES: u64 = 92;
    packed_bytes_max(block_bytes).next_multiple_of(4) + AROUND_BYTES
}

impl Recipe {
    /// The block size that the encoder was told, if block headers tell lengths.
    fn told_block_bytes(&self, plain_len: u64) -> Option<u64> {
        match self.shape {
            Shape::Threaded { block_bytes } => Some(block_bytes),
            Shape::Whole => Some(plain_len.max(1)),
            Shape::Stream | Shape::Alone => None,
        }
    }
}

/// Memory of the encoder and the packer.
pub(crate) fn memory_bytes(recipe: &Recipe, plain_len: u64, packed_len_max: u64) -> u64 {
    let told = recipe.told_block_bytes(plain_len);
    let block_len = told.map_or(plain_len, |told| told.min(plain_len));
    let engine = Filters::new(recipe, block_len).and_then(|mut filters| filters.memory_bytes());
    let block = if told.is_some() { reserved_bytes(block_len).min(packed_len_max) } else { 0 };
    engine.unwrap_or(u64::MAX).saturating_add(block).saturating_add(SLACK_BYTES)
}

/// Packs content in one go, with an encoder that is used again.
pub(crate) fn pack_block(
    recipe: &Recipe,
    plain: &[u8],
    context: &mut Option<RawEncoder>,
    packed: &mut Vec<u8>,
) -> Result<(), PackError> {
    let plain_len = plain.len() as u64;
    if recipe.shape == Shape::Alone {
        let mut work = packer(recipe, plain_len, u64::MAX)?;
        work.write(plain, packed)?;
        return work.finish(packed);
    }
    let encoder = context.take().unwrap_or_default();
    let mut work = XzPacker::new(recipe, plain_len, u64::MAX, encoder);
    let done = work.write(plain, packed).and_then(|()| work.end(packed));
    *context = Some(work.encoder);
    done
}

/// Packs content as it comes.
pub(crate) fn packer(
    recipe: &Recipe,
    plain_len: u64,
    packed_len_max: u64,
) -> Result<Box<dyn Packer>, PackError> {
    if recipe.shape != Shape::Alone {
        return Ok(Box::new(XzPacker::new(recipe, plain_len, packed_len_max, RawEncoder::default())));
    }
    let Bits { literal_context, literal_position, position } = recipe.bits;
    let stream = LzmaOptions::new_preset(recipe.preset.number()).and_then(|mut options| {
        options
            .dict_size(recipe.dict_bytes)
            .literal_context_bits(literal_context.into())
            .literal_position_bits(literal_position.into())
            .position_bits(position.into());
        Stream::new_lzma_encoder(&options)
    });
    let stream = stream.map_err(|_| REFUSED)?;
    Ok(Box::new(LzmaPacker { promise: Promise::new(plain_len), stream, out: buffer() }))
}

const OUT_OF_MEMORY: PackError = PackError::Engine { engine: ENGINE, reason: "there is not enough memory" };
const FAILED: PackError = PackError::Engine { engine: ENGINE, reason: "the encoder failed" };
const REFUSED: PackError = PackError::Engine { engine: ENGINE, reason: "the parameters are not supported" };

fn buffer() -> Vec<u8> {
    Vec::with_capacity(OUTPUT_BYTES)
}

fn drain(out: &mut Vec<u8>, sink: &mut dyn io::Write) -> Result<(), PackError> {
    sink.write_all(out).map_err(PackError::Sink)?;
    out.clear();
    Ok(())
}

/// Makes a `.lzma` file.
struct LzmaPacker {
    promise: Promise,
    stream: Stream,
    out: Vec<u8>,
}

impl LzmaPacker {
    /// Runs the encoder until it has taken `plain`, or to its end.
    fn run(&mut self, mut plain: &[u8], action: Action, sink: &mut dyn io::Write) -> Result<(), PackError> {
        let is_run = matches!(action, Action::Run);
        while !(is_run && plain.is_empty()) {
            let taken = self.stream.total_in();
            let status = self.stream.process_vec(plain, &mut self.out, action).map_err(|_| FAILED)?;
            drain(&mut self.out, sink)?;
            plain = plain.get((self.stream.total_in() - taken) as usize..).ok_or(FAILED)?;
            match status {
                Status::StreamEnd => return Ok(()),
                Status::MemNeeded => return Err(FAILED),
                Status::Ok | Status::GetCheck => {}
            }
        }
        Ok(())
    }
}

impl Packer for LzmaPacker {
    fn write(&mut self, plain: &[u8], sink: &mut dyn io::Write) -> Result<(), PackError> {
        self.promise.take(plain.len())?;
        self.run(plain, Action::Run, sink)
    }

    fn finish(mut self: Box<Self>, sink: &mut dyn io::Write) -> Result<(), PackError> {
        self.promise.keep()?;
        self.run(&[], Action::Finish, sink)
    }
}

/// Makes an xz stream. liblzma makes its blocks; what stands around them is written here, for which the
/// threaded encoder would hold the content of a block and two of them packed.
struct XzPacker {
    promise: Promise,
    recipe: Recipe,
    encoder: RawEncoder,
    /// Content that blocks to come hold.
    left: u64,
    told_block_bytes: Option<u64>,
    packed_len_max: u64,
    flags: FilterFlags,
    header_len: usize,
    block: Option<Block>,
    /// Of each block its length without padding, and that of its content.
    blocks: Vec<[u64; 2]>,
    out: Vec<u8>,
}

/// A block that is being packed.
struct Block {
    check: Check,
    plain_len: u64,
    /// Content that is still to come.
    left: u64,
    /// Packed bytes that were given away.
    given: u64,
    /// All of it, if its header tells its length: nothing is given away before.
    packed: Option<Vec<u8>>,
}

impl XzPacker {
    fn new(recipe: &Recipe, plain_len: u64, packed_len_max: u64, encoder: RawEncoder) -> Self {
        let told_block_bytes = recipe.told_block_bytes(plain_len);
        let flags = FilterFlags::new(&recipe.filters, recipe.dict_bytes);
        let header_len = flags.header_len(told_block_bytes.map(|told| [reserved_bytes(told), told]));
        let mut out = buffer();
        container::stream_header(recipe.check, &mut out);
        Self {
            promise: Promise::new(plain_len),
            recipe: recipe.clone(),
            encoder,
            left: plain_len,
            told_block_bytes,
            packed_len_max,
            flags,
            header_len,
            block: None,
            blocks: Vec::new(),
            out,
        }
    }

    fn begin_block(&mut self) -> Result<Block, PackError> {
        let plain_len = self.told_block_bytes.map_or(self.left, |told| told.min(self.left));
        self.left -= plain_len;
        let mut filters = Filters::new(&self.recipe, plain_len).ok_or(REFUSED)?;
        self.encoder.begin(&mut filters).map_err(|Failed| REFUSED)?;
        let packed = if self.told_block_bytes.is_some() {
            let capacity = reserved_bytes(plain_len).min(self.packed_len_max);
            let capacity = usize::try_from(capacity).map_err(|_| REFUSED)?;
            let mut packed = Vec::new();
            packed.try_reserve_exact(capacity).map_err(|_| OUT_OF_MEMORY)?;
            Some(packed)
        } else {
            self.flags.header(self.header_len, None, &mut self.out);
            None
        };
        let check = Check::new(self.recipe.check).ok_or(REFUSED)?;
        Ok(Block { check, plain_len, left: plain_len, given: 0, packed })
    }

    /// Runs the encoder until it has taken `plain`, or to the end of the block.
    fn run(
        &mut self,
        block: &mut Block,
        mut plain: &[u8],
        is_end: bool,
        sink: &mut dyn io::Write,
    ) -> Result<(), PackError> {
        while is_end || !plain.is_empty() {
            let out = if let Some(packed) = &mut block.packed {
                // It is longer than its content, where liblzma would begin it again and not try to pack it, or
                // longer than all of the stream should be: nobody needs either here.
                if packed.len() == packed.capacity() {
                    return Err(FAILED);
                }
                packed
            } else {
                drain(&mut self.out, sink)?;
                &mut self.out
            };
            let before = out.len();
            let (taken, has_ended) = self.encoder.encode(plain, out, is_end).map_err(|Failed| FAILED)?;
            block.given += (out.len() - before) as u64;
            if has_ended {
                return Ok(());
            }
            plain = &plain[taken..];
        }
        Ok(())
    }

    fn end_block(&mut self, mut block: Block, sink: &mut dyn io::Write) -> Result<(), PackError> {
        self.run(&mut block, &[], true, sink)?;
        let Block { check, plain_len, given: packed_len, packed, .. } = block;
        if let Some(packed) = packed {
            if !self.flags.header(self.header_len, Some([packed_len, plain_len]), &mut self.out) {
                return Err(FAILED);
            }
            drain(&mut self.out, sink)?;
            sink.write_all(&packed).map_err(PackError::Sink)?;
        }
        container::pad(packed_len, &mut self.out);
        let start = self.out.len();
        check.finish(&mut self.out);
        let unpadded = self.header_len as u64 + packed_len + (self.out.len() - start) as u64;
        self.blocks.push([unpadded, plain_len]);
        drain(&mut self.out, sink)
    }

    fn end(&mut self, sink: &mut dyn io::Write) -> Result<(), PackError> {
        self.promise.keep()?;
        container::end(&self.blocks, self.recipe.check, &mut self.out);
        drain(&mut self.out, sink)
    }
}

impl Packer for XzPacker {
    fn write(&mut self, mut plain: &[u8], sink: &mut dyn io::Write) -> Result<(), PackError> {
        self.promise.take(plain.len())?;
        while !plain.is_empty() {
            let mut block = match self.block.take() {
                Some(block) => block,
                None => self.begin_block()?,
            };
            let (now, later) = plain.split_at(block.left.min(plain.len() as u64) as usize);
            block.check.update(now);
            self.run(&mut block, now, false, sink)?;
            block.left -= now.len() as u64;
            plain = later;
            if block.left == 0 {
                self.end_block(block, sink)?;
            } else {
                self.block = Some(block);
            }
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>, sink: &mut dyn io::Write) -> Result<(), PackError> {
        self.end(sink)
    }
}
