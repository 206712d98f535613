//! What a program does to files, as `strace` tells it, and what a disk makes of that when the power is cut: of the
//! writes since the last sync of a file some are lost, some are torn, and later ones may be there without earlier
//! ones. Names come in their order, but how many of them since the last sync of a folder nobody knows.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::device::Snapshot;

/// Writes are torn at such borders only, in bytes.
const SECTOR_BYTES: u64 = 512;

/// What was done. Paths are below the device's folder.
#[derive(Debug)]
pub enum Call {
    /// A file that was not there was made, or one that was there was emptied.
    Create {
        path: PathBuf,
        is_emptied: bool,
    },
    /// Bytes were written there, or behind the last ones where no place is told.
    Write {
        path: PathBuf,
        offset: Option<u64>,
        bytes: Vec<u8>,
    },
    SetLen {
        path: PathBuf,
        len: u64,
    },
    /// What was done before the call of this number is on the disk.
    Sync {
        path: PathBuf,
        since: usize,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Remove {
        path: PathBuf,
    },
}

/// Reads what `strace -f -y -xx` has written, as far as it concerns files below `folder`.
pub fn read(log: &str, folder: &Path) -> Vec<Call> {
    let mut calls = Vec::new();
    // By thread: the beginning of a call, and how many calls there were by then.
    let mut unfinished: BTreeMap<&str, (String, usize)> = BTreeMap::new();
    for line in log.lines() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        let (text, since) = if let Some(start) = rest.strip_suffix(" <unfinished ...>") {
            // A write may be on its way to the disk at once; a sync counts when it is over.
            unfinished.insert(thread, (start.to_owned(), calls.len()));
            continue;
        } else if let Some(end) = rest.strip_prefix("<... ") {
            let Some((start, since)) = unfinished.remove(thread) else { continue };
            (start + end.split_once("resumed>").unwrap().1, since)
        } else {
            (rest.to_owned(), calls.len())
        };
        calls.extend(parse(&text, folder, since));
    }
    calls
}

fn parse(text: &str, folder: &Path, since: usize) -> Option<Call> {
    let (name, rest) = text.split_once('(')?;
    let (arguments, result) = rest.rsplit_once(" = ")?;
    if result.starts_with('-') {
        return None;
    }
    let arguments: Vec<&str> = arguments.trim_end().trim_end_matches(')').split(", ").collect();
    let below = |path: PathBuf| path.strip_prefix(folder).ok().map(Path::to_owned);
    let of_fd = |index: usize| below(path_of_fd(arguments[index])?);
    let named = |fd: Option<usize>, index: usize| {
        let start = fd.and_then(|fd| path_of_fd(arguments[fd])).unwrap_or_default();
        below(start.join(as_path(bytes_of(arguments[index]))))
    };
    Some(match name {
        "openat" if arguments[2].contains("O_CREAT") || arguments[2].contains("O_TRUNC") => {
            Call::Create { path: named(Some(0), 1)?, is_emptied: arguments[2].contains("O_TRUNC") }
        }
        "write" => Call::Write { path: of_fd(0)?, offset: None, bytes: bytes_of(arguments[1]) },
        "pwrite64" => {
            let offset = Some(arguments[3].parse().unwrap());
            Call::Write { path: of_fd(0)?, offset, bytes: bytes_of(arguments[1]) }
        }
        "ftruncate" => Call::SetLen { path: of_fd(0)?, len: arguments[1].parse().unwrap() },
        "fsync" | "fdatasync" => Call::Sync { path: of_fd(0)?, since },
        "rename" => Call::Rename { from: named(None, 0)?, to: named(None, 1)? },
        "renameat" | "renameat2" => Call::Rename { from: named(Some(0), 1)?, to: named(Some(2), 3)? },
        "unlink" => Call::Remove { path: named(None, 0)? },
        "unlinkat" if !arguments[2].contains("AT_REMOVEDIR") => Call::Remove { path: named(Some(0), 1)? },
        _ => return None,
    })
}

/// `7<\x2f...>`.
fn path_of_fd(text: &str) -> Option<PathBuf> {
    let (_, path) = text.split_once('<')?;
    // `(deleted)` may follow.
    Some(as_path(bytes_of(path.split('>').next()?)))
}

fn as_path(bytes: Vec<u8>) -> PathBuf {
    String::from_utf8(bytes).unwrap().into()
}

/// Bytes as `\x2f\x74`, with or without quotes.
fn bytes_of(text: &str) -> Vec<u8> {
    assert!(!text.ends_with("..."), "strace has left something out");
    let digits = text.trim_matches('"').split("\\x").skip(1);
    digits.map(|digits| u8::from_str_radix(digits, 16).unwrap()).collect()
}

/// A file, whatever it is called.
#[derive(Debug, Default, Clone)]
struct Inode {
    /// What is surely on the disk.
    durable: Vec<u8>,
    /// Where the next write without a place goes.
    end: u64,
    /// What may be on the disk: the number of its call, and what it was.
    open: Vec<(usize, Change)>,
}

#[derive(Debug, Clone)]
enum Change {
    Bytes(u64, Vec<u8>),
    Len(u64),
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Len(len) => content.resize(*len as usize, 0),
            Self::Bytes(offset, bytes) => {
                let (start, end) = (*offset as usize, *offset as usize + bytes.len());
                content.resize(content.len().max(end), 0);
                content[start..end].copy_from_slice(bytes);
            }
        }
    }

    /// What a disk makes of it.
    fn fate(&self, numbers: &mut impl Iterator<Item = u64>) -> Option<Self> {
        let number = numbers.next().unwrap();
        match (self, number % 4) {
            (_, 0) => None,
            (Self::Bytes(offset, bytes), 1) => {
                // Torn: some sectors from the start.
                let sectors = (number >> 8) % (bytes.len() as u64 / SECTOR_BYTES + 1);
                let border = (offset / SECTOR_BYTES + sectors) * SECTOR_BYTES;
                let len = border.saturating_sub(*offset).min(bytes.len() as u64);
                (len > 0).then(|| Self::Bytes(*offset, bytes[..len as usize].to_vec()))
            }
            _ => Some(self.clone()),
        }
    }
}

/// A name that was given or taken away, and the number of the call.
type Naming = (usize, PathBuf, Option<usize>);

/// A disk on which calls are carried out.
#[derive(Debug, Default, Clone)]
pub struct Disk {
    inodes: Vec<Inode>,
    /// What programs see.
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    open_names: Vec<Naming>,
}

impl Disk {
    pub fn new(files: &Snapshot) -> Self {
        let mut disk = Self::default();
        for (path, bytes) in files {
            let end = bytes.len() as u64;
            disk.names.insert(path.clone(), disk.inodes.len());
            disk.inodes.push(Inode { durable: bytes.clone(), end, open: Vec::new() });
        }
        disk.durable_names.clone_from(&disk.names);
        disk
    }

    /// Carries out the call of this number.
    pub fn carry_out(&mut self, number: usize, call: &Call) {
        match call {
            Call::Create { path, is_emptied } => {
                if !self.names.contains_key(path) {
                    self.inodes.push(Inode::default());
                    self.name(number, path, Some(self.inodes.len() - 1));
                } else if *is_emptied {
                    self.change(number, path, Change::Len(0));
                }
            }
            Call::Write { path, offset, bytes } => {
                let Some(&inode) = self.names.get(path) else { return };
                let offset = offset.unwrap_or(self.inodes[inode].end);
                self.change(number, path, Change::Bytes(offset, bytes.clone()));
            }
            Call::SetLen { path, len } => self.change(number, path, Change::Len(*len)),
            Call::Sync { path, since } => self.sync(path, *since),
            Call::Rename { from, to } => {
                let inode = self.names[from];
                // At once, or not at all.
                self.names.remove(from);
                self.open_names.push((number, from.clone(), None));
                self.name(number, to, Some(inode));
            }
            Call::Remove { path } => self.name(number, path, None),
        }
    }

    fn name(&mut self, number: usize, path: &Path, inode: Option<usize>) {
        match inode {
            Some(inode) => self.names.insert(path.to_owned(), inode),
            None => self.names.remove(path),
        };
        self.open_names.push((number, path.to_owned(), inode));
    }

    fn change(&mut self, number: usize, path: &Path, change: Change) {
        let Some(&inode) = self.names.get(path) else { return };
        let inode = &mut self.inodes[inode];
        inode.end = match &change {
            Change::Bytes(offset, bytes) => inode.end.max(offset + bytes.len() as u64),
            Change::Len(len) => *len,
        };
        inode.open.push((number, change));
    }

    fn sync(&mut self, path: &Path, since: usize) {
        if let Some(&inode) = self.names.get(path) {
            let inode = &mut self.inodes[inode];
            let (done, open) = inode.open.drain(..).partition(|(number, _)| *number < since);
            inode.open = open;
            let done: Vec<(usize, Change)> = done;
            for (_, change) in done {
                change.apply(&mut inode.durable);
            }
        } else {
            // A folder: the names in it, and the moves that they are part of.
            let is_in = |(number, name, _): &Naming| *number < since && name.parent() == Some(path);
            let synced: Vec<usize> =
                self.open_names.iter().filter(|one| is_in(one)).map(|one| one.0).collect();
            let last = synced.into_iter().max();
            // A journal keeps their order.
            let (done, open) = self.open_names.drain(..).partition(|one| Some(one.0) <= last);
            self.open_names = open;
            let done: Vec<Naming> = done;
            for one in &done {
                put(&mut self.durable_names, one);
            }
        }
    }

    /// What is there when the power was cut now, as chance has it.
    pub fn cut(&self, numbers: &mut impl Iterator<Item = u64>) -> Snapshot {
        let mut names = self.durable_names.clone();
        let calls: std::collections::BTreeSet<usize> = self.open_names.iter().map(|one| one.0).collect();
        let kept = numbers.next().unwrap() as usize % (calls.len() + 1);
        let end = calls.into_iter().nth(kept).unwrap_or(usize::MAX);
        self.open_names.iter().filter(|one| one.0 < end).for_each(|one| put(&mut names, one));
        let mut content = |inode: usize| {
            let inode = &self.inodes[inode];
            let mut content = inode.durable.clone();
            for (_, change) in &inode.open {
                if let Some(change) = change.fate(numbers) {
                    change.apply(&mut content);
                }
            }
            content
        };
        names.into_iter().map(|(path, inode)| (path, content(inode))).collect()
    }

    /// What is there when nothing is lost.
    pub fn whole(&self) -> Snapshot {
        let content = |inode: usize| {
            let mut content = self.inodes[inode].durable.clone();
            self.inodes[inode].open.iter().for_each(|(_, change)| change.apply(&mut content));
            content
        };
        self.names.iter().map(|(path, &inode)| (path.clone(), content(inode))).collect()
    }
}

fn put(names: &mut BTreeMap<PathBuf, usize>, (_, path, inode): &Naming) {
    match inode {
        Some(inode) => names.insert(path.clone(), *inode),
        None => names.remove(path),
    };
}
