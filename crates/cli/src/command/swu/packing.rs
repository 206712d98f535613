//! Packs what a package carries.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

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

/// A file that is packed, or what came of it.
pub struct Content {
    /// Where it is, for messages and to be removed.
    pub path: PathBuf,
    /// Its bytes.
    pub medium: Medium,
}

impl Content {
    /// Opens a file.
    pub fn open(path: PathBuf) -> Result<Self, Fault> {
        let medium = Medium::open(&path).map_err(|error| Fault::reading(&path, error))?;
        Ok(Self { path, medium })
    }

    /// Length in bytes.
    pub fn len(&self) -> u64 {
        self.medium.len()
    }

    /// Removes the file.
    pub fn remove(self) -> Result<(), Fault> {
        std::fs::remove_file(&self.path).map_err(|error| Fault::writing(&self.path, error))
    }
}

/// Packs `content` to a file at `path`. Devices unpack it in 8 MiB.
pub fn pack(
    content: &Content,
    path: PathBuf,
    compression: SwuCompression,
    progress: &Progress,
) -> Result<Content, Fault> {
    let file = File::create_new(&path).map_err(|error| Fault::writing(&path, error))?;
    pack_to(&mut BufWriter::new(file), content, &path, compression, progress)?;
    Content::open(path)
}

/// Does the same, unless that takes `end` bytes or more: then nothing is left of it. Whoever learns meanwhile that it
/// has to be less lowers `end`.
pub fn pack_below(
    end: &AtomicU64,
    content: &Content,
    path: PathBuf,
    compression: SwuCompression,
    progress: &Progress,
) -> Result<Option<Content>, Fault> {
    let failed = |error| Fault::writing(&path, error);
    let file = BufWriter::new(File::create_new(&path).map_err(failed)?);
    let mut limited = Limited { file, written: 0, end, is_over: false };
    let packed = pack_to(&mut limited, content, &path, compression, progress);
    if limited.is_over {
        std::fs::remove_file(&path).map_err(failed)?;
        return Ok(None);
    }
    packed?;
    Content::open(path).map(Some)
}

fn pack_to(
    out: &mut dyn Write,
    content: &Content,
    path: &Path,
    compression: SwuCompression,
    progress: &Progress,
) -> Result<(), Fault> {
    let failed = |error| Fault::writing(path, error);
    match compression {
        SwuCompression::Zlib => {
            let mut encoder = GzEncoder::new(&mut *out, flate2::Compression::best());
            copy(content, &mut encoder, path, progress)?;
            encoder.finish().map_err(failed)?;
        }
        SwuCompression::Zstd => {
            let mut encoder = zstd::Encoder::new(&mut *out, ZSTD_LEVEL).map_err(failed)?;
            copy(content, &mut encoder, path, progress)?;
            encoder.finish().map_err(failed)?;
        }
        SwuCompression::None => copy(content, out, path, progress)?,
    }
    out.flush().map_err(failed)
}

fn copy(content: &Content, out: &mut dyn Write, path: &Path, progress: &Progress) -> Result<(), Fault> {
    let mut buf = vec![0; STEP_BYTES.min(content.len() as usize)];
    let mut at = 0;
    while at < content.len() {
        let step = (content.len() - at).min(buf.len() as u64) as usize;
        content.medium.read_at(at, &mut buf[..step]).map_err(|error| Fault::reading(&content.path, error))?;
        out.write_all(&buf[..step]).map_err(|error| Fault::writing(path, error))?;
        at += step as u64;
        if !progress.advance(step as u64) {
            return Err(Fault::new(Kind::Cancelled, "cancelled"));
        }
    }
    Ok(())
}

/// Takes fewer bytes than `end`, then nothing more.
struct Limited<'a> {
    file: BufWriter<File>,
    written: u64,
    end: &'a AtomicU64,
    is_over: bool,
}

impl Write for Limited<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.written + bytes.len() as u64 >= self.end.load(Ordering::Relaxed) {
            self.is_over = true;
            return Err(io::Error::other("it is longer than something else"));
        }
        let written = self.file.write(bytes)?;
        self.written += written as u64;
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
        let content = Content::open(path).unwrap();
        let progress = Progress::new(Interrupt::listen().unwrap(), true);
        for compression in [SwuCompression::Zlib, SwuCompression::Zstd, SwuCompression::None] {
            let path = folder.path().join("packed");
            let below = |end| {
                pack_below(&AtomicU64::new(end), &content, path.clone(), compression, &progress).unwrap()
            };
            assert!(below(1000).is_none());
            assert!(!path.exists());
            let packed = pack(&content, path.clone(), compression, &progress).unwrap();
            let len = packed.len();
            assert!(len <= content.len());
            packed.remove().unwrap();
            assert!(below(len).is_none(), "not smaller");
            below(len + 1).unwrap().remove().unwrap();
        }
    }
}
