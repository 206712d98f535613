//! How long bytes are when they are packed with xz.

use liblzma::stream::{Action, Check, Error, Filters, LzmaOptions, Status, Stream};

use crate::error::SimulateError;

/// What the systems compared pack their blocks with.
const PRESET: u32 = 6;
/// The dictionary of that preset, in bytes.
const DICTIONARY_BYTES_MAX: u32 = 8 << 20;
/// The smallest that xz knows.
const DICTIONARY_BYTES_MIN: u32 = 4 << 10;

/// The length of `bytes` as a file of xz's preset 6, in bytes.
///
/// The dictionary is no longer than the content, which changes nothing but a byte of the header, and spares
/// the work of clearing tables for one of 8 MiB.
pub fn xz_len(bytes: &[u8]) -> Result<u64, SimulateError> {
    packed_len(bytes).map_err(SimulateError::Xz)
}

fn packed_len(bytes: &[u8]) -> Result<u64, Error> {
    let wanted = u32::try_from(bytes.len()).ok().and_then(u32::checked_next_power_of_two);
    let dictionary = wanted.unwrap_or(DICTIONARY_BYTES_MAX).clamp(DICTIONARY_BYTES_MIN, DICTIONARY_BYTES_MAX);
    let mut options = LzmaOptions::new_preset(PRESET)?;
    options.dict_size(dictionary);
    let mut filters = Filters::new();
    filters.lzma2(&options);
    let mut stream = Stream::new_stream_encoder(&filters, Check::Crc64)?;
    let mut buffer = vec![0; 64 << 10];
    loop {
        let rest = &bytes[stream.total_in() as usize..];
        if stream.process(rest, &mut buffer, Action::Finish)? == Status::StreamEnd {
            return Ok(stream.total_out());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn lengths_are_those_of_files_of_xz() {
        for len in [0, 1, 5000, 300_000] {
            let bytes: Vec<u8> = (0..len).map(|value: u32| (value.wrapping_mul(value) >> 9) as u8).collect();
            let mut file = Vec::new();
            liblzma::read::XzEncoder::new(&bytes[..], PRESET).read_to_end(&mut file).unwrap();
            assert!(xz_len(&bytes).unwrap().abs_diff(file.len() as u64) <= 4, "{len}");
        }
    }
}
