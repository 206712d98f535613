//! Pairs of executables: programs from Python wheels, and files of the two Debian systems.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::data::is_built;
use crate::command::{command, ensure, run};

/// What a binary runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    X64,
    Arm64,
}

impl Architecture {
    pub const ALL: [Self; 2] = [Self::X64, Self::Arm64];

    pub const fn name(self) -> &'static str {
        match self {
            Self::X64 => "x64",
            Self::Arm64 => "arm64",
        }
    }

    const fn of_wheels(self) -> &'static str {
        match self {
            Self::X64 => "x86_64",
            Self::Arm64 => "aarch64",
        }
    }
}

/// A program in two adjacent versions of a wheel.
pub struct Program {
    pub name: &'static str,
    old: &'static str,
    new: &'static str,
    /// How the binary's file name begins; of several the largest.
    file: &'static str,
}

/// Rust (ruff, uv), C++ (cmake, duckdb) and Go (nfpm).
pub const PROGRAMS: [Program; 5] = [
    Program { name: "ruff", old: "0.17.4", new: "0.17.5", file: "ruff" },
    Program { name: "uv", old: "0.13.7", new: "0.13.8", file: "uv" },
    Program { name: "cmake", old: "4.4.3", new: "4.4.4", file: "cmake" },
    Program { name: "duckdb", old: "1.5.5", new: "1.5.6", file: "_duckdb" },
    Program { name: "nfpm", old: "2.47.0", new: "2.48.0", file: "nfpm" },
];

/// C libraries and programs that a security update of the system pair replaced.
pub const SYSTEM_BINARIES: [(&str, &str); 2] =
    [("libcrypto", "usr/lib/x86_64-linux-gnu/libcrypto.so.3"), ("python3.11", "usr/bin/python3.11")];

/// The wheels' tag of the C library that they need, by age.
const PLATFORMS: [&str; 4] = ["manylinux1", "manylinux2014", "manylinux_2_17", "manylinux_2_28"];

/// Brings both versions of every program, for both architectures, into `dir/elf`.
///
/// # Errors
/// When a wheel cannot be had or holds no such binary.
pub fn build(dir: &Path, work: &Path) -> Result<()> {
    (0..PROGRAMS.len()).try_for_each(|index| build_program(dir, work, index, &Architecture::ALL))
}

/// Brings both versions of one program of `PROGRAMS` into `dir/elf`.
///
/// # Errors
/// When a wheel cannot be had or holds no such binary.
pub fn build_program(dir: &Path, work: &Path, index: usize, architectures: &[Architecture]) -> Result<()> {
    ensure(&[("python3", "python3"), ("pip3", "python3-pip")])?;
    fs::create_dir_all(dir.join("elf"))?;
    let program = &PROGRAMS[index];
    for &architecture in architectures {
        for (age, version) in [("old", program.old), ("new", program.new)] {
            let target = dir.join(format!("elf/{}-{}-{age}", program.name, architecture.name()));
            if !is_built(&target) {
                let binary = from_wheel(work, program, version, architecture)?;
                fs::copy(&binary, &target).with_context(|| binary.display().to_string())?;
            }
        }
    }
    Ok(())
}

/// Takes the updated libraries and programs out of the two systems' trees.
///
/// # Errors
/// When a tree has no such file.
pub fn build_from_systems(dir: &Path, old: &Path, new: &Path) -> Result<()> {
    fs::create_dir_all(dir.join("elf"))?;
    for (name, path) in SYSTEM_BINARIES {
        for (age, tree) in [("old", old), ("new", new)] {
            let target = dir.join(format!("elf/{name}-x64-{age}"));
            fs::copy(tree.join(path), target).with_context(|| tree.join(path).display().to_string())?;
        }
    }
    Ok(())
}

/// The x86-64 program that the application pair replaces.
pub const fn application_name() -> &'static str {
    PROGRAMS[0].name
}

/// Where that program's old or new version stands after `build`.
pub fn application(dir: &Path, age: &str) -> PathBuf {
    dir.join(format!("elf/{}-x64-{age}", application_name()))
}

/// The application pair's program and its versions, in words.
pub fn application_text() -> String {
    let program = &PROGRAMS[0];
    format!("{} {} -> {} in /usr/local/bin", program.name, program.old, program.new)
}

fn from_wheel(work: &Path, program: &Program, version: &str, architecture: Architecture) -> Result<PathBuf> {
    let folder = work.join(format!("wheels/{}-{version}-{}", program.name, architecture.name()));
    fs::create_dir_all(&folder)?;
    let mut pip =
        command("python3", ["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]);
    pip.args(["--python-version", "3.12", "--dest"]).arg(&folder);
    for platform in PLATFORMS {
        pip.arg("--platform").arg(format!("{platform}_{}", architecture.of_wheels()));
    }
    run(pip.arg(format!("{}=={version}", program.name)))?;
    let wheel = files(&folder)?
        .into_iter()
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .context("pip left no wheel")?;
    let unpacked = folder.join("unpacked");
    run(command("python3", ["-m", "zipfile", "-e"]).arg(&wheel).arg(&unpacked))?;
    let mut binaries = Vec::new();
    for path in files(&unpacked)? {
        let named = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(program.file));
        if named && is_elf(&path)? {
            binaries.push((fs::metadata(&path)?.len(), path));
        }
    }
    let (_, largest) = binaries.into_iter().max().with_context(|| format!("no {} inside", program.file))?;
    Ok(largest)
}

fn is_elf(path: &Path) -> Result<bool> {
    let mut magic = Vec::new();
    fs::File::open(path)?.take(4).read_to_end(&mut magic)?;
    Ok(magic == b"\x7fELF")
}

/// All files below a folder.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            found.push(path);
        }
    }
    Ok(found)
}
