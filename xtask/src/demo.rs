//! `cargo xtask demo`: the main job on real data, in a minute and without root: two adjacent versions of a real
//! program, a patch between them, and the new version made again from the old and the patch.

use std::fs;
use std::path::Path;

use anyhow::{Result, bail};

use crate::bench::{Architecture, application, build_fluvial, build_program, same_bytes};
use crate::command::{command, run, workspace_root};

/// Runs the demonstration in `target/demo`.
///
/// # Errors
/// When the program cannot be had, or a step fails, or the result is not the new version.
pub fn show() -> Result<()> {
    let dir = workspace_root().join("target/demo");
    let work = dir.join("work");
    fs::create_dir_all(&work)?;
    build_program(&dir, &work, 0, &[Architecture::X64])?;
    let fluvial = build_fluvial()?;
    let (old, new) = (application(&dir, "old"), application(&dir, "new"));
    let (patch, result) = (dir.join("old-to-new.patch"), dir.join("result"));
    for file in [&patch, &result] {
        if file.exists() {
            fs::remove_file(file)?;
        }
    }
    run(command(&fluvial, ["diff"]).arg(&old).arg(&new).arg("-o").arg(&patch))?;
    run(command(&fluvial, ["inspect"]).arg(&patch))?;
    run(command(&fluvial, ["apply"]).arg(&old).arg(&patch).arg("-o").arg(&result))?;
    if !same_bytes(&result, &new)? {
        bail!("{} is not {}", result.display(), new.display());
    }
    let len = |path: &Path| fs::metadata(path).map(|metadata| metadata.len());
    println!(
        "{} bytes of patch instead of {}; the result is the new version, byte for byte.",
        len(&patch)?,
        len(&new)?
    );
    Ok(())
}
