//! Our own ways, as `fluvial bundle` makes them and `fluvial-agent install` goes them.

use std::fs::File;
use std::io::BufWriter;
use std::num::NonZeroU64;
use std::time::Instant;

use fluvial_bundle::{
    Assembly, BundleHeader, Component, Cutting, HashKind, Index, Manifest, Part, PartInfo, PartKind, Payload,
    PayloadInfo, Scatter, Sketch, WriteOptions, between, index_of,
};
use fluvial_console::Fault;
use fluvial_delta::apply::check_target;
use fluvial_delta::diff::{Named, diff};
use fluvial_delta::header::StreamInfo;
use fluvial_delta::structure::ReadAt;
use fluvial_device::disk::{Contents, DiskScratch, Medium};
use fluvial_fetch::{ChunkFile, Site, Store, complete};
use fluvial_image::Anatomist;
use fluvial_simulate::Cost;
use fluvial_trust::{InitOptions, KeyFolder, SignOptions, Timestamp, sign};

use super::report::Measured;
use super::{Bench, Outcome};
use crate::arguments::{DiffOptionArguments, Method, Verify};
use crate::command::bundle::{APPLY_MEMORY_BYTES, CHUNK_LEVEL, hash, write_chunks};

/// What an answer with several ranges has before each, in bytes: a boundary, the content's type, the range.
const RANGE_OVERHEAD_BYTES: u64 = 110;
const CHUNKS_NAME: &str = "chunks";
const SLOT_NAME: &str = "system";

impl Bench<'_> {
    /// A patch, as `fluvial bundle delta` makes it, applied and compared unless the preset is `fast`.
    pub(super) fn by_patch(&self, method: Method) -> Result<Outcome, Fault> {
        let started = Instant::now();
        let sources = [Named::new(SLOT_NAME, self.old)];
        let targets = [Named::new(SLOT_NAME, self.new)];
        let options = DiffOptionArguments { effort: self.arguments.effort.clone(), verify: Verify::Auto };
        let options = options.options(APPLY_MEMORY_BYTES);
        let scratch = DiskScratch::new(self.folder);
        let report =
            diff(&sources, &targets, &Anatomist, &scratch, &options, self.progress, &mut std::io::sink())?;
        let index_bytes = self.header_bytes(self.new.len(), 0)?;
        let data_bytes = report.patch_bytes;
        // The header, what is left of the patch's header, and the rest.
        let requests = data_bytes.div_ceil(1 << 20) + 1;
        Ok(Outcome::Measured(Measured {
            make_s: Some(started.elapsed().as_secs_f64()),
            apply_memory_bytes: Some(report.header.apply_memory_bytes),
            ..Measured::new(method, Cost { data_bytes, index_bytes, requests })
        }))
    }

    /// What a device fetches that has OLD in the slot that runs, and nothing in the other one. NEW is really made
    /// so, and compared.
    pub(super) fn by_chunks(&self, method: Method) -> Result<Outcome, Fault> {
        let started = Instant::now();
        let index = self.publish(method)?;
        let index_bytes = (index.to_bytes()?.len() + Sketch::of(&index).to_bytes().len()) as u64;
        let make_s = Some(started.elapsed().as_secs_f64());
        let failed = |error| Fault::writing(self.folder, error);
        let file = tempfile::tempfile_in(self.folder).map_err(failed)?;
        file.set_len(index.len).map_err(failed)?;
        let target = Medium::new(file).map_err(failed)?;
        let site = Site::open(&self.folder.to_string_lossy(), 1)?;
        self.fetch(&index, &target, &site)?;
        let info = StreamInfo { name: index.name.clone(), size: index.len, sha256: index.sha256 };
        check_target(&target, &info, &mut |bytes| self.progress.advance(bytes))?;
        let counters = site.counters();
        let data_bytes = counters.bytes + counters.ranges * RANGE_OVERHEAD_BYTES;
        let index_bytes = self.header_bytes(index.len, index_bytes)? + index_bytes;
        // The header and the sketch come first, then the index.
        let cost = Cost { data_bytes, index_bytes, requests: counters.groups + 2 };
        Ok(Outcome::Measured(Measured { make_s, ..Measured::new(method, cost) }))
    }

    /// Cuts and packs NEW as a bundle has it.
    fn publish(&self, method: Method) -> Result<Index, Fault> {
        self.progress.phase(method.name(), 2 * self.new.len());
        let sha256 = hash(&self.arguments.new, self.new, self.progress)?;
        let path = self.folder.join(CHUNKS_NAME);
        let mut chunks = BufWriter::new(File::create(&path).map_err(|error| Fault::writing(&path, error))?);
        let options = WriteOptions { level: CHUNK_LEVEL, cutting: Cutting::Files, hash: HashKind::default() };
        let of = (SLOT_NAME, sha256);
        let index = write_chunks(of, self.new, options, self.folder, &mut chunks, self.progress)?;
        chunks.into_inner().map_err(|error| Fault::writing(&path, error.into_error()))?;
        Ok(index)
    }

    /// Makes NEW from OLD and chunks.
    fn fetch(&self, index: &Index, target: &Medium, site: &Site) -> Result<(), Fault> {
        let advance = |bytes| self.progress.advance(bytes);
        let failed = |error| Fault::writing(self.folder, error);
        let (old, files) =
            Contents::find(self.old, self.folder, None, index.hash, Some(index)).map_err(failed)?;
        let (old_bytes, unpacked) = (old.behind(self.old), Some(&old.unpacked));
        let payload =
            Payload { name: SLOT_NAME, sha256: [0; 32], bytes: &old_bytes, files: &files, unpacked };
        let gaps = Scatter::new(&old_bytes, between(&files, &old.unpacked.files, old_bytes.len()));
        let streams: Vec<Scatter<_>> = std::iter::once(gaps)
            .chain(files.iter().map(|file| Scatter::new(&old_bytes, file.iter().copied())))
            .collect();
        let streams = streams.iter().map(|stream| stream as &dyn ReadAt).collect();
        let contents = Contents::room(&index.unpacked, self.folder).map_err(failed)?;
        let behind = contents.behind(target);
        let scratch = DiskScratch::new(self.folder);
        let mut assembly = Assembly::new(&[Part { index, target: &behind }], streams).with_scratch(&scratch);
        assembly.find_in_place(&advance)?;
        let made = contents.copy_packed((&old.unpacked, self.old), target, index.hash);
        assembly.leave(0, &contents.unneeded(index.len, &made)?);
        let (known, notes) = index_of(payload, &assembly.survey(), &|_, _| {}, &advance)?;
        assembly.find_indexed((&known, &[]), &advance)?;
        assembly.take_notes(notes);
        let chunks = ChunkFile { name: CHUNKS_NAME.into(), offset: 0, len: index.chunk_file_len() };
        let store = Store::open(&self.folder.join("fetched"), std::slice::from_ref(index))?;
        complete(&mut assembly, site, &[chunks], &store, self.progress)?;
        drop(assembly);
        contents.pack(target, &made, self.folder, &advance)?;
        Ok(store.remove()?)
    }

    /// How long the header of a bundle is that has one slot, signed with one new key for each role.
    fn header_bytes(&self, size_bytes: u64, index_bytes: u64) -> Result<u64, Fault> {
        let part = |size_bytes| PartInfo { size_bytes, sha256: [0; 32] };
        let (index, sketch, whole) = (part(index_bytes), Some(part(1000)), Some(part(10_000)));
        let payload = PayloadInfo { size_bytes, sha256: [0; 32], blake3: [0; 32], index, sketch, whole };
        let mut manifest = Manifest::new("release".into(), "1.0".into(), 1);
        manifest.components.push(Component::Slot { name: SLOT_NAME.into(), payload });
        let mut header = BundleHeader::new(manifest.to_bytes()?);
        let now = Timestamp::now();
        let folder = tempfile::tempdir_in(self.folder).map_err(|error| Fault::writing(self.folder, error))?;
        let keys = KeyFolder::init(&folder.path().join("keys"), &InitOptions::new(now))?;
        let options = SignOptions { version: NonZeroU64::MIN, lifetimes: None, now };
        let metadata = sign(&keys, &header.manifest, &options)?;
        header.metadata.extend(metadata.iter().map(|(name, bytes)| (name.to_owned(), bytes.to_vec())));
        for kind in [PartKind::Sketch, PartKind::Index, PartKind::Chunks, PartKind::Full] {
            header.push(0, kind, size_bytes);
        }
        Ok(header.to_bytes()?.len() as u64)
    }
}
