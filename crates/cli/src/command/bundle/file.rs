//! A bundle on this machine.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use fluvial_bundle::limits::SKETCH_BYTES_MAX;
use fluvial_bundle::{
    AssembleError, Assembly, BUNDLE_PREFIX_BYTES, BundleError, BundleHeader, FrameReader, Index, Manifest,
    Part, PartKind, Restorer, Shelf, Sketch,
};
use fluvial_delta::apply::Target;
use fluvial_delta::hash::both_of;
use fluvial_delta::structure::ReadAt;

use fluvial_console::Progress;
use fluvial_console::open;
use fluvial_console::{Fault, Kind};
use fluvial_device::disk::{Contents, Medium};

use super::create::unhashed;

/// A bundle, its header read.
pub struct BundleFile {
    pub path: PathBuf,
    pub medium: Medium,
    pub header: BundleHeader,
    pub header_bytes: u64,
    pub manifest: Manifest,
}

/// A part of a bundle, as a stream of its own.
pub struct Section<'a> {
    medium: &'a Medium,
    start: u64,
    len: u64,
}

impl ReadAt for Section<'_> {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        match offset.checked_add(buf.len() as u64) {
            Some(end) if end <= self.len => self.medium.read_at(self.start + offset, buf),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl Shelf for Section<'_> {
    fn read(&self, _payload: usize, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.read_at(offset, buf)
    }
}

impl BundleFile {
    /// Opens a bundle, and reads its header.
    pub fn open(path: &Path) -> Result<Self, Fault> {
        let medium = open(path)?;
        let failed = |error| Fault::reading(path, error);
        let mut bytes = vec![0; BUNDLE_PREFIX_BYTES.min(medium.len() as usize)];
        medium.read_at(0, &mut bytes).map_err(failed)?;
        let len = BundleHeader::len_of(&bytes)?;
        bytes.resize(len.min(medium.len() as usize), 0);
        medium.read_at(0, &mut bytes).map_err(failed)?;
        let header = BundleHeader::read(&bytes)?;
        let need = header.file_len(len as u64);
        if medium.len() != need {
            let message = format!("{} has {} bytes, its header tells {need}", path.display(), medium.len());
            return Err(Fault::new(Kind::DamagedBundle, message));
        }
        let manifest = header.read_manifest()?;
        Ok(Self { path: path.into(), medium, header, header_bytes: len as u64, manifest })
    }

    /// The component of a name.
    pub fn component(&self, name: &str) -> Option<usize> {
        self.manifest.components.iter().position(|component| component.name() == name)
    }

    /// A part, as a stream of its own.
    pub fn section(&self, component: usize, kind: PartKind) -> Option<Section<'_>> {
        let range = &self.header.part(component, kind)?.range;
        Some(Section { medium: &self.medium, start: range.start, len: range.end - range.start })
    }

    /// A component's index, checked.
    pub fn index(&self, component: usize) -> Result<Index, Fault> {
        let info = &self.manifest.components[component];
        let mut bytes = Vec::new();
        if let Some(section) = self.section(component, PartKind::Index) {
            // A longer one is not read to be refused.
            let limit = info.payload().index.size_bytes.saturating_add(1);
            bytes.resize(section.len().min(limit) as usize, 0);
            section.read_at(0, &mut bytes).map_err(|error| Fault::reading(&self.path, error))?;
        }
        Ok(self.header.read_index(component, info, &bytes)?)
    }

    /// Makes a component from its chunks in a temporary file in `folder`, and checks it.
    pub fn unpack(&self, component: usize, folder: &Path, progress: &Progress) -> Result<Medium, Fault> {
        let index = self.index(component)?;
        // The index was compared with its length.
        let Some(chunks) = self.section(component, PartKind::Chunks) else {
            return Err(BundleError::Invalid("there are no chunks").into());
        };
        let failed = |error| Fault::writing(folder, error);
        let file = tempfile::tempfile_in(folder).map_err(failed)?;
        file.set_len(index.len).map_err(failed)?;
        let medium = Medium::new(File::try_clone(&file).map_err(failed)?).map_err(failed)?;
        progress.phase("unpacking", index.len);
        let contents = Contents::room(&index.unpacked, folder).map_err(failed)?;
        unpack(&index, &contents.behind(&medium), &chunks, progress)?;
        progress.phase("packing", index.unpacked.packed_bytes());
        contents.pack(&medium, &[], folder, &|bytes| progress.advance(bytes))?;
        progress.phase("verifying", index.len);
        let hashes = both_of(&medium, &mut |bytes| progress.advance(bytes));
        let payload = self.manifest.components[component].payload();
        if hashes.map_err(|error| unhashed(&self.path, error))? != (payload.sha256, payload.blake3) {
            return Err(self.damaged(component, "its chunks make another image"));
        }
        Ok(medium)
    }
}

impl BundleFile {
    /// Checks that a component's sketch is that of its index.
    pub fn check_sketch(&self, component: usize) -> Result<(), Fault> {
        let Some(section) = self.section(component, PartKind::Sketch) else { return Ok(()) };
        let bytes = self.read(&section, 0, section.len().min(SKETCH_BYTES_MAX as u64))?;
        let info = &self.manifest.components[component];
        if self.header.read_sketch(info, &bytes)? == Sketch::of(&self.index(component)?) {
            return Ok(());
        }
        Err(self.damaged(component, "the sketch is that of another image"))
    }

    /// Unpacks a component's image as a whole, if it has it, and compares it with what its chunks have made.
    pub fn check_whole(&self, component: usize, made: &Medium, progress: &Progress) -> Result<(), Fault> {
        let Some(full) = self.section(component, PartKind::Full) else { return Ok(()) };
        let info = &self.manifest.components[component];
        let table_len = info.payload().whole.as_ref().map_or(0, |table| table.size_bytes);
        let table = self.read(&full, 0, table_len.min(full.len()))?;
        let whole = self.header.read_whole(component, info, &table)?;
        progress.phase("unpacking", whole.len);
        for (number, frame) in whole.frames.iter().enumerate() {
            let failed = |source| AssembleError::Frame { payload: component, frame: number, source };
            let mut reader = FrameReader::new(&whole, frame).map_err(failed)?;
            let mut restorer = Restorer::new(&whole);
            for piece in &frame.pieces {
                let (start, end) = (piece.range.start, piece.range.end);
                let packed = self.read(&full, table_len + start, end - start)?;
                if !whole.is_right(piece, &packed) {
                    return Err(self.damaged(component, "a frame is damaged"));
                }
                let mut blocks = Vec::new();
                let mut keep = |offset, block| {
                    blocks.push((offset, block));
                    Ok(())
                };
                reader.push(&packed, &mut keep).map_err(failed)?;
                for (offset, mut block) in blocks {
                    restorer.restore(offset, &mut block);
                    let mut expected = vec![0; block.len()];
                    let read = made.read_at(offset, &mut expected);
                    read.map_err(|error| Fault::reading(&self.path, error))?;
                    if block != expected {
                        return Err(self.damaged(component, "a frame holds something else"));
                    }
                    if !progress.advance(block.len() as u64) {
                        return Err(AssembleError::Cancelled.into());
                    }
                }
            }
            reader.finish().map_err(failed)?;
        }
        Ok(())
    }

    fn read(&self, section: &Section<'_>, offset: u64, len: u64) -> Result<Vec<u8>, Fault> {
        let mut bytes = vec![0; len as usize];
        section.read_at(offset, &mut bytes).map_err(|error| Fault::reading(&self.path, error))?;
        Ok(bytes)
    }

    fn damaged(&self, component: usize, what: &str) -> Fault {
        let name = self.manifest.components[component].name();
        Fault::new(Kind::DamagedBundle, format!("{}: {name:?}: {what}", self.path.display()))
    }
}

/// Makes a payload from its chunks alone.
fn unpack(index: &Index, target: &dyn Target, shelf: &dyn Shelf, progress: &Progress) -> Result<(), Fault> {
    let mut assembly = Assembly::new(&[Part { index, target }], Vec::new());
    let advance = |bytes| progress.advance(bytes);
    assembly.find_runs(&advance)?;
    while !assembly.pages().is_empty() {
        assembly.open_pages(shelf)?;
        while !assembly.next_round(shelf, &advance)?.is_empty() {
            assembly.take(shelf, &advance)?;
        }
    }
    Ok(assembly.copy_repeats(&advance)?)
}
