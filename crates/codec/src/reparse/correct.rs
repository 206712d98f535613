//! Writes corrections.

use super::coder::Writer;
use super::error::AnalyzeError;
use super::events::{BlockIn, Event, Events};
use super::recipe::Reparse;
use super::session::{Actual, Item, Kind, Session};

/// Takes items and writes what a recipe misses of them.
#[derive(Debug)]
pub struct Corrector<'a> {
    session: Session,
    writer: Writer,
    plain: &'a [u8],
    packed: Vec<u8>,
}

impl<'a> Corrector<'a> {
    /// Begins; `plain` is the content of all frames.
    pub fn new(recipe: Reparse, plain: &'a [u8]) -> Self {
        let session = Session::new(recipe, plain.len() as u64);
        Self { session, writer: Writer::default(), plain, packed: Vec::new() }
    }

    /// Bytes of corrections so far.
    pub fn len(&self) -> usize {
        self.writer.len()
    }

    /// Takes an item.
    pub fn take(&mut self, event: &Event<'_>) -> Result<(), AnalyzeError> {
        match event {
            Event::Bytes(bytes) => {
                self.session.item(&mut self.writer, &Item::Bytes(bytes.to_vec()))?;
            }
            Event::Frame(_, header) => {
                self.session.item(&mut self.writer, &Item::Frame(header.to_vec()))?;
            }
            Event::Checksum(bytes) => {
                self.session.checksum(&mut self.writer, *bytes);
            }
            Event::Block(block) => self.block(block)?,
        }
        Ok(())
    }

    fn block(&mut self, block: &BlockIn<'_>) -> Result<(), AnalyzeError> {
        let head = self.session.head(&mut self.writer, block.head)?;
        let missing = self.session.needed().saturating_sub(self.session.pushed()) as usize;
        let (now, later) =
            self.plain.split_at_checked(missing).ok_or(AnalyzeError::Malformed("other content"))?;
        self.plain = later;
        self.session.push(now)?;
        let actual = match (&block.parsed, head.kind) {
            (_, Kind::Verbatim) => Actual::Verbatim(block.bytes),
            (Some(parsed), _) => Actual::Parsed(parsed),
            _ => Actual::Plain,
        };
        self.packed.clear();
        self.session.body(&mut self.writer, head, Some(&actual), &mut self.packed)?;
        Ok(())
    }

    /// Ends the stream.
    pub fn finish(mut self) -> Result<Vec<u8>, AnalyzeError> {
        self.session.item(&mut self.writer, &Item::End)?;
        Ok(self.writer.finish())
    }
}

/// The corrections of a whole stream. `None` as soon as they are longer than `max`.
pub fn correct(
    packed: &[u8],
    plain: &[u8],
    recipe: Reparse,
    max: usize,
) -> Result<Option<Vec<u8>>, AnalyzeError> {
    let mut corrector = Corrector::new(recipe, plain);
    let mut events = Events::new(packed);
    while let Some(event) = events.next()? {
        corrector.take(&event)?;
        if corrector.len() > max {
            return Ok(None);
        }
    }
    corrector.finish().map(Some)
}
