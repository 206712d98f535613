//! The image that a device has.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::io::BufWriter;
use std::path::Path;

use fluvial_bundle::Scatter;
use fluvial_delta::header::{Sha256Digest, SourceInfo};
use fluvial_delta::structure::ReadAt;
use fluvial_device::engine::{Engine, EngineImage};
use fluvial_device::overlay::LayerFolders;
use fluvial_image::oci::{
    EngineReference, FileReference, Image, ImageReference, Layer, MergedFile, Platform, merge,
};

use super::publish::between_files;
use super::{open_image, open_layers};
use crate::arguments::AccessArguments;
use crate::command::hex;
use crate::fault::{Fault, Kind};
use crate::progress::Progress;
use crate::scratch::DiskScratch;

/// How to come to images.
pub struct Access<'a> {
    /// Which of several images to take.
    pub platform: Option<&'a Platform>,
    /// Where the engine listens, if not where it usually does.
    pub engine_socket: Option<&'a Path>,
    /// Where temporary files go.
    pub folder: &'a Path,
    /// What people see meanwhile.
    pub progress: &'a Progress,
}

impl<'a> Access<'a> {
    /// As the command line says.
    pub fn new(arguments: &'a AccessArguments, folder: &'a Path, progress: &'a Progress) -> Self {
        let AccessArguments { platform, engine_socket } = arguments;
        Self { platform: platform.as_ref(), engine_socket: engine_socket.as_deref(), folder, progress }
    }
}

/// The old image, opened.
pub struct OldImage<'a> {
    access: &'a Access<'a>,
    kind: OldKind,
}

enum OldKind {
    /// Its layers, and the files of its root file system in them once somebody has asked for some.
    Layers { image: Image, files: OnceCell<Vec<MergedFile>> },
    /// Where an engine has unpacked its layers.
    Folders { engine: Box<Engine>, name: String, image: EngineImage, folders: LayerFolders },
}

impl<'a> OldImage<'a> {
    /// Opens an image. Of an engine, files are read where its storage driver keeps them; where it does not
    /// tell, or they cannot be read, the image is saved to a temporary file.
    pub fn open(reference: &ImageReference, access: &'a Access<'a>) -> Result<Self, Fault> {
        if let ImageReference::Engine(EngineReference { kind, name }) = reference {
            let engine = Engine::connect(*kind, access.engine_socket)?;
            let image = engine.image(name)?;
            if !image.folders.is_empty()
                && let Ok(folders) = LayerFolders::open(&image.folders)
            {
                // By its id: its name may go to another image meanwhile.
                let name = format!("sha256:{}", hex(&image.id));
                let kind = OldKind::Folders { engine: Box::new(engine), name, image, folders };
                return Ok(Self { access, kind });
            }
        }
        let image = open_image(reference, access)?;
        Ok(Self { access, kind: OldKind::Layers { image, files: OnceCell::new() } })
    }

    /// An image of no layers, where there is none.
    pub fn none(access: &'a Access<'a>) -> Self {
        let image = Image { config: Vec::new(), config_digest: [0; 32], layers: Vec::new() };
        Self { access, kind: OldKind::Layers { image, files: OnceCell::new() } }
    }

    /// All that it has: its files, and what stands between them in its layers where it has those as tars.
    pub fn streams(&self) -> Result<Vec<Box<dyn ReadAt + '_>>, Fault> {
        let mut streams: Vec<Box<dyn ReadAt + '_>> = Vec::new();
        match &self.kind {
            OldKind::Layers { image, .. } => {
                let scratch = DiskScratch::new(self.access.folder);
                let layers = open_layers(&image.layers, &scratch, self.access.progress)?;
                for layer in &layers {
                    let between = Scatter::new(Box::new(layer.tar.clone()), between_files(layer)?);
                    streams.push(Box::new(between));
                }
                let files = merge(&layers)?;
                streams.extend(files.into_iter().map(|file| Box::new(file.content) as Box<dyn ReadAt>));
            }
            OldKind::Folders { folders, image, .. } => {
                let files = folders.files().map_err(|error| Fault::reading(&image.folders[0], error))?;
                streams.extend(files.into_iter().map(|file| Box::new(file) as Box<dyn ReadAt>));
            }
        }
        Ok(streams)
    }

    /// Its layers, the lowest first.
    pub fn diff_ids(&self) -> Vec<Sha256Digest> {
        match &self.kind {
            OldKind::Layers { image, .. } => image.layers.iter().map(|layer| layer.diff_id).collect(),
            OldKind::Folders { image, .. } => image.diff_ids.clone(),
        }
    }

    /// The files that a patch names, in its order. All layers are unpacked for it, and compared with their diff
    /// ids, where an engine has not done so.
    pub fn sources(&self, infos: &[SourceInfo]) -> Result<Vec<Box<dyn ReadAt + '_>>, Fault> {
        let missing = |info: &SourceInfo| {
            let message = format!("OLD has no file {:?}, which the patch needs", info.name);
            Fault::new(Kind::WrongSource, message)
        };
        match &self.kind {
            OldKind::Layers { image, files } => {
                if files.get().is_none() {
                    let scratch = DiskScratch::new(self.access.folder);
                    let layers = open_layers(&image.layers, &scratch, self.access.progress)?;
                    // Nobody else has set it meanwhile.
                    let _ = files.set(merge(&layers)?);
                }
                let files = files.get().map_or(&[][..], Vec::as_slice);
                let by_path: HashMap<&str, &MergedFile> =
                    files.iter().map(|file| (file.path.as_str(), file)).collect();
                let find = |info: &SourceInfo| {
                    let file = by_path.get(info.name.as_str()).ok_or_else(|| missing(info))?;
                    Ok(Box::new(file.content.clone()) as Box<dyn ReadAt>)
                };
                infos.iter().map(find).collect()
            }
            OldKind::Folders { folders, .. } => {
                let find = |(index, info): (usize, &SourceInfo)| {
                    let failed = |source| Fault::wrong_source(Path::new(&info.name), source);
                    let file = folders.find(&info.name, index as u64).map_err(failed)?;
                    file.map(|file| Box::new(file) as Box<dyn ReadAt>).ok_or_else(|| missing(info))
                };
                infos.iter().enumerate().map(find).collect()
            }
        }
    }

    /// Its id: the SHA-256 of its config.
    pub fn config_digest(&self) -> Sha256Digest {
        match &self.kind {
            OldKind::Layers { image, .. } => image.config_digest,
            OldKind::Folders { image, .. } => image.id,
        }
    }

    /// Those of these layers that it has, as they are kept. An engine has to save the image first.
    pub fn layers(&self, wanted: &[Sha256Digest]) -> Result<Vec<Layer>, Fault> {
        let mut layers = match &self.kind {
            OldKind::Layers { image, .. } => image.layers.clone(),
            OldKind::Folders { image, .. } if !wanted.iter().any(|one| image.diff_ids.contains(one)) => {
                Vec::new()
            }
            OldKind::Folders { engine, name, .. } => save(engine, name, self.access)?.layers,
        };
        layers.retain(|layer| wanted.contains(&layer.diff_id));
        Ok(layers)
    }
}

/// Opens an image of an engine, saved to a temporary file.
pub fn open_saved(reference: &EngineReference, access: &Access<'_>) -> Result<Image, Fault> {
    let engine = Engine::connect(reference.kind, access.engine_socket)?;
    save(&engine, &reference.name, access)
}

fn save(engine: &Engine, name: &str, access: &Access<'_>) -> Result<Image, Fault> {
    let failed = |error| Fault::writing(access.folder, error);
    // The image keeps the file open: it goes with the last layer that is read from it.
    let file = tempfile::NamedTempFile::new_in(access.folder).map_err(failed)?;
    access.progress.phase("saving", 0);
    let mut archive = BufWriter::new(&file);
    engine.save(name, &mut archive, &|bytes| access.progress.advance(bytes))?;
    archive.into_inner().map_err(|error| failed(error.into_error()))?;
    let saved = FileReference::DockerArchive { file: file.path().into(), name: None };
    Ok(Image::open(&saved, access.platform)?)
}
