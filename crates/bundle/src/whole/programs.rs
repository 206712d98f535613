//! Programs in a payload: what refers to the same place looks the same, and packs better.

use fluvial_delta::predict::{Addresses, HEAD_BYTES};
use fluvial_delta::structure::{Extent, ReadAt};

use super::Whole;
use crate::limits::PROGRAMS_MAX;

/// Shorter programs are left as they are: they would take more in the table than they save.
const PROGRAM_BYTES_MIN: u64 = 8 << 10;

/// Which files of a payload are programs that are understood. What cannot be read is none.
pub(super) fn programs_of(payload: &dyn ReadAt, files: &[Extent]) -> Vec<Extent> {
    let is_program = |file: &&Extent| {
        let mut head = vec![0; HEAD_BYTES.min(file.len) as usize];
        file.len >= PROGRAM_BYTES_MIN
            && payload.read_at(file.offset, &mut head).is_ok()
            && Addresses::open(&head, file.len).is_some()
    };
    files.iter().filter(is_program).take(PROGRAMS_MAX).copied().collect()
}

/// Turns blocks of a frame, as they were unpacked, into bytes of the payload.
///
/// A program is understood from its head on, if that stands in one block; at the start of a frame none is. What is
/// not understood was left as it is.
#[derive(Debug)]
pub struct Restorer<'a> {
    programs: &'a [Extent],
    /// The program at hand, and which it is.
    open: Option<(usize, Addresses)>,
}

impl<'a> Restorer<'a> {
    /// One for a frame, whose blocks then come in order.
    pub fn new(whole: &'a Whole) -> Self {
        Self::of(&whole.programs)
    }

    pub(super) fn of(programs: &'a [Extent]) -> Self {
        Self { programs, open: None }
    }

    /// Restores a block that stands at `offset` of the payload. Any bytes will do.
    pub fn restore(&mut self, offset: u64, block: &mut [u8]) {
        self.visit(offset, block, Addresses::restore);
    }

    /// Does the opposite.
    pub(super) fn rewrite(&mut self, offset: u64, block: &mut [u8]) {
        self.visit(offset, block, Addresses::rewrite);
    }

    fn visit(&mut self, offset: u64, block: &mut [u8], change: fn(&Addresses, u64, &mut [u8])) {
        let end = offset + block.len() as u64;
        let first = self.programs.partition_point(|program| program.end() <= offset);
        for (index, program) in self.programs.iter().enumerate().skip(first) {
            if program.offset >= end {
                break;
            }
            if program.offset >= offset {
                let head = &block[(program.offset - offset) as usize..];
                let head = head.get(..HEAD_BYTES.min(program.len) as usize);
                let addresses = head.and_then(|head| Addresses::open(head, program.len));
                self.open = addresses.map(|addresses| (index, addresses));
            }
            // The head stays as it is, for whoever comes to it next.
            let from = offset.max(program.offset + HEAD_BYTES.min(program.len));
            let to = end.min(program.end());
            match &self.open {
                Some((open, addresses)) if *open == index && from < to => {
                    let here = (from - offset) as usize..(to - offset) as usize;
                    change(addresses, from - program.offset, &mut block[here]);
                }
                _ => {}
            }
        }
    }
}
