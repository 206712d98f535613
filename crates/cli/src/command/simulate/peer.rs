//! Patches of other makers' programs: made, applied, and what comes out compared with NEW.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::process::Command;

use fluvial_delta::structure::ReadAt as _;
use fluvial_simulate::Cost;

use super::program::{RunError, Spent, run};
use super::report::Measured;
use super::{Bench, Outcome};
use crate::arguments::Method;
use fluvial_console::{Fault, Kind};
use fluvial_device::disk::Medium;

/// What is compared at a time, in bytes.
const COMPARED_BYTES: usize = 1 << 20;
/// The level of gzip that deltas are packed with.
const GZIP_LEVEL: u32 = 9;

/// A program, and how it is called. In its words `{old}`, `{new}`, `{patch}`, `{out}` and `{tmp}` stand for
/// files.
struct Peer {
    make: &'static [&'static [&'static str]],
    apply: &'static [&'static str],
    is_gzipped: bool,
}

impl Peer {
    fn of(method: Method) -> Option<Self> {
        let plain = |make, apply| Some(Self { make, apply, is_gzipped: false });
        let rdiff_make: &[&[&str]] =
            &[&["rdiff", "signature", "{old}", "{tmp}"], &["rdiff", "delta", "{tmp}", "{new}", "{patch}"]];
        let rdiff_apply: &[&str] = &["rdiff", "patch", "{old}", "{patch}", "{out}"];
        match method {
            Method::Xdelta3 => plain(
                &[&["xdelta3", "-e", "-s", "{old}", "{new}", "{patch}"]],
                &["xdelta3", "-d", "-s", "{old}", "{patch}", "{out}"],
            ),
            Method::Xdelta3Max => plain(
                &[&["xdelta3", "-9", "-e", "-s", "{old}", "{new}", "{patch}"]],
                &["xdelta3", "-d", "-s", "{old}", "{patch}", "{out}"],
            ),
            Method::Rdiff => plain(rdiff_make, rdiff_apply),
            Method::RdiffGzip => Some(Self { make: rdiff_make, apply: rdiff_apply, is_gzipped: true }),
            Method::ZstdPatchFrom => plain(
                &[&["zstd", "-q", "-19", "--long=31", "--patch-from={old}", "{new}", "-o", "{patch}"]],
                &["zstd", "-q", "-d", "--long=31", "--patch-from={old}", "{patch}", "-o", "{out}"],
            ),
            _ => None,
        }
    }
}

/// The files of one run.
struct Places<'a> {
    old: &'a Path,
    new: &'a Path,
    patch: PathBuf,
    out: PathBuf,
    tmp: PathBuf,
}

impl Places<'_> {
    fn command(&self, words: &[&str]) -> Command {
        let places = [
            ("{old}", self.old),
            ("{new}", self.new),
            ("{patch}", &self.patch),
            ("{out}", &self.out),
            ("{tmp}", &self.tmp),
        ];
        let filled = |word: &&str| {
            let mut filled = std::ffi::OsString::from(word);
            for (mark, path) in places {
                if let Some(before) = word.strip_suffix(mark) {
                    filled = before.into();
                    filled.push(path);
                }
            }
            filled
        };
        let mut command = Command::new(words[0]);
        command.args(words[1..].iter().map(filled));
        command
    }
}

impl Bench<'_> {
    /// Has a patch made and applied by another program.
    pub(super) fn by_peer(&self, method: Method) -> Result<Outcome, Fault> {
        let Some(peer) = Peer::of(method) else {
            return Err(Fault::new(Kind::Internal, format!("{} is no program", method.name())));
        };
        self.progress.phase(method.name(), 0);
        let failed = |error| Fault::writing(self.folder, error);
        let folder = tempfile::tempdir_in(self.folder).map_err(failed)?;
        let places = Places {
            old: &self.arguments.old,
            new: &self.arguments.new,
            patch: folder.path().join("patch"),
            out: folder.path().join("out"),
            tmp: folder.path().join("tmp"),
        };
        match self.try_peer(method, &peer, &places) {
            Ok(Some(measured)) => Ok(Outcome::Measured(measured)),
            Ok(None) => Ok(Outcome::LeftOut("what it makes is not NEW".into())),
            Err(RunError::Cancelled) => Err(Fault::new(Kind::Cancelled, RunError::Cancelled)),
            Err(error @ RunError::System { .. }) => Err(Fault::new(Kind::Io, error)),
            Err(error) => Ok(Outcome::LeftOut(error.to_string())),
        }
    }

    /// What it comes to; `None` where the result is wrong.
    fn try_peer(
        &self,
        method: Method,
        peer: &Peer,
        places: &Places<'_>,
    ) -> Result<Option<Measured>, RunError> {
        let mut made = Spent::default();
        for words in peer.make {
            let spent = run(&mut places.command(words), self.progress)?;
            made.wall_s += spent.wall_s;
            made.memory_bytes = made.memory_bytes.max(spent.memory_bytes);
        }
        let applied = run(&mut places.command(peer.apply), self.progress)?;
        let system = |source| RunError::System { program: method.name().into(), source };
        if !is_same(&places.out, self.new).map_err(system)? {
            return Ok(None);
        }
        let bytes = if peer.is_gzipped { gzipped_len(&places.patch) } else { len_of(&places.patch) };
        Ok(Some(Measured {
            make_s: Some(made.wall_s),
            make_memory_bytes: Some(made.memory_bytes),
            apply_s: Some(applied.wall_s),
            apply_memory_bytes: Some(applied.memory_bytes),
            ..Measured::new(method, Cost::of_file(bytes.map_err(system)?))
        }))
    }
}

fn len_of(path: &Path) -> io::Result<u64> {
    Ok(path.metadata()?.len())
}

fn gzipped_len(path: &Path) -> io::Result<u64> {
    let file = BufReader::new(File::open(path)?);
    let mut encoder = flate2::bufread::GzEncoder::new(file, flate2::Compression::new(GZIP_LEVEL));
    io::copy(&mut encoder, &mut io::sink())
}

/// Whether a file holds the same bytes as NEW.
fn is_same(path: &Path, new: &Medium) -> io::Result<bool> {
    let made = Medium::open(path)?;
    if made.len() != new.len() {
        return Ok(false);
    }
    let (mut a, mut b) = (vec![0; COMPARED_BYTES], vec![0; COMPARED_BYTES]);
    let mut offset = 0;
    while offset < new.len() {
        let len = (new.len() - offset).min(COMPARED_BYTES as u64) as usize;
        made.read_at(offset, &mut a[..len])?;
        new.read_at(offset, &mut b[..len])?;
        if a[..len] != b[..len] {
            return Ok(false);
        }
        offset += len as u64;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_stand_where_the_words_say() {
        let places = Places {
            old: Path::new("/a b/old"),
            new: Path::new("new"),
            patch: "p".into(),
            out: "o".into(),
            tmp: "t".into(),
        };
        let command = places.command(&["zstd", "--patch-from={old}", "{new}", "-o", "{patch}"]);
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
        assert_eq!(words, ["--patch-from=/a b/old", "new", "-o", "p"]);
    }

    #[test]
    fn a_byte_makes_a_difference() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let bytes = vec![7; COMPARED_BYTES + 5];
        let mut other = bytes.clone();
        *other.last_mut().unwrap() = 8;
        for (name, content) in [("a", &bytes[..]), ("b", &bytes), ("c", &other), ("d", &bytes[1..])] {
            std::fs::write(path(name), content).unwrap();
        }
        let new = Medium::open(&path("a")).unwrap();
        let same = ["b", "c", "d"].map(|name| is_same(&path(name), &new).unwrap());
        assert_eq!(same, [true, false, false]);
    }
}
