//! What was put together of chunks that were right each and is wrong all the same.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use fluvial_bundle::{Assembly, Part};
use fluvial_delta::apply::Target;
use fluvial_delta::memory::MemoryTarget;
use fluvial_delta::structure::{Extent, ReadAt};

use crate::{complete, noise, publish};

/// Writes one byte wrong when it comes for the first time.
struct Faulty {
    target: MemoryTarget,
    at: u64,
    was_wrong: AtomicBool,
}

impl ReadAt for Faulty {
    fn len(&self) -> u64 {
        self.target.len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.target.read_at(offset, buf)
    }
}

impl Target for Faulty {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut bytes = bytes.to_vec();
        if let Some(byte) = self.at.checked_sub(offset).and_then(|at| bytes.get_mut(at as usize))
            && !self.was_wrong.swap(true, Ordering::Relaxed)
        {
            *byte ^= 1;
        }
        self.target.write_at(offset, &bytes)
    }
}

#[test]
fn a_run_that_came_out_wrong_is_made_again_unless_the_whole_is_compared() {
    let old = noise(1, 200_000);
    let mut new = old.clone();
    new[100_000..100_010].fill(0xff);
    let (index, published) = publish(&new, &[Extent { offset: 0, len: new.len() as u64 }]);
    let made = |is_compared: bool| {
        let target = MemoryTarget::new(new.len());
        let faulty = Faulty { target, at: 100_005, was_wrong: AtomicBool::new(false) };
        let mut assembly = Assembly::new(&[Part { index: &index, target: &faulty }], vec![&old]);
        if is_compared {
            assembly = assembly.compared_as_a_whole();
        }
        complete(&mut assembly, &published, &mut |_| {}).unwrap();
        let repaired = assembly.tally().repaired_runs;
        drop(assembly);
        (faulty.target.into_bytes(), repaired)
    };
    assert!(made(false) == (new.clone(), 1));
    let (bytes, repaired) = made(true);
    let wrong: Vec<usize> = (0..new.len()).filter(|&at| bytes[at] != new[at]).collect();
    assert_eq!((wrong, repaired), (vec![100_005], 0));
}

#[test]
fn a_run_that_is_like_another_is_copied_as_soon_as_that_is_there() {
    let file = noise(3, 20_000);
    let bytes = [file.clone(), file.clone()].concat();
    let files = [Extent { offset: 0, len: 20_000 }, Extent { offset: 20_000, len: 20_000 }];
    let (index, published) = publish(&bytes, &files);
    let target = MemoryTarget::new(bytes.len());
    let mut assembly = Assembly::new(&[Part { index: &index, target: &target }], Vec::new());
    assembly.find_runs(&|_| true).unwrap();
    assert!(!assembly.pages().is_empty());
    assembly.open_pages(&published).unwrap();
    assembly.find_chunks(&|_| true).unwrap();
    assembly.copy_made_repeats(&|_| true).unwrap();
    let mut second = vec![1; 20_000];
    target.read_at(20_000, &mut second).unwrap();
    assert!(second == vec![0; 20_000], "there is nothing to copy yet");
    while !assembly.next_round(&published, &|_| true).unwrap().is_empty() {
        assembly.take(&published, &|_| true).unwrap();
    }
    assembly.copy_made_repeats(&|_| true).unwrap();
    target.read_at(20_000, &mut second).unwrap();
    assert!(second == file);
    assert!(assembly.pages().is_empty());
    assembly.copy_repeats(&|_| true).unwrap();
    drop(assembly);
    assert!(target.into_bytes() == bytes);
}
