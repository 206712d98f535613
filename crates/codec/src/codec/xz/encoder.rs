//! The encoders of the linked liblzma.

use std::io;

use liblzma::stream::{Action, Check, Filters, LzmaOptions, MtStreamBuilder, Status, Stream};

use crate::codec::xz::{ENGINE, Recipe, Shape};
use crate::packer::{PackError, Packer, Promise};

/// How much packed data is fetched at a time.
const OUTPUT_BYTES: usize = 64 << 10;
/// Memory of an encoder that liblzma does not count, and the output buffer.
const SLACK_BYTES: u64 = 256 << 10;
/// The largest value that so many groups of seven bits hold decides the length of a block header.
const GROUP_BITS: u32 = 7;

/// The linked version in liblzma's own counting: 50080042 is 5.8.4.
pub(crate) fn version() -> u32 {
    // SAFETY: takes nothing and returns a constant.
    unsafe { liblzma_sys::lzma_version_number() }
}

/// The integrity check of a number.
pub(crate) fn check(number: u8) -> Option<Check> {
    [(0, Check::None), (1, Check::Crc32), (4, Check::Crc64), (10, Check::Sha256)]
        .into_iter()
        .find_map(|(known, check)| (known == number).then_some(check))
}

/// The size of blocks that the threaded encoder takes by default for a dictionary.
pub(crate) fn default_block_bytes(dict_bytes: u32) -> u64 {
    (3 * u64::from(dict_bytes)).max(1 << 20)
}

fn options(recipe: &Recipe) -> Option<LzmaOptions> {
    let mut options = LzmaOptions::new_preset(recipe.preset.number()).ok()?;
    options
        .dict_size(recipe.dict_bytes)
        .literal_context_bits(u32::from(recipe.bits.literal_context))
        .literal_position_bits(u32::from(recipe.bits.literal_position))
        .position_bits(u32::from(recipe.bits.position));
    Some(options)
}

fn filters(recipe: &Recipe) -> Option<Filters> {
    let mut filters = Filters::new();
    for number in &recipe.filters {
        match number {
            0x04 => filters.x86(),
            0x05 => filters.powerpc(),
            0x06 => filters.ia64(),
            0x07 => filters.arm(),
            0x08 => filters.arm_thumb(),
            0x09 => filters.sparc(),
            0x0a => filters.arm64(),
            0x0b => filters.riscv(),
            _ => return None,
        };
    }
    filters.lzma2(&options(recipe)?);
    Some(filters)
}

/// The threaded encoder with one thread: its output does not depend on how many there are.
fn threaded(recipe: &Recipe, block_bytes: u64) -> Option<MtStreamBuilder> {
    let mut builder = MtStreamBuilder::new();
    builder.threads(1).filters(filters(recipe)?).check(check(recipe.check)?).block_size(block_bytes);
    Some(builder)
}

/// The smallest block size that serves content of this length like `block_bytes`: the encoder
/// takes memory for whole blocks, and their size only tells in the length of the block headers,
/// which hold it as groups of seven bits.
fn least_block_bytes(block_bytes: u64, plain_len: u64) -> u64 {
    let groups = |value: u64| (64 - value.max(1).leading_zeros()).div_ceil(GROUP_BITS);
    let least = 1_u64 << (GROUP_BITS * (groups(block_bytes) - 1));
    let least = least.max(plain_len);
    // The same has to hold for the largest block after packing, a little longer.
    let alike = |value: u64| groups(value + value / 1024 + 1024);
    if least < block_bytes && alike(least) == alike(block_bytes) { least } else { block_bytes }
}

fn block_bytes(recipe: &Recipe, plain_len: u64) -> u64 {
    match recipe.shape {
        Shape::Threaded { block_bytes } => least_block_bytes(block_bytes, plain_len),
        Shape::Whole => plain_len.max(1),
        // Only asked for the memory, which has no part for blocks then.
        Shape::Stream | Shape::Alone => 1,
    }
}

/// Memory of the encoder and the packer.
pub(crate) fn memory_bytes(recipe: &Recipe, plain_len: u64) -> u64 {
    threaded(recipe, block_bytes(recipe, plain_len))
        .map_or(u64::MAX, |builder| builder.memusage().saturating_add(SLACK_BYTES))
}

/// Packs content as it comes.
pub(crate) struct XzPacker {
    promise: Promise,
    stream: Stream,
    out: Vec<u8>,
}

impl XzPacker {
    pub(crate) fn new(recipe: &Recipe, plain_len: u64) -> Result<Self, PackError> {
        let refused = PackError::Engine { engine: ENGINE, reason: "the parameters are not supported" };
        let stream = match recipe.shape {
            Shape::Stream => filters(recipe)
                .zip(check(recipe.check))
                .and_then(|(filters, check)| Stream::new_stream_encoder(&filters, check).ok()),
            Shape::Alone => options(recipe).and_then(|options| Stream::new_lzma_encoder(&options).ok()),
            Shape::Threaded { .. } | Shape::Whole => {
                threaded(recipe, block_bytes(recipe, plain_len)).and_then(|builder| builder.encoder().ok())
            }
        };
        let stream = stream.ok_or(refused)?;
        Ok(XzPacker { promise: Promise::new(plain_len), stream, out: vec![0; OUTPUT_BYTES] })
    }

    /// Runs the encoder until it has taken `plain`, or to its end.
    fn run(&mut self, mut plain: &[u8], action: Action, sink: &mut dyn io::Write) -> Result<(), PackError> {
        let failed = || PackError::Engine { engine: ENGINE, reason: "the encoder failed" };
        loop {
            let (taken, given) = (self.stream.total_in(), self.stream.total_out());
            let status = self.stream.process(plain, &mut self.out, action).map_err(|_| failed())?;
            let taken = (self.stream.total_in() - taken) as usize;
            let given = (self.stream.total_out() - given) as usize;
            plain = plain.get(taken..).ok_or_else(failed)?;
            sink.write_all(self.out.get(..given).ok_or_else(failed)?).map_err(PackError::Sink)?;
            match status {
                Status::StreamEnd => return Ok(()),
                Status::MemNeeded => return Err(failed()),
                _ if plain.is_empty() && given == 0 && matches!(action, Action::Run) => return Ok(()),
                _ => {}
            }
        }
    }
}

impl Packer for XzPacker {
    fn write(&mut self, plain: &[u8], sink: &mut dyn io::Write) -> Result<(), PackError> {
        self.promise.take(plain.len())?;
        if plain.is_empty() { Ok(()) } else { self.run(plain, Action::Run, sink) }
    }

    fn finish(mut self: Box<Self>, sink: &mut dyn io::Write) -> Result<(), PackError> {
        self.promise.keep()?;
        self.run(&[], Action::Finish, sink)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_sizes_shrink_within_their_class() {
        assert_eq!(least_block_bytes(192 << 20, 300_000), 1 << 21);
        assert_eq!(least_block_bytes(192 << 20, 50 << 20), 50 << 20);
        assert_eq!(least_block_bytes(192 << 20, 500 << 20), 192 << 20);
        assert_eq!(least_block_bytes(1 << 20, 100), 1 << 14);
    }
}
