//! What is new beside something like it that stays, as a second kernel is.

use fluvial_bundle::Cutting;
use fluvial_delta::structure::{Extent, Files};

use crate::{assemble, noise, publish_files};

const FILE_BYTES: usize = 200_000;

/// A file in which a byte of every so many is another one: each of its runs has changed, but few chunks.
fn touched(file: &[u8]) -> Vec<u8> {
    let mut file = file.to_vec();
    file.iter_mut().step_by(10_000).for_each(|byte| *byte ^= 1);
    file
}

/// Puts files one behind the other.
fn payload(contents: &[&[u8]]) -> (Vec<u8>, Files) {
    let mut at = 0;
    let place = |content: &&[u8]| {
        let extent = Extent { offset: at, len: content.len() as u64 };
        at = extent.end();
        extent
    };
    let files = contents.iter().map(place).collect();
    (contents.concat(), files)
}

/// How much of a payload of these files is fetched where there are these old ones.
fn fetched(old: &[&Vec<u8>], new: &[&[u8]]) -> u64 {
    let (bytes, files) = payload(new);
    let (index, published) = publish_files(&bytes, &files, Cutting::Files);
    // Nothing stands between the old files.
    let old: Vec<Vec<u8>> = std::iter::once(Vec::new()).chain(old.iter().copied().cloned()).collect();
    let (made, _, tally) = assemble(&index, &published, &old).unwrap();
    assert!(made == bytes);
    tally.fetched_bytes
}

#[test]
fn a_second_version_beside_the_first_is_made_of_it() {
    let first = noise(1, FILE_BYTES);
    let second = touched(&first);
    // Others that stay, shorter and longer.
    let others: Vec<Vec<u8>> = (1..60).map(|number| noise(number + 1, number as usize * 10_000)).collect();
    let old: Vec<&Vec<u8>> = others.iter().chain([&first]).collect();
    let stay: Vec<&[u8]> = old.iter().map(|file| &file[..]).collect();
    let beside = fetched(&old, &[&stay[..], &[&second]].concat());
    assert!(beside > 0 && beside < FILE_BYTES as u64 / 4, "{beside} of {FILE_BYTES}");
    // As much as where the first is gone.
    let gone = fetched(&old, &[&stay[..stay.len() - 1], &[&second]].concat());
    assert_eq!(beside, gone);
}

#[test]
fn what_is_of_another_length_is_not_looked_into() {
    let first = noise(1, FILE_BYTES);
    let second = touched(&first[..FILE_BYTES / 2]);
    assert_eq!(fetched(&[&first], &[&first, &second]), second.len() as u64);
}
