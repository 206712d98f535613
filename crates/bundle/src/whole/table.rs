//! The table of a payload as a whole: byte layout and limits.

use std::ops::Range;

use fluvial_delta::structure::Extent;
use fluvial_delta::wire::{WireReader, WireWriter};

use super::{BLOCK_BYTES, Piece, Whole, WholeFrame};
use crate::error::IndexError;
use crate::hash::HashKind;
use crate::index::{RunDigest, unpack};
use crate::limits::{
    FRAME_BYTES_MAX, FRAME_PACKED_BYTES_MAX, FRAMES_MAX, PAYLOAD_BYTES_MAX, PIECE_BYTES_MAX, PIECE_BYTES_MIN,
    PIECES_MAX, PROGRAMS_MAX, TABLE_BYTES_MAX, TABLE_UNPACKED_BYTES_MAX, WINDOW_LOG_MAX,
};

/// How a table begins.
const MAGIC: &[u8; 8] = b"FLUVIALw";
const VERSION: u8 = 1;
const PACK_LEVEL: i32 = 19;
const DIGEST_BYTES: usize = 12;

impl Whole {
    /// Writes the table.
    ///
    /// # Errors
    /// [`IndexError`] where it could not be read again.
    pub fn to_bytes(&self) -> Result<Vec<u8>, IndexError> {
        let mut writer = WireWriter::default();
        writer.number(self.len);
        writer.raw(&[self.hash.code(), self.window_log]);
        writer.number(self.frame_bytes);
        writer.number(self.piece_bytes);
        self.frames.iter().for_each(|frame| writer.number(frame.packed.end - frame.packed.start));
        self.frames.iter().for_each(|frame| writer.raw(&frame.content_digest.0));
        let pieces = self.frames.iter().flat_map(|frame| &frame.pieces);
        pieces.for_each(|piece| writer.raw(&piece.digest.0));
        writer.number(self.programs.len() as u64);
        let mut at = 0;
        for program in &self.programs {
            writer.number(program.offset - at);
            at = program.end();
        }
        self.programs.iter().for_each(|program| writer.number(program.len));
        let body = writer.bytes;
        let packed = zstd::bulk::compress(&body, PACK_LEVEL).map_err(|_| IndexError::Packed("Zstandard"))?;
        let bytes = [&MAGIC[..], &[VERSION], &(body.len() as u32).to_le_bytes(), &packed].concat();
        Self::read(&bytes)?;
        Ok(bytes)
    }

    /// Reads a table. The caller has checked that the bytes are those that he trusts.
    ///
    /// # Errors
    /// [`IndexError`]. Memory is taken for what is there only.
    pub fn read(bytes: &[u8]) -> Result<Self, IndexError> {
        check("the table", bytes.len() <= TABLE_BYTES_MAX)?;
        let rest = bytes.strip_prefix(MAGIC).ok_or(IndexError::Invalid("it is no table of frames"))?;
        let (&version, rest) = rest.split_first().ok_or(IndexError::Invalid("it is cut"))?;
        if version != VERSION {
            return Err(IndexError::Version(version));
        }
        let (&unpacked_len, packed) = rest.split_first_chunk().ok_or(IndexError::Invalid("it is cut"))?;
        let unpacked_len = u32::from_le_bytes(unpacked_len) as usize;
        check("the table", unpacked_len <= TABLE_UNPACKED_BYTES_MAX)?;
        Self::read_body(&unpack(packed, unpacked_len)?)
    }

    pub(super) fn read_body(body: &[u8]) -> Result<Self, IndexError> {
        let mut reader = WireReader::new(body);
        let len = reader.limited("a payload's length", PAYLOAD_BYTES_MAX)?;
        let &[hash, window_log] = reader.raw(2)? else { return Err(IndexError::Invalid("it is cut")) };
        let hash = HashKind::of_code(hash).ok_or(IndexError::Invalid("its hash is not known here"))?;
        check("the window", (10..=WINDOW_LOG_MAX).contains(&window_log))?;
        let frame_bytes = reader.limited("a frame's length", FRAME_BYTES_MAX)?;
        check("a frame's length", frame_bytes > 0 && frame_bytes % BLOCK_BYTES == 0)?;
        let piece_bytes = reader.limited("a piece's length", PIECE_BYTES_MAX)?;
        check("a piece's length", piece_bytes >= PIECE_BYTES_MIN)?;
        check("the list of frames", len.div_ceil(frame_bytes) <= FRAMES_MAX as u64)?;
        let mut whole = Self {
            len,
            hash,
            window_log,
            frame_bytes,
            piece_bytes,
            frames: Vec::new(),
            programs: Vec::new(),
        };
        whole.read_frames(&mut reader)?;
        whole.read_programs(&mut reader)?;
        reader.finish()?;
        Ok(whole)
    }

    fn read_frames(&mut self, reader: &mut WireReader<'_>) -> Result<(), IndexError> {
        let (mut at, mut pieces) = (0, 0);
        for start in (0..self.len).step_by(self.frame_bytes as usize) {
            let packed_len = reader.limited("a frame's packed length", FRAME_PACKED_BYTES_MAX)?;
            check("a frame's packed length", packed_len > 0)?;
            pieces += packed_len.div_ceil(self.piece_bytes);
            let content = start..self.len.min(start + self.frame_bytes);
            let (content_digest, packed) = (RunDigest([0; DIGEST_BYTES]), at..at + packed_len);
            at = packed.end;
            self.frames.push(WholeFrame { content, content_digest, packed, pieces: Vec::new() });
        }
        check("the list of pieces", pieces <= PIECES_MAX as u64)?;
        for frame in &mut self.frames {
            frame.content_digest = digest(reader)?;
        }
        for frame in &mut self.frames {
            let Range { start, end } = frame.packed;
            for at in (start..end).step_by(self.piece_bytes as usize) {
                let range = at..end.min(at + self.piece_bytes);
                frame.pieces.push(Piece { range, digest: digest(reader)? });
            }
        }
        Ok(())
    }

    fn read_programs(&mut self, reader: &mut WireReader<'_>) -> Result<(), IndexError> {
        let count = reader.count("programs", PROGRAMS_MAX)?;
        let mut at = 0;
        let distances: Vec<u64> =
            (0..count).map(|_| reader.limited("a program's distance", self.len)).collect::<Result<_, _>>()?;
        for distance in distances {
            let len = reader.limited("a program's length", self.len)?;
            // None of them is above the payload's length: the sum fits.
            let program = Extent { offset: at + distance, len };
            at = program.end();
            check("a program's place", len > 0 && at <= self.len)?;
            self.programs.push(program);
        }
        Ok(())
    }
}

fn digest(reader: &mut WireReader<'_>) -> Result<RunDigest, IndexError> {
    let mut digest = [0; DIGEST_BYTES];
    digest.copy_from_slice(reader.raw(DIGEST_BYTES)?);
    Ok(RunDigest(digest))
}

fn check(what: &'static str, is_right: bool) -> Result<(), IndexError> {
    if is_right { Ok(()) } else { Err(IndexError::Range(what)) }
}
