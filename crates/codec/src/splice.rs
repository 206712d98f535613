//! Small differences between what an engine makes and what is wanted.
//!
//! A script is a list of steps (numbers as LEB128): how many bytes of the draft to copy, how many
//! of it to leave out, how many bytes follow to put in, and these bytes. What is left of the draft
//! behind the last step is copied.

use crate::varint;

/// How many equal bytes make two places match again.
const RESUME_BYTES: usize = 8;
/// How far both sides are searched for such a place.
const SEARCH_BYTES: usize = 192;

/// Writes the script that makes `wanted` of `draft`. Gives up (`None`) where it would get longer
/// than `script_len_max` bytes.
pub(crate) fn script(draft: &[u8], wanted: &[u8], script_len_max: usize) -> Option<Vec<u8>> {
    let mut script = Vec::new();
    let (mut draft, mut wanted) = (draft, wanted);
    loop {
        let same = common_len(draft, wanted);
        if same == draft.len() && same == wanted.len() {
            return Some(script);
        }
        (draft, wanted) = (&draft[same..], &wanted[same..]);
        let (skip, put) = resume(draft, wanted).unwrap_or((draft.len(), wanted.len()));
        varint::put(&mut script, same as u64);
        varint::put(&mut script, skip as u64);
        varint::put(&mut script, put as u64);
        script.extend_from_slice(&wanted[..put]);
        if script.len() > script_len_max {
            return None;
        }
        (draft, wanted) = (&draft[skip..], &wanted[put..]);
    }
}

/// Applies a script to `draft`, behind what `wanted` holds already. `None` if it does not fit.
pub(crate) fn apply(draft: &[u8], mut script: &[u8], wanted: &mut Vec<u8>) -> Option<()> {
    let mut draft = draft;
    while !script.is_empty() {
        let same = varint::take_len(&mut script)?;
        let skip = varint::take_len(&mut script)?;
        let put = varint::take_len(&mut script)?;
        wanted.extend_from_slice(varint::take_bytes(&mut draft, same)?);
        varint::take_bytes(&mut draft, skip)?;
        wanted.extend_from_slice(varint::take_bytes(&mut script, put)?);
    }
    wanted.extend_from_slice(draft);
    Some(())
}

fn common_len(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(a, b)| a == b).count()
}

/// The nearest place where both sides go on alike: what to leave out of each.
fn resume(draft: &[u8], wanted: &[u8]) -> Option<(usize, usize)> {
    for distance in 1..=2 * SEARCH_BYTES {
        for skip in distance.saturating_sub(SEARCH_BYTES)..=distance.min(SEARCH_BYTES) {
            let put = distance - skip;
            let (Some(left), Some(right)) = (draft.get(skip..), wanted.get(put..)) else { continue };
            let (left, right) = (left.get(..RESUME_BYTES), right.get(..RESUME_BYTES));
            if left.is_some() && left == right {
                return Some((skip, put));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_script_gives_what_was_wanted(
            draft in proptest::collection::vec(0_u8..8, 0..600),
            edits in proptest::collection::vec((any::<proptest::sample::Index>(), 0_usize..9, any::<Vec<u8>>()), 0..6),
        ) {
            let mut wanted = draft.clone();
            for (at, cut, put) in edits {
                let at = at.index(wanted.len() + 1);
                let end = (at + cut).min(wanted.len());
                wanted.splice(at..end, put);
            }
            let script = script(&draft, &wanted, usize::MAX).unwrap();
            let mut out = Vec::new();
            apply(&draft, &script, &mut out).unwrap();
            prop_assert_eq!(out, wanted);
        }

        #[test]
        fn any_script_is_applied_or_refused(draft: Vec<u8>, script: Vec<u8>) {
            let mut out = Vec::new();
            let _ = apply(&draft, &script, &mut out);
            prop_assert!(out.len() <= draft.len() + script.len());
        }
    }

    #[test]
    fn one_changed_byte_is_a_short_script() {
        let draft: Vec<u8> = (0..4000_u32).map(|i| (i * 7 % 251) as u8).collect();
        let mut wanted = draft.clone();
        wanted[2000] ^= 1;
        assert_eq!(script(&draft, &wanted, 100).unwrap().len(), 5);
        assert_eq!(script(&draft, &[0; 500], 100), None);
    }
}
