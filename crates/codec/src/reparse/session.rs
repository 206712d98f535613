//! Codes frames block by block: the one procedure that both writes and reads corrections.

use super::block::{
    BLOCK_PLAIN_MAX, Compressed, LiteralsHead, MATCH_MIN, Repeats, Sequence, SequencesHead, TableMode, Tables,
};
use super::choices::{self, Repeatable};
use super::coder::Coder;
use super::codes::Alphabet;
use super::emit;
use super::error::PackError;
use super::frame::{BlockHeader, BlockKind, FrameHeader, HEADER_BYTES_MAX};
use super::history::History;
use super::models::Models;
use super::parse;
use super::predict::{Block, Predictor};
use super::recipe::Reparse;

/// Skippable frames and whatever else stands between frames, at most this long each.
pub const STRETCH_BYTES_MAX: u32 = 1 << 20;
/// The longest frame: positions are 32 bits, with room for what predictors look ahead.
pub const FRAME_PLAIN_MAX: u64 = (u32::MAX - (1 << 24)) as u64;

/// What comes next in the packed stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// Nothing more.
    End,
    /// A frame with this header.
    Frame(Vec<u8>),
    /// Bytes as they are: a skippable frame.
    Bytes(Vec<u8>),
}

/// How a block is coded in the corrections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A raw block.
    Raw,
    /// A run of one byte.
    Rle,
    /// A compressed block, taken apart.
    Parsed,
    /// A compressed block that does not come back from its parts.
    Verbatim,
}

/// What is known of a block before its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Whether the frame ends with it.
    pub last: bool,
    /// How it is coded.
    pub kind: Kind,
    /// Bytes that it stands for.
    pub len: u32,
}

/// A block as it stands in the packed stream.
#[derive(Debug)]
pub enum Actual<'a> {
    /// Raw and run blocks are told by their head.
    Plain,
    /// Taken apart.
    Parsed(&'a Compressed),
    /// As stored.
    Verbatim(&'a [u8]),
}

/// The state of coding a packed stream.
#[derive(Debug)]
pub struct Session {
    recipe: Reparse,
    predictor: Predictor,
    history: History,
    models: Models,
    tables: Tables,
    repeatable: Repeatable,
    repeats: Repeats,
    header: Option<FrameHeader>,
    last_kind: usize,
    /// Position of the current block in the frame.
    at: u32,
    /// End of what is parsed as a whole: of the block, or of several that libzstd made of one.
    unit_end: u32,
    /// Bytes of content of all frames that are not yet coded.
    plain_left: u64,
}

impl Session {
    /// Begins a stream whose content has `plain_len` bytes.
    pub fn new(recipe: Reparse, plain_len: u64) -> Self {
        Self {
            recipe,
            predictor: Predictor::new(&recipe.search),
            history: History::default(),
            models: Models::default(),
            tables: Tables::default(),
            repeatable: Repeatable::default(),
            repeats: Repeats::default(),
            header: None,
            last_kind: 2,
            at: 0,
            unit_end: 0,
            plain_left: plain_len,
        }
    }

    /// Bytes of content that are not yet coded.
    pub fn plain_left(&self) -> u64 {
        self.plain_left
    }

    /// Whether the frame at hand carries a checksum.
    pub fn has_checksum(&self) -> bool {
        self.header.is_some_and(|header| header.checksum)
    }

    /// Appends content of the current block.
    pub fn push(&mut self, plain: &[u8]) -> Result<(), PackError> {
        self.history.push(plain, self.at).map_err(|_| PackError::OutOfMemory)
    }

    /// Bytes of the current block that are here already.
    pub fn pushed(&self) -> u32 {
        self.history.end() - self.at
    }

    /// Codes what comes next in the stream.
    pub fn item<C: Coder>(&mut self, coder: &mut C, actual: &Item) -> Result<Item, PackError> {
        let kind = match actual {
            Item::End => 0,
            Item::Frame(_) => 1,
            Item::Bytes(_) => 2,
        };
        match coder.tree(&mut self.models.item, 2, kind) {
            0 => Ok(Item::End),
            1 => {
                let known = if let Item::Frame(bytes) = actual { bytes.as_slice() } else { &[] };
                let bytes = self
                    .models
                    .stretch(coder, known, HEADER_BYTES_MAX as u32)
                    .ok_or(PackError::Corrections("frame header"))?;
                let header = FrameHeader::read(&bytes).ok_or(PackError::Corrections("frame header"))?;
                self.begin_frame(header);
                Ok(Item::Frame(bytes))
            }
            2 => {
                let known = if let Item::Bytes(bytes) = actual { bytes.as_slice() } else { &[] };
                let bytes = self.models.stretch(coder, known, STRETCH_BYTES_MAX);
                Ok(Item::Bytes(bytes.ok_or(PackError::Corrections("bytes between frames"))?))
            }
            _ => Err(PackError::Corrections("item")),
        }
    }

    fn begin_frame(&mut self, header: FrameHeader) {
        self.header = Some(header);
        self.history.restart(self.at, self.recipe.window());
        self.tables = Tables::default();
        self.repeatable = Repeatable::default();
        self.repeats = Repeats::default();
        self.at = 0;
        self.unit_end = 0;
        self.predictor.restart(self.history.view(), 0, 0);
    }

    /// Codes the bytes of a frame's checksum: storing them is shorter than computing them.
    #[expect(clippy::unused_self, reason = "called like its siblings, which read the state")]
    pub fn checksum<C: Coder>(&mut self, coder: &mut C, actual: [u8; 4]) -> [u8; 4] {
        actual.map(|byte| coder.direct(u32::from(byte), 8) as u8)
    }

    /// Codes a block's head.
    pub fn head<C: Coder>(&mut self, coder: &mut C, actual: Head) -> Result<Head, PackError> {
        let models = &mut self.models;
        let last = coder.bit(&mut models.last, actual.last);
        let kind = coder.tree(&mut models.kind[self.last_kind], 2, actual.kind as u32);
        self.last_kind = kind as usize;
        let kind = [Kind::Raw, Kind::Rle, Kind::Parsed, Kind::Verbatim][kind as usize & 3];
        if self.at >= self.unit_end {
            self.unit_end = self.at + self.usual_len();
        }
        let usual = self.unit_end - self.at;
        let models = &mut self.models;
        let len = if coder.bit(&mut models.usual_size, actual.len != usual) {
            coder.number(&mut models.size, actual.len)
        } else {
            usual
        };
        let end = u64::from(self.at) + u64::from(len);
        if len > BLOCK_PLAIN_MAX as u32 || u64::from(len) > self.plain_left || end > FRAME_PLAIN_MAX {
            return Err(PackError::Corrections("block length"));
        }
        if len > usual || !self.recipe.splits_blocks() {
            self.unit_end = end as u32;
        }
        Ok(Head { last, kind, len })
    }

    /// Bytes that must be pushed before the block's body is coded: it may be part of what is parsed
    /// as a whole.
    pub fn needed(&self) -> u32 {
        self.unit_end - self.at
    }

    /// The length that a block has unless there is a reason.
    fn usual_len(&self) -> u32 {
        let window = self.header.map_or(u64::MAX, |header| header.window);
        let content = self
            .header
            .and_then(|header| header.content)
            .map_or(u64::MAX, |content| content.saturating_sub(u64::from(self.at)));
        let mut len = (BLOCK_PLAIN_MAX as u64).min(window).min(content).min(self.plain_left);
        if let Some(job) = self.recipe.job_bytes() {
            len = len.min(u64::from(job - self.at % job));
        }
        len as u32
    }

    /// Codes a block whose content is here, and writes it to `out`.
    pub fn body<C: Coder>(
        &mut self,
        coder: &mut C,
        head: Head,
        actual: Option<&Actual<'_>>,
        out: &mut Vec<u8>,
    ) -> Result<(), PackError> {
        let block = Block { start: self.at, end: self.at + head.len };
        if let Some(job) = self.recipe.job_bytes()
            && block.start > 0
            && block.start.is_multiple_of(job)
        {
            let view = self.history.view();
            let prefix = block.start.saturating_sub(self.recipe.overlap_bytes()).max(view.start());
            self.predictor.restart(view, prefix, block.start);
            self.repeatable = Repeatable::default();
        }
        self.predictor
            .begin(self.history.view(), Block { start: block.start, end: self.unit_end.max(block.end) });
        match head.kind {
            Kind::Raw | Kind::Rle => {
                self.follow_prediction(block.end);
                let kind = if head.kind == Kind::Raw { BlockKind::Raw } else { BlockKind::Rle };
                BlockHeader { last: head.last, kind, size: head.len as usize }.write(out);
                let plain = self.history.view().range(block.start, block.end);
                if head.kind == Kind::Raw {
                    out.extend_from_slice(plain);
                } else {
                    let byte = *plain.first().ok_or(PackError::Corrections("empty run"))?;
                    if plain.iter().any(|&other| other != byte) {
                        return Err(PackError::Corrections("a run of several bytes"));
                    }
                    out.push(byte);
                }
                self.predictor.end(false);
            }
            Kind::Parsed => {
                let actual = if let Some(Actual::Parsed(parsed)) = actual { Some(*parsed) } else { None };
                self.parsed(coder, head, block, actual, out)?;
                self.predictor.end(true);
            }
            Kind::Verbatim => {
                let known = if let Some(Actual::Verbatim(bytes)) = actual { *bytes } else { &[] };
                let bytes = self.models.stretch(coder, known, BLOCK_PLAIN_MAX as u32);
                let bytes = bytes.ok_or(PackError::Corrections("block"))?;
                self.verbatim(head, &bytes)?;
                BlockHeader { last: head.last, kind: BlockKind::Compressed, size: bytes.len() }.write(out);
                out.extend_from_slice(&bytes);
                self.predictor.end(true);
            }
        }
        self.at = block.end;
        self.plain_left -= u64::from(head.len);
        Ok(())
    }

    /// Lets the predictor go through a block of which only the content is known.
    fn follow_prediction(&mut self, end: u32) {
        let mut repeats = self.repeats;
        let mut at = self.at;
        while let Some(sequence) = self.predictor.predict(self.history.view()) {
            at += sequence.literals + sequence.length;
            if at > end {
                break;
            }
            let distance = repeats.distance(sequence);
            repeats.push(sequence, distance);
            self.predictor.accept(self.history.view(), sequence, distance);
        }
    }

    fn verbatim(&mut self, head: Head, bytes: &[u8]) -> Result<(), PackError> {
        let parsed = parse::parse(bytes, &mut self.tables).ok_or(PackError::Corrections("block"))?;
        if parsed.plain_len() != head.len as usize {
            return Err(PackError::Corrections("block length"));
        }
        let mut at = self.at;
        for &sequence in &parsed.sequences {
            at = self.take(sequence, at, self.at + head.len)?;
        }
        let modes = parsed.sequences_head.as_ref().map(|head| &head.modes);
        self.repeatable.follow(&parsed.literals_head.coding, modes);
        Ok(())
    }

    /// Checks a sequence that begins at `at` and hands it to the predictor; answers its end.
    fn take(&mut self, sequence: Sequence, at: u32, end: u32) -> Result<u32, PackError> {
        let distance = self.repeats.distance(sequence);
        let start = u64::from(at) + u64::from(sequence.literals);
        let stop = start + u64::from(sequence.length);
        // Not the history's own start: how much it holds beyond the window depends on how it came.
        let reach = start.min(self.recipe.window() as u64);
        if stop > u64::from(end)
            || sequence.length < MATCH_MIN
            || distance == 0
            || u64::from(distance) > reach
        {
            return Err(PackError::Corrections("sequence"));
        }
        self.repeats.push(sequence, distance);
        self.predictor.accept(self.history.view(), sequence, distance);
        Ok(stop as u32)
    }

    fn parsed<C: Coder>(
        &mut self,
        coder: &mut C,
        head: Head,
        block: Block,
        actual: Option<&Compressed>,
        out: &mut Vec<u8>,
    ) -> Result<(), PackError> {
        let mut known = actual.map(|parsed| parsed.sequences.iter().copied());
        let mut sequences = Vec::new();
        let mut literals = Vec::new();
        let mut at = block.start;
        loop {
            if at == block.end {
                break;
            }
            let predicted = self.predictor.predict(self.history.view());
            let next = known.as_mut().and_then(Iterator::next);
            let Some(sequence) = self.models.sequence(coder, predicted, next) else { break };
            let stop = self.take(sequence, at, block.end)?;
            let view = self.history.view();
            literals.extend_from_slice(view.range(at, at + sequence.literals));
            sequences.push(sequence);
            at = stop;
        }
        literals.extend_from_slice(self.history.view().range(at, block.end));
        let start = out.len();
        BlockHeader { last: head.last, kind: BlockKind::Compressed, size: 0 }.write(out);
        let literals_head = self.literals_head(coder, &literals, sequences.len(), actual)?;
        emit::emit_literals(&literals_head, &literals, &mut self.tables, out)
            .ok_or(PackError::Corrections("literals"))?;
        let sequences_head = self.sequences_head(coder, &sequences, actual)?;
        emit::emit_sequences(sequences_head.as_ref(), &sequences, &mut self.tables, out)
            .ok_or(PackError::Corrections("sequences"))?;
        self.repeatable.follow(&literals_head.coding, sequences_head.as_ref().map(|head| &head.modes));
        let size = out.len() - start - BlockHeader::LEN;
        if size > BLOCK_PLAIN_MAX {
            return Err(PackError::Corrections("block size"));
        }
        let mut header = Vec::with_capacity(BlockHeader::LEN);
        BlockHeader { last: head.last, kind: BlockKind::Compressed, size }.write(&mut header);
        out[start..start + BlockHeader::LEN].copy_from_slice(&header);
        Ok(())
    }

    fn literals_head<C: Coder>(
        &mut self,
        coder: &mut C,
        literals: &[u8],
        sequences: usize,
        actual: Option<&Compressed>,
    ) -> Result<LiteralsHead, PackError> {
        let dialect = self.recipe.dialect();
        let expected = choices::literals(literals, sequences, &self.tables, self.repeatable, dialect);
        let actual = actual.map(|parsed| &parsed.literals_head);
        self.models
            .literals_head(coder, expected, actual, || choices::literals_tree(literals, dialect))
            .ok_or(PackError::Corrections("literals"))
    }

    fn sequences_head<C: Coder>(
        &mut self,
        coder: &mut C,
        sequences: &[Sequence],
        actual: Option<&Compressed>,
    ) -> Result<Option<SequencesHead>, PackError> {
        if sequences.is_empty() {
            return Ok(None);
        }
        let actual = actual.and_then(|parsed| parsed.sequences_head.as_ref());
        let expected = choices::modes(sequences, &self.tables, self.repeatable, self.recipe.dialect());
        let mut modes = [const { TableMode::Repeat }; 3];
        for ((index, alphabet), expected) in Alphabet::ALL.into_iter().enumerate().zip(expected) {
            let mode = self
                .models
                .mode(coder, index, expected, actual.map(|head| &head.modes[index]), || {
                    choices::table(alphabet, sequences)
                })
                .ok_or(PackError::Corrections("table"))?;
            parse::apply_mode(&mode, alphabet, &mut self.tables.sequences[index])
                .ok_or(PackError::Corrections("table"))?;
            modes[index] = mode;
        }
        let expected = emit::first_states(sequences, &self.tables).ok_or(PackError::Corrections("table"))?;
        let logs = std::array::from_fn(|i| {
            self.tables.sequences[i].as_ref().map_or(0, |table| table.distribution.log)
        });
        let last_states = self.models.last_states(coder, expected, actual, logs);
        Ok(Some(SequencesHead { modes, last_states }))
    }
}
