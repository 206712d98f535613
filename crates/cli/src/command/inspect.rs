//! `fluvial inspect`.

use std::collections::BTreeMap;
use std::fmt;

use fluvial_codec::Format;
use fluvial_console::{Fault, open, percent, say};
use fluvial_delta::apply::Patch;
use fluvial_delta::header::{FORMAT_VERSION, SourceCheck, SourceInfo, StreamInfo};
use fluvial_delta::layout::{Node, Packed};
use fluvial_delta::map::{FileCost, PatchMap};
use fluvial_delta::structure::ReadAt as _;
use fluvial_image::oci::GroupRecipe;
use serde_json::{Value, json};

use crate::arguments::InspectArguments;

/// Sources and targets that are listed one by one; a folder has thousands.
const STREAMS_SHOWN_MAX: usize = 8;

/// Shows what is in a patch. Header and map are read; frames are not.
///
/// # Errors
/// Where the patch cannot be read, or is damaged.
pub fn run(arguments: &InspectArguments) -> Result<(), Fault> {
    let bytes = open(&arguments.patch)?;
    let patch = Patch::open(&bytes)?;
    let findings = Findings::of(&patch, bytes.len(), arguments.top);
    if arguments.json { say(findings.json()) } else { say(findings.to_string().trim_end()) }
}

/// What happens to packed content, counted.
#[derive(Debug, Default)]
struct Tally {
    count: usize,
    packed_bytes: u64,
    plain_bytes: u64,
}

impl Tally {
    fn add(&mut self, packed_bytes: u64, plain_bytes: u64) {
        self.count += 1;
        self.packed_bytes += packed_bytes;
        self.plain_bytes += plain_bytes;
    }
}

/// How the targets are laid out.
#[derive(Debug, Default)]
struct Layout {
    roots: usize,
    extents: usize,
    packed_nodes: usize,
    corrections_bytes: u64,
    /// Packed pieces by format and recipe.
    codecs: BTreeMap<(String, String), Tally>,
}

impl Layout {
    fn of(map: &PatchMap) -> Self {
        let mut layout = Self { roots: map.roots.len(), ..Self::default() };
        for root in &map.roots {
            layout.extents += root.extents.len();
            layout.add(&root.node, map);
        }
        layout
    }

    fn add(&mut self, node: &Node, map: &PatchMap) {
        let Node::Packed(Packed { pieces, children }) = node else { return };
        self.packed_nodes += 1;
        for piece in pieces {
            // Checked when the map was read: every piece names a packing that is there.
            let Some(packing) = map.packings.get(piece.recipe as usize) else { continue };
            let key = (format_name(packing.format), packing.recipe.to_string());
            self.codecs.entry(key).or_default().add(piece.packed_len, piece.plain_len);
            self.corrections_bytes += u64::from(piece.corrections_len);
        }
        for child in children {
            self.add(child, map);
        }
    }
}

/// A format's name, in small letters as in recipes.
fn format_name(format: Format) -> String {
    format!("{format:?}").to_lowercase()
}

/// All that is shown.
struct Findings<'a> {
    patch: &'a Patch<'a>,
    patch_bytes: u64,
    layout: Layout,
    source_blocks: BTreeMap<String, Tally>,
    costs: &'a [FileCost],
}

impl<'a> Findings<'a> {
    fn of(patch: &'a Patch<'a>, patch_bytes: u64, top: usize) -> Self {
        let mut source_blocks: BTreeMap<String, Tally> = BTreeMap::new();
        for block in &patch.map.blocks {
            let tally = source_blocks.entry(format_name(block.format)).or_default();
            tally.add(block.packed.len, block.plain_len);
        }
        let costs = &patch.map.costs[..top.min(patch.map.costs.len())];
        Self { patch, patch_bytes, layout: Layout::of(&patch.map), source_blocks, costs }
    }

    fn target_bytes(&self) -> u64 {
        self.patch.header.targets.iter().map(|target| target.size).sum()
    }

    fn frames_packed(&self) -> (u64, u64) {
        let lengths = self.patch.header.frames.iter().map(|frame| u64::from(frame.packed_len));
        (lengths.clone().sum(), lengths.max().unwrap_or(0))
    }

    fn json(&self) -> Value {
        let header = &self.patch.header;
        let source = |source: &SourceInfo| {
            let mut object = json!({ "name": source.name, "size_bytes": source.size });
            match &source.check {
                SourceCheck::Whole { sha256, .. } => object["sha256"] = hex::encode(sha256).into(),
                SourceCheck::Brief(brief) => object["blake3_start"] = hex::encode(brief).into(),
            }
            object
        };
        let target = |target: &StreamInfo| json!({ "name": target.name, "size_bytes": target.size, "sha256": hex::encode(target.sha256) });
        let tally = |tally: &Tally| {
            json!({
                "count": tally.count,
                "packed_bytes": tally.packed_bytes,
                "plain_bytes": tally.plain_bytes,
            })
        };
        let (frames_bytes, frame_max_bytes) = self.frames_packed();
        let codec = |((format, recipe), count): (&(String, String), &Tally)| json!({ "format": format, "recipe": recipe, "pieces": tally(count) });
        let cost = |cost: &FileCost| {
            json!({
                "path": cost.path,
                "content_bytes": cost.flat_len,
                "patch_bytes": cost.patch_bytes,
            })
        };
        json!({
            "format_version": FORMAT_VERSION,
            "patch_bytes": self.patch_bytes,
            "patch_percent": percent(self.patch_bytes, self.target_bytes()),
            "apply_memory_bytes": header.apply_memory_bytes,
            "scratch_bytes": header.scratch_bytes,
            "sources": header.sources.iter().map(source).collect::<Value>(),
            "sources_blake3": header.sources_blake3.as_ref().map(hex::encode),
            "targets": header.targets.iter().map(target).collect::<Value>(),
            "map": { "packed_bytes": header.map_packed_len, "plain_bytes": header.map_len },
            "frames": {
                "count": header.frames.len(),
                "packed_bytes": frames_bytes,
                "longest_packed_bytes": frame_max_bytes,
                "content_bytes": header.frames.iter().map(|frame| frame.flat_len).sum::<u64>(),
            },
            "source_blocks": self
                .source_blocks
                .iter()
                .map(|(format, count)| json!({ "format": format, "blocks": tally(count) }))
                .collect::<Value>(),
            "layout": {
                "roots": self.layout.roots,
                "extents": self.layout.extents,
                "packed_nodes": self.layout.packed_nodes,
                "corrections_bytes": self.layout.corrections_bytes,
            },
            "codecs": self.layout.codecs.iter().map(codec).collect::<Value>(),
            "costs": self.costs.iter().map(cost).collect::<Value>(),
        })
    }
}

impl fmt::Display for Findings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = &self.patch.header;
        let (frames_bytes, frame_max_bytes) = self.frames_packed();
        writeln!(
            f,
            "patch     {:>12} bytes, {:.3} % of the target, format {FORMAT_VERSION}",
            self.patch_bytes,
            percent(self.patch_bytes, self.target_bytes())
        )?;
        let sources = header.sources.iter().map(|source| {
            let check = match &source.check {
                SourceCheck::Whole { sha256, .. } => format!("SHA-256 {}", hex::encode(sha256)),
                SourceCheck::Brief(brief) => format!("BLAKE3 {}...", hex::encode(brief)),
            };
            (source.name.as_str(), source.size, check)
        });
        match GroupRecipe::parse(&header.context) {
            Ok(recipe) if !header.sources.is_empty() => {
                let bytes: u64 = header.sources.iter().map(|source| source.size).sum();
                let (groups, layers) = (header.sources.len(), recipe.layers_count());
                writeln!(
                    f,
                    "source    {bytes:>12} bytes in {groups} groups of files of an image of {layers} layers"
                )?;
            }
            _ => show_streams("source", sources, f)?,
        }
        let targets = header.targets.iter().map(|target| {
            (target.name.as_str(), target.size, format!("SHA-256 {}", hex::encode(target.sha256)))
        });
        show_streams("target", targets, f)?;
        writeln!(f, "memory    {:>12} bytes to apply it", header.apply_memory_bytes)?;
        writeln!(f, "scratch   {:>12} bytes of temporary storage", header.scratch_bytes)?;
        writeln!(f, "map       {:>12} bytes, {} unpacked", header.map_packed_len, header.map_len)?;
        writeln!(
            f,
            "frames    {frames_bytes:>12} bytes in {} frames, {frame_max_bytes} the longest",
            header.frames.len()
        )?;
        let layout = &self.layout;
        writeln!(
            f,
            "layout    {:>12} roots in {} extents, {} packed nodes, {} bytes of corrections",
            layout.roots, layout.extents, layout.packed_nodes, layout.corrections_bytes
        )?;
        for (format, tally) in &self.source_blocks {
            writeln!(
                f,
                "unpacks   {:>12} {format} blocks of the sources, {} -> {} bytes",
                tally.count, tally.packed_bytes, tally.plain_bytes
            )?;
        }
        for ((format, recipe), tally) in &layout.codecs {
            writeln!(
                f,
                "packs     {:>12} {format} pieces with {recipe}, {} -> {} bytes",
                tally.count, tally.plain_bytes, tally.packed_bytes
            )?;
        }
        if self.costs.is_empty() {
            return Ok(());
        }
        writeln!(f, "\n       patch       content  file")?;
        for cost in self.costs {
            writeln!(f, "{:>12}  {:>12}  {}", cost.patch_bytes, cost.flat_len, printable(&cost.path))?;
        }
        Ok(())
    }
}

/// Shows name, size in bytes and digest of the first streams, and how many more there are.
fn show_streams<'s>(
    title: &str,
    mut streams: impl Iterator<Item = (&'s str, u64, String)>,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    for (name, size, digest) in streams.by_ref().take(STREAMS_SHOWN_MAX) {
        writeln!(f, "{title:8}  {size:>12} bytes  {}", printable(name))?;
        writeln!(f, "{:8}  {digest}", "")?;
    }
    let (count, bytes) = streams.fold((0, 0), |(count, bytes), (_, size, _)| (count + 1, bytes + size));
    if count > 0 {
        writeln!(f, "{title:8}  {bytes:>12} bytes  in {count} more")?;
    }
    Ok(())
}

/// A name out of a patch, without what a terminal would obey.
fn printable(name: &str) -> String {
    name.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}
