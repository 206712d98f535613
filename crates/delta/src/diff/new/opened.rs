//! Contents whose packed parts are open.

use super::extents::slice;
use crate::diff::flat::{Built, Run};
use crate::layout::{Node, Packed, Piece, Root};
use crate::structure::Extent;

/// Corrections, each with the flattened byte at which its packed content starts.
pub(super) type Corrections = Vec<(u64, Vec<u8>)>;

/// A content as a list of nodes, and the bytes behind them. Flattened bytes are counted from its start.
#[derive(Default)]
pub(super) struct Opened {
    pub(super) nodes: Vec<Node>,
    pub(super) runs: Vec<Run>,
    pub(super) corrections: Corrections,
}

/// A packed content, which is one node.
pub(super) struct OpenedNode {
    pub(super) node: Node,
    pub(super) runs: Vec<Run>,
    pub(super) corrections: Corrections,
}

impl From<OpenedNode> for Opened {
    fn from(opened: OpenedNode) -> Self {
        Self { nodes: vec![opened.node], runs: opened.runs, corrections: opened.corrections }
    }
}

impl OpenedNode {
    /// Puts it into a target.
    pub(super) fn at(self, target: u32, extents: Vec<Extent>) -> Built {
        let root = Root { target, extents, copies: Vec::new(), node: self.node };
        Built { root, runs: self.runs, corrections: self.corrections }
    }
}

impl Opened {
    /// How many flattened bytes it takes.
    pub(super) fn flat_len(&self) -> u64 {
        self.nodes.iter().map(Node::flat_len).sum()
    }

    /// Appends another content.
    pub(super) fn append(&mut self, other: Self) {
        let start = self.flat_len();
        self.corrections.extend(other.corrections.into_iter().map(|(at, bytes)| (start + at, bytes)));
        self.runs.extend(other.runs);
        self.nodes.extend(other.nodes);
    }

    /// Packs it in pieces, which have corrections of their own.
    pub(super) fn packed(mut self, pieces: Vec<Piece>, own_corrections: Vec<u8>) -> OpenedNode {
        if !own_corrections.is_empty() {
            self.corrections.insert(0, (0, own_corrections));
        }
        let node = Node::Packed(Packed { pieces, children: self.nodes });
        OpenedNode { node, runs: self.runs, corrections: self.corrections }
    }

    /// Leaves out what its nodes make behind the first `len` bytes, as far as that needs no packing.
    pub(super) fn drop_behind(&mut self, len: u64) {
        let mut made: u64 = self.nodes.iter().map(Node::made_len).sum();
        let mut dropped = 0;
        while made > len
            && let Some(last) = self.nodes.pop()
        {
            let (last_made, last_flat) = (last.made_len(), last.flat_len());
            let start = made - last_made;
            if start >= len {
                dropped += last_flat;
                made = start;
                continue;
            }
            // The last bytes that are needed stand in this one.
            match last {
                Node::Plain(_) => {
                    dropped += made - len;
                    self.nodes.push(Node::Plain(len - start));
                }
                packed @ Node::Packed(_) => self.nodes.push(packed),
            }
            break;
        }
        while dropped > 0
            && let Some(run) = self.runs.last_mut()
        {
            let step = dropped.min(run.len);
            run.len -= step;
            dropped -= step;
            if run.len == 0 {
                self.runs.pop();
            }
        }
        let flat_len = self.flat_len();
        self.corrections.retain(|(at, _)| *at < flat_len);
    }

    /// Its packed nodes, each at its place in a target, of which the content stands in `extents`. The
    /// plain ones between them stay where they are.
    pub(super) fn into_roots(self, target: u32, extents: &[Extent]) -> Vec<Built> {
        let mut runs = self.runs.into_iter();
        let mut corrections = self.corrections.into_iter().peekable();
        let mut roots = Vec::new();
        let (mut made, mut flat) = (0, 0);
        for node in self.nodes {
            let (made_len, flat_len) = (node.made_len(), node.flat_len());
            let end = flat + flat_len;
            let (mut own_runs, mut own_corrections) = (Vec::new(), Vec::new());
            let mut taken = 0;
            while taken < flat_len
                && let Some(run) = runs.next()
            {
                taken += run.len;
                own_runs.push(run);
            }
            while let Some((at, bytes)) = corrections.next_if(|(at, _)| *at < end) {
                own_corrections.push((at - flat, bytes));
            }
            if let Node::Packed(_) = node {
                let opened = OpenedNode { node, runs: own_runs, corrections: own_corrections };
                let place = Extent { offset: made, len: made_len };
                roots.push(opened.at(target, slice(extents, place)));
            }
            made += made_len;
            flat = end;
        }
        roots
    }
}
