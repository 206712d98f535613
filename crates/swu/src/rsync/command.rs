//! The commands of a delta.

use std::io::{self, Write};

/// The first four bytes of a delta.
pub(super) const DELTA_MAGIC: [u8; 4] = 0x7273_0236u32.to_be_bytes();
pub(super) const END: u8 = 0;
/// The longest literal whose length stands in its first byte.
const SHORT_LITERAL_BYTES_MAX: u64 = 64;
const LITERAL_FIRST: u8 = 0x41;
const COPY_FIRST: u8 = 0x45;
const COPY_LAST: u8 = 0x54;
/// A command without its literal at most, in bytes.
pub(super) const COMMAND_BYTES_MAX: usize = 17;

/// What a command does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    End,
    /// So many bytes follow.
    Literal {
        len: u64,
    },
    /// Bytes of the base.
    Copy {
        offset: u64,
        len: u64,
    },
}

/// What a first byte says of its command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    End,
    /// A literal of so many bytes.
    Short(u64),
    /// A literal with a length of so many bytes.
    Literal(usize),
    /// A copy with a start and a length of so many bytes each.
    Copy(usize, usize),
}

impl Shape {
    /// The shape behind a command's first byte; nothing where that is reserved.
    pub(super) fn of(first: u8) -> Option<Self> {
        Some(match first {
            END => Self::End,
            0x01..LITERAL_FIRST => Self::Short(u64::from(first)),
            LITERAL_FIRST..COPY_FIRST => Self::Literal(1 << (first - LITERAL_FIRST)),
            COPY_FIRST..=COPY_LAST => {
                let place = first - COPY_FIRST;
                Self::Copy(1 << (place / 4), 1 << (place % 4))
            }
            _ => return None,
        })
    }
}

/// Bytes of a number, as a power of two: 0 for one byte to 3 for eight.
fn width_log(number: u64) -> u8 {
    match number {
        0..=0xff => 0,
        0x100..=0xffff => 1,
        0x1_0000..=0xffff_ffff => 2,
        _ => 3,
    }
}

impl Command {
    /// Writes it in the fewest bytes; a literal without its bytes. Answers how many it took.
    pub(super) fn write(self, out: &mut dyn Write) -> io::Result<usize> {
        let mut bytes = [0; COMMAND_BYTES_MAX];
        let mut len = 1;
        let mut put = |bytes: &mut [u8; COMMAND_BYTES_MAX], number: u64| {
            let width = 1 << width_log(number);
            bytes[len..len + width].copy_from_slice(&number.to_be_bytes()[8 - width..]);
            len += width;
        };
        match self {
            Self::End => bytes[0] = END,
            Self::Literal { len } if len <= SHORT_LITERAL_BYTES_MAX => bytes[0] = len as u8,
            Self::Literal { len } => {
                bytes[0] = LITERAL_FIRST + width_log(len);
                put(&mut bytes, len);
            }
            Self::Copy { offset, len } => {
                bytes[0] = COPY_FIRST + 4 * width_log(offset) + width_log(len);
                put(&mut bytes, offset);
                put(&mut bytes, len);
            }
        }
        out.write_all(&bytes[..len])?;
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(command: Command) -> Vec<u8> {
        let mut bytes = Vec::new();
        let len = command.write(&mut bytes).unwrap();
        assert_eq!(len, bytes.len());
        bytes
    }

    #[test]
    fn numbers_take_the_fewest_bytes() {
        assert_eq!(written(Command::End), [0]);
        assert_eq!(written(Command::Literal { len: 1 }), [0x01]);
        assert_eq!(written(Command::Literal { len: 64 }), [0x40]);
        assert_eq!(written(Command::Literal { len: 65 }), [0x41, 65]);
        assert_eq!(written(Command::Literal { len: 0x100 }), [0x42, 1, 0]);
        assert_eq!(written(Command::Literal { len: 0x1_0000 }), [0x43, 0, 1, 0, 0]);
        assert_eq!(written(Command::Literal { len: 1 << 32 }), [0x44, 0, 0, 0, 1, 0, 0, 0, 0]);
        assert_eq!(written(Command::Copy { offset: 0, len: 255 }), [0x45, 0, 255]);
        assert_eq!(written(Command::Copy { offset: 255, len: 256 }), [0x46, 255, 1, 0]);
        assert_eq!(written(Command::Copy { offset: 256, len: 1 }), [0x49, 1, 0, 1]);
        assert_eq!(written(Command::Copy { offset: 65536, len: 65536 }), [0x4f, 0, 1, 0, 0, 0, 1, 0, 0]);
        assert_eq!(written(Command::Copy { offset: u64::MAX, len: u64::MAX })[0], COPY_LAST);
    }

    #[test]
    fn every_first_byte_has_the_shape_that_is_written_for_it() {
        for first in 0..=u8::MAX {
            let widest = |width: usize| u64::MAX >> (64 - 8 * width);
            let command = match Shape::of(first) {
                Some(Shape::End) => Command::End,
                Some(Shape::Short(len)) => Command::Literal { len },
                Some(Shape::Literal(width)) => Command::Literal { len: widest(width) },
                Some(Shape::Copy(from, width)) => Command::Copy { offset: widest(from), len: widest(width) },
                None => {
                    assert!(first > COPY_LAST);
                    continue;
                }
            };
            assert_eq!(written(command)[0], first);
        }
    }
}
