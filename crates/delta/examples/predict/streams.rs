//! Packs covers, differences and literals into streams, and measures them.

use std::io::Write;

/// Streams of a patch, kept apart.
#[derive(Default)]
pub struct Streams {
    pub named: Vec<(&'static str, Vec<u8>)>,
}

pub fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// Sizes by zstd -19 and xz -9 with the best lc, lp and pb.
pub fn sizes(bytes: &[u8]) -> (usize, usize) {
    if bytes.is_empty() {
        return (0, 0);
    }
    let zstd = zstd::encode_all(bytes, 19).expect("zstd").len();
    let mut xz = usize::MAX;
    for (context, position_literal, position) in
        [(3, 0, 0), (3, 0, 2), (0, 2, 2), (4, 0, 0), (1, 2, 2), (0, 0, 0), (1, 3, 3)]
    {
        let mut options = liblzma::stream::LzmaOptions::new_preset(9).expect("preset");
        options.literal_context_bits(context).literal_position_bits(position_literal).position_bits(position);
        let stream = liblzma::stream::Stream::new_lzma_encoder(&options).expect("encoder");
        let mut encoder = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
        encoder.write_all(bytes).expect("write");
        xz = xz.min(encoder.finish().expect("finish").len());
    }
    (zstd, xz)
}
