//! Numbers out of bytes. `None` past the end: parsers chain with `?` and cannot panic.

use fluvial_delta::structure::ReadAt;

/// The byte at `at`.
pub(crate) fn u8_at(bytes: &[u8], at: usize) -> Option<u8> {
    bytes.get(at).copied()
}

/// The little-endian number of two bytes at `at`.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(array_at(bytes, at)?))
}

/// The little-endian number of four bytes at `at`.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(array_at(bytes, at)?))
}

/// The little-endian number of eight bytes at `at`.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(array_at(bytes, at)?))
}

/// The `N` bytes at `at`.
pub(crate) fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

/// The `N` bytes of a stream at `offset`.
pub(crate) fn read_array<const N: usize>(stream: &dyn ReadAt, offset: u64) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_at(offset, &mut bytes).ok()?;
    Some(bytes)
}

/// `len` bytes of a stream at `offset`. Checks against the stream's end before it allocates; the
/// caller has checked `len` against a limit of its own.
pub(crate) fn read_vec(stream: &dyn ReadAt, offset: u64, len: u64) -> Option<Vec<u8>> {
    if offset.checked_add(len)? > stream.len() {
        return None;
    }
    let mut bytes = vec![0; usize::try_from(len).ok()?];
    stream.read_at(offset, &mut bytes).ok()?;
    Some(bytes)
}
