//! Puts flattened bytes to their places, through packers where the layout says so.

use std::collections::VecDeque;

use super::crew::Crew;
use super::packing::{PackedSink, TargetSink};
use super::pipeline::{Batch, Progress, Stop, Using};
use super::{ApplyError, ApplyObserver, Checkpoint, Patch, Sink, Target};
use crate::layout::{Node, Root};

/// Goes through the layout and takes what comes for it.
pub(super) struct Placer<'a, 'o> {
    patch: &'a Patch<'a>,
    crew: &'o Crew<'a>,
    targets: &'a [&'a dyn Target],
    observer: &'o mut dyn ApplyObserver,
    progress: &'o Progress,
    using: Using,
    batch: Batch,
    /// How many bytes of the batch are placed.
    done: usize,
    corrections: VecDeque<Vec<u8>>,
    checkpoints: VecDeque<(u64, Checkpoint)>,
    /// The next flattened byte to be placed.
    flat: u64,
    /// All bytes before this one are in the targets, but for what packers hold back.
    placed: u64,
}

impl<'a, 'o> Placer<'a, 'o> {
    /// Begins at flattened byte `flat`.
    pub(super) fn new(
        patch: &'a Patch<'a>,
        crew: &'o Crew<'a>,
        targets: &'a [&'a dyn Target],
        observer: &'o mut dyn ApplyObserver,
        progress: &'o Progress,
        using: Using,
        flat: u64,
    ) -> Self {
        progress.reach(flat);
        Self {
            patch,
            crew,
            targets,
            observer,
            progress,
            using,
            batch: Batch::default(),
            done: 0,
            corrections: VecDeque::new(),
            checkpoints: VecDeque::new(),
            flat,
            placed: flat,
        }
    }

    pub(super) fn all(&mut self) -> Result<(), Stop> {
        let patch = self.patch;
        let placed = patch.roots_from(self.flat).try_for_each(|(start, root)| self.root(root, start));
        // A piece that could not be packed ends everything else: it is the reason.
        self.crew.finish()?;
        placed?;
        self.note_checkpoints()
    }

    fn root(&mut self, root: &'a Root, start: u64) -> Result<(), Stop> {
        let target = self.targets[root.target as usize];
        if target.is_made() {
            return match &root.node {
                Node::Plain(len) => self.plain(start + len - self.flat, &mut Nowhere),
                node @ Node::Packed(_) => self.pass(node),
            };
        }
        let mut sink = TargetSink::new(target, root);
        match &root.node {
            Node::Plain(len) => {
                sink.skip(self.flat - start);
                self.plain(start + len - self.flat, &mut sink)
            }
            node @ Node::Packed(_) => self.node(node, &mut sink),
        }
    }

    fn node(&mut self, node: &'a Node, sink: &mut dyn Sink<'a>) -> Result<(), Stop> {
        match node {
            Node::Plain(len) => self.plain(*len, sink),
            Node::Packed(packed) => {
                let corrections =
                    if packed.corrections_len() == 0 { Vec::new() } else { self.next_corrections()? };
                let mut inner = PackedSink::new(&packed.pieces, self.crew, corrections, sink);
                for child in &packed.children {
                    self.node(child, &mut inner)?;
                }
                Ok(inner.finish()?)
            }
        }
    }

    /// Passes over what a node is made of.
    fn pass(&mut self, node: &'a Node) -> Result<(), Stop> {
        match node {
            Node::Plain(len) => self.plain(*len, &mut Nowhere),
            Node::Packed(packed) => {
                if packed.corrections_len() > 0 {
                    self.next_corrections()?;
                }
                packed.children.iter().try_for_each(|child| self.pass(child))
            }
        }
    }

    fn next_corrections(&mut self) -> Result<Vec<u8>, Stop> {
        loop {
            if let Some(corrections) = self.corrections.pop_front() {
                return Ok(corrections);
            }
            if self.done < self.batch.len {
                return Err(ApplyError::Lengths.into());
            }
            self.next_batch()?;
        }
    }

    fn plain(&mut self, mut len: u64, sink: &mut dyn Sink<'a>) -> Result<(), Stop> {
        while len > 0 {
            while self.done == self.batch.len {
                self.next_batch()?;
            }
            let ready = &self.batch.bytes[self.done..self.batch.len];
            let step = len.min(ready.len() as u64);
            sink.write(&ready[..step as usize])?;
            self.done += step as usize;
            self.flat += step;
            len -= step;
            if !self.observer.made(step) {
                return Err(ApplyError::Cancelled.into());
            }
            self.note_checkpoints()?;
        }
        Ok(())
    }

    fn next_batch(&mut self) -> Result<(), Stop> {
        self.batch = self.using.exchange(std::mem::take(&mut self.batch))?;
        self.done = 0;
        self.corrections.extend(self.batch.corrections.drain(..));
        self.checkpoints.extend(self.batch.checkpoints.drain(..));
        self.note_checkpoints()
    }

    /// Notes the checkpoints before which everything is written.
    fn note_checkpoints(&mut self) -> Result<(), Stop> {
        self.placed = self.progress.reach(self.flat);
        while let Some((flat, checkpoint)) = self.checkpoints.front()
            && *flat <= self.placed
        {
            self.observer.checkpoint(*checkpoint).map_err(ApplyError::Journal)?;
            self.checkpoints.pop_front();
        }
        Ok(())
    }
}

/// For what nobody needs.
struct Nowhere;

impl Sink<'_> for Nowhere {
    fn write(&mut self, _bytes: &[u8]) -> Result<(), ApplyError> {
        Ok(())
    }
}

impl Drop for Placer<'_, '_> {
    fn drop(&mut self) {
        // Whoever waits for bytes to be placed waits in vain.
        self.progress.end();
    }
}
