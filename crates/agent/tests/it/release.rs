//! An operator, releases, and bundles: right ones, and ones that are changed before they are written.

use std::fs;
use std::num::NonZeroU64;
use std::path::PathBuf;

use fluvial_bundle::{
    BundleHeader, Component, Cutting, HashKind, Index, Manifest, PartInfo, PartKind, Payload, PayloadInfo,
    Scatter, Sketch, WholeOptions, WriteOptions, write, write_whole,
};
use fluvial_delta::diff::{DiffOptions, Named, Preset, Unobserved, diff};
use fluvial_delta::scratch::MemoryScratch;
use fluvial_device::disk::{Contents, Medium};
use fluvial_image::{Anatomist, file_extents, image_files};
use fluvial_trust::{InitOptions, KeyFolder, SignOptions, Timestamp, sign};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

/// How images are packed as a whole: several frames of several pieces, though they are short.
pub const WHOLE: WholeOptions = WholeOptions {
    level: 3,
    hash: HashKind::Blake3,
    window_log: 20,
    frame_bytes: 512 << 10,
    piece_bytes: 64 << 10,
};

/// What packing may take on a device, in bytes.
const PACKING_MEMORY_BYTES: u64 = 64 << 20;

/// Whoever has the keys, and a folder that is published.
pub struct Operator {
    folder: TempDir,
    pub keys: KeyFolder,
    /// When releases are signed.
    now: Timestamp,
}

/// A bundle in the making. All parts are of its one component.
#[derive(Debug, Clone)]
pub struct Release {
    pub manifest: Manifest,
    pub metadata: Vec<(String, Vec<u8>)>,
    pub full_name: String,
    pub parts: Vec<(PartKind, Vec<u8>)>,
}

impl Operator {
    pub fn new() -> Self {
        Self::days_ago(0)
    }

    /// One whose releases were signed so many days ago.
    pub fn days_ago(days: i64) -> Self {
        let now = Timestamp::from_second(Timestamp::now().as_second() - days * 24 * 60 * 60).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let keys = KeyFolder::init(&folder.path().join("keys"), &InitOptions::new(now)).unwrap();
        fs::create_dir(folder.path().join("site")).unwrap();
        Self { folder, keys, now }
    }

    /// What is published.
    pub fn site(&self) -> PathBuf {
        self.folder.path().join("site")
    }

    /// Signs what the release is now.
    pub fn sign(&self, release: &mut Release) {
        let version = NonZeroU64::new(release.manifest.sequence).unwrap();
        let options = SignOptions { version, lifetimes: None, now: self.now };
        let metadata = sign(&self.keys, &release.manifest.to_bytes().unwrap(), &options).unwrap();
        release.metadata = metadata.iter().map(|(name, bytes)| (name.into(), bytes.to_vec())).collect();
    }

    /// Signs and publishes; answers the path.
    pub fn publish(&self, name: &str, mut release: Release) -> String {
        self.sign(&mut release);
        self.publish_as_is(name, &release.to_bytes())
    }

    /// Publishes any bytes; answers the path.
    pub fn publish_as_is(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.site().join(name);
        fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().into()
    }
}

impl Release {
    /// A full bundle: index, chunks, and the whole.
    pub fn full(sequence: u64, image: &[u8]) -> Self {
        let files = image_files(&image);
        let sha256 = Sha256::digest(image).into();
        let payload = Payload { name: "system", sha256, bytes: &image, files: &files, unpacked: None };
        Self::of_payload(sequence, image, payload)
    }

    /// A full bundle of which packed files are cut unpacked, as `fluvial bundle create` makes it.
    pub fn unpacked(sequence: u64, image: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image");
        fs::write(&path, image).unwrap();
        let medium = Medium::open(&path).unwrap();
        let found =
            Contents::find(&medium, folder.path(), Some(PACKING_MEMORY_BYTES), HashKind::Blake3, None);
        let (mut contents, files) = found.unwrap();
        assert!(!contents.unpacked.files.is_empty(), "there is a packed file");
        contents.unpacked.packing = packing(&contents, &medium);
        let (bytes, sha256) = (contents.behind(&medium), Sha256::digest(image).into());
        let unpacked = Some(&contents.unpacked);
        let payload = Payload { name: "system", sha256, bytes: &bytes, files: &files, unpacked };
        Self::of_payload(sequence, image, payload)
    }

    fn of_payload(sequence: u64, image: &[u8], payload: Payload<'_>) -> Self {
        let options = WriteOptions { level: 3, cutting: Cutting::Files, hash: HashKind::Blake3 };
        let (mut chunks, mut full) = (Vec::new(), Vec::new());
        let index = write(payload, options, &mut chunks, &|_| true).unwrap();
        let whole = write_whole(&image, &file_extents(&image), WHOLE, &mut full, &|_| true).unwrap();
        let table = whole.to_bytes().unwrap();
        let sketch = Sketch::of(&index).to_bytes();
        let index = index.to_bytes().unwrap();
        let mut release = Self::of(sequence, image, &index);
        release.payload().sketch = Some(PartInfo::of(&sketch));
        release.payload().whole = Some(PartInfo::of(&table));
        release.parts = vec![
            (PartKind::Sketch, sketch),
            (PartKind::Index, index),
            (PartKind::Chunks, chunks),
            (PartKind::Full, [table, full].concat()),
        ];
        release
    }

    /// A bundle with a patch of `old` only; the full bundle of that name stands beside it.
    pub fn patch(full: &Self, full_name: &str, old: &[u8], image: &[u8]) -> Self {
        let parts = vec![(PartKind::Patch, patch(old, image))];
        Self { full_name: full_name.into(), parts, ..full.clone() }
    }

    fn of(sequence: u64, image: &[u8], index: &[u8]) -> Self {
        let payload = PayloadInfo {
            size_bytes: image.len() as u64,
            sha256: Sha256::digest(image).into(),
            blake3: HashKind::Blake3.digest(image),
            index: PartInfo::of(index),
            sketch: None,
            whole: None,
        };
        let mut manifest = Manifest::new("demo".into(), format!("{sequence}.0"), sequence);
        manifest.components = vec![Component::Slot { name: "system".into(), payload }];
        Self { manifest, metadata: Vec::new(), full_name: String::new(), parts: Vec::new() }
    }

    /// The same release of other parts.
    pub fn with_parts(&self, parts: Vec<(PartKind, Vec<u8>)>) -> Self {
        Self { parts, ..self.clone() }
    }

    /// The payload that the manifest names.
    pub fn payload(&mut self) -> &mut PayloadInfo {
        let Component::Slot { payload, .. } = &mut self.manifest.components[0];
        payload
    }

    /// Puts another index into the bundle, and into the manifest.
    pub fn set_index(&mut self, index: Vec<u8>) {
        self.payload().index = PartInfo::of(&index);
        *self.part(PartKind::Index) = index;
    }

    /// Puts another image as a whole into the bundle: a table, which the manifest then names, and frames.
    pub fn set_whole(&mut self, table: &[u8], frames: &[u8]) {
        self.payload().whole = Some(PartInfo::of(table));
        *self.part(PartKind::Full) = [table, frames].concat();
    }

    /// Where the frames begin in the image as a whole.
    pub fn table_len(&mut self) -> usize {
        self.payload().whole.as_ref().unwrap().size_bytes as usize
    }

    pub fn part(&mut self, kind: PartKind) -> &mut Vec<u8> {
        &mut self.parts.iter_mut().find(|part| part.0 == kind).unwrap().1
    }

    pub fn index(&mut self) -> Index {
        Index::read(self.part(PartKind::Index)).unwrap()
    }

    /// The bundle's header.
    pub fn header(&self) -> Vec<u8> {
        let mut header = BundleHeader::new(self.manifest.to_bytes().unwrap());
        header.metadata.clone_from(&self.metadata);
        header.full_name.clone_from(&self.full_name);
        for (kind, bytes) in &self.parts {
            header.push(0, *kind, bytes.len() as u64);
        }
        header.to_bytes().unwrap()
    }

    /// The bundle.
    pub fn to_bytes(&self) -> Vec<u8> {
        let parts = self.parts.iter().flat_map(|(_, bytes)| bytes).copied();
        self.header().into_iter().chain(parts).collect()
    }
}

/// The patch that makes an image's packed files of what they unpack to.
fn packing(contents: &Contents, image: &Medium) -> Vec<u8> {
    let files = contents.unpacked.files.iter();
    let files: Vec<_> = files.map(|extents| Scatter::new(image, extents.iter().copied())).collect();
    let names: Vec<String> = (0..files.len()).map(|number| number.to_string()).collect();
    let targets: Vec<_> = names.iter().zip(&files).map(|(name, file)| Named::new(name, file)).collect();
    let options = DiffOptions { apply_memory_bytes: PACKING_MEMORY_BYTES, ..DiffOptions::default() };
    let (old, mut patch) = ([Named::new("contents", contents.medium())], Vec::new());
    diff(&old, &targets, &Anatomist, &MemoryScratch, &options, &Unobserved, &mut patch).unwrap();
    patch
}

/// A patch from one image to another.
pub fn patch(old: &[u8], new: &[u8]) -> Vec<u8> {
    let options = DiffOptions { preset: Preset::Fast, ..DiffOptions::default() };
    let mut patch = Vec::new();
    let (old, new) = ([Named::new("system", &old)], [Named::new("system", &new)]);
    diff(&old, &new, &Anatomist, &MemoryScratch, &options, &Unobserved, &mut patch).unwrap();
    patch
}

/// Numbers that look random, the same for the same seed (`SplitMix64`: Steele, Lea, Flood 2014).
pub fn numbers(mut seed: u64) -> impl Iterator<Item = u64> {
    std::iter::from_fn(move || {
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = seed;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Some(mixed ^ (mixed >> 31))
    })
}

/// Bytes that pack to about a half.
pub fn image(seed: u64, len: usize) -> Vec<u8> {
    numbers(seed).flat_map(|number| format!("{number:016x}").into_bytes()).take(len).collect()
}

/// The same with other bytes in so many blocks of 4 KiB, far from each other.
pub fn changed(image: &[u8], seed: u64, blocks: usize) -> Vec<u8> {
    let mut new = image.to_vec();
    let step = image.len() / blocks / 4096 * 4096;
    for block in 0..blocks {
        let at = block * step;
        new[at..at + 4096].copy_from_slice(&self::image(seed + block as u64, 4096));
    }
    new
}
