//! A packed stream, item by item: frames, their blocks, and what stands between them.

use super::block::{Compressed, Tables};
use super::emit;
use super::error::AnalyzeError;
use super::frame::{BlockHeader, BlockKind, FrameHeader, skippable};
use super::parse;
use super::session::{FRAME_PLAIN_MAX, Head, Kind, STRETCH_BYTES_MAX};

/// One item.
#[derive(Debug)]
pub enum Event<'a> {
    /// A skippable frame.
    Bytes(&'a [u8]),
    /// A frame's header.
    Frame(FrameHeader, &'a [u8]),
    /// A block.
    Block(BlockIn<'a>),
    /// A frame's checksum.
    Checksum([u8; 4]),
}

/// A block.
#[derive(Debug)]
pub struct BlockIn<'a> {
    /// What is known before its content.
    pub head: Head,
    /// The bytes behind the block's header.
    pub bytes: &'a [u8],
    /// What it is made of, unless it is a raw block or a run.
    pub parsed: Option<Compressed>,
}

/// Reads items. Takes memory for one block.
#[derive(Debug)]
pub struct Events<'a> {
    rest: &'a [u8],
    tables: Tables,
    check_tables: Tables,
    /// In a frame: its header, and the bytes of content so far.
    frame: Option<(FrameHeader, u64)>,
    /// Behind a frame's last block.
    checksum: bool,
}

impl<'a> Events<'a> {
    /// Begins at the first byte of a frame.
    pub fn new(packed: &'a [u8]) -> Self {
        Self {
            rest: packed,
            tables: Tables::default(),
            check_tables: Tables::default(),
            frame: None,
            checksum: false,
        }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], AnalyzeError> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or(AnalyzeError::Malformed("cut short"))?;
        self.rest = rest;
        Ok(head)
    }

    /// The next item; `None` at the end.
    pub fn next(&mut self) -> Result<Option<Event<'a>>, AnalyzeError> {
        if std::mem::take(&mut self.checksum) {
            let bytes = self.take(4)?;
            return Ok(Some(Event::Checksum([bytes[0], bytes[1], bytes[2], bytes[3]])));
        }
        if let Some((header, len)) = self.frame {
            return self.block(header, len).map(|block| Some(Event::Block(block)));
        }
        if self.rest.is_empty() {
            return Ok(None);
        }
        if let Some(len) = skippable(self.rest) {
            if len > STRETCH_BYTES_MAX as usize {
                return Err(AnalyzeError::Malformed("a long skippable frame"));
            }
            return Ok(Some(Event::Bytes(self.take(len)?)));
        }
        let header = FrameHeader::read(self.rest).ok_or(AnalyzeError::Malformed("frame header"))?;
        if header.dictionary != 0 {
            return Err(AnalyzeError::Dictionary(header.dictionary));
        }
        self.frame = Some((header, 0));
        self.tables = Tables::default();
        self.check_tables = Tables::default();
        let bytes = self.take(header.len)?;
        Ok(Some(Event::Frame(header, bytes)))
    }

    fn block(&mut self, frame: FrameHeader, before: u64) -> Result<BlockIn<'a>, AnalyzeError> {
        let header = BlockHeader::read(self.rest).ok_or(AnalyzeError::Malformed("block header"))?;
        self.take(BlockHeader::LEN)?;
        let stored = if header.kind == BlockKind::Rle { 1 } else { header.size };
        let bytes = self.take(stored)?;
        let mut len = header.size;
        let mut parsed = None;
        let kind = match header.kind {
            BlockKind::Raw => Kind::Raw,
            BlockKind::Rle if len == 0 => return Err(AnalyzeError::Malformed("an empty run")),
            BlockKind::Rle => Kind::Rle,
            BlockKind::Compressed => {
                let block = parse::parse(bytes, &mut self.tables)
                    .ok_or(AnalyzeError::Malformed("compressed block"))?;
                len = block.plain_len();
                let kind = if self.comes_back(&block, bytes) { Kind::Parsed } else { Kind::Verbatim };
                parsed = Some(block);
                kind
            }
        };
        let after = before + len as u64;
        if after > FRAME_PLAIN_MAX {
            return Err(AnalyzeError::TooLarge { max: FRAME_PLAIN_MAX });
        }
        self.frame = (!header.last).then_some((frame, after));
        self.checksum = header.last && frame.checksum;
        Ok(BlockIn { head: Head { last: header.last, kind, len: len as u32 }, bytes, parsed })
    }

    /// Whether putting the block together gives the bytes that it was taken from.
    fn comes_back(&mut self, block: &Compressed, bytes: &[u8]) -> bool {
        let mut out = Vec::with_capacity(bytes.len());
        let tables = &mut self.check_tables;
        let done =
            emit::emit_literals(&block.literals_head, &block.literals, tables, &mut out).and_then(|()| {
                emit::emit_sequences(block.sequences_head.as_ref(), &block.sequences, tables, &mut out)
            });
        if done.is_some() && out == bytes {
            return true;
        }
        self.check_tables = self.tables.clone();
        false
    }
}
