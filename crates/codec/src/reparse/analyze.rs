//! Takes a packed stream apart, finds a recipe for it, and proves that it comes back.

use super::coder::Writer;
use super::error::AnalyzeError;
use super::packer::StreamPacker;
use super::recipe::Reparse;
use super::session::{Actual, Head, Item, Kind, Session};
use super::stream::{BlockIn, FrameReader, sniff};

/// A stream taken apart.
#[derive(Debug)]
pub struct Analyzed {
    /// The content.
    pub plain: Vec<u8>,
    /// Bytes of the input that were taken: whole frames.
    pub packed_len: usize,
    /// How the parse is predicted.
    pub recipe: Reparse,
    /// What the prediction misses.
    pub corrections: Vec<u8>,
}

/// A stream's items, still packed, and their content.
#[derive(Debug)]
pub struct Parsed<'a> {
    /// Content of all frames.
    pub plain: Vec<u8>,
    /// Frames and what stands between them.
    pub items: Vec<ItemIn<'a>>,
    /// Bytes taken.
    pub packed_len: usize,
}

/// One item of a packed stream.
#[derive(Debug)]
pub enum ItemIn<'a> {
    /// A frame: its header, blocks and checksum.
    Frame(&'a [u8], Vec<BlockIn<'a>>, [u8; 4]),
    /// A skippable frame.
    Bytes(&'a [u8]),
}

/// Takes all frames at the start of `packed` apart; `plain_bytes_max` is how much they may hold.
pub fn parse_stream(packed: &[u8], plain_bytes_max: u64) -> Result<Parsed<'_>, AnalyzeError> {
    let mut parsed = Parsed { plain: Vec::new(), items: Vec::new(), packed_len: 0 };
    while let Some(skippable) = sniff(&packed[parsed.packed_len..]) {
        let rest = &packed[parsed.packed_len..];
        if let Some(len) = skippable {
            if len > super::session::STRETCH_BYTES_MAX as usize {
                break;
            }
            parsed.items.push(ItemIn::Bytes(&rest[..len]));
            parsed.packed_len += len;
            continue;
        }
        let mut reader = FrameReader::new(rest)?;
        let start = parsed.plain.len();
        let mut blocks = Vec::new();
        while let Some(block) = reader.next(&mut parsed.plain, start)? {
            if parsed.plain.len() as u64 > plain_bytes_max {
                return Err(AnalyzeError::TooLarge { max: plain_bytes_max });
            }
            blocks.push(block);
        }
        let (checksum, len) = reader.end()?;
        parsed.items.push(ItemIn::Frame(&rest[..reader.header.len], blocks, checksum));
        parsed.packed_len += len;
    }
    if parsed.items.is_empty() {
        return Err(AnalyzeError::Malformed("no frame"));
    }
    Ok(parsed)
}

/// Writes the corrections of a parsed stream under a recipe.
pub fn correct(parsed: &Parsed<'_>, recipe: Reparse) -> Result<Vec<u8>, AnalyzeError> {
    let mut session = Session::new(recipe, parsed.plain.len() as u64);
    let mut writer = Writer::default();
    let mut at = 0;
    let mut packed = Vec::new();
    for item in &parsed.items {
        match item {
            ItemIn::Bytes(bytes) => {
                session.item(&mut writer, &Item::Bytes(bytes.to_vec()))?;
            }
            ItemIn::Frame(header, blocks, checksum) => {
                session.item(&mut writer, &Item::Frame(header.to_vec()))?;
                for block in blocks {
                    let end = at + block.head.len as usize;
                    correct_block(&mut session, &mut writer, block, &parsed.plain[at..end], &mut packed)?;
                    packed.clear();
                    at = end;
                }
                if session.has_checksum() {
                    session.checksum(&mut writer, *checksum);
                }
            }
        }
    }
    session.item(&mut writer, &Item::End)?;
    Ok(writer.finish())
}

/// Writes the corrections of one block.
pub fn correct_block(
    session: &mut Session,
    writer: &mut Writer,
    block: &BlockIn<'_>,
    plain: &[u8],
    packed: &mut Vec<u8>,
) -> Result<(), AnalyzeError> {
    let head: Head = session.head(writer, block.head)?;
    session.push(plain)?;
    let actual = match (&block.parsed, head.kind) {
        (Some(parsed), _) => Actual::Parsed(parsed),
        (None, Kind::Verbatim) => Actual::Verbatim(block.bytes),
        _ => Actual::Plain,
    };
    session.body(writer, head, Some(&actual), packed)?;
    Ok(())
}

/// Whether content, recipe and corrections give `packed`.
pub fn prove(packed: &[u8], plain: &[u8], recipe: Reparse, corrections: &[u8]) -> Result<(), AnalyzeError> {
    /// A sink that compares.
    struct Compare<'a>(&'a [u8]);
    impl std::io::Write for Compare<'_> {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let Some(rest) = self.0.strip_prefix(bytes) else {
                return Err(std::io::Error::other("other bytes"));
            };
            self.0 = rest;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut sink = Compare(packed);
    let mut packer = StreamPacker::new(recipe, plain.len() as u64, corrections);
    packer.write(plain, &mut sink)?;
    packer.finish(&mut sink)?;
    if sink.0.is_empty() { Ok(()) } else { Err(AnalyzeError::NotReproduced) }
}
