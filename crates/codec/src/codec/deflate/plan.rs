//! The corrections of a wrapped deflate stream: its members, and the chunks in which an engine
//! packs each.
//!
//! Most streams are one member with the recipe's header, packed in one chunk: then the corrections
//! are those of the engine, behind a zero byte (and nothing at all where the engine needs none).
//! For others, behind a one: for each member the length of its header (0 for the recipe's header)
//! and the header, how many chunks it has, and for each the length of its content, that of the
//! engine's corrections, and these (all numbers as LEB128).

use crate::packer::PackError;
use crate::varint;

/// The most chunks and members there may be in corrections: each takes two bytes and more.
const STEPS_MAX: usize = 1 << 22;

/// One step of packing a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Begin a member; with its header where it is not that of the recipe.
    Begin(Option<Vec<u8>>),
    /// Pack so many bytes of content with these corrections.
    Chunk(u64, Vec<u8>),
    /// End the member.
    End,
}

/// Writes the corrections for a list of steps.
pub(crate) fn write(steps: &[Step]) -> Vec<u8> {
    if let [Step::Begin(None), Step::Chunk(_, corrections), Step::End] = steps {
        return if corrections.is_empty() { Vec::new() } else { [&[0], &corrections[..]].concat() };
    }
    let mut bytes = vec![1];
    for member in steps.split_inclusive(|step| *step == Step::End) {
        let chunks = member.iter().filter(|step| matches!(step, Step::Chunk(..))).count();
        for step in member {
            match step {
                Step::Begin(header) => {
                    let header = header.as_deref().unwrap_or_default();
                    varint::put(&mut bytes, header.len() as u64);
                    bytes.extend_from_slice(header);
                    varint::put(&mut bytes, chunks as u64);
                }
                Step::Chunk(plain_len, corrections) => {
                    varint::put(&mut bytes, *plain_len);
                    varint::put(&mut bytes, corrections.len() as u64);
                    bytes.extend_from_slice(corrections);
                }
                Step::End => {}
            }
        }
    }
    bytes
}

/// Reads corrections into steps, in the order in which they are taken.
pub(crate) fn read(plain_len: u64, corrections: &[u8]) -> Result<Vec<Step>, PackError> {
    let single = |corrections: &[u8]| {
        Ok(vec![Step::Begin(None), Step::Chunk(plain_len, corrections.to_vec()), Step::End])
    };
    match corrections.split_first() {
        None => single(&[]),
        Some((0, rest)) => single(rest),
        Some((1, rest)) => read_members(plain_len, rest).ok_or(PackError::Corrections),
        Some(_) => Err(PackError::Corrections),
    }
}

fn read_members(plain_len: u64, mut bytes: &[u8]) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    let mut total = 0_u64;
    while !bytes.is_empty() {
        let header_len = varint::take_len(&mut bytes)?;
        let header = varint::take_bytes(&mut bytes, header_len)?;
        steps.push(Step::Begin((!header.is_empty()).then(|| header.to_vec())));
        for _ in 0..varint::take(&mut bytes)? {
            let chunk_len = varint::take(&mut bytes)?;
            let corrections_len = varint::take_len(&mut bytes)?;
            let corrections = varint::take_bytes(&mut bytes, corrections_len)?;
            total = total.checked_add(chunk_len)?;
            steps.push(Step::Chunk(chunk_len, corrections.to_vec()));
            if steps.len() > STEPS_MAX {
                return None;
            }
        }
        steps.push(Step::End);
    }
    (total == plain_len).then_some(steps)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let chunk = (0_u64..1 << 40, any::<Vec<u8>>()).prop_map(|(len, bytes)| Step::Chunk(len, bytes));
        let header = proptest::option::of(proptest::collection::vec(any::<u8>(), 1..20));
        let member = (header, proptest::collection::vec(chunk, 1..4)).prop_map(|(header, chunks)| {
            let mut member = vec![Step::Begin(header)];
            member.extend(chunks);
            member.push(Step::End);
            member
        });
        proptest::collection::vec(member, 1..4).prop_map(|members| members.concat())
    }

    proptest! {
        #[test]
        fn steps_come_back(steps in steps()) {
            let plain_len = steps.iter().map(|step| if let Step::Chunk(len, _) = step { *len } else { 0 }).sum();
            prop_assert_eq!(read(plain_len, &write(&steps)).unwrap(), steps);
        }

        #[test]
        fn any_bytes_are_read_or_refused(plain_len: u64, bytes: Vec<u8>) {
            let _ = read(plain_len, &bytes);
        }
    }
}
