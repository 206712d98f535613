//! The tools that compete: their commands, their versions, and how to get them.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::pair::{Pair, SYSTEM_TAR, Story};
use crate::command::{command, ensure, output, run};

/// The package on `PyPI` whose source archive holds `HDiffPatch`'s own C++ programs.
const HDIFFPATCH_PACKAGE: &str = "hdiffpatch";
const HDIFFPATCH_PACKAGE_VERSION: &str = "2.6.0";
/// Two suffix arrays of 8 bytes a byte of the old file, and the file; the new file besides.
const BSDIFF_MEMORY_PER_OLD_BYTE: u64 = 17;
const BSDIFF_MEMORY_BYTES_MAX: u64 = 6 << 30;

pub const HDIFFPATCH: &str = "HDiffPatch lzma2";
pub const HDIFFPATCH_ZSTD: &str = "HDiffPatch zstd";
pub const XDELTA3: &str = "xdelta3 -9";
pub const ZSTD: &str = "zstd -19 --patch-from";
pub const BSDIFF: &str = "bsdiff";
pub const RDIFF: &str = "rdiff + gzip";
/// With as much of the old file in view as there is.
pub const XDELTA3_WIDE: &str = "xdelta3 -9 -B";
/// As balena's engine makes deltas of images.
pub const RDIFF_512: &str = "rdiff 512 B + gzip -9";
/// Not a delta: what a registry sends of an image's layers.
pub const PULL: &str = "pull, gzip -9";
/// Not a delta: the new file alone, which no patch should exceed.
pub const FULL: &str = "full, zstd -19";
pub const OURS: &str = "fluvial default";
pub const OURS_FAST: &str = "fluvial fast";
pub const OURS_MAX: &str = "fluvial max";
pub const OURS_SMALL: &str = "fluvial default, 32 MiB";

/// A way to make and to apply a patch. In its command lines `{old}`, `{new}`, `{patch}`, `{out}` and `{tmp}`
/// stand for paths; what follows `sh -c` is one word.
#[derive(Debug, Clone)]
pub struct Tool {
    pub name: &'static str,
    pub version: String,
    diff: Vec<&'static str>,
    apply: Vec<&'static str>,
}

/// Where one measurement reads and writes.
pub struct Places {
    pub old: PathBuf,
    pub new: PathBuf,
    pub patch: PathBuf,
    pub out: PathBuf,
    pub tmp: PathBuf,
}

impl Tool {
    pub fn new(name: &'static str, version: &str, diff: &[&'static str], apply: &[&'static str]) -> Self {
        Self { name, version: version.to_owned(), diff: diff.to_vec(), apply: apply.to_vec() }
    }

    /// Whether it is this workspace's, whose results change with every commit.
    pub fn is_ours(&self) -> bool {
        self.name.starts_with("fluvial")
    }

    pub fn diff_commands(&self, places: &Places) -> Vec<Command> {
        self.diff.iter().map(|line| fill(line, places)).collect()
    }

    pub fn apply_commands(&self, places: &Places) -> Vec<Command> {
        self.apply.iter().map(|line| fill(line, places)).collect()
    }

    /// What tells a kept result from another's: the version and the commands.
    pub fn identity(&self) -> String {
        format!("{}: {}; {}", self.version, self.diff.join("; "), self.apply.join("; "))
    }

    /// Whether the comparison on this pair includes this tool.
    pub fn has_part_in(&self, pair: &Pair) -> bool {
        match self.name {
            OURS => true,
            HDIFFPATCH | XDELTA3 => !matches!(pair.story, Story::SmallChange | Story::Identical),
            FULL => matches!(pair.story, Story::Distribution | Story::Binary(_)) || pair.name == SYSTEM_TAR,
            ZSTD => {
                matches!(pair.story, Story::System | Story::Upgrade | Story::Application | Story::Binary(_))
            }
            OURS_SMALL => pair.name == SYSTEM_TAR,
            _ => matches!(pair.story, Story::System | Story::Binary(_)),
        }
    }

    /// Why this tool cannot run on files of these sizes, if it cannot.
    pub fn unfit(&self, old_bytes: u64, new_bytes: u64) -> Option<String> {
        let needs = BSDIFF_MEMORY_PER_OLD_BYTE * old_bytes + new_bytes;
        let is_over = self.name == BSDIFF && needs > BSDIFF_MEMORY_BYTES_MAX;
        is_over.then(|| format!("would need {:.1} GB of memory", needs as f64 / 1e9))
    }
}

fn fill(line: &str, places: &Places) -> Command {
    let words = match line.strip_prefix("sh -c ") {
        Some(script) => vec!["sh", "-c", script],
        None => line.split_whitespace().collect(),
    };
    let paths = [
        ("{old}", &places.old),
        ("{new}", &places.new),
        ("{patch}", &places.patch),
        ("{out}", &places.out),
        ("{tmp}", &places.tmp),
    ];
    let word = |word: &str| {
        paths.iter().fold(word.to_owned(), |text, (mark, path)| text.replace(mark, &path.to_string_lossy()))
    };
    command(words[0], words[1..].iter().map(|text| word(text)))
}

/// The search path that finds the `fluvial` to measure and the peers that were built here first.
///
/// # Errors
/// When a folder's name holds a colon.
pub fn search_path(dir: &Path, fluvial: &Path) -> Result<OsString> {
    let mut folders = vec![hdiffpatch_folder(dir)];
    folders.extend(fluvial.parent().map(Path::to_owned));
    folders.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    Ok(std::env::join_paths(folders)?)
}

/// All tools, ours first; `version` tells which of ours.
pub fn tools(version: &str) -> Vec<Tool> {
    let ours = |name, diff| Tool::new(name, version, &[diff], &["fluvial apply {old} {patch} -o {out}"]);
    let hdiffpatch = format!("{HDIFFPATCH_PACKAGE} {HDIFFPATCH_PACKAGE_VERSION}");
    let zstd = debian_version("zstd");
    vec![
        ours(OURS, "fluvial diff {old} {new} -o {patch} --preset default"),
        ours(OURS_FAST, "fluvial diff {old} {new} -o {patch} --preset fast"),
        ours(OURS_MAX, "fluvial diff {old} {new} -o {patch} --preset max"),
        ours(OURS_SMALL, "fluvial diff {old} {new} -o {patch} --preset default --apply-memory 32MiB"),
        Tool::new(
            HDIFFPATCH,
            &hdiffpatch,
            &["hdiffz -m-6 -c-lzma2-9-64m -p-2 -d -f {old} {new} {patch}"],
            &["hpatchz -f {old} {patch} {out}"],
        ),
        Tool::new(
            HDIFFPATCH_ZSTD,
            &hdiffpatch,
            &["hdiffz -m-6 -SD -c-zstd-21-24 -p-2 -d -f {old} {new} {patch}"],
            &["hpatchz -f {old} {patch} {out}"],
        ),
        Tool::new(
            XDELTA3,
            &debian_version("xdelta3"),
            &["xdelta3 -9 -f -e -s {old} {new} {patch}"],
            &["xdelta3 -f -d -s {old} {patch} {out}"],
        ),
        Tool::new(
            ZSTD,
            &zstd,
            &["zstd -q -f -19 --long=31 --patch-from={old} {new} -o {patch}"],
            &["zstd -q -f -d --long=31 --patch-from={old} {patch} -o {out}"],
        ),
        Tool::new(
            BSDIFF,
            &debian_version("bsdiff"),
            &["bsdiff {old} {new} {patch}"],
            &["bspatch {old} {out} {patch}"],
        ),
        Tool::new(
            RDIFF,
            &debian_version("rdiff"),
            &[
                "rdiff -f -b 4096 signature {old} {tmp}/signature",
                "rdiff -f delta {tmp}/signature {new} {tmp}/delta",
                "sh -c gzip -9 <{tmp}/delta >{patch}",
            ],
            &["sh -c gzip -d <{patch} >{tmp}/delta", "rdiff -f patch {old} {tmp}/delta {out}"],
        ),
        Tool::new(FULL, &zstd, &["zstd -q -f -19 -T2 {new} -o {patch}"], &["zstd -q -f -d {patch} -o {out}"]),
    ]
}

/// Installs the peers from Debian, and builds `HDiffPatch` into `dir/tools`.
///
/// # Errors
/// When a package or a compiler is missing.
pub fn install(dir: &Path) -> Result<()> {
    ensure(&[
        ("xdelta3", "xdelta3"),
        ("zstd", "zstd"),
        ("bsdiff", "bsdiff"),
        ("bspatch", "bsdiff"),
        ("rdiff", "rdiff"),
        ("gzip", "gzip"),
        ("g++", "g++"),
        ("make", "make"),
        ("pip3", "python3-pip"),
    ])?;
    let folder = hdiffpatch_folder(dir);
    if folder.join("hdiffz").is_file() && folder.join("hpatchz").is_file() {
        return Ok(());
    }
    let tools = dir.join("tools");
    fs::create_dir_all(&tools)?;
    let name = format!("{HDIFFPATCH_PACKAGE}-{HDIFFPATCH_PACKAGE_VERSION}");
    let mut pip = command("python3", ["-m", "pip", "download", "--quiet", "--no-deps", "--no-binary=:all:"]);
    let wish = format!("{HDIFFPATCH_PACKAGE}=={HDIFFPATCH_PACKAGE_VERSION}");
    run(pip.arg("--dest").arg(&tools).arg(wish))?;
    run(command("tar", ["-xzf"]).arg(tools.join(format!("{name}.tar.gz"))).arg("-C").arg(&tools))?;
    run(command("make", ["-s", "-j2", "XXH=0", "hdiffz", "hpatchz"]).current_dir(&folder))
}

fn hdiffpatch_folder(dir: &Path) -> PathBuf {
    let name = format!("{HDIFFPATCH_PACKAGE}-{HDIFFPATCH_PACKAGE_VERSION}");
    dir.join("tools").join(name).join("hdiffpatch/_c_src/HDiffPatch")
}

pub fn debian_version(package: &str) -> String {
    output(&mut command("dpkg-query", ["-W", "-f", "${Package} ${Version}", package]))
        .unwrap_or_else(|_| format!("{package} of unknown version"))
}

/// The commit that the workspace stands at, with a mark when files are changed.
///
/// # Errors
/// When git fails.
pub fn commit(root: &Path) -> Result<String> {
    let mut git = command("git", ["describe", "--always", "--dirty", "--abbrev=10", "--exclude=*"]);
    output(git.current_dir(root)).context("the commit of the workspace")
}

/// Whether a tool makes deltas and is not ours.
pub fn is_delta_peer(name: &str) -> bool {
    [HDIFFPATCH, HDIFFPATCH_ZSTD, XDELTA3, XDELTA3_WIDE, ZSTD, BSDIFF, RDIFF, RDIFF_512].contains(&name)
}
