//! Blocks in memory until they are whole: runs are short, and giving each to the system costs more than hashing it.
//!
//! Most of a result is written nearly in order, so blocks are soon whole; one that is not when others need its place
//! is written as far as it is there. Zeros are known beforehand: the ends of files are followed by some, which belong
//! to no file and would come at another time.

use std::io;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// What is written at a time, in bytes.
pub const BLOCK_BYTES: u64 = 64 << 10;
/// Blocks that are in memory.
const BLOCKS_MAX: usize = 16;
/// Ranges of zeros that are known beforehand: each takes 16 bytes.
const ZEROS_MAX: usize = 1 << 16;

/// Writes bytes at an offset.
pub type Write<'a> = dyn Fn(u64, &[u8]) -> io::Result<()> + 'a;

/// The blocks of a result that are being filled, by any number of threads: one that writes a block holds up nobody.
///
/// Memory: 16 blocks of 64 KiB, and one for each thread that writes, 1 MiB at most for zeros, and one bit for each
/// block of the result.
#[derive(Debug)]
pub struct Gather {
    blocks: Mutex<Blocks>,
    /// Hears of each block that was written.
    gone: Condvar,
}

impl Gather {
    /// Gathers a result of `len` bytes.
    pub fn new(len: u64) -> Self {
        Self { blocks: Mutex::new(Blocks::new(len)), gone: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Blocks> {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These ranges, in order, will be put, and are zeros. Once, before anything is put. Where there are too many,
    /// none are believed.
    pub fn foretell_zeros(&self, ranges: Vec<Range<u64>>) {
        if ranges.len() <= ZEROS_MAX {
            self.lock().zeros = ranges;
        }
    }

    /// Takes bytes, and writes blocks that are whole, or have to go.
    ///
    /// # Errors
    /// What `write` reports.
    pub fn put(&self, offset: u64, bytes: &[u8], write: &Write<'_>) -> io::Result<()> {
        let (mut at, mut left) = (offset, bytes);
        while !left.is_empty() {
            let len = left.len().min((BLOCK_BYTES - at % BLOCK_BYTES) as usize);
            let (part, behind) = left.split_at(len);
            let (leaving, is_taken) = {
                let mut blocks = self.lock();
                // What comes behind a block that is just written is to stand there behind it.
                while blocks.is_leaving(at - at % BLOCK_BYTES) {
                    blocks = self.gone.wait(blocks).unwrap_or_else(PoisonError::into_inner);
                }
                blocks.put(at, part)
            };
            self.write_out(leaving, write)?;
            if !is_taken {
                write(at, part)?;
            }
            (at, left) = (at + len as u64, behind);
        }
        Ok(())
    }

    /// Writes all that is there.
    ///
    /// # Errors
    /// What `write` reports.
    pub fn flush(&self, write: &Write<'_>) -> io::Result<()> {
        let leaving = self.lock().leave_all();
        self.write_out(leaving, write)
    }

    /// Writes blocks, all of them whatever becomes of one.
    fn write_out(&self, leaving: Vec<Arc<Block>>, write: &Write<'_>) -> io::Result<()> {
        let mut result = Ok(());
        for block in leaving {
            result = result.and(block.parts().try_for_each(|(at, part)| write(at, part)));
            self.lock().forget(block);
            self.gone.notify_all();
        }
        result
    }

    /// Copies what is here of the bytes at `offset`; answers the ranges of them that are not.
    pub fn read(&self, offset: u64, bytes: &mut [u8]) -> Vec<Range<usize>> {
        self.lock().read(offset, bytes)
    }
}

#[derive(Debug)]
struct Blocks {
    len: u64,
    /// What was written to last stands last.
    open: Vec<Block>,
    /// What is just written: until it is there, it is read from here.
    leaving: Vec<Arc<Block>>,
    free: Vec<Box<[u8]>>,
    /// What will be zeros, in order.
    zeros: Vec<Range<u64>>,
    /// One bit for each block: whether it has its zeros.
    has_zeros: Vec<u64>,
}

/// A block of which some is there.
#[derive(Debug)]
struct Block {
    start: u64,
    bytes: Box<[u8]>,
    /// What is there, in order and apart from each other.
    ranges: Vec<Range<usize>>,
}

impl Block {
    /// The parts that are there, with their offsets.
    fn parts(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.ranges.iter().map(|range| (self.start + range.start as u64, &self.bytes[range.clone()]))
    }

    /// Notes that a range is there; answers whether none of it was before.
    fn add(&mut self, new: Range<usize>) -> bool {
        let ranges = &mut self.ranges;
        let next = ranges.partition_point(|range| range.start < new.start);
        let before = next.checked_sub(1);
        let overlaps_before = before.is_some_and(|before| ranges[before].end > new.start);
        if overlaps_before || ranges.get(next).is_some_and(|range| range.start < new.end) {
            return false;
        }
        let joins_next = ranges.get(next).is_some_and(|range| range.start == new.end);
        match before.filter(|&before| ranges[before].end == new.start) {
            Some(before) if joins_next => ranges[before].end = ranges.remove(next).end,
            Some(before) => ranges[before].end = new.end,
            None if joins_next => ranges[next].start = new.start,
            None => ranges.insert(next, new),
        }
        true
    }
}

impl Blocks {
    fn new(len: u64) -> Self {
        let blocks = len.div_ceil(BLOCK_BYTES);
        Self {
            len,
            open: Vec::with_capacity(BLOCKS_MAX),
            leaving: Vec::new(),
            free: Vec::with_capacity(BLOCKS_MAX),
            zeros: Vec::new(),
            has_zeros: vec![0; blocks.div_ceil(64) as usize],
        }
    }

    fn is_leaving(&self, start: u64) -> bool {
        self.leaving.iter().any(|block| block.start == start)
    }

    /// Whether these bytes will be zeros, as was told.
    fn is_zeros(&self, start: u64, end: u64) -> bool {
        let next = self.zeros.partition_point(|zeros| zeros.end <= start);
        self.zeros.get(next).is_some_and(|zeros| zeros.start <= start && end <= zeros.end)
    }

    /// Takes bytes of one block; answers the blocks that have to be written now, and whether these bytes were taken: if
    /// not, they have to be written behind them.
    fn put(&mut self, offset: u64, bytes: &[u8]) -> (Vec<Arc<Block>>, bool) {
        let inside = offset % BLOCK_BYTES;
        let start = offset - inside;
        let found = self.open.iter().position(|open| open.start == start);
        let mut leaving = Vec::new();
        if self.is_zeros(offset, offset + bytes.len() as u64) {
            // Its block has them, or gets them now.
            if found.is_none() && !self.had_zeros(start) {
                let block = self.begin(start, &mut leaving);
                self.leave_or_keep(block, &mut leaving);
            }
            return (leaving, true);
        }
        if found.is_none() && (bytes.len() as u64 == BLOCK_BYTES || offset + bytes.len() as u64 > self.len) {
            return (leaving, false);
        }
        let mut block = match found {
            Some(index) => self.open.remove(index),
            None => self.begin(start, &mut leaving),
        };
        let range = inside as usize..inside as usize + bytes.len();
        if !block.add(range.clone()) {
            // Twice: what comes last is to stand there.
            self.leave(block, &mut leaving);
            return (leaving, false);
        }
        block.bytes[range].copy_from_slice(bytes);
        self.leave_or_keep(block, &mut leaving);
        (leaving, true)
    }

    /// A block that is whole has to be written.
    fn leave_or_keep(&mut self, block: Block, leaving: &mut Vec<Arc<Block>>) {
        let len = (self.len - block.start).min(BLOCK_BYTES) as usize;
        if block.ranges.iter().any(|range| range.len() == len) {
            self.leave(block, leaving);
        } else {
            self.open.push(block);
        }
    }

    fn leave(&mut self, block: Block, leaving: &mut Vec<Arc<Block>>) {
        let block = Arc::new(block);
        self.leaving.push(Arc::clone(&block));
        leaving.push(block);
    }

    fn leave_all(&mut self) -> Vec<Arc<Block>> {
        let mut leaving = Vec::new();
        for block in std::mem::take(&mut self.open) {
            self.leave(block, &mut leaving);
        }
        leaving
    }

    /// A block was written.
    fn forget(&mut self, block: Arc<Block>) {
        self.leaving.retain(|one| !Arc::ptr_eq(one, &block));
        if let Some(block) = Arc::into_inner(block)
            && self.free.len() < BLOCKS_MAX
        {
            self.free.push(block.bytes);
        }
    }

    fn had_zeros(&self, start: u64) -> bool {
        let block = start / BLOCK_BYTES;
        self.has_zeros[(block / 64) as usize] & (1 << (block % 64)) != 0
    }

    /// Opens a block, with the zeros that it is to have.
    fn begin(&mut self, start: u64, leaving: &mut Vec<Arc<Block>>) -> Block {
        if self.open.len() == BLOCKS_MAX {
            let oldest = self.open.remove(0);
            self.leave(oldest, leaving);
        }
        let bytes = self.free.pop().unwrap_or_else(|| vec![0; BLOCK_BYTES as usize].into_boxed_slice());
        let mut block = Block { start, bytes, ranges: Vec::new() };
        if self.had_zeros(start) {
            return block;
        }
        let number = start / BLOCK_BYTES;
        self.has_zeros[(number / 64) as usize] |= 1 << (number % 64);
        let end = (start + BLOCK_BYTES).min(self.len);
        let first = self.zeros.partition_point(|zeros| zeros.end <= start);
        for zeros in self.zeros[first..].iter().take_while(|zeros| zeros.start < end) {
            let range = (zeros.start.max(start) - start) as usize..(zeros.end.min(end) - start) as usize;
            block.bytes[range.clone()].fill(0);
            block.add(range);
        }
        block
    }

    fn read(&self, offset: u64, bytes: &mut [u8]) -> Vec<Range<usize>> {
        let end = offset + bytes.len() as u64;
        let mut held: Vec<Range<usize>> = Vec::new();
        let blocks = self.open.iter().chain(self.leaving.iter().map(|block| &**block));
        for (at, part) in blocks.flat_map(Block::parts) {
            let (from, to) = (at.max(offset), (at + part.len() as u64).min(end));
            if from < to {
                let range = (from - offset) as usize..(to - offset) as usize;
                bytes[range.clone()].copy_from_slice(&part[(from - at) as usize..(to - at) as usize]);
                held.push(range);
            }
        }
        held.sort_unstable_by_key(|range| range.start);
        let mut missing = Vec::new();
        let mut at = 0;
        for range in held {
            missing.extend((at < range.start).then_some(at..range.start));
            at = range.end;
        }
        missing.extend((at < bytes.len()).then_some(at..bytes.len()));
        missing
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::thread;

    use proptest::prelude::*;

    use super::*;

    /// What is written, and how often each byte.
    struct Disk {
        bytes: Vec<u8>,
        times: Vec<u8>,
        writes: usize,
    }

    impl Disk {
        fn new(len: usize) -> Self {
            Self { bytes: vec![0xee; len], times: vec![0; len], writes: 0 }
        }

        fn write(&mut self, at: u64, bytes: &[u8]) {
            let range = at as usize..at as usize + bytes.len();
            self.bytes[range.clone()].copy_from_slice(bytes);
            self.times[range].iter_mut().for_each(|times| *times += 1);
            self.writes += 1;
        }
    }

    fn put(gather: &Gather, disk: &mut Disk, at: usize, bytes: &[u8]) {
        let disk = RefCell::new(disk);
        let write = |at, bytes: &[u8]| {
            disk.borrow_mut().write(at, bytes);
            Ok(())
        };
        gather.put(at as u64, bytes, &write).unwrap();
    }

    fn flush(gather: &Gather, disk: &mut Disk) {
        let disk = RefCell::new(disk);
        let write = |at, bytes: &[u8]| {
            disk.borrow_mut().write(at, bytes);
            Ok(())
        };
        gather.flush(&write).unwrap();
    }

    #[test]
    fn a_block_is_written_once_and_its_zeros_are_not_waited_for() {
        let block = BLOCK_BYTES as usize;
        let (gather, mut disk) = (Gather::new(3 * BLOCK_BYTES), Disk::new(3 * block));
        let zeros = [1000..2000, BLOCK_BYTES - 100..BLOCK_BYTES + 50, 2 * BLOCK_BYTES..3 * BLOCK_BYTES];
        gather.foretell_zeros(zeros.to_vec());
        put(&gather, &mut disk, 0, &[1; 1000]);
        assert_eq!(disk.writes, 0);
        put(&gather, &mut disk, 2000, &vec![2; block - 2100]);
        assert_eq!((disk.writes, disk.bytes[999], disk.bytes[1000], disk.bytes[2000]), (1, 1, 0, 2));
        // They come all the same.
        for range in zeros {
            put(&gather, &mut disk, range.start as usize, &vec![0; (range.end - range.start) as usize]);
        }
        put(&gather, &mut disk, block + 50, &vec![3; block - 50]);
        assert_eq!(disk.writes, 3);
        assert!(disk.times.iter().all(|&times| times == 1));
    }

    #[test]
    fn what_comes_twice_is_written_twice_the_last_one_last() {
        let (gather, mut disk) = (Gather::new(BLOCK_BYTES), Disk::new(BLOCK_BYTES as usize));
        put(&gather, &mut disk, 10, &[1; 10]);
        put(&gather, &mut disk, 15, &[2; 10]);
        flush(&gather, &mut disk);
        assert_eq!(disk.bytes[10..25], [[1; 5], [2; 5], [2; 5]].concat());
        assert_eq!(disk.times[14..17], [1, 2, 2]);
    }

    #[test]
    fn too_many_zeros_are_not_believed() {
        let (gather, mut disk) = (Gather::new(BLOCK_BYTES), Disk::new(BLOCK_BYTES as usize));
        gather.foretell_zeros((0..=ZEROS_MAX as u64).map(|at| at..at + 1).collect());
        put(&gather, &mut disk, 0, &[0; 5]);
        put(&gather, &mut disk, 5, &[1; 5]);
        flush(&gather, &mut disk);
        assert_eq!((disk.bytes[9], disk.bytes[10]), (1, 0xee));
    }

    #[test]
    fn while_one_thread_writes_a_block_others_go_on_and_read_what_they_put() {
        const PART_BYTES: usize = 1000;
        const THREADS: usize = 3;
        let len = 60 * BLOCK_BYTES as usize;
        let content: Vec<u8> = (0..len).map(|at| (at / 5) as u8).collect();
        let (gather, disk) = (Gather::new(len as u64), Mutex::new(Disk::new(len)));
        let write = |at, bytes: &[u8]| {
            // Others come meanwhile.
            thread::yield_now();
            disk.lock().unwrap().write(at, bytes);
            Ok(())
        };
        let each = |number: usize| {
            for from in (0..len).step_by(PART_BYTES).skip(number).step_by(THREADS) {
                let part = &content[from..(from + PART_BYTES).min(len)];
                gather.put(from as u64, part, &write).unwrap();
                let mut back = vec![0xdd; part.len()];
                for missing in gather.read(from as u64, &mut back) {
                    let at = from + missing.start;
                    let disk = disk.lock().unwrap();
                    back[missing.clone()].copy_from_slice(&disk.bytes[at..at + missing.len()]);
                }
                assert!(back == part, "{from}");
            }
        };
        thread::scope(|scope| (0..THREADS).for_each(|number| drop(scope.spawn(move || each(number)))));
        gather.flush(&write).unwrap();
        let disk = disk.into_inner().unwrap();
        assert!(disk.bytes == content);
        assert!(disk.times.iter().all(|&times| times == 1));
        assert!(gather.lock().leaving.is_empty());
    }

    #[test]
    fn a_block_that_cannot_be_written_is_given_up_and_the_others_are_written() {
        let gather = Gather::new(3 * BLOCK_BYTES);
        let disk = RefCell::new(Disk::new(3 * BLOCK_BYTES as usize));
        let write = |at, bytes: &[u8]| {
            if at < BLOCK_BYTES {
                return Err(io::ErrorKind::StorageFull.into());
            }
            disk.borrow_mut().write(at, bytes);
            Ok(())
        };
        gather.put(1, &[1; 10], &write).unwrap();
        gather.put(BLOCK_BYTES, &[2; 10], &write).unwrap();
        assert_eq!(gather.flush(&write).unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(disk.borrow().bytes[BLOCK_BYTES as usize], 2);
        // Nobody waits for it.
        gather.put(20, &[3; 10], &write).unwrap();
        assert!(gather.read(20, &mut [0; 10]).is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_byte_is_written_once_and_can_be_read_before(
            blocks in 1_usize..40,
            odd in 0_usize..5000,
            cuts in proptest::collection::btree_set(0_usize..40 * 65_536, 0..120),
            order in proptest::collection::vec(any::<u32>(), 122),
            zero in any::<u32>(),
        ) {
            let len = blocks * BLOCK_BYTES as usize - odd;
            let mut cuts: Vec<usize> = cuts.into_iter().filter(|cut| *cut < len).chain([0, len]).collect();
            cuts.sort_unstable();
            cuts.dedup();
            let mut content: Vec<u8> = (0..len).map(|at| (at / 3) as u8 | 1).collect();
            let mut zeros = Vec::new();
            let mut parts: Vec<(u32, Range<usize>)> = Vec::new();
            for (number, (cut, key)) in cuts.windows(2).zip(order).enumerate() {
                parts.push((key, cut[0]..cut[1]));
                if zero & (1 << (number % 32)) != 0 {
                    content[cut[0]..cut[1]].fill(0);
                    zeros.push(cut[0] as u64..cut[1] as u64);
                }
            }
            parts.sort_unstable_by_key(|part| part.0);
            let (gather, mut disk) = (Gather::new(len as u64), Disk::new(len));
            gather.foretell_zeros(zeros);
            for (_, range) in &parts {
                put(&gather, &mut disk, range.start, &content[range.clone()]);
                let mut back = vec![0xdd; range.len()];
                for missing in gather.read(range.start as u64, &mut back) {
                    let from = range.start + missing.start;
                    back[missing.clone()].copy_from_slice(&disk.bytes[from..from + missing.len()]);
                }
                prop_assert!(back == content[range.clone()]);
                prop_assert!(gather.lock().open.len() <= BLOCKS_MAX);
            }
            flush(&gather, &mut disk);
            prop_assert!(disk.bytes == content);
            prop_assert!(disk.times.iter().all(|&times| times == 1));
        }
    }
}
