//! Deltas of librsync.
//!
//! Input: length of the target, two bytes; where an applier goes on, two bytes; the delta, without its magic.

use std::io::{self, Read};

use fluvial_swu::rsync::Applier;

use crate::patch::OLD;

/// Gives few bytes a call, as a slow pipe does.
struct Slow<'a>(&'a [u8]);

impl Read for Slow<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = out.len().min(1 + self.0.len() % 7);
        self.0.read(&mut out[..count])
    }
}

/// The first bytes of a delta.
pub const MAGIC: [u8; 4] = [0x72, 0x73, 0x02, 0x36];

/// A delta is refused, or makes the target in one go and in two.
///
/// # Panics
/// Where that does not hold.
pub fn run(bytes: &[u8]) {
    let [low, high, from_low, from_high, commands @ ..] = bytes else { return };
    let target_len = u64::from(u16::from_le_bytes([*low, *high]));
    let delta = [&MAGIC[..], commands].concat();
    let mut target = Vec::new();
    let mut applier = Applier::new(&OLD, target_len);
    let result = applier.apply(&mut &delta[..], &mut target, &|_| true);
    assert_eq!(applier.made_bytes(), target.len() as u64);
    assert!(target.len() as u64 <= target_len);
    assert!(result.is_err() || target.len() as u64 == target_len);

    let from = u64::from(u16::from_le_bytes([*from_low, *from_high]));
    let mut rest = Vec::new();
    let again = Applier::new(&OLD, target_len).skip_to(from).apply(&mut Slow(&delta), &mut rest, &|_| true);
    match (&result, &again) {
        (Ok(()), Ok(())) => {}
        (Err(one), Err(other)) => assert_eq!(one.to_string(), other.to_string()),
        _ => panic!("{result:?}, and then {again:?}"),
    }
    assert!(rest == target[target.len().min(from as usize)..]);
}
