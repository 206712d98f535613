//! Packs content again, as it comes in.

use std::io;

use super::coder::Reader;
use super::error::PackError;
use super::recipe::Reparse;
use super::session::{Head, Item, Kind, Session};

/// Checksum of a frame (RFC 8878, section 3.1.1): its bytes are in the corrections.
const CHECKSUM_LEN: usize = 4;

/// Packs a stream by recipe and corrections. Memory: [`Reparse::pack_memory_bytes`].
#[derive(Debug)]
pub struct StreamPacker<B> {
    session: Session,
    reader: Reader<B>,
    stage: Stage,
    out: Vec<u8>,
    promised: u64,
    got: u64,
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    /// Between frames.
    Item,
    /// Before a block.
    Head,
    /// In a block.
    Body(Head),
    /// Behind the end.
    Done,
}

impl<B: AsRef<[u8]>> StreamPacker<B> {
    /// Begins to pack `plain_len` bytes.
    pub fn new(recipe: Reparse, plain_len: u64, corrections: B) -> Self {
        Self {
            session: Session::new(recipe, plain_len),
            reader: Reader::new(corrections),
            stage: Stage::Item,
            out: Vec::new(),
            promised: plain_len,
            got: 0,
        }
    }

    /// Takes content and writes what it makes.
    pub fn write(&mut self, mut plain: &[u8], sink: &mut dyn io::Write) -> Result<(), PackError> {
        self.got = self.got.saturating_add(plain.len() as u64);
        if self.got > self.promised {
            return Err(self.wrong_len());
        }
        loop {
            match self.stage {
                Stage::Body(head) => {
                    let missing = self.session.needed().saturating_sub(self.session.pushed()) as usize;
                    let (now, later) = plain.split_at(missing.min(plain.len()));
                    self.session.push(now)?;
                    plain = later;
                    if now.len() < missing {
                        return Ok(());
                    }
                    self.session.body(&mut self.reader, head, None, &mut self.out)?;
                    self.end_block(head.last);
                    self.flush(sink)?;
                }
                Stage::Done if plain.is_empty() => return Ok(()),
                Stage::Done => return Err(PackError::Corrections("end")),
                Stage::Item => self.item()?,
                Stage::Head => {
                    let blank = Head { last: false, kind: Kind::Raw, len: 0 };
                    self.stage = Stage::Body(self.session.head(&mut self.reader, blank)?);
                }
            }
            if self.reader.exhausted() {
                return Err(PackError::Corrections("cut short"));
            }
        }
    }

    /// Ends the stream.
    pub fn finish(mut self, sink: &mut dyn io::Write) -> Result<(), PackError> {
        self.write(&[], sink)?;
        self.flush(sink)?;
        if self.got < self.promised {
            return Err(self.wrong_len());
        }
        if matches!(self.stage, Stage::Done) && self.session.plain_left() == 0 {
            Ok(())
        } else {
            Err(PackError::Corrections("end"))
        }
    }

    fn wrong_len(&self) -> PackError {
        PackError::PlainLen { promised: self.promised, got: self.got }
    }

    fn item(&mut self) -> Result<(), PackError> {
        self.stage = match self.session.item(&mut self.reader, &Item::End)? {
            Item::End => Stage::Done,
            Item::Frame(header) => {
                self.out.extend_from_slice(&header);
                Stage::Head
            }
            Item::Bytes(bytes) => {
                self.out.extend_from_slice(&bytes);
                Stage::Item
            }
        };
        Ok(())
    }

    fn end_block(&mut self, last: bool) {
        self.stage = Stage::Head;
        if last {
            if self.session.has_checksum() {
                let checksum = self.session.checksum(&mut self.reader, [0; CHECKSUM_LEN]);
                self.out.extend_from_slice(&checksum);
            }
            self.stage = Stage::Item;
        }
    }

    fn flush(&mut self, sink: &mut dyn io::Write) -> Result<(), PackError> {
        sink.write_all(&self.out).map_err(PackError::Sink)?;
        self.out.clear();
        Ok(())
    }
}
