//! A bundle, wherever it is: on a server or on a stick.

use std::ops::Range;
use std::path::Path;

use fluvial_bundle::limits::{BUNDLE_HEADER_BYTES_MAX, INDEX_BYTES_MAX, SKETCH_BYTES_MAX, TABLE_BYTES_MAX};
use fluvial_bundle::{
    BUNDLE_PREFIX_BYTES, BundleHeader, BundlePart, Index, Manifest, PartKind, Sketch, Whole,
};
use fluvial_console::{Fault, Kind};
use fluvial_fetch::{ChunkFile, Site};

/// What is fetched at first: most headers, and the sketch behind them, are shorter.
const HEAD_BYTES: u64 = 8 << 10;

/// A bundle whose header was read. Nothing in it was vouched for yet.
pub struct Bundle {
    pub site: Site,
    /// Its name below the site.
    pub name: String,
    pub header: BundleHeader,
    pub manifest: Manifest,
    /// Its first bytes: what was fetched to see the header.
    head: Vec<u8>,
}

impl Bundle {
    /// Opens `http[s]://.../NAME`, or a file.
    pub fn open(place: &str, connections: u8) -> Result<Self, Fault> {
        let (base, name) = split(place)?;
        let site = Site::open(&base, usize::from(connections))?;
        Self::open_at(site, name)
    }

    /// Opens the full bundle that stands beside this one, if it names one.
    pub fn open_full(&self, place: &str, connections: u8) -> Result<Option<Self>, Fault> {
        if self.header.full_name.is_empty() || self.header.full_name == self.name {
            return Ok(None);
        }
        let (base, _) = split(place)?;
        let site = Site::open(&base, usize::from(connections))?;
        let full = Self::open_at(site, self.header.full_name.clone())?;
        if full.header.manifest != self.header.manifest {
            let message = format!("{} is the bundle of another release than {}", full.name, self.name);
            return Err(Fault::new(Kind::DamagedBundle, message));
        }
        Ok(Some(full))
    }

    fn open_at(site: Site, name: String) -> Result<Self, Fault> {
        let limit = BUNDLE_HEADER_BYTES_MAX as u64;
        let mut bytes = site.read_range(&name, 0..HEAD_BYTES, limit)?;
        let len = BundleHeader::len_of(bytes.get(..BUNDLE_PREFIX_BYTES).unwrap_or(&bytes))?;
        if len > bytes.len() {
            bytes.extend(site.read_range(&name, bytes.len() as u64..len as u64, limit)?);
        }
        let header = BundleHeader::read(&bytes)?;
        let manifest = header.read_manifest()?;
        Ok(Self { site, name, header, manifest, head: bytes })
    }

    /// Reads a range of at most `limit` bytes; less of it where the file ends before. What came with the header
    /// is not fetched again.
    pub fn read(&self, range: Range<u64>, limit: u64) -> Result<Vec<u8>, Fault> {
        let head_end = range.end.min(self.head.len() as u64);
        let head = self.head.get(range.start as usize..head_end as usize).unwrap_or_default();
        let rest = range.start + head.len() as u64..range.end;
        let mut bytes = head.to_vec();
        if !rest.is_empty() {
            bytes.extend(self.site.read_range(&self.name, rest, limit)?);
        }
        Ok(bytes)
    }

    /// A component's index: compared with what the manifest tells before it is unpacked.
    pub fn index(&self, component: usize) -> Result<Option<Index>, Fault> {
        let Some(part) = self.header.part(component, PartKind::Index) else { return Ok(None) };
        let bytes = self.read(part.range.clone(), INDEX_BYTES_MAX as u64)?;
        Ok(Some(self.header.read_index(component, &self.manifest.components[component], &bytes)?))
    }

    /// A component's sketch, compared with what the manifest tells.
    pub fn sketch(&self, component: usize) -> Result<Option<Sketch>, Fault> {
        let Some(part) = self.header.part(component, PartKind::Sketch) else { return Ok(None) };
        let bytes = self.read(part.range.clone(), SKETCH_BYTES_MAX as u64)?;
        Ok(Some(self.header.read_sketch(&self.manifest.components[component], &bytes)?))
    }

    /// The table of a component's frames: compared with what the manifest tells before it is unpacked.
    pub fn whole(&self, component: usize) -> Result<Option<Whole>, Fault> {
        let Some(part) = self.header.part(component, PartKind::Full) else { return Ok(None) };
        let info = &self.manifest.components[component];
        let table_len = info.payload().whole.as_ref().map_or(0, |table| table.size_bytes);
        let end = part.range.end.min(part.range.start + table_len);
        let bytes = self.read(part.range.start..end, TABLE_BYTES_MAX as u64)?;
        Ok(Some(self.header.read_whole(component, info, &bytes)?))
    }

    /// Where a component's chunks stand.
    pub fn chunk_file(&self, part: &BundlePart) -> ChunkFile {
        let (offset, len) = (part.range.start, part.range.end - part.range.start);
        ChunkFile { name: self.name.clone(), offset, len }
    }
}

/// The folder that a place stands in, and its name there.
fn split(place: &str) -> Result<(String, String), Fault> {
    let usage = || {
        Fault::new(Kind::Usage, format!("{place:?} names no bundle"))
            .hint("give a file, or http[s]://HOST/.../NAME.fluvial")
    };
    if place.starts_with("http://") || place.starts_with("https://") {
        let (base, name) = place.rsplit_once('/').ok_or_else(usage)?;
        if name.is_empty() || base.ends_with(":/") || base.ends_with(':') {
            return Err(usage());
        }
        return Ok((base.into(), name.into()));
    }
    let path = Path::new(place);
    let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(usage)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok((folder.to_str().ok_or_else(usage)?.into(), name.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_folder_and_a_name() {
        let parts = |place: &str| split(place).ok();
        let pair = |base: &str, name: &str| Some((base.to_owned(), name.to_owned()));
        assert_eq!(parts("http://host:80/a/b.fluvial"), pair("http://host:80/a", "b.fluvial"));
        assert_eq!(parts("b.fluvial"), pair(".", "b.fluvial"));
        assert_eq!(parts("/media/stick/b.fluvial"), pair("/media/stick", "b.fluvial"));
        assert_eq!(parts("http://host"), None);
        assert_eq!(parts("https://host/"), None);
        assert_eq!(parts(".."), None);
    }
}
