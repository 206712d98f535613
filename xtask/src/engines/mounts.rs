//! What engines leave mounted: the file systems of containers, namespaces, their own folders.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::command::{command, output};

/// Unmounts everything below a folder, what was mounted last first.
///
/// # Errors
/// When something stays mounted.
pub fn unmount_below(dir: &Path) -> Result<()> {
    for point in points_below(&table()?, dir).iter().rev() {
        // One unmount may take others with it; what is busy goes when its last user does.
        let _ = output(command("umount", ["--lazy"]).arg(point));
    }
    let left = points_below(&table()?, dir);
    ensure!(left.is_empty(), "still mounted: {}", left[0].display());
    Ok(())
}

fn table() -> Result<String> {
    fs::read_to_string("/proc/self/mountinfo").context("/proc/self/mountinfo")
}

/// Mount points below a folder, in the order in which they were mounted; see proc(5) for the table.
fn points_below(table: &str, dir: &Path) -> Vec<PathBuf> {
    let points = table.lines().filter_map(|line| line.split(' ').nth(4)).map(unescaped);
    points.map(PathBuf::from).filter(|point| point.starts_with(dir) && point != dir).collect()
}

/// A name of the table without its escapes.
pub fn unescaped(name: &str) -> String {
    let name = name.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n");
    name.replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_below_a_folder_are_told_from_others() {
        let table = "22 1 0:20 / /proc rw - proc proc rw\n\
                     50 22 0:50 / /e\\040x/docker rw shared:1 - ext4 /dev/vda rw\n\
                     51 50 0:51 / /e\\040x/docker/overlay2/merged rw - overlay overlay rw\n\
                     52 22 0:52 / /e\\040xy rw - tmpfs tmpfs rw\n";
        let points = points_below(table, Path::new("/e x"));
        assert_eq!(points, [Path::new("/e x/docker"), Path::new("/e x/docker/overlay2/merged")]);
        assert_eq!(points_below(table, Path::new("/e xy")), [] as [PathBuf; 0], "the folder itself stays");
    }
}
