//! File-system images of the trees, made from their tars by the tools of a Debian release.
//!
//! The tools come from trixie, in a folder of their own, so that their versions (squashfs-tools with
//! libzstd 1.5.7, erofs-utils 1.8 with zstd) do not depend on the machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::data::{is_built, part};
use super::system::{Mirrors, bootstrap};
use crate::command::run;

const TOOLS: [&str; 4] = ["squashfs-tools", "erofs-utils", "e2fsprogs", "libarchive13t64"];
const UUID: &str = "6f1a0f5e-0000-4000-8000-000000000001";
const HASH_SEED: &str = "6f1a0f5e-0000-4000-8000-000000000002";
/// A partition has room to grow: a tenth more than the tar, rounded up to this.
const PARTITION_STEP_BYTES: u64 = 64 << 20;

/// How a tree is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    Tar,
    Ext4,
    Squashfs,
    ErofsLz4hc,
    ErofsZstd,
}

impl Kind {
    pub const ALL: [Self; 5] = [Self::Tar, Self::Ext4, Self::Squashfs, Self::ErofsLz4hc, Self::ErofsZstd];

    pub const fn extension(self) -> &'static str {
        match self {
            Self::Tar => "tar",
            Self::Ext4 => "ext4",
            Self::Squashfs => "squashfs",
            Self::ErofsLz4hc => "erofs-lz4hc",
            Self::ErofsZstd => "erofs-zstd",
        }
    }

    pub fn file_name(self, tree: &str) -> String {
        format!("{tree}.{}", self.extension())
    }
}

/// The folder that the image tools run from.
pub struct Toolbox {
    root: PathBuf,
}

impl Toolbox {
    /// Installs the tools into `work/toolbox`.
    ///
    /// # Errors
    /// When mmdebstrap fails.
    pub fn install(work: &Path, mirrors: &Mirrors) -> Result<Self> {
        let root = work.join("toolbox");
        if !root.exists() {
            bootstrap(&root, &[mirrors.source("trixie")], "trixie", 0, &TOOLS)?;
        }
        Ok(Self { root })
    }

    /// A tool, run with its own libraries: through its loader, so that nothing is mounted.
    fn tool(&self, path: &str, epoch: u64) -> Command {
        let mut tool = Command::new(self.root.join("usr/lib64/ld-linux-x86-64.so.2"));
        tool.arg("--library-path").arg(self.root.join("usr/lib/x86_64-linux-gnu"));
        tool.arg(self.root.join(path));
        tool.env("SOURCE_DATE_EPOCH", epoch.to_string());
        tool.env("MKE2FS_CONFIG", self.root.join("etc/mke2fs.conf"));
        tool
    }

    /// Makes `dir/NAME.KIND` from `dir/NAME.tar`, the same bytes every time.
    ///
    /// # Errors
    /// When the tool fails.
    pub fn build(&self, kind: Kind, dir: &Path, name: &str, epoch: u64) -> Result<()> {
        let target = dir.join(kind.file_name(name));
        if is_built(&target) {
            return Ok(());
        }
        let tar = dir.join(Kind::Tar.file_name(name));
        let image = part(&target);
        if image.exists() {
            fs::remove_file(&image)?;
        }
        match kind {
            Kind::Tar => anyhow::bail!("{} has not been packed", tar.display()),
            Kind::Ext4 => self.ext4(&tar, &image, epoch)?,
            Kind::Squashfs => self.squashfs(&tar, &image, epoch)?,
            Kind::ErofsLz4hc => self.erofs(&tar, &image, epoch, &["-zlz4hc"])?,
            Kind::ErofsZstd => self.erofs(&tar, &image, epoch, &["-zzstd", "-C65536"])?,
        }
        fs::rename(&image, &target).with_context(|| target.display().to_string())
    }

    fn ext4(&self, tar: &Path, image: &Path, epoch: u64) -> Result<()> {
        let len = (fs::metadata(tar)?.len() * 11 / 10).next_multiple_of(PARTITION_STEP_BYTES);
        fs::File::create(image)?.set_len(len)?;
        let mut mke2fs = self.tool("usr/sbin/mke2fs", epoch);
        mke2fs.args(["-q", "-t", "ext4", "-m", "0", "-L", "rootfs", "-U", UUID]);
        mke2fs.args(["-E", &format!("hash_seed={HASH_SEED}"), "-d"]);
        run(mke2fs.arg(tar).arg(image))
    }

    fn squashfs(&self, tar: &Path, image: &Path, epoch: u64) -> Result<()> {
        let mut sqfstar = self.tool("usr/bin/sqfstar", epoch);
        sqfstar.args(["-quiet", "-no-progress", "-comp", "zstd", "-Xcompression-level", "15"]).arg(image);
        run(sqfstar.stdin(Stdio::from(fs::File::open(tar)?)))
    }

    fn erofs(&self, tar: &Path, image: &Path, epoch: u64, codec: &[&str]) -> Result<()> {
        let mut mkfs = self.tool("usr/bin/mkfs.erofs", epoch);
        mkfs.args(["--quiet", "--tar=f", "--mkfs-time", "-U", UUID]).arg(format!("-T{epoch}")).args(codec);
        run(mkfs.arg(image).arg(tar))
    }
}
