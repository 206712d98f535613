//! Packs what a package carries.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use flate2::write::GzEncoder;
use fluvial_console::{Fault, Kind, Progress};
use fluvial_delta::structure::ReadAt;
use fluvial_device::disk::Medium;

use crate::arguments::SwuCompression;

/// Bytes that are packed at a time.
const STEP_BYTES: usize = 256 << 10;
const ZSTD_LEVEL: i32 = 19;

/// What ends the names of files that are packed so.
pub fn suffix(compression: SwuCompression) -> &'static str {
    match compression {
        SwuCompression::Zlib => ".gz",
        SwuCompression::Zstd => ".zst",
        SwuCompression::None => "",
    }
}

/// Packs `content` to a file at `path`, unless that takes more than `bytes_max`: then nothing is left of it. Devices
/// unpack it in 8 MiB.
pub fn pack(
    content: &Medium,
    path: &Path,
    compression: SwuCompression,
    bytes_max: u64,
    progress: &Progress,
) -> Result<Option<Medium>, Fault> {
    let failed = |error| Fault::writing(path, error);
    let mut limited =
        Limited { file: BufWriter::new(File::create_new(path).map_err(failed)?), left: bytes_max };
    let packed = match compression {
        SwuCompression::Zlib => {
            let mut encoder = GzEncoder::new(&mut limited, flate2::Compression::best());
            copy(content, &mut encoder, progress).and_then(|()| encoder.finish().map(|_| ()).map_err(failed))
        }
        SwuCompression::Zstd => {
            zstd::Encoder::new(&mut limited, ZSTD_LEVEL).map_err(failed).and_then(|mut encoder| {
                copy(content, &mut encoder, progress)?;
                encoder.finish().map(|_| ()).map_err(failed)
            })
        }
        SwuCompression::None => copy(content, &mut limited, progress),
    };
    let is_over = limited.left == 0;
    match packed {
        Err(_) if is_over => {
            std::fs::remove_file(path).map_err(failed)?;
            Ok(None)
        }
        Err(fault) => Err(fault),
        Ok(()) => {
            let file = limited.file.into_inner().map_err(|error| failed(error.into_error()))?;
            drop(file);
            Medium::open(path).map(Some).map_err(failed)
        }
    }
}

fn copy(content: &Medium, out: &mut dyn Write, progress: &Progress) -> Result<(), Fault> {
    let failed = |error| Fault::writing(Path::new("the package"), error);
    let mut buf = vec![0; STEP_BYTES.min(content.len() as usize)];
    let mut at = 0;
    while at < content.len() {
        let step = (content.len() - at).min(buf.len() as u64) as usize;
        content.read_at(at, &mut buf[..step]).map_err(failed)?;
        out.write_all(&buf[..step]).map_err(failed)?;
        at += step as u64;
        if !progress.advance(step as u64) {
            return Err(Fault::new(Kind::Cancelled, "cancelled"));
        }
    }
    out.flush().map_err(failed)
}

/// Takes so many bytes, then nothing more.
struct Limited {
    file: BufWriter<File>,
    left: u64,
}

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() as u64 >= self.left {
            self.left = 0;
            return Err(io::Error::other("it is longer than something else"));
        }
        let written = self.file.write(bytes)?;
        self.left -= written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use fluvial_console::Interrupt;

    use super::*;

    #[test]
    fn what_is_too_long_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("content");
        std::fs::write(&path, (0..200_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<u8>>()).unwrap();
        let content = Medium::open(&path).unwrap();
        let progress = Progress::new(Interrupt::listen().unwrap(), true);
        for compression in [SwuCompression::Zlib, SwuCompression::Zstd, SwuCompression::None] {
            let packed = folder.path().join("packed");
            assert!(pack(&content, &packed, compression, 1000, &progress).unwrap().is_none());
            assert!(!packed.exists());
            let len = pack(&content, &packed, compression, u64::MAX, &progress).unwrap().unwrap().len();
            assert!(len <= content.len());
            std::fs::remove_file(&packed).unwrap();
            assert!(pack(&content, &packed, compression, len, &progress).unwrap().is_none(), "not smaller");
        }
    }
}
