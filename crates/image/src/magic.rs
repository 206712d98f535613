//! How a run of bytes is packed, by its first bytes.

use fluvial_codec::Format;

/// Bytes that [`sniff`] wants to see.
pub(crate) const MAGIC_BYTES: usize = 16;

/// The format of a compressed stream that starts with `head`.
pub(crate) fn sniff(head: &[u8]) -> Option<Format> {
    Some(match head {
        // RFC 1952: deflate is the only method, and three flag bits are reserved.
        [0x1f, 0x8b, 8, flags, ..] if flags & 0xe0 == 0 => Format::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Format::Zstd,
        [0xfd, b'7', b'z', b'X', b'Z', 0, 0, ..] => Format::Xz,
        [0x04, 0x22, 0x4d, 0x18, ..] => Format::Lz4Frame,
        [0x02, 0x21, 0x4c, 0x18, ..] => Format::Lz4Legacy,
        _ => return None,
    })
}

/// As [`sniff`], and LZMA too. Its header has no magic, so it only counts where a packed stream
/// must stand: default properties (lc 3, lp 0, pb 2), a power of two as the dictionary size, and
/// a length that is unknown or below 1 TiB.
pub(crate) fn sniff_expected(head: &[u8]) -> Option<Format> {
    sniff(head).or_else(|| {
        let dictionary_bytes = crate::field::u32_at(head, 1)?;
        let plain_len = crate::field::u64_at(head, 5)?;
        let lzma = head.first() == Some(&0x5d)
            && dictionary_bytes.is_power_of_two()
            && (plain_len == u64::MAX || plain_len < 1 << 40);
        lzma.then_some(Format::Lzma)
    })
}
