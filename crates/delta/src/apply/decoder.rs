//! Decodes frames into flattened bytes, ahead of what is packed and written.

use std::io;

use super::crew::Crew;
use super::pipeline::{BATCH_BYTES, Batch, Filling, Progress, Stop};
use super::written::{Recent, Written};
use super::{ApplyError, Checkpoint, Patch};
use crate::frame::{FrameError, FrameMemory, FrameReader};
use crate::layout::{Node, Root};
use crate::space::Space;

/// Corrections in a batch, in bytes. Longer ones are taken only when nothing else is on its way.
const CORRECTIONS_BYTES_AHEAD: u64 = 64 << 10;
/// What holding corrections takes beside their bytes, roughly.
const CORRECTIONS_OVERHEAD_BYTES: u64 = 64;

/// Goes through the layout and hands on what it takes.
pub(super) struct Decoder<'a, 'c> {
    pub(super) patch: &'a Patch<'a>,
    pub(super) space: &'a Space<'a>,
    pub(super) written: Written<'a>,
    pub(super) progress: &'c Progress,
    pub(super) crew: &'c Crew<'a>,
    pub(super) filling: Filling,
    pub(super) batch: Batch,
    pub(super) next_frame: usize,
    pub(super) reader: Option<FrameReader<'a>>,
    /// What the open frame's predictor takes, in bytes, until it is given back.
    pub(super) predictor_bytes: u64,
    /// The next flattened byte to be made.
    pub(super) flat: u64,
}

impl Decoder<'_, '_> {
    pub(super) fn all(mut self) -> Result<(), Stop> {
        let patch = self.patch;
        for (start, root) in patch.roots_from(self.flat) {
            self.root(root, start)?;
        }
        self.hand_on()
    }

    /// Makes a root, from the middle where a checkpoint stands in it.
    fn root(&mut self, root: &Root, start: u64) -> Result<(), Stop> {
        if self.flat == start {
            self.note_checkpoint();
        }
        match &root.node {
            Node::Plain(len) => self.plain(start + len - self.flat, true),
            // Checkpoints inside of packed roots are not noted: packers keep their state in memory.
            Node::Packed(_) if self.flat != start => {
                Err(ApplyError::NoSuchCheckpoint(self.next_frame).into())
            }
            node @ Node::Packed(_) => self.node(node),
        }
    }

    fn node(&mut self, node: &Node) -> Result<(), Stop> {
        match node {
            Node::Plain(len) => self.plain(*len, false),
            Node::Packed(packed) => {
                let len = packed.corrections_len();
                if len > 0 {
                    self.corrections(len)?;
                }
                packed.children.iter().try_for_each(|child| self.node(child))
            }
        }
    }

    fn corrections(&mut self, len: u64) -> Result<(), Stop> {
        self.open_frame(false)?;
        let held = self.batch.corrections.iter().map(|held| held.len() as u64 + CORRECTIONS_OVERHEAD_BYTES);
        if held.sum::<u64>() + len > CORRECTIONS_BYTES_AHEAD {
            self.hand_on()?;
        }
        if len > CORRECTIONS_BYTES_AHEAD {
            self.progress.wait_for(self.flat).map_err(|_| Stop::OtherEnd)?;
        }
        let frame = self.next_frame - 1;
        let reader = self.reader.as_mut().ok_or(ApplyError::Lengths)?;
        let corrections =
            reader.take_corrections(len).map_err(|source| ApplyError::Frame { frame, source })?;
        self.batch.corrections.push(corrections);
        Ok(())
    }

    fn plain(&mut self, mut len: u64, can_resume: bool) -> Result<(), Stop> {
        while len > 0 {
            self.open_frame(can_resume)?;
            if self.batch.len == BATCH_BYTES {
                self.hand_on()?;
            }
            let frame = self.next_frame - 1;
            let reader = self.reader.as_mut().ok_or(ApplyError::Lengths)?;
            let (recent, free) = self.batch.bytes.split_at_mut(self.batch.len);
            let want = len.min(free.len() as u64) as usize;
            match reader.read(&Recent::new(&self.written, recent), &mut free[..want]) {
                Ok(0) => return Err(ApplyError::Lengths.into()),
                Ok(made) => {
                    self.batch.len += made;
                    self.flat += made as u64;
                    len -= made as u64;
                    if self.predictor_bytes > 0 && !reader.predicts() {
                        self.crew.release_frame(std::mem::take(&mut self.predictor_bytes));
                    }
                }
                // What is asked for ends in this batch: it has to be written first.
                Err(FrameError::Cover { source, .. })
                    if source.kind() == io::ErrorKind::WouldBlock && self.batch.len > 0 =>
                {
                    self.hand_on()?;
                }
                Err(source) => return Err(ApplyError::Frame { frame, source }.into()),
            }
        }
        Ok(())
    }

    /// Notes that everything up to here may be noted as done, when a frame has just ended.
    fn note_checkpoint(&mut self) {
        if self.reader.take_if(|reader| reader.left() == 0).is_some() {
            let checkpoint = Checkpoint { frame: self.next_frame };
            self.batch.checkpoints.push((self.flat, checkpoint));
        }
    }

    /// Sees to it that a frame is open that makes the next byte. Frames that end here are noted as
    /// done where no packer holds bytes back.
    fn open_frame(&mut self, can_resume: bool) -> Result<(), Stop> {
        while self.reader.as_ref().is_none_or(|reader| reader.left() == 0) {
            if can_resume {
                self.note_checkpoint();
            }
            // Free the old frame's dictionaries before the next frame is fetched.
            self.reader = None;
            // The head of a program may be read again.
            self.hand_on()?;
            let info = self.patch.header.frames.get(self.next_frame).ok_or(ApplyError::Lengths)?;
            let bytes = self.patch.frame(self.next_frame)?;
            let frame = self.next_frame;
            let memory = FrameMemory::of(&bytes).map_err(|source| ApplyError::Frame { frame, source })?;
            let is_ahead = self.crew.hold_frame(memory);
            self.predictor_bytes = memory.predictor_bytes;
            let reader =
                FrameReader::new(bytes, is_ahead, self.flat, info.flat_len, self.space, &self.written)
                    .map_err(|source| ApplyError::Frame { frame, source })?;
            self.reader = Some(reader);
            self.next_frame += 1;
        }
        Ok(())
    }

    /// Hands the batch on.
    fn hand_on(&mut self) -> Result<(), Stop> {
        if !self.batch.is_empty() {
            self.batch = self.filling.exchange(std::mem::take(&mut self.batch))?;
        }
        self.written.made = self.flat;
        Ok(())
    }
}
