//! Inode tables of ext4 whose inodes carry checksums (feature `metadata_csum`). Nothing in them is
//! packed, but a checksum is four bytes that resemble nothing: it changes with the inode's number, which
//! changes with every file that comes before. Unpacked, each checksum stands as its difference from what
//! it should be, which is zero.
//!
//! Source: the Linux kernel's `fs/ext4/inode.c` (`ext4_inode_csum`) and `ext4.h`, and
//! `Documentation/filesystems/ext4/checksums.rst`: CRC-32C over the file system's seed, the inode's
//! number, its generation, and the inode with zeros in the place of the checksum.
//!
//! The seed stands in no inode. But a CRC can be run backwards: the first inode in use with a whole
//! checksum tells it. Those before it stay as they are.

use std::fmt;
use std::io::{self, Read};

use crate::codec::{Codec, Method};
use crate::packer::{PackError, Packer, Promise};
use crate::prover::{Bench, Found};
use crate::recipe::{RecipeError, Way};
use crate::varint;

/// Length of an inode as mke2fs makes them. Others are not known here.
pub(crate) const INODE_BYTES: usize = 256;
/// Where an inode says how long it is beyond its first 128 bytes.
const EXTRA_BYTES_AT: usize = 128;
const GENERATION_AT: usize = 100;
/// The halves of the checksum. The upper one exists where the inode is long enough.
const LOW_AT: usize = 124;
const HIGH_AT: usize = 130;
/// What a reader transforms at a time, in bytes.
const READ_BYTES: usize = 64 << 10;

/// Puts the checksums back.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Recipe {
    /// The CRC's state before the number of an inode.
    seed: u32,
}

pub(crate) struct Ext4Inodes;

/// Replaces the checksums of inodes, one after the other: doing it twice gives the first bytes.
#[derive(Debug)]
pub(crate) struct Exchange {
    seed: Option<u32>,
    number: u32,
    /// The inode that tells the seed has come.
    begun: bool,
}

impl Exchange {
    /// From the first inode on. Without a seed the inode that tells it is taken for right.
    pub(crate) fn new(seed: Option<u32>) -> Self {
        Self { seed, number: 1, begun: false }
    }

    /// Replaces the checksums in whole inodes; what is left behind them stays as it is.
    pub(crate) fn replace(&mut self, inodes: &mut [u8]) {
        for inode in inodes.chunks_exact_mut(INODE_BYTES) {
            self.inode(inode);
            self.number = self.number.wrapping_add(1);
        }
    }

    fn inode(&mut self, inode: &mut [u8]) {
        let half = |inode: &[u8], at: usize| u16::from_le_bytes([inode[at], inode[at + 1]]);
        let has_high = half(inode, EXTRA_BYTES_AT) >= 4;
        let low = half(inode, LOW_AT);
        let high = if has_high { half(inode, HIGH_AT) } else { 0 };
        inode[LOW_AT..LOW_AT + 2].fill(0);
        if has_high {
            inode[HIGH_AT..HIGH_AT + 2].fill(0);
        }
        let (mut new_low, mut new_high) = (low, high);
        // An inode that was never in use may have no checksum.
        let in_use = inode.iter().any(|&byte| byte != 0);
        self.begun |= in_use && has_high;
        if in_use && self.begun {
            let generation = &inode[GENERATION_AT..GENERATION_AT + 4];
            let number = self.number.to_le_bytes();
            let seed = *self.seed.get_or_insert_with(|| {
                let state = u32::from(high) << 16 | u32::from(low);
                [&*inode, generation, &number].iter().fold(state, |state, bytes| back(state, bytes))
            });
            let state = [&number, generation, &*inode].iter().fold(seed, |state, bytes| forth(state, bytes));
            new_low ^= state as u16;
            if has_high {
                new_high ^= (state >> 16) as u16;
            }
        }
        inode[LOW_AT..LOW_AT + 2].copy_from_slice(&new_low.to_le_bytes());
        if has_high {
            inode[HIGH_AT..HIGH_AT + 2].copy_from_slice(&new_high.to_le_bytes());
        }
    }
}

/// CRC-32C, reflected, byte by byte.
static TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut state = index as u32;
        let mut bit = 0;
        while bit < 8 {
            state = if state & 1 == 1 { state >> 1 ^ 0x82f6_3b78 } else { state >> 1 };
            bit += 1;
        }
        table[index] = state;
        index += 1;
    }
    table
}

/// The state after some bytes. Libraries offer it only inverted before and after, and not the way back.
fn forth(state: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(state, |state, &byte| state >> 8 ^ TABLE[usize::from(state as u8 ^ byte)])
}

/// The state before some bytes, from that after them: no two entries share their highest byte.
fn back(state: u32, bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(state, |state, &byte| {
        let index = TABLE.iter().position(|entry| entry >> 24 == state >> 24).unwrap_or(0);
        (state ^ TABLE[index]) << 8 | u32::from(index as u8 ^ byte)
    })
}

/// Reads a table with its checksums replaced.
pub(crate) struct Reader<R> {
    table: R,
    exchange: Exchange,
    buffer: Vec<u8>,
    at: usize,
}

impl<R: Read> Reader<R> {
    pub(crate) fn new(table: R) -> Self {
        Self { table, exchange: Exchange::new(None), buffer: Vec::new(), at: 0 }
    }
}

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.at == self.buffer.len() {
            self.buffer.clear();
            self.at = 0;
            (&mut self.table).take(READ_BYTES as u64).read_to_end(&mut self.buffer)?;
            self.exchange.replace(&mut self.buffer);
        }
        let len = out.len().min(self.buffer.len() - self.at);
        out[..len].copy_from_slice(&self.buffer[self.at..][..len]);
        self.at += len;
        Ok(len)
    }
}

impl Recipe {
    pub(crate) fn read(bytes: &mut &[u8]) -> Result<Self, RecipeError> {
        let seed = varint::take_bytes(bytes, 4).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
        Ok(Self { seed: u32::from_le_bytes(seed.ok_or(RecipeError::Malformed)?) })
    }
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ext4 checksums, seed {:08x}", self.seed)
    }
}

impl Method for Recipe {
    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.seed.to_le_bytes());
    }

    fn check_linked(&self) -> Result<(), RecipeError> {
        Ok(())
    }

    fn memory_bytes(&self, _plain_len: u64, _packed_len_max: u64) -> u64 {
        2 * READ_BYTES as u64
    }

    fn packer(
        &self,
        plain_len: u64,
        _packed_len_max: u64,
        _corrections: &[u8],
    ) -> Result<Box<dyn Packer>, PackError> {
        let exchange = Exchange::new(Some(self.seed));
        Ok(Box::new(Inodes { promise: Promise::new(plain_len), exchange, buffer: Vec::new() }))
    }
}

/// Puts checksums back as inodes come.
struct Inodes {
    promise: Promise,
    exchange: Exchange,
    /// What has come of the next inodes.
    buffer: Vec<u8>,
}

impl Packer for Inodes {
    fn write(&mut self, plain: &[u8], sink: &mut dyn io::Write) -> Result<(), PackError> {
        self.promise.take(plain.len())?;
        for part in plain.chunks(READ_BYTES) {
            self.buffer.extend_from_slice(part);
            let rest = self.buffer.split_off(self.buffer.len() - self.buffer.len() % INODE_BYTES);
            self.exchange.replace(&mut self.buffer);
            sink.write_all(&self.buffer).map_err(PackError::Sink)?;
            self.buffer = rest;
        }
        Ok(())
    }

    fn finish(self: Box<Self>, sink: &mut dyn io::Write) -> Result<(), PackError> {
        self.promise.keep()?;
        sink.write_all(&self.buffer).map_err(PackError::Sink)
    }
}

impl Codec for Ext4Inodes {
    fn prove(&self, packed: &[u8], plain: &[u8], bench: &mut Bench<'_>) -> Option<Found> {
        let mut exchange = Exchange::new(None);
        exchange.replace(&mut packed.to_vec());
        let recipe = Way::Ext4Inodes(Recipe { seed: exchange.seed.unwrap_or(0) }).into();
        bench.reproduces(&recipe, &[], plain, packed).then_some(Found { recipe, corrections: Vec::new() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crc_is_known_and_runs_both_ways() {
        // RFC 3720, B.4: 32 bytes of zeros.
        assert_eq!(!forth(!0, &[0; 32]), 0x8a91_36aa);
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(back(forth(0x1234_5678, &bytes), &bytes), 0x1234_5678);
    }

    /// Inodes with right checksums, two of them never in use, one short one.
    fn table(seed: u32) -> Vec<u8> {
        let mut bytes = vec![0; 40 * INODE_BYTES + 100];
        for (index, inode) in bytes.chunks_exact_mut(INODE_BYTES).enumerate() {
            if index == 0 || index == 7 {
                continue;
            }
            for (at, byte) in inode.iter_mut().enumerate() {
                *byte = (at * 7 + index * 13) as u8;
            }
            // The first one in use and another have no upper half.
            let extra_bytes = if index == 1 || index == 9 { 0_u16 } else { 32 };
            inode[EXTRA_BYTES_AT..EXTRA_BYTES_AT + 2].copy_from_slice(&extra_bytes.to_le_bytes());
            inode[LOW_AT..LOW_AT + 2].fill(0);
            if extra_bytes > 0 {
                inode[HIGH_AT..HIGH_AT + 2].fill(0);
            }
        }
        // From zeros to checksums is the same way as back.
        Exchange::new(Some(seed)).replace(&mut bytes);
        bytes
    }

    #[test]
    fn right_checksums_become_zeros_and_come_back() {
        let table = table(0xdb3f_6d4b);
        let mut plain = table.clone();
        let mut exchange = Exchange::new(None);
        exchange.replace(&mut plain);
        assert_eq!(exchange.seed, Some(0xdb3f_6d4b), "the first whole checksum tells the seed");
        let wrong = |inode: &[u8]| inode[LOW_AT..LOW_AT + 2] != [0, 0];
        assert_eq!(plain.chunks_exact(INODE_BYTES).filter(|inode| wrong(inode)).count(), 0);
        assert!(table.chunks_exact(INODE_BYTES).filter(|inode| wrong(inode)).count() >= 37);
        Exchange::new(Some(0xdb3f_6d4b)).replace(&mut plain);
        assert!(plain == table);
    }

    #[test]
    fn readers_and_packers_agree_whatever_the_steps() {
        let mut bytes = table(99);
        // A wrong checksum comes back too.
        bytes[5 * INODE_BYTES + LOW_AT] ^= 0x40;
        let mut plain = Vec::new();
        Reader::new(&bytes[..]).read_to_end(&mut plain).unwrap();
        let recipe = Recipe { seed: 99 };
        for step in [1, 255, 256, 1000, bytes.len()] {
            let mut packed = Vec::new();
            let mut making = recipe.packer(plain.len() as u64, u64::MAX, &[]).unwrap();
            plain.chunks(step).for_each(|part| making.write(part, &mut packed).unwrap());
            making.finish(&mut packed).unwrap();
            assert!(packed == bytes, "in steps of {step}");
        }
    }
}
