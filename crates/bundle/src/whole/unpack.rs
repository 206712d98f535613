//! Unpacks frames as they come.

use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation as _, OutBuffer};

use super::{BLOCK_BYTES, Whole, WholeFrame};
use crate::error::IndexError;

/// A frame that is unpacked piece by piece. The caller has compared every piece with its digest.
///
/// Memory: the window, and 768 KiB.
pub struct FrameReader {
    decoder: Decoder<'static>,
    /// Where the next byte stands in the payload, and where the frame ends there.
    at: u64,
    end: u64,
    /// What has come of the block at hand.
    block: Vec<u8>,
    /// Whether the packed bytes told their end.
    is_ended: bool,
}

impl FrameReader {
    /// Begins a frame.
    ///
    /// # Errors
    /// [`IndexError::Packed`] where Zstandard cannot be set up.
    pub fn new(whole: &Whole, frame: &WholeFrame) -> Result<Self, IndexError> {
        let mut decoder = Decoder::new().map_err(|_| IndexError::Packed("there is no memory"))?;
        let window = DParameter::WindowLogMax(u32::from(whole.window_log));
        decoder.set_parameter(window).map_err(|_| IndexError::Packed("its window is not allowed"))?;
        Ok(Self {
            decoder,
            at: frame.content.start,
            end: frame.content.end,
            block: Vec::new(),
            is_ended: false,
        })
    }

    /// Takes the next packed bytes. Calls `each` with blocks of the payload, as they were packed: where each stands,
    /// and its bytes. It stops at the frame's declared end, whatever follows.
    ///
    /// # Errors
    /// [`IndexError::Packed`] where they do not unpack, or to more than the frame holds; whatever `each` answers.
    pub fn push<E: From<IndexError>>(
        &mut self,
        packed: &[u8],
        each: &mut dyn FnMut(u64, Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut input = InBuffer::around(packed);
        loop {
            let from = self.block.len();
            let left = self.end - self.at - from as u64;
            let room = left.min(BLOCK_BYTES - from as u64) as usize;
            // Where nothing more may come, room for a byte tells whether more would.
            self.block.resize(from + room.max(1), 0);
            let mut output = OutBuffer::around_pos(&mut self.block[..], from);
            let consumed = input.pos();
            let is_ended = match self.decoder.run(&mut input, &mut output) {
                Ok(left) => left == 0,
                Err(_) => return Err(IndexError::Packed("the frame is damaged").into()),
            };
            let filled = output.pos();
            if filled > from + room {
                return Err(IndexError::Packed("it is more than it should be").into());
            }
            self.block.truncate(filled);
            if filled > 0 && filled == from + room {
                let (at, block) = (self.at, std::mem::take(&mut self.block));
                self.at += block.len() as u64;
                each(at, block)?;
            }
            if is_ended {
                let is_right = self.at == self.end && input.pos() == packed.len() && !self.is_ended;
                self.is_ended = true;
                let wrong = IndexError::Packed("it ends where it should not");
                return if is_right { Ok(()) } else { Err(wrong.into()) };
            }
            if filled == from && input.pos() == consumed {
                return Ok(());
            }
        }
    }

    /// Checks that all has come.
    ///
    /// # Errors
    /// [`IndexError::Packed`].
    pub fn finish(&self) -> Result<(), IndexError> {
        if self.is_ended { Ok(()) } else { Err(IndexError::Packed("the frame is cut")) }
    }
}
