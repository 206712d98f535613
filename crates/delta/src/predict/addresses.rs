//! Programs that are packed as a whole: their references stand as addresses, as in literals.

use super::HEAD_BYTES;
use super::elf::Layout;
use super::literals::{self, Way};

/// A program whose references can be written as the addresses that they aim at, so that all calls of a function
/// are alike: it packs to about a tenth less.
///
/// Memory: that of 32 segments.
#[derive(Debug)]
pub struct Addresses {
    layout: Layout,
}

impl Addresses {
    /// Reads the headers of a program of `len` bytes, of which the first ones are `head`. `None` where it is none
    /// that is understood. No more than [`HEAD_BYTES`] are looked at.
    pub fn open(head: &[u8], len: u64) -> Option<Self> {
        let head = &head[..head.len().min(HEAD_BYTES as usize)];
        let layout = Layout::parse(head, len)?;
        Some(Self { layout })
    }

    /// Rewrites bytes of the program that stand at `place` in it. Whoever restores them has to take the very same
    /// steps.
    pub fn rewrite(&self, place: u64, bytes: &mut [u8]) {
        literals::rewrite(&self.layout, place, bytes, Way::ToAddresses);
    }

    /// Turns what [`Addresses::rewrite`] has made into the program's bytes again. Any bytes will do.
    pub fn restore(&self, place: u64, bytes: &mut [u8]) {
        literals::rewrite(&self.layout, place, bytes, Way::ToDistances);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_comes_back() {
        let program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let addresses = Addresses::open(&program, program.len() as u64).unwrap();
        let mut bytes = program[HEAD_BYTES as usize..].to_vec();
        for (number, step) in bytes.chunks_mut(100_000).enumerate() {
            addresses.rewrite(HEAD_BYTES + 100_000 * number as u64, step);
        }
        assert_ne!(bytes, program[HEAD_BYTES as usize..]);
        for (number, step) in bytes.chunks_mut(100_000).enumerate() {
            addresses.restore(HEAD_BYTES + 100_000 * number as u64, step);
        }
        assert_eq!(bytes, program[HEAD_BYTES as usize..]);
    }

    #[test]
    fn other_bytes_are_no_program() {
        assert!(Addresses::open(b"", 0).is_none());
        assert!(Addresses::open(&[0; 5000], 5000).is_none());
    }
}
