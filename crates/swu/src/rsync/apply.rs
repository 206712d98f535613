//! The target, made of the base and a delta.

use std::io::{self, BufReader, Read, Write};

use fluvial_delta::structure::ReadAt;
use thiserror::Error;

use super::command::{Command, DELTA_MAGIC, Shape};

/// Bytes that are read and written at a time.
const STEP_BYTES: usize = 128 << 10;
const DELTA_READ_BYTES: usize = 64 << 10;

/// A delta cannot be applied.
#[derive(Debug, Error)]
pub enum ApplyError {
    /// The delta cannot be read.
    #[error("the delta cannot be read")]
    ReadDelta(#[source] io::Error),
    /// The base cannot be read.
    #[error("the base cannot be read")]
    ReadBase(#[source] io::Error),
    /// The target cannot be written.
    #[error("the target cannot be written")]
    Write(#[source] io::Error),
    /// The bytes do not begin as a delta does.
    #[error("it is no delta of librsync")]
    NotADelta,
    /// A command begins with a byte that means nothing.
    #[error("the delta has an unknown command {first:02x} after {target_offset} bytes of the target")]
    UnknownCommand {
        /// The byte.
        first: u8,
        /// How much of the target the commands before it make, in bytes.
        target_offset: u64,
    },
    /// A literal or a copy has no bytes. No program writes that, and librsync refuses it.
    #[error("the delta has an empty command after {target_offset} bytes of the target")]
    EmptyCommand {
        /// How much of the target the commands before it make, in bytes.
        target_offset: u64,
    },
    /// A copy passes the end of the base.
    #[error("the delta copies {len} bytes at {offset} of a base of {base_len} bytes")]
    OutsideBase {
        /// Where the copy starts in the base.
        offset: u64,
        /// Its length in bytes.
        len: u64,
        /// Length of the base in bytes.
        base_len: u64,
    },
    /// The commands make more than the target.
    #[error("the delta makes more than the {target_len} bytes of the target")]
    TooLong {
        /// Length of the target in bytes.
        target_len: u64,
    },
    /// The commands end before the target does.
    #[error("the delta makes {have} bytes of the target's {target_len}")]
    TooShort {
        /// How much they make, in bytes.
        have: u64,
        /// Length of the target in bytes.
        target_len: u64,
    },
    /// The delta ends before END.
    #[error("the delta is cut short after {target_offset} bytes of the target")]
    Truncated {
        /// How much of the target its whole commands make, in bytes.
        target_offset: u64,
    },
    /// Something stands behind END.
    #[error("the delta goes on behind its end")]
    TrailingBytes,
    /// The caller cancelled.
    #[error("cancelled")]
    Cancelled,
}

/// Reads the next bytes that a command makes; it hears how many the command has made before.
type Next<'a> = dyn FnMut(&Applier<'_>, u64, &mut [u8]) -> Result<(), ApplyError> + 'a;

/// Makes a target of a base and a delta. What is wrong with the delta itself is found here; whether the base is
/// the right one only the target's hash tells, which is the caller's to check.
///
/// To go on with what an earlier run has written, make a new one, tell it with [`Applier::skip_to`] how much that
/// is, and give it the delta from its start: commands are read again, but what they made is neither read from the
/// base nor written. A state in the middle of a delta would be of little use: one command may make all of the
/// target, and few readers can start inside a packed delta.
///
/// Memory: 192 KiB.
pub struct Applier<'a> {
    base: &'a dyn ReadAt,
    target_len: u64,
    skip_to: u64,
    target_offset: u64,
}

impl<'a> Applier<'a> {
    /// For a target of so many bytes.
    pub fn new(base: &'a dyn ReadAt, target_len: u64) -> Self {
        Self { base, target_len, skip_to: 0, target_offset: 0 }
    }

    /// Writes only what stands at `target_offset` and behind.
    #[must_use]
    pub fn skip_to(self, target_offset: u64) -> Self {
        Self { skip_to: target_offset, ..self }
    }

    /// How much of the target is there, in bytes: what was skipped, and what was written. It stays right when
    /// [`Applier::apply`] fails, unless the writer failed.
    pub fn made_bytes(&self) -> u64 {
        self.target_offset.max(self.skip_to.min(self.target_len))
    }

    /// Carries out all commands of `delta`, which is read to its end, and writes the target to `out` in order.
    /// `progress` hears how many bytes of the target were made or skipped, and answers whether to go on.
    ///
    /// # Errors
    /// The delta is not well-formed, or does not make the length of the target; or a reader or the writer fails;
    /// or it was cancelled. What was written before is there.
    pub fn apply(
        &mut self,
        delta: &mut dyn Read,
        out: &mut dyn Write,
        progress: &dyn Fn(u64) -> bool,
    ) -> Result<(), ApplyError> {
        self.target_offset = 0;
        let mut delta = BufReader::with_capacity(DELTA_READ_BYTES, delta);
        let mut room = vec![0; STEP_BYTES];
        let mut magic = [0; DELTA_MAGIC.len()];
        self.fill(&mut delta, &mut magic)?;
        if magic != DELTA_MAGIC {
            return Err(ApplyError::NotADelta);
        }
        loop {
            match self.command(&mut delta)? {
                Command::End => return self.end(&mut delta),
                Command::Literal { len } => {
                    self.check(len)?;
                    self.steps(len, &mut room, out, progress, &mut |applier, _, bytes| {
                        applier.fill(&mut delta, bytes)
                    })?;
                }
                Command::Copy { offset, len } => {
                    self.check(len)?;
                    let base_len = self.base.len();
                    if offset.checked_add(len).is_none_or(|end| end > base_len) {
                        return Err(ApplyError::OutsideBase { offset, len, base_len });
                    }
                    self.steps(len, &mut room, out, progress, &mut |applier, done, bytes| {
                        // Nobody looks at what is skipped.
                        if applier.target_offset + bytes.len() as u64 <= applier.skip_to {
                            return Ok(());
                        }
                        applier.base.read_at(offset + done, bytes).map_err(ApplyError::ReadBase)
                    })?;
                }
            }
        }
    }

    /// Whether a command may make so many bytes.
    fn check(&self, len: u64) -> Result<(), ApplyError> {
        if len == 0 {
            return Err(ApplyError::EmptyCommand { target_offset: self.target_offset });
        }
        if len > self.target_len - self.target_offset {
            return Err(ApplyError::TooLong { target_len: self.target_len });
        }
        Ok(())
    }

    /// Makes `len` bytes in steps.
    fn steps(
        &mut self,
        len: u64,
        room: &mut [u8],
        out: &mut dyn Write,
        progress: &dyn Fn(u64) -> bool,
        next: &mut Next<'_>,
    ) -> Result<(), ApplyError> {
        let mut done = 0;
        while done < len {
            let step = (len - done).min(room.len() as u64);
            let bytes = &mut room[..step as usize];
            next(self, done, bytes)?;
            let skipped = self.skip_to.saturating_sub(self.target_offset).min(step);
            out.write_all(&bytes[skipped as usize..]).map_err(ApplyError::Write)?;
            self.target_offset += step;
            done += step;
            if !progress(step) {
                return Err(ApplyError::Cancelled);
            }
        }
        Ok(())
    }

    fn end(&self, delta: &mut dyn Read) -> Result<(), ApplyError> {
        if self.target_offset != self.target_len {
            return Err(ApplyError::TooShort { have: self.target_offset, target_len: self.target_len });
        }
        let mut byte = [0];
        loop {
            // Not `read_exact`: that does not tell the end from the fault of a reader that was cut behind END.
            match delta.read(&mut byte) {
                Ok(0) => return Ok(()),
                Ok(_) => return Err(ApplyError::TrailingBytes),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(ApplyError::ReadDelta(error)),
            }
        }
    }

    fn command(&self, delta: &mut dyn Read) -> Result<Command, ApplyError> {
        let mut first = [0];
        self.fill(delta, &mut first)?;
        let unknown = ApplyError::UnknownCommand { first: first[0], target_offset: self.target_offset };
        Ok(match Shape::of(first[0]).ok_or(unknown)? {
            Shape::End => Command::End,
            Shape::Short(len) => Command::Literal { len },
            Shape::Literal(width) => Command::Literal { len: self.number(delta, width)? },
            Shape::Copy(offset, len) => {
                Command::Copy { offset: self.number(delta, offset)?, len: self.number(delta, len)? }
            }
        })
    }

    fn number(&self, delta: &mut dyn Read, width: usize) -> Result<u64, ApplyError> {
        let mut bytes = [0; 8];
        self.fill(delta, &mut bytes[8 - width..])?;
        Ok(u64::from_be_bytes(bytes))
    }

    fn fill(&self, delta: &mut dyn Read, bytes: &mut [u8]) -> Result<(), ApplyError> {
        delta.read_exact(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => ApplyError::Truncated { target_offset: self.target_offset },
            _ => ApplyError::ReadDelta(error),
        })
    }
}
