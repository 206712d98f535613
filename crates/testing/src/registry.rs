//! Debian's `docker-registry`.

use std::fs;
use std::io::{self, BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::json;
use tempfile::TempDir;

/// A registry without the referrers API.
#[derive(Debug)]
pub struct DockerRegistry {
    process: Child,
    /// Its address and port.
    pub host: String,
    folder: TempDir,
}

impl DockerRegistry {
    /// Starts one; `None`, with a word about it, where the program is not installed.
    ///
    /// # Errors
    /// Whatever the machine reports, and a registry that ends before it listens.
    pub fn start() -> io::Result<Option<Self>> {
        let folder = tempfile::tempdir()?;
        let config = json!({
            "version": 0.1,
            "storage": { "filesystem": { "rootdirectory": folder.path().join("data") } },
            "http": { "addr": "127.0.0.1:0" },
        });
        let path = folder.path().join("config.yml");
        fs::write(&path, config.to_string())?;
        let mut command = Command::new("docker-registry");
        let mut process =
            match command.arg("serve").arg(path).stderr(Stdio::piped()).stdout(Stdio::null()).spawn() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    println!("skipped: docker-registry is not installed");
                    return Ok(None);
                }
                spawned => spawned?,
            };
        let ended = || io::Error::other("docker-registry does not tell where it listens");
        let mut lines = BufReader::new(process.stderr.take().ok_or_else(ended)?).lines();
        // It chooses a port, and tells which.
        let host = lines.by_ref().find_map(|line| {
            let line = line.ok()?;
            let (_, rest) = line.split_once("listening on ")?;
            rest.split('"').next().map(str::to_owned)
        });
        // Who does not read what it says makes it stand still.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Some(Self { process, host: host.ok_or_else(ended)?, folder }))
    }

    /// Where it keeps the content of a blob, `sha256:` and its digest.
    pub fn blob_path(&self, digest: &str) -> PathBuf {
        let hex = digest.trim_start_matches("sha256:");
        let path = format!("data/docker/registry/v2/blobs/sha256/{hex:.2}/{hex}/data");
        self.folder.path().join(path)
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
