//! Signatures and deltas of librsync, of any two byte streams.
//!
//! Input: how, one byte (two bits the magic, one whether the base is at hand, one whether NEW is edited OLD);
//! length of blocks, two bytes; length of OLD, two bytes; OLD; then NEW, or edits as in [`crate::diff_apply`].

use fluvial_delta::structure::ReadAt;
use fluvial_swu::rsync::{Applier, Magic, Signature, SignatureOptions, write_delta};

use crate::diff_apply::edited;

/// The longest target that is made, in bytes.
const TARGET_BYTES_MAX: usize = 1 << 18;

/// What a delta makes is NEW.
///
/// # Panics
/// Where that does not hold.
pub fn run(bytes: &[u8]) {
    let [how, block_low, block_high, low, high, rest @ ..] = bytes else { return };
    let old_len = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
    let (old, rest) = rest.split_at(old_len);
    let new = if how & 8 == 0 { rest.to_vec() } else { edited(old, rest) };
    if new.len() > TARGET_BYTES_MAX {
        return;
    }
    let magic = Magic::ALL[usize::from(how & 3)];
    let block_len = 1 + usize::from(u16::from_le_bytes([*block_low, *block_high]));
    let options = SignatureOptions { magic, block_len, strong_len: magic.strong_len_max() };
    let signature = Signature::make(&old, options, &|_| true).expect("it is signed");
    let base = (how & 4 != 0).then_some(&old as &dyn ReadAt);
    let mut delta = Vec::new();
    let report = write_delta(&signature, base, &new, &mut delta, &|_| true).expect("a delta is made");
    assert_eq!(report.delta_bytes, delta.len() as u64);

    let mut made = Vec::new();
    let mut applier = Applier::new(&old, new.len() as u64);
    applier.apply(&mut &delta[..], &mut made, &|_| true).expect("the delta is applied");
    assert!(made == new);
}
