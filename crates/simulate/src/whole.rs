//! The new image whole, packed.

use std::io::{self, BufReader, Write};

use liblzma::stream::{Check, MtStreamBuilder};
use liblzma::write::XzEncoder;

use crate::cost::Cost;
use crate::error::{Side, SimulateError};
use crate::stream::{Pair, failed};

/// The level of zstd that update systems ship with.
const ZSTD_LEVEL: i32 = 19;
/// As far as matches reach back, in powers of two: what a decoder takes without being asked to.
const ZSTD_WINDOW_LOG: u32 = 27;
const XZ_PRESET: u32 = 6;

/// The new image as `xz -6 -T0` packs it: in blocks of 24 MiB, the same whatever the number of `threads`.
/// Memory: about 170 MiB for each thread.
///
/// # Errors
/// Where it cannot be read or packed, or the caller cancels.
pub fn whole_xz(pair: Pair<'_>, threads: u32) -> Result<Cost, SimulateError> {
    let mut builder = MtStreamBuilder::new();
    builder.threads(threads.max(1)).preset(XZ_PRESET).check(Check::Crc64);
    let stream = builder.encoder().map_err(SimulateError::Xz)?;
    let mut encoder = XzEncoder::new_stream(Counted(0), stream);
    pour(pair, &mut encoder)?;
    let counted = encoder.finish().map_err(|error| failed(Side::New, error))?;
    Ok(Cost::of_file(counted.0))
}

/// The new image as `zstd -19 --long=27` packs it with so many threads; the result does not depend on their
/// number. Memory: about 700 MiB.
///
/// # Errors
/// Where it cannot be read or packed, or the caller cancels.
pub fn whole_zstd(pair: Pair<'_>, threads: u32) -> Result<Cost, SimulateError> {
    let encoder = || -> io::Result<_> {
        let mut encoder = zstd::stream::write::Encoder::new(Counted(0), ZSTD_LEVEL)?;
        encoder.long_distance_matching(true)?;
        encoder.window_log(ZSTD_WINDOW_LOG)?;
        encoder.multithread(threads.max(1))?;
        Ok(encoder)
    };
    let mut encoder = encoder().map_err(SimulateError::Zstd)?;
    pour(pair, &mut encoder)?;
    let counted = encoder.finish().map_err(SimulateError::Zstd)?;
    Ok(Cost::of_file(counted.0))
}

fn pour(pair: Pair<'_>, to: &mut dyn Write) -> Result<(), SimulateError> {
    let mut stream = BufReader::with_capacity(1 << 20, pair.stream(Side::New));
    io::copy(&mut stream, to).map_err(|error| failed(Side::New, error))?;
    Ok(())
}

/// Counts bytes, and keeps none.
struct Counted(u64);

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{NOTHING, noise, pair};

    #[test]
    fn the_number_of_threads_does_not_matter() {
        let new = [noise(1, 1_500_000), vec![0; 3_000_000], noise(1, 1_500_000)].concat();
        let pair = pair(NOTHING, &new);
        let xz = whole_xz(pair, 1).unwrap();
        assert_eq!(whole_xz(pair, 3).unwrap(), xz);
        let zstd = whole_zstd(pair, 1).unwrap();
        assert_eq!(whole_zstd(pair, 3).unwrap(), zstd);
        // The second half is found in the first, whatever lies between.
        for cost in [xz, zstd] {
            assert!((1_500_000..1_600_000).contains(&cost.data_bytes), "{cost:?}");
            assert_eq!(cost.requests, 1);
        }
    }

    #[test]
    fn a_stop_is_not_a_fault_of_the_medium() {
        let new = noise(1, 100_000);
        let old: &[u8] = &[];
        let pair = Pair { old: &old, new: &new, watch: &|_| false };
        assert!(matches!(whole_xz(pair, 1), Err(SimulateError::Cancelled)));
        assert!(matches!(whole_zstd(pair, 1), Err(SimulateError::Cancelled)));
    }
}
