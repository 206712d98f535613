//! The corrections of a wrapped deflate stream: its members, and the engine's corrections for each.
//!
//! Most streams are one member with the recipe's header: then the corrections are those of the
//! engine, behind a zero byte, and nothing at all where the engine needs none. For others, behind a
//! one: for each member the length of its header (0 for the recipe's header) and the header, the
//! length of its content, the length of the engine's corrections, and these (numbers as LEB128).

use crate::packer::PackError;
use crate::varint;

/// A member, as corrections describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    /// Its header, where it is not that of the recipe.
    pub(crate) header: Option<Vec<u8>>,
    pub(crate) plain_len: u64,
    /// What the engine needs.
    pub(crate) corrections: Vec<u8>,
}

/// Writes the corrections for the members of a stream.
pub(crate) fn write(parts: &[Part]) -> Vec<u8> {
    if let [Part { header: None, corrections, .. }] = parts {
        return if corrections.is_empty() { Vec::new() } else { [&[0], &corrections[..]].concat() };
    }
    let mut bytes = vec![1];
    for part in parts {
        let header = part.header.as_deref().unwrap_or_default();
        varint::put(&mut bytes, header.len() as u64);
        bytes.extend_from_slice(header);
        varint::put(&mut bytes, part.plain_len);
        varint::put(&mut bytes, part.corrections.len() as u64);
        bytes.extend_from_slice(&part.corrections);
    }
    bytes
}

/// Reads the members from corrections.
pub(crate) fn read(plain_len: u64, corrections: &[u8]) -> Result<Vec<Part>, PackError> {
    let single =
        |corrections: &[u8]| Ok(vec![Part { header: None, plain_len, corrections: corrections.to_vec() }]);
    match corrections.split_first() {
        None => single(&[]),
        Some((0, rest)) => single(rest),
        Some((1, rest)) => read_parts(plain_len, rest).ok_or(PackError::Corrections),
        Some(_) => Err(PackError::Corrections),
    }
}

fn read_parts(plain_len: u64, mut bytes: &[u8]) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    let mut total = 0_u64;
    // A member takes three bytes or more: the list is no longer than the corrections.
    while !bytes.is_empty() {
        let header_len = varint::take_len(&mut bytes)?;
        let header = varint::take_bytes(&mut bytes, header_len)?;
        let plain_len = varint::take(&mut bytes)?;
        let corrections_len = varint::take_len(&mut bytes)?;
        let corrections = varint::take_bytes(&mut bytes, corrections_len)?.to_vec();
        total = total.checked_add(plain_len)?;
        let header = (!header.is_empty()).then(|| header.to_vec());
        parts.push(Part { header, plain_len, corrections });
    }
    (total == plain_len).then_some(parts)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn part() -> impl Strategy<Value = Part> {
        let header = proptest::option::of(proptest::collection::vec(any::<u8>(), 1..20));
        (header, 0_u64..1 << 40, any::<Vec<u8>>()).prop_map(|(header, plain_len, corrections)| Part {
            header,
            plain_len,
            corrections,
        })
    }

    proptest! {
        #[test]
        fn members_come_back(parts in proptest::collection::vec(part(), 1..5)) {
            let plain_len = parts.iter().map(|part| part.plain_len).sum();
            prop_assert_eq!(read(plain_len, &write(&parts)).unwrap(), parts);
        }

        #[test]
        fn any_bytes_are_read_or_refused(plain_len: u64, bytes: Vec<u8>) {
            let _ = read(plain_len, &bytes);
        }
    }
}
