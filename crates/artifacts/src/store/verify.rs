//! Reading everything again.

use std::io;
use std::path::Path;

use super::damage::Damage;
use super::list::{Stored, StoredDelta};
use super::{Store, StoreError, VersionId};
use crate::copy::{self, Copied, CopyError};
use crate::delta_info::{DeltaInfo, FileInfo, PartitionUpdate};
use crate::disk;
use crate::limits::TEXT_BYTES_MAX;
use crate::manifest::Manifest;
use crate::version::Version;

/// What reading a version again came to.
#[derive(Debug)]
pub struct VerifyReport {
    /// The version.
    pub id: VersionId,
    /// How many bytes were read.
    pub bytes: u64,
    /// What is wrong with the version.
    pub damages: Vec<Damage>,
    /// What is wrong with the deltas to it, each with its folder's name.
    pub delta_damages: Vec<(String, Damage)>,
}

impl VerifyReport {
    /// Whether everything is as it was.
    pub fn is_whole(&self) -> bool {
        self.damages.is_empty() && self.delta_damages.is_empty()
    }
}

impl Store {
    /// Reads a version, its images and its deltas again, and compares them with what was written down. Damage is
    /// reported and stops nothing.
    ///
    /// `observe` is told how many bytes more were read, and answers whether to go on.
    ///
    /// # Errors
    /// [`StoreError::Cancelled`].
    pub fn verify(&self, stored: Stored, observe: &dyn Fn(u64) -> bool) -> Result<VerifyReport, StoreError> {
        let Stored { id, path, manifest, deltas } = stored;
        let mut report = VerifyReport { id, bytes: 0, damages: Vec::new(), delta_damages: Vec::new() };
        let manifest = match manifest {
            Ok(manifest) => {
                report.damages = report.read_images(&path, &manifest, observe)?;
                Some(manifest)
            }
            Err(damage) => {
                report.damages.push(damage);
                None
            }
        };
        for StoredDelta { path, from, info } in deltas {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let damages = match (from, info) {
                (Err(damage), _) | (_, Err(damage)) => vec![damage],
                (Ok(from), Ok(info)) => {
                    let mut damages = self.damages_of(&report.id, manifest.as_ref(), &from, &info);
                    if read_text(&path) != Some(info.shell_text()) {
                        damages.push(Damage::Text(DeltaInfo::FILE_NAME));
                    }
                    damages.extend(report.read_package(&path, &info, observe)?);
                    damages
                }
            };
            report.delta_damages.extend(damages.into_iter().map(|damage| (name.clone(), damage)));
        }
        Ok(report)
    }

    /// What a delta says that is not so.
    fn damages_of(
        &self,
        to: &VersionId,
        target: Option<&Manifest>,
        from: &Version,
        info: &DeltaInfo,
    ) -> Vec<Damage> {
        let mut damages = Vec::new();
        let told = (&info.machine, &info.image, &info.to.version, &info.from.version);
        if told != (&to.of.machine, &to.of.image, &to.version, from) {
            let DeltaInfo { machine, image, from, to, .. } = info;
            let found = format!("{machine}/{image}/{} from {}", to.version, from.version);
            damages.push(Damage::Misplaced { found });
        }
        match self.manifest(&to.of.version(from)) {
            Ok(base) => damages.extend(other_images(info, &base, |partition| partition.base)),
            Err(_) => damages.push(Damage::NoBase(from.clone())),
        }
        if let Some(target) = target {
            damages.extend(other_images(info, target, |partition| partition.target));
        }
        damages
    }
}

impl VerifyReport {
    fn read_images(
        &mut self,
        folder: &Path,
        manifest: &Manifest,
        observe: &dyn Fn(u64) -> bool,
    ) -> Result<Vec<Damage>, StoreError> {
        let mut damages = Vec::new();
        for partition in &manifest.partitions {
            let name = partition.name.clone();
            match self.measure(&folder.join(partition.file_name()), observe)? {
                Err(source) => damages.push(Damage::Image { partition: name, source }),
                Ok(Copied { size_bytes: found, .. }) if found != partition.size_bytes => {
                    damages.push(Damage::Size { partition: name, found, expected: partition.size_bytes });
                }
                Ok(Copied { sha256, .. }) if sha256 != partition.sha256 => {
                    damages.push(Damage::Digest { partition: name });
                }
                Ok(_) => {}
            }
        }
        if read_text(folder) != Some(manifest.shell_text()) {
            damages.push(Damage::Text(Manifest::FILE_NAME));
        }
        Ok(damages)
    }

    fn read_package(
        &mut self,
        folder: &Path,
        info: &DeltaInfo,
        observe: &dyn Fn(u64) -> bool,
    ) -> Result<Option<Damage>, StoreError> {
        let swu = &info.swu;
        let name = swu.name.to_string();
        let expected = Copied { size_bytes: swu.size_bytes, sha256: swu.sha256 };
        Ok(match self.measure(&folder.join(&name), observe)? {
            Err(source) => Some(Damage::Package { name, source }),
            Ok(found) if found != expected => Some(Damage::OtherPackage { name }),
            Ok(_) => None,
        })
    }

    /// Length and hash of a file.
    fn measure(
        &mut self,
        path: &Path,
        observe: &dyn Fn(u64) -> bool,
    ) -> Result<io::Result<Copied>, StoreError> {
        let file = match disk::open(path) {
            Ok(file) => file,
            Err(error) => return Ok(Err(error)),
        };
        match copy::measure(&file, observe) {
            Ok(copied) => {
                self.bytes += copied.size_bytes;
                Ok(Ok(copied))
            }
            Err(CopyError::Read(source) | CopyError::Write(source)) => Ok(Err(source)),
            Err(CopyError::Changed | CopyError::Cancelled) => Err(StoreError::Cancelled),
        }
    }
}

fn read_text(folder: &Path) -> Option<Vec<u8>> {
    disk::read(&folder.join(Manifest::TEXT_NAME), TEXT_BYTES_MAX).ok().flatten()
}

/// The partitions that are not those of a version.
fn other_images<'a>(
    info: &'a DeltaInfo,
    manifest: &'a Manifest,
    side: impl Fn(&PartitionUpdate) -> FileInfo + 'a,
) -> impl Iterator<Item = Damage> + 'a {
    let version: &Version = &manifest.version;
    info.partitions
        .iter()
        .filter(move |update| {
            let told = side(update);
            manifest.partition(&update.name).is_none_or(|partition| {
                partition.sha256 != told.sha256 || partition.size_bytes != told.size_bytes
            })
        })
        .map(move |update| Damage::OtherImage { partition: update.name.clone(), version: version.clone() })
}
