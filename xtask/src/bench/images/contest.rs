//! One pair of images, measured with each tool.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::super::contest::{Contest, Scratch, now, without_folder};
use super::super::measure::same_bytes;
use super::super::peer::{Places, Tool};
use super::super::results::{Figures, Outcome, Results, Row};
use super::layout::{self, Image, Layout};
use super::pair::ImagePair;

/// What one pair is measured with.
pub struct ImageContest<'a> {
    contest: &'a Contest<'a>,
    layout: &'a Layout,
    pair: &'a ImagePair,
    old: Image,
    new: Image,
    /// The layers that the old image lacks.
    missing: Vec<String>,
    /// What peers compare, made when the first of them needs it.
    tars: Option<(Scratch, PathBuf, PathBuf)>,
}

impl<'a> ImageContest<'a> {
    /// Looks up the images.
    ///
    /// # Errors
    /// When one is not in the layout.
    pub fn new(contest: &'a Contest<'a>, layout: &'a Layout, pair: &'a ImagePair) -> Result<Self> {
        let old = layout.image(&pair.tag(&pair.old))?;
        let new = layout.image(&pair.tag(&pair.new))?;
        let missing = new.layers.iter().filter(|digest| !old.layers.contains(digest)).cloned().collect();
        Ok(Self { contest, layout, pair, old, new, missing, tars: None })
    }

    /// Measures a tool, or takes what was measured before on the same layers.
    ///
    /// # Errors
    /// When what was kept cannot be read or written; a tool that fails makes a row that says so.
    pub fn row(&mut self, tool: &Tool, is_fresh: bool) -> Result<Row> {
        let mut row = Row {
            pair: self.pair.name(),
            tool: tool.name.to_owned(),
            identity: tool.identity(),
            hashes: [&self.old.layers, &self.missing].map(|list| hash_of(list)),
            old_bytes: self.bytes_of(&self.old.layers)?,
            new_bytes: self.bytes_of(&self.missing)?,
            measured: now()?,
            outcome: Outcome::Skipped(String::new()),
        };
        let kept_path = self.contest.dir.join("peers.json");
        if !tool.is_ours() && !is_fresh {
            let kept = Results::load(&kept_path)?;
            let kept = kept.row(&row.pair, &row.tool);
            if let Some(kept) = kept.filter(|kept| kept.hashes == row.hashes && kept.identity == row.identity)
            {
                return Ok(kept.clone());
            }
        }
        let outcome = if tool.is_ours() { self.of_images(tool) } else { self.of_tars(tool) };
        row.outcome = match outcome {
            Ok(figures) => Outcome::Proved(figures),
            Err(error) => Outcome::Failed(without_folder(&format!("{error:#}"), self.contest.dir)),
        };
        if !tool.is_ours() {
            let mut kept = Results::load(&kept_path)?;
            kept.put(row.clone());
            kept.store(&kept_path)?;
        }
        Ok(row)
    }

    /// Ours: from image to image. The new image's config and all its layers are compared.
    fn of_images(&self, tool: &Tool) -> Result<Figures> {
        let scratch = self.scratch("run")?;
        let reference = |recipe| PathBuf::from(self.layout.reference(&self.pair.tag(recipe)));
        let places = Self::places(&scratch, reference(&self.pair.old), reference(&self.pair.new));
        let figures = self.round_trip(tool, &places)?;
        let made = layout::only_image(&places.out)?;
        ensure!(made == self.new, "made {made:?} in the place of {:?}", self.new);
        for digest in made.layers.iter().chain([&made.config]) {
            let is_same = same_bytes(&layout::blob(&places.out, digest), &self.layout.blob(digest))?;
            ensure!(is_same, "sha256:{digest} came out wrong");
        }
        let declared_bytes = self.contest.declared_bytes(&places.patch);
        Ok(Figures { declared_bytes, ..figures })
    }

    /// The peers: from tars to tars.
    fn of_tars(&mut self, tool: &Tool) -> Result<Figures> {
        let (old, new) = self.tars()?;
        let scratch = self.scratch("run")?;
        let places = Self::places(&scratch, old, new);
        let figures = self.round_trip(tool, &places)?;
        ensure!(same_bytes(&places.out, &places.new)?, "the result is not the new layers");
        Ok(figures)
    }

    fn round_trip(&self, tool: &Tool, places: &Places) -> Result<Figures> {
        let diff = self.contest.cost(tool.diff_commands(places), &places.tmp).context("diff")?;
        let patch_bytes = fs::metadata(&places.patch).context("the patch")?.len();
        let apply = self.contest.cost(tool.apply_commands(places), &places.tmp).context("apply")?;
        Ok(Figures { patch_bytes, diff, apply, declared_bytes: None })
    }

    fn tars(&mut self) -> Result<(PathBuf, PathBuf)> {
        if let Some((_, old, new)) = &self.tars {
            return Ok((old.clone(), new.clone()));
        }
        let scratch = self.scratch("tars")?;
        let paths = [("old", &self.old.layers), ("new", &self.missing)].map(|(name, layers)| {
            let path = scratch.0.join(name);
            self.join(layers, &path).map(|()| path)
        });
        let [old, new] = paths;
        let (old, new) = (old?, new?);
        self.tars = Some((scratch, old.clone(), new.clone()));
        Ok((old, new))
    }

    /// Writes layers one behind the other.
    fn join(&self, layers: &[String], to: &Path) -> Result<()> {
        let mut to = File::create(to)?;
        for digest in layers {
            io::copy(&mut File::open(self.layout.blob(digest))?, &mut to)?;
        }
        Ok(())
    }

    fn scratch(&self, what: &str) -> Result<Scratch> {
        Scratch::new(self.contest.dir.join(format!("{what}.{}", std::process::id())))
    }

    fn places(scratch: &Scratch, old: PathBuf, new: PathBuf) -> Places {
        let tmp = scratch.0.clone();
        Places { old, new, patch: tmp.join("patch"), out: tmp.join("out"), tmp }
    }

    fn bytes_of(&self, layers: &[String]) -> Result<u64> {
        layers.iter().map(|digest| Ok(fs::metadata(self.layout.blob(digest))?.len())).sum()
    }
}

/// What tells a list of layers from another: each is named by its content.
fn hash_of(layers: &[String]) -> String {
    blake3::hash(layers.join(" ").as_bytes()).to_hex().to_string()
}
