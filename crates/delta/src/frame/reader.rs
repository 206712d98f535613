//! Decodes one frame, front to back.

use std::io::{self, Read};
use std::sync::Arc;

use thiserror::Error;

use super::residual::ResidualReader;
use super::{Cover, ExpectedAddress, Literals, Programs, predicted_covers};
use crate::limits::{CORRECTIONS_BYTES_MAX, FRAME_COVERS_MAX};
use crate::predict::{HEAD_BYTES, PredictError, Predictor};
use crate::stream::read_stream;
use crate::structure::ReadAt;
use crate::wire::{WireError, WireReader};

/// A frame cannot be decoded, though its bytes are those that were written.
#[derive(Debug, Error)]
pub enum FrameError {
    /// A field has no meaning.
    #[error("a field of the frame")]
    Field(#[from] WireError),
    /// A stream inside cannot be unpacked.
    #[error("a stream of the frame cannot be unpacked")]
    Stream(#[source] io::Error),
    /// A cover cannot be read.
    #[error("{len} bytes at address {address} cannot be read")]
    Cover {
        /// Where the bytes should stand.
        address: u64,
        /// How many.
        len: u64,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// References cannot be predicted.
    #[error("references cannot be predicted")]
    Predict(#[from] PredictError),
}

/// Makes the flattened bytes of one frame. Memory: the covers, the dictionaries, and what predicting
/// takes.
pub struct FrameReader<'a> {
    covers: std::vec::IntoIter<Cover>,
    /// The cover that is being made, its made part cut off.
    current: Option<Cover>,
    flat: u64,
    flat_end: u64,
    literals: Box<dyn Read + Send>,
    residual: ResidualReader,
    corrections: Box<dyn Read + Send>,
    prediction: Option<Prediction<'a>>,
}

/// The covers of programs.
struct Prediction<'a> {
    predictor: Predictor<'a>,
    literals: Literals,
    /// Flattened offsets at which predicted covers start, in order.
    starts: Vec<u64>,
    next: usize,
    /// The predicted cover that is being made, and how much of it is done.
    current: Option<(usize, u64)>,
    /// The first flattened byte behind all programs.
    programs_end: u64,
    /// Bytes that are made, but not handed out yet.
    made: Vec<u8>,
    handed_out: usize,
}

/// What decoding a frame takes, in bytes, at most, as its streams say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameMemory {
    /// On one thread.
    pub bytes: u64,
    /// The part of them that is given back with the last program.
    pub predictor_bytes: u64,
    /// More where its large streams are unpacked ahead, each on a thread of its own.
    pub ahead_bytes: u64,
}

impl FrameMemory {
    /// Looks at a frame's streams; nothing of them is unpacked.
    ///
    /// # Errors
    /// [`FrameError::Field`].
    pub fn of(bytes: &[u8]) -> Result<Self, FrameError> {
        let mut reader = WireReader::new(bytes);
        let count = reader.limited("the number of covers", FRAME_COVERS_MAX as u64)?;
        let mut memory = Self {
            bytes: bytes.len() as u64 + covers_memory_bytes(count),
            predictor_bytes: 0,
            ahead_bytes: 0,
        };
        for _ in 0..3 {
            memory.bytes += read_stream(&mut reader)?.len;
        }
        let programs = read_stream(&mut reader)?.len;
        if programs > 0 {
            memory.predictor_bytes = Predictor::memory_bytes(count as usize);
            memory.bytes += programs + memory.predictor_bytes;
        }
        for _ in 0..5 {
            let stream = read_stream(&mut reader)?;
            memory.bytes += stream.decode_memory_bytes();
            memory.ahead_bytes += stream.ahead_memory_bytes();
        }
        Ok(memory)
    }
}

/// What so many covers of a frame take, in bytes.
pub(super) fn covers_memory_bytes(count: u64) -> u64 {
    count * (2 * size_of::<Cover>() + size_of::<usize>()) as u64
}

impl<'a> FrameReader<'a> {
    /// Opens a frame that makes the flattened bytes from `flat` to `flat + flat_len`, for the old
    /// space `old`. `made` holds the flattened bytes before, behind the old space. `is_ahead` says that
    /// large streams are unpacked on other threads.
    ///
    /// # Errors
    /// [`FrameError`].
    pub fn new(
        bytes: Vec<u8>,
        is_ahead: bool,
        flat: u64,
        flat_len: u64,
        old: &'a dyn ReadAt,
        made: &dyn ReadAt,
    ) -> Result<Self, FrameError> {
        let old_len = old.len();
        let bytes = Arc::new(bytes);
        let mut reader = WireReader::new(&bytes);
        let Plan { covers, programs } = read_plan(&mut reader, flat, flat_len, old_len)?;
        let mut open = || -> Result<_, FrameError> {
            let stream = read_stream(&mut reader)?;
            let opened = if is_ahead { stream.reader_ahead(&bytes) } else { stream.reader(&bytes) };
            opened.map_err(FrameError::Stream)
        };
        let residual = ResidualReader::new([open()?, open()?, open()?]);
        let (literals, corrections) = (open()?, open()?);
        reader.finish()?;
        let prediction = match programs {
            None => None,
            Some((programs, literals)) => {
                Some(Prediction::new(&programs, literals, &covers, flat, old, made)?)
            }
        };
        Ok(Self {
            covers: covers.into_iter(),
            current: None,
            flat,
            flat_end: flat + flat_len,
            literals,
            residual,
            corrections,
            prediction,
        })
    }

    /// How many flattened bytes are left to make.
    pub fn left(&self) -> u64 {
        self.flat_end - self.flat
    }

    /// Whether there are programs to come, which take memory.
    pub fn predicts(&self) -> bool {
        self.prediction.is_some()
    }

    /// Makes the next bytes, at most `buf.len()`, reading covers from `space`; answers how many.
    ///
    /// # Errors
    /// [`FrameError`].
    pub fn read(&mut self, space: &dyn ReadAt, buf: &mut [u8]) -> Result<usize, FrameError> {
        if self.current.is_none() {
            self.current = self.covers.next();
            if let Some(prediction) = &mut self.prediction {
                prediction.enter(self.current.as_ref());
            }
            // With the last program its memory is given back.
            let flat = self.flat;
            self.prediction.take_if(|prediction| prediction.is_done(flat));
        }
        let literal_end = self.current.map_or(self.flat_end, |cover| cover.flat);
        if self.flat < literal_end {
            let left = literal_end - self.flat;
            let mut len = left.min(buf.len() as u64) as usize;
            if let Some(prediction) = &mut self.prediction {
                len = prediction.read_literals(&mut self.literals, self.flat, left, &mut buf[..len])?;
            } else {
                self.literals.read_exact(&mut buf[..len]).map_err(FrameError::Stream)?;
            }
            self.flat += len as u64;
            return Ok(len);
        }
        let Some(cover) = self.current.as_mut() else { return Ok(0) };
        let mut len = cover.len.min(buf.len() as u64) as usize;
        let buf = &mut buf[..len];
        match &mut self.prediction {
            Some(prediction) if prediction.current.is_some() => {
                len = prediction.read(&mut self.residual, buf)?;
            }
            _ => {
                let address = cover.address;
                space.read_at(address, buf).map_err(|source| FrameError::Cover {
                    address,
                    len: len as u64,
                    source,
                })?;
                self.residual.add(buf).map_err(FrameError::Stream)?;
            }
        }
        self.flat += len as u64;
        let made = len as u64;
        *cover = Cover { flat: self.flat, address: cover.address + made, len: cover.len - made };
        if cover.len == 0 {
            self.current = None;
        }
        Ok(len)
    }

    /// Takes the corrections of a packed content that starts here.
    ///
    /// # Errors
    /// [`FrameError`].
    pub fn take_corrections(&mut self, len: u64) -> Result<Vec<u8>, FrameError> {
        let mut bytes = Vec::new();
        let len = len.min(CORRECTIONS_BYTES_MAX as u64);
        (&mut self.corrections).take(len).read_to_end(&mut bytes).map_err(FrameError::Stream)?;
        if bytes.len() as u64 != len {
            return Err(FrameError::Stream(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(bytes)
    }
}

impl<'a> Prediction<'a> {
    fn new(
        programs: &Programs,
        literals: Literals,
        covers: &[Cover],
        flat: u64,
        old: &'a dyn ReadAt,
        made: &dyn ReadAt,
    ) -> Result<Self, FrameError> {
        let (predicted, _) = predicted_covers(covers, programs, old.len());
        let starts = predicted.iter().map(|cover| cover.new).collect();
        let mut predictor = Predictor::new(predicted, old, programs.old.clone(), &programs.new)?;
        if let Some(first) = programs.new_at(flat)
            && first.offset < flat
        {
            let mut head = vec![0; (flat - first.offset).min(HEAD_BYTES) as usize];
            let address = old.len() + first.offset;
            made.read_at(address, &mut head).map_err(|source| FrameError::Cover {
                address,
                len: HEAD_BYTES,
                source,
            })?;
            predictor.literal(first.offset, &head);
        }
        let programs_end = programs.new.last().map_or(0, |last| last.end());
        let made = Vec::new();
        Ok(Self { predictor, literals, starts, next: 0, current: None, programs_end, made, handed_out: 0 })
    }

    /// Whether nothing is left of programs at a flattened byte.
    fn is_done(&self, flat: u64) -> bool {
        self.current.is_none() && self.next == self.starts.len() && flat >= self.programs_end
    }

    /// A cover begins, or there is none any more.
    fn enter(&mut self, cover: Option<&Cover>) {
        self.current = None;
        if cover.is_some_and(|cover| self.starts.get(self.next) == Some(&cover.flat)) {
            self.current = Some((self.next, 0));
            self.next += 1;
            self.made.clear();
            self.handed_out = 0;
        }
    }

    /// Hands out the next of `left` literal bytes, which go on at the flattened byte `flat`.
    fn read_literals(
        &mut self,
        literals: &mut dyn Read,
        flat: u64,
        left: u64,
        buf: &mut [u8],
    ) -> Result<usize, FrameError> {
        if self.handed_out == self.made.len() {
            let len = self.predictor.literal_step_len(flat, left);
            self.made.clear();
            self.made.resize(len as usize, 0);
            literals.read_exact(&mut self.made).map_err(FrameError::Stream)?;
            match self.literals {
                Literals::Plain => self.predictor.literal(flat, &self.made),
                Literals::Rewritten => self.predictor.decode_literal(flat, &mut self.made),
            }
            self.handed_out = 0;
        }
        Ok(self.hand_out(buf))
    }

    fn hand_out(&mut self, buf: &mut [u8]) -> usize {
        let len = buf.len().min(self.made.len() - self.handed_out);
        buf[..len].copy_from_slice(&self.made[self.handed_out..][..len]);
        self.handed_out += len;
        len
    }

    /// Hands out the next bytes of the current cover.
    fn read(&mut self, residual: &mut ResidualReader, buf: &mut [u8]) -> Result<usize, FrameError> {
        if self.handed_out == self.made.len()
            && let Some((index, done)) = &mut self.current
        {
            let len = self.predictor.step_len(*index, *done);
            self.made.clear();
            self.made.resize(len as usize, 0);
            residual.add(&mut self.made).map_err(FrameError::Stream)?;
            self.predictor.decode(*index, *done, &mut self.made)?;
            *done += len;
            self.handed_out = 0;
        }
        Ok(self.hand_out(buf))
    }
}

/// The covers of a frame that makes `flat_len` flattened bytes from `flat` on, and its programs, if it has any. What
/// the covers differ by is not touched.
///
/// # Errors
/// [`FrameError`].
pub(crate) fn covers_of(
    bytes: &[u8],
    flat: u64,
    flat_len: u64,
    old_len: u64,
) -> Result<(Vec<Cover>, Option<Programs>), FrameError> {
    let plan = read_plan(&mut WireReader::new(bytes), flat, flat_len, old_len)?;
    Ok((plan.covers, plan.programs.map(|(programs, _)| programs)))
}

/// What a frame begins with.
struct Plan {
    covers: Vec<Cover>,
    programs: Option<(Programs, Literals)>,
}

fn read_plan(
    reader: &mut WireReader<'_>,
    flat: u64,
    flat_len: u64,
    old_len: u64,
) -> Result<Plan, FrameError> {
    let count = reader.limited("the number of covers", FRAME_COVERS_MAX as u64)? as usize;
    let mut numbers = Vec::with_capacity(4);
    for _ in 0..4 {
        numbers.push(read_stream(reader)?.read_all(10 * FRAME_COVERS_MAX).map_err(FrameError::Stream)?);
    }
    let covers = read_covers(&numbers[..3], count, flat, flat_len, old_len)?;
    let programs = match numbers[3].as_slice() {
        [] => None,
        programs => Some(Programs::read(programs, old_len)?),
    };
    Ok(Plan { covers, programs })
}

fn read_covers(
    numbers: &[Vec<u8>],
    count: usize,
    flat: u64,
    flat_len: u64,
    old_len: u64,
) -> Result<Vec<Cover>, WireError> {
    let [gaps, lens, addresses] = numbers else { return Err(WireError::Truncated) };
    let [mut gaps, mut lens, mut addresses] = [gaps, lens, addresses].map(|bytes| WireReader::new(bytes));
    let mut expected = ExpectedAddress::start(old_len);
    let mut covers = Vec::with_capacity(count);
    let (mut at, end) = (flat, flat + flat_len);
    for _ in 0..count {
        let gap = gaps.limited("a literal", end - at)?;
        at += gap;
        let len = lens.limited("a cover", end - at)?;
        if len == 0 {
            return Err(WireError::Invalid("a cover is empty"));
        }
        let address = expected.decode(len, gap, addresses.number()?);
        let cover = Cover { flat: at, address, len };
        if !cover.can_be_read(old_len) {
            return Err(WireError::Invalid("a cover stands outside of the sources"));
        }
        covers.push(cover);
        at += len;
    }
    gaps.finish()?;
    lens.finish()?;
    addresses.finish()?;
    Ok(covers)
}
