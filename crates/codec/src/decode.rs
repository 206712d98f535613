//! Decoding: any format, from memory or from a reader, within limits.

use std::io::{self, Read};

use flate2::bufread::{DeflateDecoder, GzDecoder, ZlibDecoder};
use liblzma::bufread::XzDecoder;
use thiserror::Error;

use crate::codec::lz4::{FrameDecoder, LegacyDecoder, decode_block as decode_lz4_block};
use crate::codec::xz::header as xz_header;
use crate::codec::{ext4, squashfs};
use crate::format::{Format, GZIP_MAGIC, LZ4_FRAME_MAGIC, LZ4_LEGACY_MAGIC, XZ_MAGIC, ZSTD_MAGIC};
use crate::input::{Buffered, Input};
use crate::reparse::frame::FrameHeader;

/// The largest window or dictionary that a stream may ask of its decoder, 128 MiB: what `zstd`
/// itself decodes without being told to use more, and twice what `xz -9` asks for.
pub const DECODE_WINDOW_BYTES_MAX: u64 = 1 << DECODE_WINDOW_LOG_MAX;
const DECODE_WINDOW_LOG_MAX: u32 = 27;
/// The smallest limit on its window that libzstd takes.
const ZSTD_WINDOW_LOG_MIN: u32 = 10;
const DECODE_MEMORY_BYTES_MAX: u64 = DECODE_WINDOW_BYTES_MAX + DECODE_STATE_BYTES_MAX;
/// What a decoder may need besides the window (liblzma counts both together).
const DECODE_STATE_BYTES_MAX: u64 = 1 << 20;
/// What the decoder of an LZ4 frame takes: a packed block and its content, 4 MiB each at most, and what
/// came before.
const LZ4_FRAME_STATE_BYTES: u64 = 2 * (4 << 20) + (192 << 10);
/// What the decoder of a legacy LZ4 frame takes: a packed block and its content, 8 MiB each.
const LZ4_LEGACY_STATE_BYTES: u64 = 2 * (8 << 20) + (64 << 10);
/// So many bytes at the start of a stream tell what its decoder takes (the longest block header of an xz
/// stream, and what stands before it).
pub const DECODE_HEAD_BYTES: usize = 12 + 1024;
/// The largest bare LZ4 block that a reader takes, packed. Containers use at most 1 MiB of content.
const LZ4_BLOCK_BYTES_MAX: u64 = 16 << 20;
/// The most that is reserved ahead of decoding on a container's word alone.
const RESERVE_BYTES_MAX: usize = 1 << 20;

/// Why packed bytes could not be decoded.
#[derive(Debug, Error)]
pub enum DecodeError {
    /// The bytes break the rules of the format, or ask for something that is not supported.
    #[error("no valid {format} stream")]
    Corrupt {
        /// The format that was expected.
        format: Format,
        /// What the decoder said.
        source: io::Error,
    },
    /// The stream goes on behind the last byte.
    #[error("the {format} stream is cut short")]
    Truncated {
        /// The format that was expected.
        format: Format,
    },
    /// The content is longer than allowed.
    #[error("the {format} stream holds more than {max} bytes")]
    TooLong {
        /// The format that was expected.
        format: Format,
        /// The limit that was given.
        max: u64,
    },
}

impl DecodeError {
    fn of(format: Format, source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::UnexpectedEof {
            DecodeError::Truncated { format }
        } else {
            DecodeError::Corrupt { format, source }
        }
    }
}

impl Format {
    /// The most memory that decoding takes, in bytes, as far as the first [`DECODE_HEAD_BYTES`] tell:
    /// later members may ask for more, but [`Format::reader_within`] refuses them. The content is not
    /// counted, nor is a bare LZ4 block, which is held in memory whole.
    pub fn decode_memory_bytes(self, head: &[u8]) -> u64 {
        let window = match self {
            Format::Stored
            | Format::Lz4Block
            | Format::Ext4Inodes
            | Format::SquashfsInodes
            | Format::SquashfsFragments => return 0,
            Format::Gzip | Format::Zlib | Format::Deflate => Some(64 << 10),
            Format::Zstd => FrameHeader::read(head).map(|header| {
                // The decoder's limit is a power of two.
                header.window.min(DECODE_WINDOW_BYTES_MAX).next_power_of_two()
            }),
            Format::Xz => xz_header::read_xz(head).map(|header| u64::from(header.dict_bytes)),
            Format::Lzma => {
                head.get(1..5).map(|size| u64::from(u32::from_le_bytes([size[0], size[1], size[2], size[3]])))
            }
            Format::Lz4Frame => Some(LZ4_FRAME_STATE_BYTES),
            Format::Lz4Legacy => Some(LZ4_LEGACY_STATE_BYTES),
        };
        window.unwrap_or(DECODE_WINDOW_BYTES_MAX).min(DECODE_WINDOW_BYTES_MAX) + DECODE_STATE_BYTES_MAX
    }

    /// Decodes `packed` as it is read, in at most so many bytes of memory.
    ///
    /// Reads every member or frame that follows directly, and stops without an error where
    /// something else begins: what it gives is exactly what [`Prover::unpack`] finds in the same
    /// bytes. A window or dictionary is refused that takes more than `memory_bytes`, or more than
    /// [`DECODE_WINDOW_BYTES_MAX`]; a bare LZ4 block is held in memory whole in any case.
    ///
    /// [`Prover::unpack`]: crate::Prover::unpack
    ///
    /// # Errors
    /// If the stream cannot be opened. The reader fails with [`io::ErrorKind::UnexpectedEof`] on a
    /// stream that is cut short, and with the errors of `packed`.
    pub fn reader_within<'a>(
        self,
        packed: Box<dyn Read + Send + 'a>,
        memory_bytes: u64,
    ) -> io::Result<Box<dyn Read + Send + 'a>> {
        match self {
            Format::Stored => Ok(packed),
            Format::Ext4Inodes => Ok(Box::new(ext4::Reader::new(packed))),
            Format::SquashfsInodes | Format::SquashfsFragments => {
                Ok(Box::new(squashfs::Reader::new(packed, self)))
            }
            Format::Lz4Block => {
                let mut block = Vec::new();
                packed.take(LZ4_BLOCK_BYTES_MAX + 1).read_to_end(&mut block)?;
                if block.len() as u64 > LZ4_BLOCK_BYTES_MAX {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "LZ4 block too long"));
                }
                let mut plain = Vec::new();
                decode_lz4_block(&block, LZ4_BLOCK_BYTES_MAX, &mut plain)?;
                Ok(Box::new(io::Cursor::new(plain)))
            }
            _ => Ok(Box::new(Decoder::new(self, Buffered::new(packed), memory_bytes))),
        }
    }

    /// Decodes `packed` as it is read: [`Format::reader_within`] the largest window that is allowed.
    ///
    /// # Errors
    /// Those of [`Format::reader_within`].
    pub fn reader<'a>(self, packed: Box<dyn Read + Send + 'a>) -> io::Result<Box<dyn Read + Send + 'a>> {
        self.reader_within(packed, DECODE_MEMORY_BYTES_MAX)
    }

    /// Decodes one block into `plain`, which is cleared first. Bytes behind the stream's end are
    /// ignored. Made for the blocks of squashfs and EROFS.
    ///
    /// # Errors
    /// If the block is corrupt, cut short, or holds more than `plain_len_max` bytes.
    pub fn decode_block(
        self,
        packed: &[u8],
        plain_len_max: usize,
        plain: &mut Vec<u8>,
    ) -> Result<(), DecodeError> {
        plain.reserve(plain_len_max.min(RESERVE_BYTES_MAX));
        decode(self, packed, plain_len_max as u64, plain).map(|_| ())
    }
}

/// Decodes the stream at the start of `packed` into `plain` (cleared first) and tells its packed
/// length.
pub(crate) fn decode(
    format: Format,
    packed: &[u8],
    plain_len_max: u64,
    plain: &mut Vec<u8>,
) -> Result<usize, DecodeError> {
    plain.clear();
    let left = match format {
        Format::Stored | Format::Ext4Inodes | Format::SquashfsInodes | Format::SquashfsFragments => {
            if packed.len() as u64 > plain_len_max {
                return Err(DecodeError::TooLong { format, max: plain_len_max });
            }
            match format {
                Format::Stored => plain.extend_from_slice(packed),
                Format::Ext4Inodes => {
                    plain.extend_from_slice(packed);
                    ext4::Exchange::new(None).replace(plain);
                }
                _ => squashfs::unpack(format, packed, plain),
            }
            0
        }
        Format::Lz4Block => {
            decode_lz4_block(packed, plain_len_max, plain)
                .map_err(|source| DecodeError::Corrupt { format, source })?;
            0
        }
        _ => {
            let mut decoder =
                Decoder::new(format, packed, DECODE_MEMORY_BYTES_MAX).take(plain_len_max.saturating_add(1));
            decoder.read_to_end(plain).map_err(|source| DecodeError::of(format, source))?;
            decoder.into_inner().left()
        }
    };
    if plain.len() as u64 > plain_len_max {
        return Err(DecodeError::TooLong { format, max: plain_len_max });
    }
    Ok(packed.len() - left)
}

/// Reads the members of a stream one after the other.
struct Decoder<I: Input> {
    format: Format,
    memory_bytes: u64,
    state: State<I>,
}

enum State<I: Input> {
    /// The first member has yet to be opened.
    Start(I),
    Within(Member<I>),
    /// What follows is not of this stream.
    End(I),
    /// A member could not be opened or read.
    Failed,
}

impl<I: Input> Decoder<I> {
    fn new(format: Format, input: I, memory_bytes: u64) -> Self {
        let memory_bytes = memory_bytes.min(DECODE_MEMORY_BYTES_MAX);
        Decoder { format, memory_bytes, state: State::Start(input) }
    }
}

impl Decoder<&[u8]> {
    /// How many bytes stand behind the end of the stream; none before the end was reached.
    fn left(&self) -> usize {
        match self.state {
            State::End(rest) => rest.len(),
            _ => 0,
        }
    }
}

impl<I: Input> Read for Decoder<I> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        loop {
            match std::mem::replace(&mut self.state, State::Failed) {
                State::Start(input) => {
                    self.state = State::Within(Member::open(self.format, input, self.memory_bytes)?);
                }
                State::Within(mut member) => {
                    let count = member.read(out)?;
                    if count > 0 {
                        self.state = State::Within(member);
                        return Ok(count);
                    }
                    let mut input = member.into_input();
                    self.state = if goes_on(self.format, &mut input)? {
                        State::Start(input)
                    } else {
                        State::End(input)
                    };
                }
                State::End(input) => {
                    self.state = State::End(input);
                    return Ok(0);
                }
                State::Failed => return Err(io::Error::new(io::ErrorKind::InvalidData, "failed before")),
            }
        }
    }
}

/// Whether another member of the same format follows.
fn goes_on(format: Format, input: &mut impl Input) -> io::Result<bool> {
    let magic = match format {
        Format::Gzip => GZIP_MAGIC,
        Format::Zstd => ZSTD_MAGIC,
        Format::Xz => XZ_MAGIC,
        Format::Lz4Frame => LZ4_FRAME_MAGIC,
        Format::Lz4Legacy => LZ4_LEGACY_MAGIC,
        _ => return Ok(false),
    };
    Ok(input.peek(magic.len())? == magic)
}

/// The decoder of one member, frame or stream. Each stops exactly behind its last byte.
enum Member<I: Input> {
    Gzip(Box<GzDecoder<I>>),
    Zlib(ZlibDecoder<I>),
    Deflate(DeflateDecoder<I>),
    Zstd(Box<zstd::stream::read::Decoder<'static, I>>),
    Xz(XzDecoder<I>),
    Lz4Frame(FrameDecoder<I>),
    Lz4Legacy(LegacyDecoder<I>),
    Bare(I),
}

impl<I: Input> Member<I> {
    fn open(format: Format, input: I, memory: u64) -> io::Result<Self> {
        Ok(match format {
            Format::Gzip => Member::Gzip(Box::new(GzDecoder::new(input))),
            Format::Zlib => Member::Zlib(ZlibDecoder::new(input)),
            Format::Deflate => Member::Deflate(DeflateDecoder::new(input)),
            Format::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?.single_frame();
                let window = memory.saturating_sub(DECODE_STATE_BYTES_MAX).max(1 << ZSTD_WINDOW_LOG_MIN);
                decoder.window_log_max(window.ilog2())?;
                Member::Zstd(Box::new(decoder))
            }
            Format::Xz => {
                let stream = liblzma::stream::Stream::new_stream_decoder(memory, 0)?;
                Member::Xz(XzDecoder::new_stream(input, stream))
            }
            Format::Lzma => {
                let stream = liblzma::stream::Stream::new_lzma_decoder(memory)?;
                Member::Xz(XzDecoder::new_stream(input, stream))
            }
            Format::Lz4Frame => Member::Lz4Frame(FrameDecoder::new(input)?),
            Format::Lz4Legacy => Member::Lz4Legacy(LegacyDecoder::new(input)),
            Format::Stored
            | Format::Lz4Block
            | Format::Ext4Inodes
            | Format::SquashfsInodes
            | Format::SquashfsFragments => Member::Bare(input),
        })
    }

    fn into_input(self) -> I {
        match self {
            Member::Gzip(decoder) => decoder.into_inner(),
            Member::Zlib(decoder) => decoder.into_inner(),
            Member::Deflate(decoder) => decoder.into_inner(),
            Member::Zstd(decoder) => decoder.finish(),
            Member::Xz(decoder) => decoder.into_inner(),
            Member::Lz4Frame(decoder) => decoder.into_input(),
            Member::Lz4Legacy(decoder) => decoder.into_input(),
            Member::Bare(input) => input,
        }
    }
}

impl<I: Input> Read for Member<I> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self {
            Member::Gzip(decoder) => decoder.read(out),
            Member::Zlib(decoder) => decoder.read(out),
            Member::Deflate(decoder) => decoder.read(out),
            Member::Zstd(decoder) => decoder.read(out),
            Member::Xz(decoder) => decoder.read(out),
            Member::Lz4Frame(decoder) => decoder.read(out),
            Member::Lz4Legacy(decoder) => decoder.read(out),
            Member::Bare(input) => input.read(out),
        }
    }
}
