//! The image that a device has.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::io::BufWriter;
use std::path::Path;

use fluvial_bundle::Scatter;
use fluvial_console::{Fault, Kind, Progress};
use fluvial_delta::apply::{ApplyError, check_sources};
use fluvial_delta::header::{Header, Sha256Digest, SourceInfo};
use fluvial_delta::structure::ReadAt;
use fluvial_device::disk::DiskScratch;
use fluvial_device::engine::{Engine, EngineImage};
use fluvial_device::overlay::LayerFolders;
use fluvial_image::oci::{
    EngineReference, FileReference, Group, GroupRecipe, Grouper, Image, ImageReference, Layer, LayerTar,
    Platform, TreeEntry, merge, tree,
};

use super::publish::between_files;
use super::{open_image, open_layers};
use crate::arguments::AccessArguments;

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
    /// Its layers, and their tars once somebody has asked for files.
    Layers { image: Image, tars: OnceCell<Vec<LayerTar>> },
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
                let name = format!("sha256:{}", hex::encode(image.id));
                let kind = OldKind::Folders { engine: Box::new(engine), name, image, folders };
                return Ok(Self { access, kind });
            }
        }
        let image = open_image(reference, access)?;
        Ok(Self { access, kind: OldKind::Layers { image, tars: OnceCell::new() } })
    }

    /// An image of no layers, where there is none.
    pub fn none(access: &'a Access<'a>) -> Self {
        let image = Image { config: Vec::new(), config_digest: [0; 32], layers: Vec::new() };
        Self { access, kind: OldKind::Layers { image, tars: OnceCell::new() } }
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

    /// The sources of a patch, checked. Times and owners of files in folders are not in every storage what
    /// the layers say: where something differs, the engine is asked for the layers.
    pub fn checked_sources<'b>(&self, header: &Header) -> Result<Vec<Box<dyn ReadAt + 'b>>, Fault> {
        match (self.sources(header), &self.kind) {
            (Err(fault), OldKind::Folders { engine, name, .. }) if fault.kind == Kind::WrongSource => {
                // Where that does not help, the first fault tells more.
                let Ok(image) = save(engine, name, self.access) else { return Err(fault) };
                let kind = OldKind::Layers { image, tars: OnceCell::new() };
                Self { access: self.access, kind }.sources(header).or(Err(fault))
            }
            (result, _) => result,
        }
    }

    /// The sources of a patch, checked: groups of its files. All layers are unpacked for it, and compared with
    /// their diff ids, where an engine has not done so.
    fn sources<'b>(&self, header: &Header) -> Result<Vec<Box<dyn ReadAt + 'b>>, Fault> {
        if header.sources.is_empty() {
            return Ok(Vec::new());
        }
        let damaged = |error| Fault::new(Kind::DamagedPatch, format!("what the patch is made for: {error}"));
        let recipe = GroupRecipe::parse(&header.context).map_err(damaged)?;
        let layers = self.diff_ids().len();
        if recipe.layers_count() != layers {
            let message =
                format!("OLD has {layers} layers, the patch is for one of {}", recipe.layers_count());
            return Err(Fault::new(Kind::WrongSource, message));
        }
        let progress = self.access.progress;
        let found = match &self.kind {
            OldKind::Layers { image, tars } => {
                if tars.get().is_none() {
                    let scratch = DiskScratch::new(self.access.folder);
                    // Nobody else has set it meanwhile.
                    let _ = tars.set(open_layers(&image.layers, &scratch, progress)?);
                }
                let mut wanted = Wanted::new(recipe, &header.sources);
                for entry in tree(tars.get().map_or(&[], Vec::as_slice))? {
                    wanted.push(entry);
                }
                wanted.finish()
            }
            OldKind::Folders { folders, image, .. } => {
                let mut wanted = Wanted::new(recipe, &header.sources);
                let failed = |error| Fault::wrong_source(&image.folders[0], error);
                folders.walk(&mut |entry| wanted.push(entry)).map_err(failed)?;
                wanted.finish()
            }
        };
        let count = found.iter().flatten().count();
        if count < header.sources.len() {
            let message = format!(
                "OLD has fewer files than the patch needs: {} of {} groups of them are missing",
                header.sources.len() - count,
                header.sources.len(),
            );
            return Err(Fault::new(Kind::WrongSource, message));
        }
        let (labels, files): (Vec<_>, Vec<Box<dyn ReadAt>>) = found.into_iter().flatten().unzip();
        let sources: Vec<&dyn ReadAt> = files.iter().map(Box::as_ref).collect();
        progress.phase("checking", header.sources.iter().map(|source| source.size).sum());
        check_sources(&sources, header, &mut |bytes| progress.advance(bytes)).map_err(|error| {
            let place = match &error {
                ApplyError::WrongSource { name, .. } | ApplyError::ReadSource { name, .. } => {
                    header.sources.iter().position(|source| source.name == *name)
                }
                _ => None,
            };
            match place {
                Some(place) => wrong_files(&labels[place], &error),
                None => error.into(),
            }
        })?;
        Ok(files)
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

/// A source with the paths of the first and the last file in it.
type Found<'a> = ([String; 2], Box<dyn ReadAt + 'a>);

/// The groups that a patch names by their numbers, out of all that an image has.
struct Wanted<'a, C> {
    grouper: Grouper<C>,
    /// Which source has that number.
    places: HashMap<&'a str, usize>,
    number: usize,
    found: Vec<Option<([String; 2], Group<C>)>>,
}

impl<'a, C: ReadAt> Wanted<'a, C> {
    fn new(recipe: GroupRecipe, infos: &'a [SourceInfo]) -> Self {
        let places = infos.iter().enumerate().map(|(index, info)| (info.name.as_str(), index)).collect();
        let found = infos.iter().map(|_| None).collect();
        Self { grouper: Grouper::new(recipe), places, number: 0, found }
    }

    fn push(&mut self, entry: TreeEntry<C>) {
        let group = self.grouper.push(entry);
        self.take(group);
    }

    fn take(&mut self, group: Option<Group<C>>) {
        let Some(group) = group else { return };
        if let Some(&place) = self.places.get(self.number.to_string().as_str()) {
            self.found[place] = Some((group.paths().map(str::to_owned), group));
        }
        self.number += 1;
    }

    fn finish<'b>(mut self) -> Vec<Option<Found<'b>>>
    where
        C: 'b,
    {
        let last = self.grouper.finish();
        self.take(last);
        let boxed = |(paths, group)| (paths, Box::new(group) as Box<dyn ReadAt + 'b>);
        self.found.into_iter().map(|found| found.map(boxed)).collect()
    }
}

/// Files of the old image are not what they were.
fn wrong_files([first, last]: &[String; 2], error: &ApplyError) -> Fault {
    let files = if first == last { first.clone() } else { format!("{first} to {last}") };
    let message = match error {
        ApplyError::ReadSource { source, .. } => format!("cannot read OLD's files, {files}: {source}"),
        ApplyError::WrongSource { difference, .. } => {
            format!("OLD's files are not those that the patch was made from: {files}: {difference}")
        }
        other => format!("{files}: {other}"),
    };
    Fault::new(Kind::WrongSource, message)
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
