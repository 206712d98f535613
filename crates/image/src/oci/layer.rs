//! A layer: the tar of what one step of a build has changed.

use std::io::{self, BufReader, Read};
use std::sync::Arc;

use fluvial_delta::header::Sha256Digest;
use fluvial_delta::scratch::ScratchStore;
use fluvial_delta::structure::ReadAt;
use sha2::{Digest as _, Sha256};

use super::{ImageError, Slice};

/// A layer's tar at most, in bytes: a bomb ends here.
pub const LAYER_BYTES_MAX: u64 = 64 << 30;
const COPY_BYTES: usize = 256 << 10;
/// Starts of gzip (RFC 1952) and Zstandard (RFC 8878) streams.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// A layer as it is kept.
#[derive(Debug, Clone)]
pub struct Layer {
    /// The SHA-256 of its tar.
    pub diff_id: Sha256Digest,
    /// What is kept, packed or not.
    pub blob: Slice,
}

/// A layer's tar, checked against its diff id.
#[derive(Debug, Clone)]
pub struct LayerTar {
    /// The SHA-256 of its tar.
    pub diff_id: Sha256Digest,
    /// The tar.
    pub tar: Slice,
}

impl Layer {
    /// Whether it is kept as a plain tar.
    ///
    /// # Errors
    /// What the system reports.
    pub fn is_plain(&self) -> io::Result<bool> {
        let mut head = [0; 4];
        let len = self.blob.len().min(4) as usize;
        self.blob.read_at(0, &mut head[..len])?;
        Ok(head[..2] != GZIP_MAGIC && head != ZSTD_MAGIC)
    }

    /// Opens the tar: where it stands if it is plain, else unpacked to temporary storage. Either way it is
    /// read once and compared with its diff id. `progress` hears how many bytes of the tar have been read
    /// since its last call, and cancels by answering `false`.
    ///
    /// # Errors
    /// [`ImageError::Content`] where it is other bytes, or damaged.
    pub fn open(
        &self,
        scratch: &dyn ScratchStore,
        progress: &dyn Fn(u64) -> bool,
    ) -> Result<LayerTar, ImageError> {
        let unreadable = |source: io::Error| self.problem(format!("cannot be read: {source}"));
        let is_plain = self.is_plain().map_err(unreadable)?;
        let mut head = [0; 2];
        let reader: Box<dyn Read + '_> = if is_plain {
            Box::new(self.blob.reader())
        } else {
            self.blob.read_at(0, &mut head).map_err(unreadable)?;
            let packed = BufReader::with_capacity(COPY_BYTES, self.blob.reader());
            if head == GZIP_MAGIC {
                Box::new(flate2::bufread::MultiGzDecoder::new(packed))
            } else {
                Box::new(zstd::stream::read::Decoder::with_buffer(packed).map_err(unreadable)?)
            }
        };
        let mut reader = reader.take(LAYER_BYTES_MAX + 1);
        let mut storage = if is_plain { None } else { Some(scratch.create().map_err(ImageError::Scratch)?) };
        let mut hash = Sha256::new();
        let mut buf = vec![0; COPY_BYTES];
        let mut len = 0;
        loop {
            let read = match reader.read(&mut buf) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(unreadable(error)),
            };
            hash.update(&buf[..read]);
            if let Some(storage) = &mut storage {
                storage.append(&buf[..read]).map_err(ImageError::Scratch)?;
            }
            len += read as u64;
            if len > LAYER_BYTES_MAX {
                return Err(ImageError::Limit { what: "a layer", have: len, limit: LAYER_BYTES_MAX });
            }
            if !progress(read as u64) {
                return Err(ImageError::Cancelled);
            }
        }
        if hash.finalize()[..] != self.diff_id {
            return Err(self.problem("is other bytes than its diff id says".into()));
        }
        let tar = match storage {
            Some(storage) => Slice::whole(Arc::from(storage as Box<dyn ReadAt>)),
            None => self.blob.clone(),
        };
        Ok(LayerTar { diff_id: self.diff_id, tar })
    }

    fn problem(&self, problem: String) -> ImageError {
        ImageError::Content { what: "the layer", digest: digest_text(&self.diff_id), problem }
    }
}

/// A digest as images write it: `sha256:` and 64 hexadecimal digits.
pub fn digest_text(digest: &Sha256Digest) -> String {
    digest.iter().fold("sha256:".into(), |text: String, byte| text + &format!("{byte:02x}"))
}
