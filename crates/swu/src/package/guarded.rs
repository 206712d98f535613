//! What a package of ours says about each partition, for those who install it without `SWUpdate`.

use super::{ImageDigest, PackageReader, RefusalError, VersionOrder, compare_versions};
use crate::description::{Compression, Description, DeviceChoice, Image, ImageKind, Property, ScriptKind};
use crate::limits::{PARTITION_BYTES_MAX, READBACK_BYTES_MAX};

/// Properties of images, which `SWUpdate` passes over but for the last.
pub(super) const TARGET_SIZE: &str = "target-size";
pub(super) const TARGET_SHA256: &str = "target-sha256";
pub(super) const BASE_SIZE: &str = "base-size";
pub(super) const BASE_SHA256: &str = "base-sha256";
pub(super) const RDIFF_BASE: &str = "rdiffbase";
/// Properties of `readback`.
pub(super) const READBACK_SIZE: &str = "size";
pub(super) const READBACK_SHA256: &str = "sha256";

/// What a partition gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionInfo<'a> {
    /// Its name.
    pub name: &'a str,
    /// The file in the archive: a delta of librsync, or the image itself.
    pub filename: &'a str,
    /// How the file is packed.
    pub compression: Option<Compression>,
    /// Where it goes.
    pub device: &'a str,
    /// What is there in the end.
    pub target: ImageDigest,
    /// What the delta is applied to; nothing where the image itself is packed.
    pub base: Option<BaseInfo<'a>>,
}

/// What a delta is applied to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BaseInfo<'a> {
    /// Where it is.
    pub device: &'a str,
    /// What it must hold.
    pub image: ImageDigest,
}

impl Description {
    /// The partitions that a device gets, each guarded: the description tells what its base and the result are,
    /// the result is checked by `SWUpdate` too, and nothing is written while the package arrives.
    ///
    /// # Errors
    /// [`RefusalError::Choice`] where there is nothing for the device, [`RefusalError::Unguarded`] where something
    /// is not ours.
    pub fn partitions_for(&self, device: &DeviceChoice) -> Result<Vec<PartitionInfo<'_>>, RefusalError> {
        let lists = self.lists_for(device);
        if lists.images.is_empty() {
            return Err(RefusalError::Choice);
        }
        let is_script = |script: &&crate::description::Script| script.kind == ScriptKind::Shell;
        let has_script = lists.scripts.iter().find(is_script).is_some_and(|script| script.filename.is_some());
        let partition = |image| {
            let info = partition(image)?;
            let lacks = |lacks| Err(RefusalError::Unguarded { filename: image.filename.clone(), lacks });
            let is_read_back = lists.scripts.iter().any(|script| {
                let value = |name| Property::find(&script.properties, name);
                script.kind == ScriptKind::Readback
                    && script.device == image.device
                    && value(READBACK_SIZE) == Some(&info.target.size_bytes.to_string())
                    && value(READBACK_SHA256) == Some(&hex::encode(info.target.sha256))
            });
            if !has_script {
                return lacks("a script before it");
            }
            if !is_read_back && info.target.size_bytes <= READBACK_BYTES_MAX {
                return lacks("a check of what was written");
            }
            Ok(info)
        };
        lists.images.iter().map(partition).collect()
    }

    /// Checks that a device's hardware is among those that it fits.
    ///
    /// # Errors
    /// [`RefusalError::Hardware`]. Patterns (`#RE:`) fit nothing here.
    pub fn check_hardware(&self, device: &DeviceChoice, revision: &str) -> Result<(), RefusalError> {
        let fits = self.lists_for(device).hardware;
        if fits.iter().any(|one| one == revision && !one.starts_with("#RE:")) {
            return Ok(());
        }
        Err(RefusalError::Hardware { fits: fits.join(", "), revision: revision.to_owned() })
    }

    /// Checks that it is not older than what is installed.
    ///
    /// # Errors
    /// [`RefusalError::Downgrade`], [`RefusalError::Versions`].
    pub fn check_version(&self, installed: &str) -> Result<(), RefusalError> {
        let (offered, installed) = (self.version.clone(), installed.to_owned());
        match compare_versions(&offered, &installed) {
            VersionOrder::Known(std::cmp::Ordering::Less) => {
                Err(RefusalError::Downgrade { offered, installed })
            }
            VersionOrder::Known(_) => Ok(()),
            VersionOrder::Unknown => Err(RefusalError::Versions { offered, installed }),
        }
    }
}

impl<R> PackageReader<R> {
    /// What the package says.
    pub fn description(&self) -> &Description {
        &self.description
    }
}

fn partition(image: &Image) -> Result<PartitionInfo<'_>, RefusalError> {
    let lacks = |lacks| RefusalError::Unguarded { filename: image.filename.clone(), lacks };
    let digest = |size, sha256| image_digest(&image.properties, size, sha256);
    if image.is_installed_directly {
        return Err(lacks("it is written before a script runs"));
    }
    let target = digest(TARGET_SIZE, TARGET_SHA256).ok_or(lacks("length and SHA-256 of the result"))?;
    let base = match image.kind {
        ImageKind::Raw => None,
        ImageKind::RdiffImage => {
            let base = digest(BASE_SIZE, BASE_SHA256).ok_or(lacks("length and SHA-256 of the base"))?;
            let device = Property::find(&image.properties, RDIFF_BASE).ok_or(lacks("the base"))?;
            Some(BaseInfo { device, image: base })
        }
        ImageKind::Archive | ImageKind::Other(_) => return Err(lacks("a type that is known")),
    };
    Ok(PartitionInfo {
        name: &image.name,
        filename: &image.filename,
        compression: image.compression,
        device: &image.device,
        target,
        base,
    })
}

fn image_digest(properties: &[Property], size: &str, sha256: &str) -> Option<ImageDigest> {
    let size_bytes = Property::find(properties, size)?.parse().ok()?;
    let mut digest = [0; 32];
    hex::decode_to_slice(Property::find(properties, sha256)?, &mut digest).ok()?;
    (size_bytes <= PARTITION_BYTES_MAX).then_some(ImageDigest { size_bytes, sha256: digest })
}
