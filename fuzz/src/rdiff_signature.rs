//! Signatures of librsync, and deltas that are made from them.
//!
//! Input: length of the target, two bytes; the target; the signature.

use fluvial_swu::rsync::{Applier, Signature, write_delta};

/// A signature is refused, or is written again as it was; a delta made from it is well-formed.
///
/// # Panics
/// Where that does not hold.
pub fn run(bytes: &[u8]) {
    let [low, high, rest @ ..] = bytes else { return };
    let target_len = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
    let (target, bytes) = rest.split_at(target_len);
    let Ok(signature) = Signature::read(&mut &bytes[..]) else { return };
    let mut written = Vec::new();
    signature.write(&mut written).expect("memory takes it");
    assert!(written == bytes);
    assert_eq!(signature.written_bytes(), bytes.len() as u64);

    let mut delta = Vec::new();
    let report = write_delta(&signature, None, &target, &mut delta, &|_| true).expect("a delta can be made");
    assert_eq!(report.literal_bytes + report.copied_bytes, target.len() as u64);
    // Nobody knows the base. It may be as long as its blocks, and copies stand inside of that.
    let base_len = signature.blocks() * signature.options().block_len;
    if base_len <= 1 << 20 {
        let mut made = Vec::new();
        let base = vec![0; base_len];
        let mut applier = Applier::new(&base, target.len() as u64);
        applier.apply(&mut &delta[..], &mut made, &|_| true).expect("the delta is well-formed");
    }
}
