//! Images that `fluvial` makes, in real engines: `cargo xtask engines` runs them, and `FLUVIAL_ENGINES` names
//! their folder.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::image::docker_archive;
use crate::support::{Workplace, noise};

/// The engines that run beside the tests.
struct Engines {
    dir: PathBuf,
    endpoints: Value,
}

impl Engines {
    /// Those that `FLUVIAL_ENGINES` names; `None`, and a word about it, where it names none.
    fn find() -> Option<Self> {
        let Some(dir) = std::env::var_os("FLUVIAL_ENGINES").map(PathBuf::from) else {
            eprintln!("not tested: FLUVIAL_ENGINES is not set (cargo xtask engines start DIR)");
            return None;
        };
        let endpoints = serde_json::from_slice(&std::fs::read(dir.join("engines.json")).unwrap()).unwrap();
        Some(Self { dir, endpoints })
    }

    fn endpoint(&self, name: &str) -> &str {
        self.endpoints[name].as_str().unwrap()
    }

    /// Docker's own command line.
    fn docker(&self) -> Command {
        let mut docker = Command::new("docker");
        docker.arg("--host").arg(format!("unix://{}", self.endpoint("docker_sock")));
        docker
    }

    /// Podman's own command line, on what the service sees.
    fn podman(&self) -> Command {
        let mut podman = Command::new("podman");
        podman.args(["--root", self.endpoint("podman_root"), "--runroot", self.endpoint("podman_runroot")]);
        podman.env("CONTAINERS_CONF", self.endpoint("containers_conf"));
        podman.env("CONTAINERS_REGISTRIES_CONF", self.endpoint("containers_registries_conf"));
        podman
    }
}

/// What a command prints, which must succeed.
fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text.trim().to_owned()
}

#[test]
fn an_image_that_was_made_is_loaded_under_its_own_id_and_runs() {
    let Some(engines) = Engines::find() else { return };
    let busybox = std::fs::read("/bin/busybox").unwrap();
    let layer = |text: &str| {
        let mut builder = tar::Builder::new(Vec::new());
        let files =
            [("bin/busybox", busybox.as_slice()), ("word", text.as_bytes()), ("data", &noise(7, 9000))];
        for (path, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o755);
            header.set_size(content.len() as u64);
            builder.append_data(&mut header, path, content).unwrap();
        }
        builder.into_inner().unwrap()
    };
    let place = Workplace::new();
    // A name of its own: other tests may use the same engines.
    let name = format!("made-{}:1", std::process::id());
    place.write("old.tar", &docker_archive(&name, &[layer("old word")]));
    place.write("new.tar", &docker_archive(&name, &[layer("new word")]));
    place.json(&["image", "diff", "docker-archive:old.tar", "docker-archive:new.tar", "-o", "patch"]);
    let made = format!("docker-archive:made.tar:{name}");
    let outcome = place.json(&["image", "apply", "docker-archive:old.tar", "patch", "--to", &made]);

    for (engine, mut load, mut inspect, mut run, mut remove) in [
        ("docker", engines.docker(), engines.docker(), engines.docker(), engines.docker()),
        ("podman", engines.podman(), engines.podman(), engines.podman(), engines.podman()),
    ] {
        said(load.args(["load", "--input"]).arg(place.path("made.tar")));
        let id = said(inspect.args(["image", "inspect", "--format", "{{.Id}}", &name]));
        let id = id.trim_start_matches("sha256:");
        assert_eq!(json!(format!("sha256:{id}")), outcome["image_digest"], "{engine}");
        let word = said(run.args(["run", "--rm", "--entrypoint", "/bin/busybox", &name, "cat", "/word"]));
        assert_eq!(word, "new word", "{engine}");
        said(remove.args(["rmi", &name]));
    }
    assert!(engines.dir.join("engines.json").is_file(), "they are still there for other tests");
}
