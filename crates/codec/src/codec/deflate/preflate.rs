//! Any deflate stream, by preflate-rs: it guesses which compressor wrote a stream, predicts every
//! token, and keeps where the stream differs.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use preflate_rs::{ExitCode, PreflateConfig, PreflateStreamProcessor, RecreateStreamProcessor};

use crate::codec::deflate::plan::Step;
use crate::packer::PackError;

/// The engine's name in messages.
pub(crate) const ENGINE: &str = "preflate-rs";
/// The linked version, 0.7.6; `Cargo.toml` pins it. Its corrections are readable by no other.
pub(crate) const VERSION: u32 = 706;

/// How much content is packed at a time, to begin with: what the memory depends on.
const CHUNK_LOG: u8 = 21;
/// How much where blocks are longer, or the guess from the first chunk does not hold. A recipe may
/// ask for no more.
pub(crate) const CHUNK_LOG_MAX: u8 = 27;

/// Fixed memory of the engine: hash tables of up to three kinds, and statistics.
const STATE_BYTES: u64 = 2 << 20;
/// Memory per byte of a chunk: content and packed bytes in buffers that grow by doubling, and four
/// bytes a token.
const BYTES_PER_BYTE: u64 = 10;

/// Memory of the engine for content of a known length.
pub(crate) fn memory_bytes(chunk_log: u8, plain_len: u64) -> u64 {
    STATE_BYTES + BYTES_PER_BYTE * plain_len.min(1 << chunk_log)
}

/// Takes a deflate stream apart, with the smallest chunks that do. Gives the logarithm of the chunks
/// and the steps.
pub(crate) fn analyse(packed: &[u8], chunk_log_min: u8) -> Option<(u8, Vec<Step>)> {
    [CHUNK_LOG, CHUNK_LOG + 3, CHUNK_LOG_MAX]
        .into_iter()
        .filter(|&log| log >= chunk_log_min)
        .find_map(|log| analyse_in_chunks(packed, log).map(|steps| (log, steps)))
}

fn analyse_in_chunks(packed: &[u8], chunk_log: u8) -> Option<Vec<Step>> {
    let config = PreflateConfig {
        plain_text_limit: 1 << chunk_log,
        // The whole stream is proven in the end.
        verify_compression: false,
        ..PreflateConfig::default()
    };
    // The engine holds its assumptions by assertions: a stream that breaks one is not for it.
    catch_unwind(AssertUnwindSafe(|| {
        let mut processor = PreflateStreamProcessor::new(&config);
        let (mut steps, mut at) = (Vec::new(), 0);
        while !processor.is_done() {
            let chunk = processor.decompress(packed.get(at..)?).ok()?;
            at += chunk.compressed_size;
            steps.push(Step::Chunk(processor.plain_text().len() as u64, chunk.corrections));
            processor.shrink_to_dictionary();
        }
        (at == packed.len()).then_some(steps)
    }))
    .ok()
    .flatten()
}

/// Packs the chunks of one deflate stream.
pub(crate) struct Engine(RecreateStreamProcessor);

// SAFETY: the one field that is not `Send` is a boxed trait object that preflate-rs makes of types
// of its own. In the pinned version these are hash tables, numbers and boxes of such; the crate
// forbids unsafe code and uses no reference counting, cells or thread-local data.
unsafe impl Send for Engine {}

impl Engine {
    pub(crate) fn new() -> Self {
        Engine(RecreateStreamProcessor::new())
    }

    /// Packs one chunk.
    pub(crate) fn pack(&mut self, plain: &[u8], corrections: &[u8]) -> Result<Vec<u8>, PackError> {
        // Corrections may come from anywhere, and the engine does not expect them to be wrong. It
        // is not used again after it has panicked: an error ends the packing.
        let done = catch_unwind(AssertUnwindSafe(|| self.0.recompress(&mut Cursor::new(plain), corrections)));
        match done {
            Ok(Ok((packed, _))) => Ok(packed),
            Ok(Err(error)) if error.exit_code() == ExitCode::OutOfMemory => {
                Err(PackError::Engine { engine: ENGINE, reason: "no memory" })
            }
            _ => Err(PackError::Corrections),
        }
    }
}
