//! Walks the folders of a file-system image: no recursion, no cycle, no folder twice.

use std::collections::HashSet;

use crate::catalogue::{Full, PATH_BYTES_MAX};

/// Folder entries of one image at most, of any type.
const ENTRIES_MAX: usize = 1 << 22;
/// Folders inside folders at most: more do not fit in a path.
const DEPTH_MAX: usize = PATH_BYTES_MAX / 2;

/// What a folder entry leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A folder.
    Folder,
    /// A regular file.
    File,
    /// Anything else.
    Other,
}

/// The walk: which folders are yet to be read, and where it is. A node is whatever names an inode
/// in the image at hand.
///
/// A pending folder keeps its own name only, not its path, or a hostile image could make the paths
/// cost a thousand times the bytes of its folders.
#[derive(Debug)]
pub(crate) struct Tree {
    pending: Vec<Pending>,
    /// The current folder's path with a slash at its end; empty at the root.
    path: Vec<u8>,
    /// Length of the path of each folder on the way to the current one, itself included.
    ends: Vec<usize>,
    visited: HashSet<u64>,
    entries: usize,
}

#[derive(Debug)]
struct Pending {
    node: u64,
    depth: usize,
    name: Box<[u8]>,
}

impl Tree {
    /// A walk that starts at `root`.
    pub(crate) fn new(root: u64) -> Self {
        Self {
            pending: vec![Pending { node: root, depth: 0, name: Box::default() }],
            path: Vec::new(),
            ends: Vec::new(),
            visited: HashSet::from([root]),
            entries: 0,
        }
    }

    /// The next folder to read; `None` when all have been.
    pub(crate) fn next_folder(&mut self) -> Option<u64> {
        let folder = self.pending.pop()?;
        self.ends.truncate(folder.depth);
        self.path.truncate(self.ends.last().copied().unwrap_or(0));
        if folder.depth > 0 {
            self.path.extend_from_slice(&folder.name);
            self.path.push(b'/');
        }
        self.ends.push(self.path.len());
        Some(folder.node)
    }

    /// Notes an entry of the current folder. The path, where it is a regular file that was not met
    /// before: of several hard links, the first counts.
    pub(crate) fn entry(&mut self, name: &[u8], node: u64, kind: Kind) -> Result<Option<String>, Full> {
        self.entries += 1;
        if self.entries > ENTRIES_MAX {
            return Err(Full);
        }
        let usable = !matches!(name, b"" | b"." | b"..") && !name.iter().any(|byte| matches!(byte, b'/' | 0));
        if !usable || kind == Kind::Other || self.path.len() + name.len() > PATH_BYTES_MAX {
            return Ok(None);
        }
        if !self.visited.insert(node) {
            return Ok(None);
        }
        if kind == Kind::File {
            let path = [&self.path, name].concat();
            return Ok(Some(String::from_utf8_lossy(&path).into_owned()));
        }
        if self.ends.len() < DEPTH_MAX {
            self.pending.push(Pending { node, depth: self.ends.len(), name: name.into() });
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_way_and_ends_on_a_cycle() {
        let mut tree = Tree::new(1);
        let mut found = Vec::new();
        while let Some(folder) = tree.next_folder() {
            let entries: &[(&[u8], u64, Kind)] = match folder {
                1 => &[(b"..", 1, Kind::Folder), (b"a", 2, Kind::Folder), (b"b", 3, Kind::Folder)],
                2 => &[(b"f", 10, Kind::File), (b"loop", 1, Kind::Folder), (b"c", 4, Kind::Folder)],
                3 => &[(b"g", 11, Kind::File), (b"f-again", 10, Kind::File), (b"c-again", 4, Kind::Folder)],
                _ => &[(b"h", 12, Kind::File), (b"evil/name", 13, Kind::File), (b"null", 14, Kind::Other)],
            };
            for (name, node, kind) in entries {
                found.extend(tree.entry(name, *node, *kind).unwrap());
            }
        }
        found.sort();
        assert_eq!(found, ["b/c-again/h", "b/f-again", "b/g"]);
    }
}
