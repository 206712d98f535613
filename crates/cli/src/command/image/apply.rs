//! `fluvial image apply`.

use std::collections::HashMap;
use std::io;
use std::time::Instant;

use fluvial_delta::apply::{
    ApplyError, ApplyObserver, Checkpoint, Patch, Target, check_sources, check_target,
};
use fluvial_delta::header::{Header, SourceInfo, StreamInfo};
use fluvial_delta::structure::ReadAt;
use fluvial_image::oci::{Announced, Image, LayerSource, MergedFile, Writer, diff_ids_of, merge};
use indicatif::HumanBytes;

use super::{CONFIG_TARGET, identity_of, in_files, open_image, open_layers};
use crate::arguments::ImageApplyArguments;
use crate::command::apply::check_memory;
use crate::command::{hex, open, say};
use crate::durable::folder_of;
use crate::fault::{Fault, Kind};
use crate::interrupt::Interrupt;
use crate::medium::is_at;
use crate::progress::Progress;
use crate::scratch::DiskScratch;

/// A config that is read back from what was made at most, in bytes.
pub(super) const CONFIG_BYTES_MAX: u64 = 4 << 20;

/// What an apply came to.
struct Outcome {
    image_digest: String,
    layers: usize,
    layers_made: usize,
    made_bytes: u64,
}

/// Makes the new image.
///
/// # Errors
/// Every way that it fails; the image is then not there.
pub fn run(arguments: &ImageApplyArguments, interrupt: Interrupt) -> Result<(), Fault> {
    let started = Instant::now();
    let progress = Progress::new(interrupt, arguments.json);
    let result = apply(arguments, &progress);
    progress.finish();
    show(arguments, &result?, started.elapsed().as_secs_f64())
}

fn apply(arguments: &ImageApplyArguments, progress: &Progress) -> Result<Outcome, Fault> {
    let bytes = open(&arguments.patch)?;
    let (header, _) = Header::read(&bytes).map_err(ApplyError::Header)?;
    check_header(&header, arguments)?;
    let to = in_files(&arguments.to)?;
    for (input, what) in [(identity_of(&arguments.old), "OLD"), (bytes.identity().ok(), "PATCH")] {
        if is_at(to.path(), input) {
            return Err(Fault::overwriting(to.path(), what).hint("choose another place with --to"));
        }
    }
    let scratch = DiskScratch::new(folder_of(to.path()));
    let old = open_image(&arguments.old, arguments.platform.as_ref())?;
    let layers = open_layers(&old, &scratch, progress)?;
    let files = merge(&layers)?;
    let sources = sources_of(&files, &header.sources)?;
    progress.phase("checking", header.sources.iter().map(|source| source.size).sum());
    check_sources(&sources, &header, &mut |bytes| progress.advance(bytes))?;
    let patch = Patch::open(&bytes)?;

    let announced: Vec<Announced> =
        header.targets.iter().map(|target| Announced { sha256: target.sha256, len: target.size }).collect();
    let writer = Writer::begin(to, &announced)?;
    progress.phase("applying", header.frames.iter().map(|frame| frame.flat_len).sum());
    let targets: Vec<&dyn Target> = writer.blobs().iter().map(|blob| blob as &dyn Target).collect();
    patch.apply(&sources, &targets, &scratch, Checkpoint::default(), &mut Watch(progress))?;
    progress.phase("verifying", header.targets.iter().map(|target| target.size).sum());
    for (blob, info) in writer.blobs().iter().zip(&header.targets) {
        check_target(blob, info, &mut |bytes| progress.advance(bytes))?;
    }

    let mut config = vec![0; header.targets[0].size as usize];
    let failed = |source| ApplyError::ReadTarget { name: CONFIG_TARGET.into(), source };
    writer.blobs()[0].read_at(0, &mut config).map_err(failed)?;
    let layers = layer_sources(&config, &header.targets, &old)?;
    let outcome = Outcome {
        image_digest: format!("sha256:{}", hex(&header.targets[0].sha256)),
        layers: layers.len(),
        layers_made: header.targets.len() - 1,
        made_bytes: header.targets.iter().map(|target| target.size).sum(),
    };
    writer.finish(&layers)?;
    Ok(outcome)
}

/// Checks what can be told from the header alone.
fn check_header(header: &Header, arguments: &ImageApplyArguments) -> Result<(), Fault> {
    let is_of_image = header.targets.first().is_some_and(|first| first.name == CONFIG_TARGET);
    if !is_of_image {
        let message = "the patch makes no container image";
        return Err(Fault::new(Kind::WrongSource, message).hint("apply it with `fluvial apply`"));
    }
    if header.targets[0].size > CONFIG_BYTES_MAX {
        let message = format!("the image's config has {} bytes", header.targets[0].size);
        return Err(Fault::new(Kind::DamagedPatch, message));
    }
    check_memory(header, arguments.memory_limit)
}

/// The files that the patch names, in its order.
fn sources_of<'a>(files: &'a [MergedFile], infos: &[SourceInfo]) -> Result<Vec<&'a dyn ReadAt>, Fault> {
    let by_path: HashMap<&str, &MergedFile> = files.iter().map(|file| (file.path.as_str(), file)).collect();
    let find = |info: &SourceInfo| match by_path.get(info.name.as_str()) {
        Some(file) => Ok(&file.content as &dyn ReadAt),
        None => Err(Fault::new(
            Kind::WrongSource,
            format!("OLD has no file {:?}, which the patch needs", info.name),
        )),
    };
    infos.iter().map(find).collect()
}

/// Where each layer of the new image comes from.
pub(super) fn layer_sources(
    config: &[u8],
    made: &[StreamInfo],
    old: &Image,
) -> Result<Vec<LayerSource>, Fault> {
    let diff_ids = diff_ids_of(config)
        .map_err(|reason| Fault::new(Kind::DamagedPatch, format!("the patch makes no image: {reason}")))?;
    let find = |diff_id: &fluvial_delta::header::Sha256Digest| {
        // The config itself is no layer.
        if let Some(index) = made.iter().skip(1).position(|target| target.sha256 == *diff_id) {
            return Ok(LayerSource::Made(index + 1));
        }
        let kept = old.layers.iter().find(|layer| layer.diff_id == *diff_id);
        kept.cloned().map(LayerSource::Kept).ok_or_else(|| {
            let message =
                format!("OLD lacks the layer sha256:{}, and the patch does not make it", hex(diff_id));
            Fault::new(Kind::WrongSource, message)
        })
    };
    diff_ids.iter().map(find).collect()
}

/// Hears how applying comes along.
struct Watch<'a>(&'a Progress);

impl ApplyObserver for Watch<'_> {
    fn made(&mut self, bytes: u64) -> bool {
        self.0.advance(bytes)
    }

    fn checkpoint(&mut self, _checkpoint: Checkpoint) -> io::Result<()> {
        Ok(())
    }
}

fn show(arguments: &ImageApplyArguments, outcome: &Outcome, duration_s: f64) -> Result<(), Fault> {
    let Outcome { image_digest, layers, layers_made, made_bytes } = outcome;
    if arguments.json {
        let object = serde_json::json!({
            "image": arguments.to.to_string(),
            "image_digest": image_digest,
            "layers": layers,
            "layers_made": layers_made,
            "made_bytes": made_bytes,
            "duration_s": duration_s,
        });
        return say(object);
    }
    say(format_args!(
        "{}: {image_digest}, {layers_made} of {layers} layers made ({}), in {duration_s:.1} s",
        arguments.to,
        HumanBytes(*made_bytes),
    ))
}
