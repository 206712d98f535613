//! A packed stream taken apart into items: frames, their blocks, and what stands between them.

use super::block::{BLOCK_PLAIN_MAX, Compressed, Repeats, Tables};
use super::emit;
use super::error::AnalyzeError;
use super::frame::{BlockHeader, BlockKind, FrameHeader, skippable};
use super::parse;
use super::session::{FRAME_PLAIN_MAX, Head, Kind};

/// One block of a packed stream.
#[derive(Debug)]
pub struct BlockIn<'a> {
    /// What is known before its content.
    pub head: Head,
    /// The bytes behind the block's header.
    pub bytes: &'a [u8],
    /// For [`Kind::Parsed`]: what it is made of.
    pub parsed: Option<Compressed>,
}

/// Reads the blocks of one frame and makes their content.
#[derive(Debug)]
pub struct FrameReader<'a> {
    packed: &'a [u8],
    /// The frame's header.
    pub header: FrameHeader,
    at: usize,
    tables: Tables,
    check_tables: Tables,
    repeats: Repeats,
    done: bool,
}

impl<'a> FrameReader<'a> {
    /// Begins at a frame's first byte.
    pub fn new(packed: &'a [u8]) -> Result<Self, AnalyzeError> {
        let header = FrameHeader::read(packed).ok_or(AnalyzeError::Malformed("frame header"))?;
        if header.dictionary != 0 {
            return Err(AnalyzeError::Dictionary(header.dictionary));
        }
        if header.content.is_some_and(|content| content > FRAME_PLAIN_MAX) {
            return Err(AnalyzeError::TooLarge { max: FRAME_PLAIN_MAX });
        }
        Ok(Self {
            packed,
            header,
            at: header.len,
            tables: Tables::default(),
            check_tables: Tables::default(),
            repeats: Repeats::default(),
            done: false,
        })
    }

    /// The next block; its content is appended to `plain`, which holds the frame's content from
    /// `start` on. `None` behind the last block.
    pub fn next(&mut self, plain: &mut Vec<u8>, start: usize) -> Result<Option<BlockIn<'a>>, AnalyzeError> {
        if self.done {
            return Ok(None);
        }
        let header = BlockHeader::read(&self.packed[self.at..]).ok_or(AnalyzeError::Malformed("block header"))?;
        self.at += BlockHeader::LEN;
        let stored = if header.kind == BlockKind::Rle { 1 } else { header.size };
        let bytes =
            self.packed.get(self.at..self.at + stored).ok_or(AnalyzeError::Malformed("a block that is cut short"))?;
        self.at += stored;
        self.done = header.last;
        let before = plain.len();
        if (before - start + BLOCK_PLAIN_MAX) as u64 > FRAME_PLAIN_MAX {
            return Err(AnalyzeError::TooLarge { max: FRAME_PLAIN_MAX });
        }
        let mut kind = Kind::Raw;
        let mut parsed = None;
        match header.kind {
            BlockKind::Raw => plain.extend_from_slice(bytes),
            BlockKind::Rle => {
                kind = if header.size == 0 { return Err(AnalyzeError::Malformed("an empty run")) } else { Kind::Rle };
                plain.resize(before + header.size, bytes[0]);
            }
            BlockKind::Compressed => {
                let block =
                    parse::parse(bytes, &mut self.tables).ok_or(AnalyzeError::Malformed("compressed block"))?;
                self.execute(&block, plain, start)?;
                kind = if self.comes_back(&block, bytes) { Kind::Parsed } else { Kind::Verbatim };
                self.check_tables = self.tables.clone();
                parsed = (kind == Kind::Parsed).then_some(block);
            }
        }
        let head = Head { last: header.last, kind, len: (plain.len() - before) as u32 };
        Ok(Some(BlockIn { head, bytes, parsed }))
    }

    /// Whether putting the block together gives the bytes that it was taken from.
    fn comes_back(&mut self, block: &Compressed, bytes: &[u8]) -> bool {
        let mut out = Vec::with_capacity(bytes.len());
        let tables = &mut self.check_tables;
        emit::emit_literals(&block.literals_head, &block.literals, tables, &mut out)
            .and_then(|()| emit::emit_sequences(block.sequences_head.as_ref(), &block.sequences, tables, &mut out))
            .is_some()
            && out == bytes
    }

    /// Makes the block's content (section 3.1.1.4).
    fn execute(&mut self, block: &Compressed, plain: &mut Vec<u8>, start: usize) -> Result<(), AnalyzeError> {
        let mut literals = block.literals.as_slice();
        for &sequence in &block.sequences {
            let (now, later) = literals.split_at(sequence.literals as usize);
            plain.extend_from_slice(now);
            literals = later;
            let distance = self.repeats.distance(sequence) as usize;
            self.repeats.push(sequence, distance as u32);
            if distance == 0 || distance > plain.len() - start {
                return Err(AnalyzeError::Malformed("a distance beyond the start"));
            }
            let from = plain.len() - distance;
            let length = sequence.length as usize;
            if length <= distance {
                plain.extend_from_within(from..from + length);
            } else {
                for index in 0..length {
                    plain.push(plain[from + index]);
                }
            }
        }
        plain.extend_from_slice(literals);
        Ok(())
    }

    /// Behind the last block: the checksum's bytes and the frame's length.
    pub fn end(&self) -> Result<([u8; 4], usize), AnalyzeError> {
        if !self.header.checksum {
            return Ok(([0; 4], self.at));
        }
        let bytes = self.packed.get(self.at..self.at + 4).ok_or(AnalyzeError::Malformed("checksum"))?;
        Ok(([bytes[0], bytes[1], bytes[2], bytes[3]], self.at + 4))
    }
}

/// Whether a frame or a skippable frame begins here, and if skippable, how long it is.
pub fn sniff(packed: &[u8]) -> Option<Option<usize>> {
    if FrameHeader::read(packed).is_some() {
        return Some(None);
    }
    skippable(packed).map(Some)
}
