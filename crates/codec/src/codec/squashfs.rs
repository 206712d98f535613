//! Tables of squashfs. Nothing in them is packed, but every file's entry says where its bytes stand, so
//! that one file that packs to another length changes the entries of all files behind it. Unpacked, such
//! a number stands as its difference from what the entries before it let expect, which stays the same.
//!
//! Source: the structures of the Linux kernel's `fs/squashfs/squashfs_fs.h`, and squashfs-tools, which
//! writes the blocks of files one behind the other in the order of their inodes, as far as it can.
//!
//! What is expected is worked out from entries that are known to both sides by then, so both go the same
//! way for any bytes. From what is no entry on, bytes stay as they are.

use std::fmt;
use std::io::{self, Read};

use crate::codec::{Codec, Method};
use crate::format::Format;
use crate::packer::{PackError, Packer, Promise};
use crate::prover::{Bench, Found};
use crate::recipe::{RecipeError, Way};

/// What a reader transforms at a time, in bytes; by the first of them the length of blocks is found.
const READ_BYTES: usize = 64 << 10;
/// An inode that is longer than this, in bytes, is taken for damage.
const INODE_BYTES_MAX: u64 = 256 << 10;
/// Lengths of data blocks as powers of two, the usual one first.
const BLOCK_LOGS: [u8; 9] = [17, 20, 18, 19, 16, 15, 14, 13, 12];
/// Bytes of an entry of the fragment table.
const FRAGMENT_BYTES: usize = 16;
/// Listings are cut into blocks of this length, in bytes.
const METADATA_BYTES: u16 = 8192;
/// The number of no fragment.
const NO_FRAGMENT: u32 = u32::MAX;
/// The bits of a block's length; the one behind them says that it is not packed.
const LEN_MASK: u32 = (1 << 24) - 1;

/// What is transformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Table {
    /// Inodes of files of blocks of 2 to the power of this.
    Inodes(u8),
    Fragments,
}

/// Puts the numbers back.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Recipe(Table);

/// The codec of one of the tables.
pub(crate) struct Squashfs(pub(crate) Format);

/// The two ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    /// Numbers become differences.
    Unpack,
    /// Differences become numbers.
    Pack,
}

/// An entry's bytes, and the way that they go.
struct Entry<'a> {
    bytes: &'a mut [u8],
    direction: Direction,
}

impl Entry<'_> {
    /// Replaces the number of `LEN` bytes at `at`, of which `expected` is expected; answers the number.
    fn exchange<const LEN: usize>(&mut self, at: usize, expected: u64) -> u64 {
        let field = &mut self.bytes[at..at + LEN];
        let mut bytes = [0; 8];
        bytes[..LEN].copy_from_slice(field);
        let here = u64::from_le_bytes(bytes);
        let mask = u64::MAX >> (64 - 8 * LEN);
        let other = match self.direction {
            Direction::Unpack => here.wrapping_sub(expected) & mask,
            Direction::Pack => here.wrapping_add(expected) & mask,
        };
        field.copy_from_slice(&other.to_le_bytes()[..LEN]);
        if self.direction == Direction::Unpack { here } else { other }
    }

    /// The same for the number of a fragment: where there is none, that stays as it is, and the
    /// difference that looks like it changes places with the one that it would have.
    fn exchange_fragment(&mut self, at: usize, expected: u32) -> u32 {
        let here = u32_at(self.bytes, at);
        let stand_in = NO_FRAGMENT.wrapping_sub(expected);
        let other = match (self.direction, here) {
            (_, NO_FRAGMENT) => NO_FRAGMENT,
            (Direction::Unpack, _) => match here.wrapping_sub(expected) {
                NO_FRAGMENT => stand_in,
                difference => difference,
            },
            (Direction::Pack, _) if here == stand_in => NO_FRAGMENT.wrapping_add(expected),
            (Direction::Pack, _) => here.wrapping_add(expected),
        };
        self.bytes[at..at + 4].copy_from_slice(&other.to_le_bytes());
        if self.direction == Direction::Unpack { here } else { other }
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

/// What the entries so far let expect of the next one.
#[derive(Debug, Clone, Copy, Default)]
struct Expected {
    /// The number of the last inode.
    number: u32,
    /// Where the last file's blocks end.
    data_end: u64,
    /// The last fragment, and where the last tail in it ends.
    fragment: u32,
    tail_end: u32,
    /// Where the last folder's listing stands, in the table and in its block, and its length.
    folder_start: u32,
    folder_offset: u16,
    folder_len: u16,
}

/// Goes through a table, entry by entry.
#[derive(Debug)]
struct Exchange {
    table: Table,
    direction: Direction,
    expected: Expected,
    /// What comes is no entry.
    lost: bool,
}

impl Exchange {
    fn new(table: Table, direction: Direction) -> Self {
        Self { table, direction, expected: Expected::default(), lost: false }
    }

    /// Transforms the entries at the start of `bytes` that are there whole; answers their length. `last`
    /// says that nothing follows: then all is done.
    fn replace(&mut self, bytes: &mut [u8], last: bool) -> usize {
        let mut done = 0;
        while !self.lost {
            let rest = &mut bytes[done..];
            match self.entry(rest) {
                Some(0) => break,
                Some(len) => done += len,
                None => self.lost = true,
            }
        }
        if self.lost || last { bytes.len() } else { done }
    }

    /// Transforms one entry; answers its length, 0 where it is not there whole, `None` where it is none.
    fn entry(&mut self, bytes: &mut [u8]) -> Option<usize> {
        match self.table {
            Table::Fragments => Some(self.fragment(bytes)),
            Table::Inodes(block_log) => self.inode(bytes, block_log),
        }
    }

    fn fragment(&mut self, bytes: &mut [u8]) -> usize {
        let Some(bytes) = bytes.get_mut(..FRAGMENT_BYTES) else { return 0 };
        let len = u32_at(bytes, 8) & LEN_MASK;
        let mut entry = Entry { bytes, direction: self.direction };
        let start = entry.exchange::<8>(0, self.expected.data_end);
        self.expected.data_end = start.wrapping_add(u64::from(len));
        FRAGMENT_BYTES
    }

    fn inode(&mut self, bytes: &mut [u8], block_log: u8) -> Option<usize> {
        let Some(kind) = bytes.get(..2).map(|bytes| u16_at(bytes, 0)) else { return Some(0) };
        let fixed = match kind {
            1 | 2 => 32,
            3 | 4 | 5 | 10 | 13 | 14 => 24,
            6 | 7 => 20,
            8 => 40,
            9 => 56,
            11 | 12 => 28,
            _ => return None,
        };
        let Some(head) = bytes.get(..fixed) else { return Some(0) };
        // The fixed part, transformed aside: only a whole inode is replaced.
        let mut copy = [0; 56];
        copy[..fixed].copy_from_slice(head);
        let mut expected = self.expected;
        let mut entry = Entry { bytes: &mut copy[..fixed], direction: self.direction };
        expected.number = entry.exchange::<4>(12, u64::from(expected.number)) as u32;
        let behind = match kind {
            1 => {
                expected.folder(&mut entry, FolderPlaces { start: 16, offset: 26, parent: 28 });
                expected.folder_len = u16_at(entry.bytes, 24);
                0
            }
            8 => {
                expected.folder(&mut entry, FolderPlaces { start: 24, offset: 34, parent: 28 });
                expected.folder_len = u32_at(entry.bytes, 20) as u16;
                index_len(bytes, fixed, u16_at(entry.bytes, 32))?
            }
            2 => {
                let len = u64::from(u32_at(entry.bytes, 28));
                expected.file::<4>(
                    &mut entry,
                    FilePlaces { start: 16, fragment: 20, len },
                    &bytes[fixed..],
                    block_log,
                )?
            }
            9 => {
                let len = u64_at(entry.bytes, 24);
                expected.file::<8>(
                    &mut entry,
                    FilePlaces { start: 16, fragment: 44, len },
                    &bytes[fixed..],
                    block_log,
                )?
            }
            3 => Some(u64::from(u32_at(entry.bytes, 20))).filter(|&len| len <= INODE_BYTES_MAX)?,
            10 => Some(u64::from(u32_at(entry.bytes, 20)) + 4).filter(|&len| len <= INODE_BYTES_MAX)?,
            _ => 0,
        };
        let len = usize::try_from(behind).unwrap_or(usize::MAX).saturating_add(fixed);
        if bytes.len() < len {
            return Some(0);
        }
        bytes[..fixed].copy_from_slice(&copy[..fixed]);
        self.expected = expected;
        Some(len)
    }
}

/// Length of the index of a folder, as far as it is there; more than there is where it is not.
fn index_len(bytes: &[u8], fixed: usize, count: u16) -> Option<u64> {
    let mut at = fixed;
    for _ in 0..count {
        let Some(name) = bytes.get(at + 8..at + 12) else { return Some(u64::MAX) };
        at += 12 + usize::try_from(u32_at(name, 0)).ok()?.checked_add(1)?;
        if (at - fixed) as u64 >= INODE_BYTES_MAX {
            return None;
        }
    }
    Some((at - fixed) as u64)
}

#[derive(Clone, Copy)]
struct FolderPlaces {
    start: usize,
    offset: usize,
    parent: usize,
}

#[derive(Clone, Copy)]
struct FilePlaces {
    start: usize,
    fragment: usize,
    len: u64,
}

impl Expected {
    fn folder(&mut self, entry: &mut Entry<'_>, places: FolderPlaces) {
        entry.exchange::<4>(places.parent, u64::from(self.number));
        self.folder_start = entry.exchange::<4>(places.start, u64::from(self.folder_start)) as u32;
        // A listing is stored as three bytes longer than it is.
        let offset = self.folder_offset.wrapping_add(self.folder_len).wrapping_sub(3) % METADATA_BYTES;
        self.folder_offset = entry.exchange::<2>(places.offset, u64::from(offset)) as u16;
    }

    /// Answers the length of the list of blocks.
    fn file<const START_LEN: usize>(
        &mut self,
        entry: &mut Entry<'_>,
        places: FilePlaces,
        list: &[u8],
        block_log: u8,
    ) -> Option<u64> {
        let fragment = entry.exchange_fragment(places.fragment, self.fragment);
        let (blocks, tail) = (places.len >> block_log, places.len & ((1 << block_log) - 1));
        let blocks = blocks + u64::from(tail > 0 && fragment == NO_FRAGMENT);
        let list_len = blocks.checked_mul(4).filter(|&len| len <= INODE_BYTES_MAX)?;
        let expected = if blocks == 0 { 0 } else { self.data_end };
        let start = entry.exchange::<START_LEN>(places.start, expected);
        if let Some(list) = list.get(..list_len as usize).filter(|list| !list.is_empty()) {
            let len: u64 = list.chunks_exact(4).map(|word| u64::from(u32_at(word, 0) & LEN_MASK)).sum();
            self.data_end = start.wrapping_add(len);
        }
        if fragment != NO_FRAGMENT {
            let expected = if fragment == self.fragment { self.tail_end } else { 0 };
            let offset = entry.exchange::<4>(places.fragment + 4, u64::from(expected)) as u32;
            self.fragment = fragment;
            self.tail_end = offset.wrapping_add(tail as u32);
        }
        Some(list_len)
    }
}

/// The length of blocks with which most of these inodes make sense.
fn block_log(inodes: &[u8]) -> u8 {
    let mut best = (0, BLOCK_LOGS[0]);
    for block_log in BLOCK_LOGS {
        let mut copy = inodes.to_vec();
        let mut exchange = Exchange::new(Table::Inodes(block_log), Direction::Unpack);
        let mut done = 0;
        while let Some(len) = exchange.entry(&mut copy[done..])
            && len > 0
        {
            done += len;
        }
        if done > best.0 {
            best = (done, block_log);
        }
    }
    best.1
}

fn table_of(format: Format, head: &[u8]) -> Table {
    match format {
        Format::SquashfsInodes => Table::Inodes(block_log(&head[..head.len().min(READ_BYTES)])),
        _ => Table::Fragments,
    }
}

/// Appends a whole table with its numbers replaced.
pub(crate) fn unpack(format: Format, packed: &[u8], plain: &mut Vec<u8>) {
    let start = plain.len();
    plain.extend_from_slice(packed);
    Exchange::new(table_of(format, packed), Direction::Unpack).replace(&mut plain[start..], true);
}

/// Reads a table with its numbers replaced.
pub(crate) struct Reader<R> {
    table: R,
    format: Format,
    exchange: Option<Exchange>,
    /// Bytes that came, of which so many are transformed and so many are read.
    buffer: Vec<u8>,
    ready: usize,
    at: usize,
}

impl<R: Read> Reader<R> {
    pub(crate) fn new(table: R, format: Format) -> Self {
        Self { table, format, exchange: None, buffer: Vec::new(), ready: 0, at: 0 }
    }
}

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.at == self.ready {
            self.buffer.drain(..self.at);
            (self.at, self.ready) = (0, 0);
            let come = (&mut self.table).take(READ_BYTES as u64).read_to_end(&mut self.buffer)?;
            let exchange = self
                .exchange
                .get_or_insert_with(|| Exchange::new(table_of(self.format, &self.buffer), Direction::Unpack));
            self.ready = exchange.replace(&mut self.buffer, come == 0);
            if come == 0 {
                break;
            }
        }
        let len = out.len().min(self.ready - self.at);
        out[..len].copy_from_slice(&self.buffer[self.at..][..len]);
        self.at += len;
        Ok(len)
    }
}

impl Recipe {
    pub(crate) fn read(bytes: &mut &[u8]) -> Result<Self, RecipeError> {
        let (&number, rest) = bytes.split_first().ok_or(RecipeError::Malformed)?;
        *bytes = rest;
        match number {
            0 => Ok(Self(Table::Fragments)),
            block_log if BLOCK_LOGS.contains(&block_log) => Ok(Self(Table::Inodes(block_log))),
            _ => Err(RecipeError::Malformed),
        }
    }
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Table::Fragments => f.write_str("squashfs fragments"),
            Table::Inodes(block_log) => write!(f, "squashfs inodes, blocks of 2^{block_log}"),
        }
    }
}

impl Method for Recipe {
    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.push(match self.0 {
            Table::Fragments => 0,
            Table::Inodes(block_log) => block_log,
        });
    }

    fn check_linked(&self) -> Result<(), RecipeError> {
        Ok(())
    }

    fn memory_bytes(&self, _plain_len: u64, _packed_len_max: u64) -> u64 {
        2 * (READ_BYTES as u64 + INODE_BYTES_MAX)
    }

    fn packer(
        &self,
        plain_len: u64,
        _packed_len_max: u64,
        _corrections: &[u8],
    ) -> Result<Box<dyn Packer>, PackError> {
        let exchange = Exchange::new(self.0, Direction::Pack);
        Ok(Box::new(TablePacker { promise: Promise::new(plain_len), exchange, buffer: Vec::new() }))
    }
}

/// Puts the numbers back as entries come.
struct TablePacker {
    promise: Promise,
    exchange: Exchange,
    /// What has come of the next entry.
    buffer: Vec<u8>,
}

impl TablePacker {
    fn put(&mut self, last: bool, sink: &mut dyn io::Write) -> Result<(), PackError> {
        let ready = self.exchange.replace(&mut self.buffer, last);
        sink.write_all(&self.buffer[..ready]).map_err(PackError::Sink)?;
        self.buffer.drain(..ready);
        Ok(())
    }
}

impl Packer for TablePacker {
    fn write(&mut self, plain: &[u8], sink: &mut dyn io::Write) -> Result<(), PackError> {
        self.promise.take(plain.len())?;
        for part in plain.chunks(READ_BYTES) {
            self.buffer.extend_from_slice(part);
            self.put(false, sink)?;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>, sink: &mut dyn io::Write) -> Result<(), PackError> {
        self.promise.keep()?;
        self.put(true, sink)
    }
}

impl Codec for Squashfs {
    fn prove(&self, packed: &[u8], plain: &[u8], bench: &mut Bench<'_>) -> Option<Found> {
        let recipe = Way::Squashfs(Recipe(table_of(self.0, packed))).into();
        bench.reproduces(&recipe, &[], plain, packed).then_some(Found { recipe, corrections: Vec::new() })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Inodes of a folder, of files of one to three blocks with tails in fragments, and of a link.
    fn table(lens: &[u32]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let put = |bytes: &mut Vec<u8>, numbers: &[u32]| {
            bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        };
        let head = |kind: u32, number: u32| [kind | 0o644 << 16, 0, 1_700_000_000, number];
        let (mut start, mut tail) = (96, 0);
        for (index, &len) in lens.iter().enumerate() {
            put(&mut bytes, &head(2, index as u32 + 1));
            let blocks = 1 + index as u32 % 3;
            put(&mut bytes, &[start, 7, tail, (blocks << 17) + 100]);
            put(&mut bytes, &vec![len; blocks as usize]);
            start += blocks * len;
            tail += 100;
        }
        put(&mut bytes, &head(3, 500));
        put(&mut bytes, &[1, 4]);
        bytes.extend_from_slice(b"link");
        put(&mut bytes, &head(1, 501));
        put(&mut bytes, &[0, 2, 300, 502]);
        bytes
    }

    fn unpacked(format: Format, packed: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        unpack(format, packed, &mut plain);
        plain
    }

    fn packed_again(recipe: &Recipe, plain: &[u8], step: usize) -> Vec<u8> {
        let mut packed = Vec::new();
        let mut work = recipe.packer(plain.len() as u64, u64::MAX, &[]).unwrap();
        plain.chunks(step).for_each(|part| work.write(part, &mut packed).unwrap());
        work.finish(&mut packed).unwrap();
        packed
    }

    #[test]
    fn one_file_that_packs_to_another_length_changes_one_entry() {
        let mut lens = vec![50_000; 60];
        let old = unpacked(Format::SquashfsInodes, &table(&lens));
        lens[20] += 1234;
        let new = table(&lens);
        let plain = unpacked(Format::SquashfsInodes, &new);
        let differing = old.iter().zip(&plain).filter(|(old, new)| old != new).count();
        // The block lengths of the file itself, three of them.
        assert!(differing <= 3 * 4, "{differing} bytes");
        assert_eq!(packed_again(&Recipe(Table::Inodes(17)), &plain, 7), new);
    }

    #[test]
    fn fragments_keep_their_distances() {
        let entry = |start: u64, len: u32| [&start.to_le_bytes()[..], &len.to_le_bytes(), &[0; 4]].concat();
        let table =
            |first: u64| (0..50).flat_map(|index| entry(first + index * 9000, 8000)).collect::<Vec<u8>>();
        let (old, new) = (table(1000), table(5000));
        let plain = unpacked(Format::SquashfsFragments, &new);
        assert_eq!(unpacked(Format::SquashfsFragments, &old)[16..], plain[16..]);
        assert_eq!(packed_again(&Recipe(Table::Fragments), &plain, 100), new);
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(
            bytes in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..3000),
                prop::collection::vec(prop_oneof![5 => Just(0_u8), 2 => 1_u8..15, 1 => any::<u8>()], 0..3000),
                prop::collection::vec(0_u32..60_000, 0..60).prop_map(|lens| table(&lens)),
            ],
            steps in (1_usize..500, 1_usize..500),
        ) {
            for format in [Format::SquashfsInodes, Format::SquashfsFragments] {
                let plain = unpacked(format, &bytes);
                let mut read = Vec::new();
                Reader::new(&bytes[..], format).read_to_end(&mut read).unwrap();
                prop_assert_eq!(&read, &plain);
                let recipe = Recipe(table_of(format, &bytes));
                prop_assert_eq!(&packed_again(&recipe, &plain, steps.0), &bytes);
                prop_assert_eq!(&packed_again(&recipe, &plain, steps.1), &bytes);
            }
        }
    }
}
