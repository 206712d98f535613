//! The new side: targets taken apart, packed contents opened where they can be packed again.

mod extents;
mod names;
mod opened;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Mutex;

use fluvial_codec::{Budget, Effort, Format, Prover};
use rayon::prelude::*;

use super::flat::{Built, Run, RunPlace};
use super::old::{Fingerprint, OldFiles, fingerprint};
use super::unchanged::Unchanged;
use super::{DiffError, Named, programs};
use crate::layout::{Node, Piece, Root};
use crate::limits::NESTING_MAX;
use crate::map::Packing;
use crate::predict;
use crate::scratch::Scratch;
use crate::structure::{Block, Content, Dissector, Extent, Gathered, Member, Part, ReadAt};
use extents::{join, read_extents};
use names::{cut_at_names, named_extents};
use opened::{Opened, OpenedNode};

/// Takes targets apart.
pub(super) struct Opener<'a> {
    dissector: &'a dyn Dissector,
    unchanged: &'a Unchanged,
    old: &'a OldFiles,
    budget: Budget,
    packings: Mutex<Vec<Packing>>,
    spool: Mutex<Box<dyn Scratch>>,
}

/// All targets, taken apart.
pub(super) struct Openings {
    /// The roots, in the order of the targets.
    pub(super) built: Vec<Built>,
    /// Recipes that the roots name.
    pub(super) packings: Vec<Packing>,
    /// What was unpacked.
    pub(super) spool: Box<dyn Scratch>,
}

/// Where the content of a part goes on: in what a block that it shares with others unpacks to.
type Tails<'a> = HashMap<&'a str, (&'a Part, Extent)>;

/// A piece of a content, proven.
struct Proven {
    piece: Piece,
    plain: Vec<u8>,
    corrections: Vec<u8>,
}

impl<'a> Opener<'a> {
    pub(super) fn new(
        dissector: &'a dyn Dissector,
        unchanged: &'a Unchanged,
        old: &'a OldFiles,
        budget: Budget,
        spool: Box<dyn Scratch>,
    ) -> Self {
        Self { dissector, unchanged, old, budget, packings: Mutex::default(), spool: Mutex::new(spool) }
    }

    /// Takes all targets apart.
    pub(super) fn open_all(self, new: &[Named<'_>]) -> Result<Openings, DiffError> {
        let mut built = Vec::new();
        for (index, stream) in new.iter().enumerate() {
            built.extend(self.open(index as u32, stream.bytes, stream.name)?);
        }
        let panicked = || DiffError::Internal("a thread panicked");
        let packings = self.packings.into_inner().map_err(|_| panicked())?;
        let spool = self.spool.into_inner().map_err(|_| panicked())?;
        Ok(Openings { built, packings, spool })
    }

    /// Takes one target apart into roots, in target order.
    fn open(&self, target: u32, stream: &dyn ReadAt, path: &str) -> Result<Vec<Built>, DiffError> {
        let parts = match self.dissector.dissect(stream, path) {
            Some(structure) => structure.parts,
            None => vec![whole(stream, path)],
        };
        let tails: Tails<'_> = parts
            .iter()
            .flat_map(|part| {
                part.members.iter().map(move |member| (member.path.as_str(), (part, member.extent)))
            })
            .collect();
        let opened: Vec<Vec<Built>> = parts
            .par_iter()
            .map_init(
                || Prover::new(self.budget),
                |prover, part| self.open_part(target, stream, part, &tails, prover),
            )
            .collect::<Result<_, _>>()?;
        let packed: Vec<Built> = opened.into_iter().flatten().collect();
        let mut built = plain_roots(target, stream.len(), &packed, &named_extents(&parts));
        built.extend(merge_copies(stream, packed)?);
        built.sort_by_key(|built| built.root.extents[0].offset);
        Ok(built)
    }

    /// Opens what is packed in a part of a target.
    fn open_part(
        &self,
        target: u32,
        stream: &dyn ReadAt,
        part: &Part,
        tails: &Tails<'_>,
        prover: &mut Prover,
    ) -> Result<Vec<Built>, DiffError> {
        match &part.content {
            Content::Plain(extents) => {
                let len: u64 = extents.iter().map(|extent| extent.len).sum();
                if len > super::PACKED_BYTES_MAX || len == 0 {
                    return Ok(Vec::new());
                }
                if self.is_scattered_program(stream, part, extents) {
                    let extents = part.with_holes(extents);
                    let content = read_extents(stream, &extents)?;
                    let runs = vec![Run {
                        place: RunPlace::Spool(self.spooled(&content)?),
                        len: content.len() as u64,
                        path: Some(part.path.clone()),
                    }];
                    let node = Node::Plain(content.len() as u64);
                    return Ok(vec![OpenedNode { node, runs, corrections: Vec::new() }.at(target, extents)]);
                }
                // A look at the start tells of most files that nothing is packed in them.
                let structure = self.dissector.dissect(&Gathered::new(stream, extents), &part.path);
                if structure.is_none_or(|structure| structure.is_plain()) {
                    return Ok(Vec::new());
                }
                let content = read_extents(stream, extents)?;
                let opened = self.open_bytes(&content, &part.path, 1, prover)?;
                Ok(opened.map(|opened| opened.into_roots(target, extents)).unwrap_or_default())
            }
            Content::Blocks(blocks) => {
                let tail = tails.get(part.path.as_str()).filter(|_| part.members.is_empty());
                let tail = tail.map(|(holder, extent)| read_member(stream, holder, *extent)).transpose()?;
                let tail = tail.flatten().unwrap_or_default();
                let opened = self.open_blocks(stream, blocks, part, &tail, prover)?;
                Ok(opened.into_iter().map(|(extents, opened)| opened.at(target, extents)).collect())
            }
        }
    }

    /// Whether a part is a changed program that does not stand in one piece. Its references are predicted
    /// only if it does.
    fn is_scattered_program(&self, stream: &dyn ReadAt, part: &Part, extents: &[Extent]) -> bool {
        let is_scattered = if part.holes.is_empty() {
            extents.len() > 1 && programs::is_program_at(stream, part, extents)
        } else {
            programs::has_fillable_holes(stream, part, extents)
        };
        is_scattered && self.budget.effort != Effort::Fast && !self.unchanged.contains(&part.path)
    }

    /// Opens the packed contents inside of a content in memory; `None` where there are none.
    fn open_bytes(
        &self,
        content: &[u8],
        path: &str,
        depth: usize,
        prover: &mut Prover,
    ) -> Result<Option<Opened>, DiffError> {
        if depth > NESTING_MAX {
            return Ok(None);
        }
        let Some(structure) = self.dissector.dissect(&content, path) else { return Ok(None) };
        let mut packed = Vec::new();
        for part in &structure.parts {
            let path = format!("{path}//{}", part.path);
            match &part.content {
                Content::Plain(extents) => {
                    let [extent] = extents[..] else { continue };
                    let inner = &content[extent.offset as usize..extent.end() as usize];
                    if let Some(opened) = self.open_bytes(inner, &path, depth + 1, prover)? {
                        packed.push((extent, opened));
                    }
                }
                Content::Blocks(blocks) => {
                    for block in blocks.iter().filter(|block| block.format != Format::Stored) {
                        let bytes = &content[block.extent.offset as usize..block.extent.end() as usize];
                        if self.old.packed.contains(&fingerprint(bytes)) {
                            continue;
                        }
                        let Some(proof) = self.prove(block.format, bytes, prover) else { continue };
                        let len = proof.piece.packed_len;
                        let opened = self.open_proven(vec![proof], &[], &[], &path, depth + 1, prover)?;
                        packed.push((Extent { offset: block.extent.offset, len }, opened.into()));
                    }
                }
            }
        }
        let names = named_extents(&structure.parts);
        packed.sort_by_key(|(extent, _)| extent.offset);
        Ok(Some(self.assemble(content, Some(path), packed, &names)?))
    }

    /// A content of plain bytes with packed contents in between.
    fn assemble(
        &self,
        content: &[u8],
        prefix: Option<&str>,
        packed: Vec<(Extent, Opened)>,
        names: &[(Extent, &str)],
    ) -> Result<Opened, DiffError> {
        let mut whole = Opened::default();
        let plain = |from: u64, to: u64, whole: &mut Opened| {
            if from < to {
                let start = self.spooled(&content[from as usize..to as usize])?;
                let place = |offset: u64| RunPlace::Spool(start + offset - from);
                cut_at_names(Extent { offset: from, len: to - from }, names, prefix, place, &mut whole.runs);
                whole.nodes.push(Node::Plain(to - from));
            }
            Ok::<(), DiffError>(())
        };
        let mut at = 0;
        for (extent, opened) in packed {
            plain(at, extent.offset, &mut whole)?;
            whole.append(opened);
            at = extent.end();
        }
        plain(at, content.len() as u64, &mut whole)?;
        Ok(whole)
    }

    /// Opens a part that its container keeps packed.
    fn open_blocks(
        &self,
        stream: &dyn ReadAt,
        blocks: &[Block],
        part: &Part,
        tail: &[u8],
        prover: &mut Prover,
    ) -> Result<Vec<(Vec<Extent>, OpenedNode)>, DiffError> {
        let (path, members) = (part.path.as_str(), part.members.as_slice());
        let mut packed = Vec::with_capacity(blocks.len());
        for block in blocks {
            if block.extent.len > super::PACKED_BYTES_MAX {
                return Ok(Vec::new());
            }
            packed.push(read_extents(stream, &[block.extent])?);
        }
        let mut known: Vec<bool> = blocks
            .iter()
            .zip(&packed)
            .map(|(block, bytes)| {
                block.format == Format::Stored || self.old.packed.contains(&fingerprint(bytes))
            })
            .collect();
        if known.iter().all(|&known| known) {
            return Ok(Vec::new());
        }
        if is_program(&blocks[0], &packed[0]) {
            // Its references are predicted only as long as it stands in one piece.
            known.fill(false);
        }
        if let Some(opened) = self.open_nested(blocks, &packed, tail, path, prover)? {
            return Ok(vec![opened]);
        }
        let mut opened = Vec::new();
        let mut run: Vec<Proven> = Vec::new();
        let mut extents: Vec<Extent> = Vec::new();
        let mut end_run = |run: &mut Vec<Proven>, extents: &mut Vec<Extent>, prover: &mut Prover| {
            if !run.is_empty() {
                let content = self.open_proven(std::mem::take(run), &[], members, path, 1, prover)?;
                opened.push((join(std::mem::take(extents)), content));
            }
            Ok::<(), DiffError>(())
        };
        for ((block, bytes), known) in blocks.iter().zip(&packed).zip(known) {
            let proof = if known { None } else { self.prove(block.format, bytes, prover) };
            let Some(proof) = proof else {
                end_run(&mut run, &mut extents, prover)?;
                continue;
            };
            extents.push(Extent { offset: block.extent.offset, len: proof.piece.packed_len });
            run.push(proof);
        }
        end_run(&mut run, &mut extents, prover)?;
        Ok(opened)
    }

    /// Opens blocks whose content is itself a container with something packed in it: all of them, so
    /// that the content is whole. `tail` is what follows behind them, packed elsewhere.
    fn open_nested(
        &self,
        blocks: &[Block],
        packed: &[Vec<u8>],
        tail: &[u8],
        path: &str,
        prover: &mut Prover,
    ) -> Result<Option<(Vec<Extent>, OpenedNode)>, DiffError> {
        if blocks.len() < 2 && tail.is_empty() {
            return Ok(None);
        }
        let mut content = Vec::new();
        let mut plain = Vec::new();
        for (block, bytes) in blocks.iter().zip(packed) {
            if block.format == Format::Stored {
                content.extend_from_slice(bytes);
                continue;
            }
            let limit = block.plain_len.unwrap_or(crate::limits::BLOCK_PLAIN_BYTES_MAX);
            if block.format.decode_block(bytes, limit as usize, &mut plain).is_err() {
                return Ok(None);
            }
            content.extend_from_slice(&plain);
            if content.len() as u64 > super::PACKED_BYTES_MAX {
                return Ok(None);
            }
        }
        content.extend_from_slice(tail);
        let Some(structure) = self.dissector.dissect(&content, path) else { return Ok(None) };
        if structure.is_plain() {
            return Ok(None);
        }
        let mut proof = Vec::new();
        for (block, bytes) in blocks.iter().zip(packed) {
            let Some(piece) = self.prove(block.format, bytes, prover) else { return Ok(None) };
            if piece.piece.packed_len != block.extent.len {
                return Ok(None);
            }
            proof.push(piece);
        }
        let extents = blocks.iter().map(|block| block.extent).collect();
        Ok(Some((join(extents), self.open_proven(proof, tail, &[], path, 1, prover)?)))
    }

    /// A packed content whose pieces are proven; what it holds is opened in turn: each of its
    /// `members`, or else the whole of it. `tail` goes on behind the pieces, and is needed only to open
    /// what begins in them.
    fn open_proven(
        &self,
        proof: Vec<Proven>,
        tail: &[u8],
        members: &[Member],
        path: &str,
        depth: usize,
        prover: &mut Prover,
    ) -> Result<OpenedNode, DiffError> {
        let mut content = Vec::new();
        let mut pieces = Vec::new();
        let mut own_corrections = Vec::new();
        for proof in proof {
            content.extend_from_slice(&proof.plain);
            own_corrections.extend_from_slice(&proof.corrections);
            pieces.push(proof.piece);
        }
        let pieces_len = content.len() as u64;
        content.extend_from_slice(tail);
        let inner = if members.is_empty() {
            self.open_bytes(&content, path, depth, prover)?
        } else {
            Some(self.open_members(&content, members, depth, prover)?)
        };
        let mut inner = match inner {
            Some(inner) => inner,
            None => self.assemble(&content, Some(path), Vec::new(), &[])?,
        };
        inner.drop_behind(pieces_len);
        Ok(inner.packed(pieces, own_corrections))
    }

    /// Opens what is packed in each of the files in a content.
    fn open_members(
        &self,
        content: &[u8],
        members: &[Member],
        depth: usize,
        prover: &mut Prover,
    ) -> Result<Opened, DiffError> {
        let mut packed = Vec::new();
        for member in members {
            let range = member.extent.offset as usize..member.extent.end() as usize;
            let Some(bytes) = content.get(range) else { continue };
            if let Some(opened) = self.open_bytes(bytes, &member.path, depth, prover)? {
                packed.push((member.extent, opened));
            }
        }
        let names: Vec<(Extent, &str)> =
            members.iter().map(|member| (member.extent, member.path.as_str())).collect();
        self.assemble(content, None, packed, &names)
    }

    fn prove(&self, format: Format, packed: &[u8], prover: &mut Prover) -> Option<Proven> {
        let unpacked = prover.unpack(format, packed).ok()?;
        if unpacked.plain.is_empty() || unpacked.corrections.len() > crate::limits::CORRECTIONS_BYTES_MAX / 64
        {
            return None;
        }
        let piece = Piece {
            recipe: self.packing_index(Packing { format, recipe: unpacked.recipe }),
            plain_len: unpacked.plain.len() as u64,
            packed_len: unpacked.packed_len as u64,
            corrections_len: unpacked.corrections.len() as u32,
        };
        Some(Proven { piece, plain: unpacked.plain, corrections: unpacked.corrections })
    }

    fn packing_index(&self, packing: Packing) -> u32 {
        let mut packings = self.packings.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let index = packings.iter().position(|known| *known == packing).unwrap_or_else(|| {
            packings.push(packing);
            packings.len() - 1
        });
        index as u32
    }

    fn spooled(&self, bytes: &[u8]) -> Result<u64, DiffError> {
        let mut spool = self.spool.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let start = spool.len();
        spool.append(bytes).map_err(DiffError::Scratch)?;
        Ok(start)
    }
}

/// Leaves one root of those that pack the same bytes; where the others stand become further places of it.
fn merge_copies(stream: &dyn ReadAt, mut built: Vec<Built>) -> Result<Vec<Built>, DiffError> {
    let mut alike: HashMap<u64, usize> = HashMap::new();
    for built in &built {
        *alike.entry(built.root.node.made_len()).or_default() += 1;
    }
    // The shortest path is that of the file itself, if the others stand in containers.
    built.sort_by_key(|built| built.runs.first().and_then(|run| run.path.as_ref()).map_or(0, String::len));
    let mut firsts: HashMap<Fingerprint, usize> = HashMap::new();
    let mut merged: Vec<Built> = Vec::with_capacity(built.len());
    for built in built {
        let root = &built.root;
        if matches!(root.node, Node::Packed(_)) && alike[&root.node.made_len()] > 1 {
            match firsts.entry(fingerprint(&read_extents(stream, &root.extents)?)) {
                Entry::Occupied(first) => {
                    merged[*first.get()].root.copies.push(built.root.extents);
                    continue;
                }
                Entry::Vacant(first) => {
                    first.insert(merged.len());
                }
            }
        }
        merged.push(built);
    }
    Ok(merged)
}

/// Whether a block starts a program.
fn is_program(first: &Block, packed: &[u8]) -> bool {
    let limit = first.plain_len.unwrap_or(crate::limits::BLOCK_PLAIN_BYTES_MAX) as usize;
    let mut plain = Vec::new();
    match first.format {
        Format::Stored => predict::is_program(packed),
        format => format.decode_block(packed, limit, &mut plain).is_ok() && predict::is_program(&plain),
    }
}

fn whole(stream: &dyn ReadAt, path: &str) -> Part {
    let extent = Extent { offset: 0, len: stream.len() };
    Part {
        path: path.to_owned(),
        content: Content::Plain(vec![extent]),
        holes: Vec::new(),
        members: Vec::new(),
    }
}

/// The bytes of a member of a part in one block; `None` where the block cannot be unpacked.
fn read_member(stream: &dyn ReadAt, part: &Part, extent: Extent) -> Result<Option<Vec<u8>>, DiffError> {
    let Content::Blocks(blocks) = &part.content else { return Ok(None) };
    let [block] = blocks[..] else { return Ok(None) };
    if block.extent.len > super::PACKED_BYTES_MAX {
        return Ok(None);
    }
    let packed = read_extents(stream, &[block.extent])?;
    let limit = block.plain_len.unwrap_or(crate::limits::BLOCK_PLAIN_BYTES_MAX);
    let mut plain = Vec::new();
    if block.format.decode_block(&packed, limit as usize, &mut plain).is_err() {
        return Ok(None);
    }
    Ok(plain.get(extent.offset as usize..extent.end() as usize).map(<[u8]>::to_vec))
}

/// Roots for all bytes of a target that no packed content takes.
fn plain_roots(target: u32, target_len: u64, packed: &[Built], names: &[(Extent, &str)]) -> Vec<Built> {
    let mut taken: Vec<Extent> = packed.iter().flat_map(|built| built.root.extents.iter().copied()).collect();
    taken.retain(|extent| !extent.is_hole());
    taken.push(Extent { offset: target_len, len: 0 });
    taken.sort();
    let mut built = Vec::new();
    let mut at = 0;
    for taken in taken {
        if at < taken.offset {
            let extent = Extent { offset: at, len: taken.offset - at };
            let mut runs = Vec::new();
            cut_at_names(extent, names, None, |offset| RunPlace::Target { target, offset }, &mut runs);
            let root =
                Root { target, extents: vec![extent], copies: Vec::new(), node: Node::Plain(extent.len) };
            built.push(Built { root, runs, corrections: Vec::new() });
        }
        at = at.max(taken.end());
    }
    built
}
