//! How a run of bytes is packed, by its first bytes.

use fluvial_codec::Format;

/// Bytes that [`sniff`] wants to see.
pub(crate) const MAGIC_BYTES: usize = 16;

/// The format of a compressed stream that starts with `head`. RFC 1952 reserves three flag bits of
/// gzip: together with its magic they keep chance away.
pub(crate) fn sniff(head: &[u8]) -> Option<Format> {
    let plausible =
        |format: &Format| *format != Format::Gzip || head.get(3).is_some_and(|flags| flags & 0xe0 == 0);
    Format::sniff(head).filter(plausible)
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
