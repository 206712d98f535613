//! Writes an image: some of its blobs are made by a patch, at any offset and in any order, others are
//! copied from the image before.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fluvial_delta::header::Sha256Digest;
use fluvial_delta::structure::ReadAt;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::blobs::{Announced, Blobs, beside};
use super::layer::{Layer, digest_text};
use super::{FileReference, ImageError};

const RECORD_BYTES: u64 = 512;
const COPY_BYTES: usize = 256 << 10;
const BLOBS_FOLDER: &str = "blobs/sha256";
const LAYOUT_FILE: &str = "oci-layout";
const LAYOUT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;
const INDEX_FILE: &str = "index.json";
const NAME_ANNOTATION: &str = "org.opencontainers.image.ref.name";
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar";
/// The first bytes of packed layers, and how their media types end.
const PACKED_TYPES: [(&[u8], &str); 2] = [(&[0x1f, 0x8b], "+gzip"), (&[0x28, 0xb5, 0x2f, 0xfd], "+zstd")];

/// Where the bytes of a layer come from.
#[derive(Debug, Clone)]
pub enum LayerSource {
    /// The blob of this index, of those that were announced.
    Made(usize),
    /// A layer of the image before, as it is kept there.
    Kept(Layer),
}

/// An image in the making. Until [`Writer::finish`] nothing of it has its name; when the writer is dropped
/// before, what was made is removed unless it is [kept](Writer::keep).
#[derive(Debug)]
pub struct Writer {
    reference: FileReference,
    place: Place,
    blobs: Blobs,
}

#[derive(Debug)]
enum Place {
    /// Blobs are files of their own.
    Folder,
    /// Blobs stand in one file, which ends at `end` so far.
    Archive { part: PathBuf, file: Arc<File>, end: u64 },
}

impl Writer {
    /// Begins to write an image of which these blobs are made: the config first, then layers. What an
    /// earlier run has kept of the same blobs is still in them; [`Blobs::clear`] throws it away.
    ///
    /// # Errors
    /// [`ImageError::Write`], and [`ImageError::Busy`] while another run writes there.
    pub fn begin(reference: &FileReference, announced: &[Announced]) -> Result<Self, ImageError> {
        let (place, blobs) = match reference {
            FileReference::Layout { folder, .. } => {
                let blobs = folder.join(BLOBS_FOLDER);
                fs::create_dir_all(&blobs)
                    .map_err(|source| ImageError::Write { path: blobs.clone(), source })?;
                let part = |one: &Announced| blobs.join(format!(".{}.part", hex(&one.sha256)));
                (Place::Folder, Blobs::in_files_of_their_own(announced, part)?)
            }
            FileReference::OciArchive { file, .. } | FileReference::DockerArchive { file, .. } => {
                let part = beside(file, ".part");
                let blobs = Blobs::in_one_file(&part, announced, RECORD_BYTES)?;
                let last = blobs.last().map_or(0, |blob| blob.offset() + blob.announced().len);
                let (file, end) = (blobs.file(), last.next_multiple_of(RECORD_BYTES));
                (Place::Archive { part, file, end }, blobs)
            }
        };
        Ok(Self { reference: reference.clone(), place, blobs })
    }

    /// The blobs, in the order in which they were announced.
    pub fn blobs(&self) -> &Blobs {
        &self.blobs
    }

    /// Lets what was made so far stay where it is, for a later run to go on from.
    pub fn keep(&mut self) {
        self.blobs.keep();
    }

    /// Completes the image: all blobs are made and checked, the config is the first one. `layers` are all
    /// layers, the lowest first.
    ///
    /// # Errors
    /// [`ImageError::Write`], [`ImageError::Read`] for what is copied.
    pub fn finish(mut self, layers: &[LayerSource]) -> Result<(), ImageError> {
        self.put_headers()?;
        match self.reference.clone() {
            FileReference::DockerArchive { file, name } => self.finish_docker(&file, name.as_deref(), layers),
            FileReference::OciArchive { file, tag } => {
                let manifest = self.manifest(layers, false)?;
                let index = index_with(json!([]), &manifest, tag.as_deref());
                self.append(LAYOUT_FILE, LAYOUT.as_bytes())?;
                self.append(&blob_name(&Sha256::digest(&manifest).into()), &manifest)?;
                self.append(INDEX_FILE, &index)?;
                self.publish_archive(&file)
            }
            FileReference::Layout { folder, tag } => self.finish_layout(&folder, tag.as_deref(), layers),
        }
    }

    fn finish_docker(
        &mut self,
        file: &Path,
        name: Option<&str>,
        layers: &[LayerSource],
    ) -> Result<(), ImageError> {
        let mut names = Vec::with_capacity(layers.len());
        for layer in layers {
            names.push(match layer {
                LayerSource::Made(index) => docker_name(*index, &self.blobs[*index].announced().sha256),
                LayerSource::Kept(layer) => {
                    let name = docker_name(1, &layer.diff_id);
                    if !names.contains(&name) {
                        self.copy(&name, layer)?;
                    }
                    name
                }
            });
        }
        let tags: Vec<&str> = name.into_iter().collect();
        let config = docker_name(0, &self.blobs[0].announced().sha256);
        let manifest = json!([{ "Config": config, "RepoTags": tags, "Layers": names }]).to_string();
        self.append("manifest.json", manifest.as_bytes())?;
        self.publish_archive(file)
    }

    fn finish_layout(
        &mut self,
        folder: &Path,
        tag: Option<&str>,
        layers: &[LayerSource],
    ) -> Result<(), ImageError> {
        let manifest = self.manifest(layers, true)?;
        for blob in self.blobs.iter() {
            blob.publish(&folder.join(blob_name(&blob.announced().sha256)))?;
        }
        put_file(&folder.join(LAYOUT_FILE), LAYOUT.as_bytes())?;
        put_file(&folder.join(blob_name(&Sha256::digest(&manifest).into())), &manifest)?;
        let index_path = folder.join(INDEX_FILE);
        let before = match fs::read(&index_path) {
            Ok(bytes) => serde_json::from_slice::<serde_json::Value>(&bytes)
                .map_err(|error| ImageError::Kind {
                    path: index_path.clone(),
                    kind: "index of an OCI image layout",
                    reason: error.to_string(),
                })?
                .get("manifests")
                .cloned()
                .unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => json!([]),
            Err(source) => return Err(ImageError::Read { path: index_path, source }),
        };
        // The image is there once the index names it.
        put_file(&index_path, &index_with(before, &manifest, tag))
    }

    /// The manifest, with the kept layers copied to where it names them.
    fn manifest(&mut self, layers: &[LayerSource], is_folder: bool) -> Result<Vec<u8>, ImageError> {
        let mut descriptors = Vec::with_capacity(layers.len());
        let mut copied: Vec<Sha256Digest> = Vec::new();
        for layer in layers {
            let (media_type, sha256, len) = match layer {
                LayerSource::Made(index) => {
                    let announced = self.blobs[*index].announced();
                    (LAYER_TYPE.to_owned(), announced.sha256, announced.len)
                }
                LayerSource::Kept(layer) => {
                    let read = |source| ImageError::Read { path: self.reference.path().into(), source };
                    let mut head = [0; 4];
                    let head_len = layer.blob.len().min(4) as usize;
                    layer.blob.read_at(0, &mut head[..head_len]).map_err(read)?;
                    let packed = PACKED_TYPES.iter().find(|(magic, _)| head.starts_with(magic));
                    let media_type = format!("{LAYER_TYPE}{}", packed.map_or("", |(_, suffix)| suffix));
                    let sha256 = layer.blob.sha256().map_err(read)?;
                    if !copied.contains(&sha256) {
                        copied.push(sha256);
                        let name = blob_name(&sha256);
                        if !is_folder {
                            self.copy(&name, layer)?;
                        } else if !self.reference.path().join(&name).is_file() {
                            copy_to_file(&self.reference.path().join(&name), layer)?;
                        }
                    }
                    (media_type, sha256, layer.blob.len())
                }
            };
            descriptors.push(json!({ "mediaType": media_type, "digest": digest_text(&sha256), "size": len }));
        }
        let config = self.blobs[0].announced();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": { "mediaType": CONFIG_TYPE, "digest": digest_text(&config.sha256), "size": config.len },
            "layers": descriptors,
        });
        Ok(manifest.to_string().into_bytes())
    }

    /// Writes the headers of the blobs' members.
    fn put_headers(&mut self) -> Result<(), ImageError> {
        let is_docker = matches!(self.reference, FileReference::DockerArchive { .. });
        let Place::Archive { part, file, .. } = &self.place else { return Ok(()) };
        for (index, blob) in self.blobs.iter().enumerate() {
            let Announced { sha256, len } = blob.announced();
            let name = if is_docker { docker_name(index, &sha256) } else { blob_name(&sha256) };
            let put = put_header(file, blob.offset() - RECORD_BYTES, &name, len);
            put.map_err(|source| ImageError::Write { path: part.clone(), source })?;
        }
        Ok(())
    }

    fn archive(&mut self) -> Option<(&PathBuf, &File, &mut u64)> {
        match &mut self.place {
            Place::Archive { part, file, end } => Some((part, file, end)),
            Place::Folder => None,
        }
    }

    /// Appends a short member.
    fn append(&mut self, name: &str, bytes: &[u8]) -> Result<(), ImageError> {
        let Some((part, file, end)) = self.archive() else { return Ok(()) };
        let put = put_header(file, *end, name, bytes.len() as u64).and_then(|offset| {
            file.write_all_at(bytes, offset)?;
            *end = offset + (bytes.len() as u64).next_multiple_of(RECORD_BYTES);
            file.set_len(*end)
        });
        put.map_err(|source| ImageError::Write { path: part.clone(), source })
    }

    /// Appends a layer as it is kept.
    fn copy(&mut self, name: &str, layer: &Layer) -> Result<(), ImageError> {
        let Some((part, file, end)) = self.archive() else { return Ok(()) };
        let failed = |source| ImageError::Write { path: part.clone(), source };
        let offset = put_header(file, *end, name, layer.blob.len()).map_err(failed)?;
        let mut buf = vec![0; COPY_BYTES];
        let mut at = 0;
        while at < layer.blob.len() {
            let len = (layer.blob.len() - at).min(buf.len() as u64) as usize;
            let read = |source| ImageError::Read { path: name.into(), source };
            layer.blob.read_at(at, &mut buf[..len]).map_err(read)?;
            file.write_all_at(&buf[..len], offset + at).map_err(failed)?;
            at += len as u64;
        }
        *end = offset + layer.blob.len().next_multiple_of(RECORD_BYTES);
        file.set_len(*end).map_err(failed)
    }

    fn publish_archive(&mut self, path: &Path) -> Result<(), ImageError> {
        let Some((part, file, end)) = self.archive() else { return Ok(()) };
        // Two records of zeros end a tar.
        let published = file
            .set_len(*end + 2 * RECORD_BYTES)
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::rename(part, path))
            .and_then(|()| File::open(folder_of(path))?.sync_all());
        published.map_err(|source| ImageError::Write { path: path.into(), source })
    }
}

/// An index that names the manifest by `tag`, beside the images that were there. An image of the same tag
/// is replaced.
fn index_with(before: serde_json::Value, manifest: &[u8], tag: Option<&str>) -> Vec<u8> {
    let digest = digest_text(&Sha256::digest(manifest).into());
    let mut descriptor = json!({ "mediaType": MANIFEST_TYPE, "digest": digest, "size": manifest.len() });
    if let Some(tag) = tag {
        descriptor["annotations"] = json!({ NAME_ANNOTATION: tag });
    }
    let mut manifests = match before {
        serde_json::Value::Array(manifests) => manifests,
        _ => Vec::new(),
    };
    manifests.retain(|one| {
        let name = one.pointer("/annotations").and_then(|all| all.get(NAME_ANNOTATION));
        let is_same = match tag {
            Some(tag) => name.and_then(|name| name.as_str()) == Some(tag),
            None => name.is_none() && one["digest"] == descriptor["digest"],
        };
        !is_same
    });
    manifests.push(descriptor);
    json!({ "schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": manifests }).to_string().into_bytes()
}

fn blob_name(sha256: &Sha256Digest) -> String {
    format!("blobs/sha256/{}", hex(sha256))
}

/// As skopeo names them: configs `.json`, layers `.tar`.
fn docker_name(index: usize, sha256: &Sha256Digest) -> String {
    format!("{}.{}", hex(sha256), if index == 0 { "json" } else { "tar" })
}

fn hex(sha256: &Sha256Digest) -> String {
    digest_text(sha256).split_off("sha256:".len())
}

/// Writes a member's header at `at`; answers where its content starts.
fn put_header(file: &File, at: u64, name: &str, len: u64) -> io::Result<u64> {
    let mut header = tar::Header::new_ustar();
    header.set_path(name)?;
    header.set_size(len);
    header.set_mode(0o644);
    header.set_cksum();
    file.write_all_at(header.as_bytes(), at)?;
    Ok(at + RECORD_BYTES)
}

/// Makes an empty file.
fn create(path: &Path) -> Result<File, ImageError> {
    File::create(path).map_err(|source| ImageError::Write { path: path.into(), source })
}

/// Writes a short file so that it is there as a whole or not at all.
fn put_file(path: &Path, bytes: &[u8]) -> Result<(), ImageError> {
    let part = beside(path, ".part");
    let mut file = create(&part)?;
    let put = file
        .write_all(bytes)
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&part, path))
        .and_then(|()| File::open(folder_of(path))?.sync_all());
    put.map_err(|source| ImageError::Write { path: path.into(), source })
}

fn copy_to_file(path: &Path, layer: &Layer) -> Result<(), ImageError> {
    let part = beside(path, ".part");
    let mut file = create(&part)?;
    let put = io::copy(&mut layer.blob.reader(), &mut file)
        .and_then(|_| file.sync_all())
        .and_then(|()| fs::rename(&part, path));
    put.map_err(|source| ImageError::Write { path: path.into(), source })
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
