//! Where the blobs of an image stand: files of a folder, or members of an archive.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fluvial_delta::structure::{Extent, ReadAt};

use super::{ImageError, Slice};
use crate::catalogue::part_path;
use crate::source::{FileSource, SourceError};
use crate::tar::{Kind, Walk};

/// Members of an image archive at most: blobs, not files of an image.
const MEMBERS_MAX: usize = 1 << 16;
/// Links in a row that are followed: `docker save` once wrote one for a layer that stands twice.
const LINKS_MAX: usize = 8;

/// Named blobs.
#[derive(Debug)]
pub(super) enum Store {
    /// Files of a folder.
    Folder(PathBuf),
    /// Members of an archive.
    Archive { path: PathBuf, file: Arc<FileSource>, members: HashMap<String, Member> },
}

/// A member of an archive.
#[derive(Debug)]
pub(super) enum Member {
    /// Its bytes.
    File(Extent),
    /// Another member, by its path.
    Link(String),
}

impl Store {
    /// Opens a folder.
    pub(super) fn folder(path: &Path) -> Self {
        Self::Folder(path.into())
    }

    /// Opens an archive, which must be a plain tar: blobs are read where they stand.
    pub(super) fn archive(path: &Path, kind: &'static str) -> Result<Self, ImageError> {
        let file = Arc::new(open_file(path)?);
        let mut members = HashMap::new();
        let mut walk = Walk::new(&*file);
        for entry in walk.by_ref() {
            let name = part_path(&entry.path);
            let member = match entry.kind {
                Kind::File if !entry.is_sparse => {
                    Member::File(Extent { offset: entry.offset, len: entry.len })
                }
                Kind::HardLink(target) => Member::Link(part_path(&target)),
                Kind::SymbolicLink(target) => Member::Link(beside(&name, &String::from_utf8_lossy(&target))),
                _ => continue,
            };
            if members.len() >= MEMBERS_MAX {
                let have = members.len() as u64 + 1;
                return Err(ImageError::Limit {
                    what: "the archive's list",
                    have,
                    limit: MEMBERS_MAX as u64,
                });
            }
            members.insert(name, member);
        }
        if members.is_empty() || !walk.is_at_end() {
            let reason = if members.is_empty() { "it is no tar" } else { "it is cut or damaged" };
            return Err(ImageError::Kind { path: path.into(), kind, reason: reason.into() });
        }
        Ok(Self::Archive { path: path.into(), file, members })
    }

    /// The folder or the archive.
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Folder(path) | Self::Archive { path, .. } => path,
        }
    }

    /// Whether there is such a blob.
    pub(super) fn has(&self, name: &str) -> bool {
        match self {
            Self::Folder(folder) => folder.join(name).is_file(),
            Self::Archive { .. } => self.extent(name).is_some(),
        }
    }

    fn extent(&self, name: &str) -> Option<Extent> {
        let Self::Archive { members, .. } = self else { return None };
        let mut name = name;
        for _ in 0..LINKS_MAX {
            match members.get(name)? {
                Member::File(extent) => return Some(*extent),
                Member::Link(target) => name = target,
            }
        }
        None
    }

    /// Opens a blob. Names are made of digests that were checked, or are looked up in a list: they lead
    /// nowhere else.
    pub(super) fn open(&self, name: &str) -> Result<Slice, ImageError> {
        match self {
            Self::Folder(folder) => Ok(Slice::whole(Arc::new(open_file(&folder.join(name))?))),
            Self::Archive { path, file, .. } => {
                let extent = self.extent(name).ok_or_else(|| ImageError::Read {
                    path: path.join(name),
                    source: io::ErrorKind::NotFound.into(),
                })?;
                let file: Arc<dyn ReadAt> = Arc::<FileSource>::clone(file);
                Ok(Slice::new(file, extent))
            }
        }
    }

    /// Reads a short blob.
    pub(super) fn read(&self, name: &str, what: &'static str, limit: u64) -> Result<Vec<u8>, ImageError> {
        let blob = self.open(name)?;
        if blob.len() > limit {
            return Err(ImageError::Limit { what, have: blob.len(), limit });
        }
        let mut bytes = vec![0; blob.len() as usize];
        let failed = |source| ImageError::Read { path: self.path().join(name), source };
        blob.read_at(0, &mut bytes).map_err(failed)?;
        Ok(bytes)
    }
}

fn open_file(path: &Path) -> Result<FileSource, ImageError> {
    FileSource::open(path).map_err(|error| match error {
        SourceError::Open { path, source } => ImageError::Read { path, source },
        SourceError::Kind { path } => {
            let source = io::Error::new(io::ErrorKind::InvalidInput, "it is no file");
            ImageError::Read { path, source }
        }
    })
}

/// Where a symbolic link in the folder of `name` leads, as a path in the archive.
fn beside(name: &str, target: &str) -> String {
    let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut steps: Vec<&str> = folder.split('/').filter(|step| !step.is_empty()).collect();
    for step in target.split('/') {
        match step {
            "" | "." => {}
            ".." => drop(steps.pop()),
            step => steps.push(step),
        }
    }
    steps.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_to_members() {
        assert_eq!(beside("abc/layer.tar", "../def/layer.tar"), "def/layer.tar");
        assert_eq!(beside("layer.tar", "./other.tar"), "other.tar");
        assert_eq!(beside("a/b", "../../../etc/passwd"), "etc/passwd", "which is looked up in the archive");
    }
}
