//! OLD: what a patch is made from, and applied to.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use fluvial_console::{Fault, Kind};
use fluvial_delta::header::SourceInfo;
use fluvial_delta::structure::ReadAt;

use fluvial_device::disk::{Identity, Medium};

mod folder;

use folder::{Folder, FolderFile};

/// A file, a block device, or a folder of files.
pub enum Old {
    /// A file or a block device.
    Single(Medium),
    /// The regular files below a folder.
    Folder(Arc<Folder>, PathBuf),
}

/// A source by name.
pub type NamedSource = (String, Box<dyn ReadAt>);

impl Old {
    /// Opens OLD.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn open(path: &Path) -> Result<Self, Fault> {
        let failed = |source| Fault::reading(path, source);
        if path.metadata().map_err(failed)?.is_dir() {
            Ok(Self::Folder(Arc::new(Folder::open(path).map_err(failed)?), path.into()))
        } else {
            Medium::open(path).map(Self::Single).map_err(failed)
        }
    }

    /// Which file or device it is; a folder is none.
    pub fn identity(&self) -> Option<Identity> {
        match self {
            Self::Single(medium) => medium.identity().ok(),
            Self::Folder(..) => None,
        }
    }

    /// Everything that a patch may be made from. `name` is that of a file or a device.
    ///
    /// # Errors
    /// Where a folder cannot be listed.
    pub fn all(self, name: String) -> Result<Vec<NamedSource>, Fault> {
        match self {
            Self::Single(medium) => Ok(vec![(name, Box::new(medium))]),
            Self::Folder(folder, _) => {
                let named = |(path, len): (String, u64)| -> NamedSource {
                    let file = FolderFile::new(Arc::clone(&folder), path.clone(), len);
                    (path, Box::new(file))
                };
                Ok(folder.list()?.into_iter().map(named).collect())
            }
        }
    }

    /// The sources that a patch names, in its order. A file or a device serves whatever name the
    /// patch gives its only source.
    ///
    /// # Errors
    /// [`Kind::WrongSource`] where one is missing or of another length.
    pub fn named(self, infos: &[SourceInfo]) -> Result<Vec<Box<dyn ReadAt>>, Fault> {
        match self {
            Self::Single(_) if infos.len() != 1 => Err(Fault::new(
                Kind::WrongSource,
                format!("OLD is one file, but the patch was made from {} files of a folder", infos.len()),
            )),
            Self::Single(medium) => Ok(vec![Box::new(medium)]),
            Self::Folder(folder, root) => {
                let open = |info: &SourceInfo| -> Result<Box<dyn ReadAt>, Fault> {
                    let len = folder
                        .len_of(&info.name)
                        .map_err(|error| Fault::wrong_source(&root.join(&info.name), error))?;
                    Ok(Box::new(FolderFile::new(Arc::clone(&folder), info.name.clone(), len)))
                };
                infos.iter().map(open).collect()
            }
        }
    }
}
