//! `fluvial image` on real engines.
//!
//! `FLUVIAL_ENGINES` names the folder in which `cargo xtask engines` has started them; without it these tests
//! say so and do nothing, as they do without `dockerd`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::images::{Files, config, docker_archive, hex, layer, program};
use crate::support::{Workplace, can, noise, text, tool};

/// Where an engine listens, and how references name it.
#[derive(Clone)]
struct Socket {
    transport: &'static str,
    path: PathBuf,
}

fn sockets() -> Vec<Socket> {
    let Some(folder) = std::env::var_os("FLUVIAL_ENGINES").map(PathBuf::from) else {
        println!("skipped: FLUVIAL_ENGINES names no engines, see `cargo xtask engines`");
        return Vec::new();
    };
    let endpoints: Value = serde_json::from_slice(&fs::read(folder.join("engines.json")).unwrap()).unwrap();
    let socket = |transport, key: &str| Socket { transport, path: endpoints[key].as_str().unwrap().into() };
    vec![socket("docker-daemon", "docker_sock"), socket("podman", "podman_sock")]
}

impl Socket {
    /// Docker's own command, which Podman's service understands too.
    fn docker(&self, arguments: &[&str]) -> String {
        let host = format!("unix://{}", self.path.display());
        text(&tool(Command::new("docker").args(["-H", &host]).args(arguments)).stdout).trim().to_owned()
    }

    fn inspect(&self, name: &str) -> Value {
        serde_json::from_str::<Value>(&self.docker(&["image", "inspect", name])).unwrap()[0].take()
    }

    fn has(&self, name: &str) -> bool {
        let host = format!("unix://{}", self.path.display());
        let inspected =
            Command::new("docker").args(["-H", &host, "image", "inspect", name]).output().unwrap();
        inspected.status.success()
    }

    fn reference(&self, name: &str) -> String {
        format!("{}:{name}", self.transport)
    }

    fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }
}

/// An old and a new image that no other test has: a base, an application that says which it is, and `len`
/// bytes of data that change a little.
fn pair(seed: u64, len: usize) -> [Vec<Vec<u8>>; 2] {
    let base: Files = (0..20).map(|i| (format!("usr/lib/base{i}"), noise(100 * seed + i, 3000))).collect();
    let app = |version: u64| -> Files {
        let mut data = noise(100 * seed + 50, len);
        for at in (0..len).step_by(5_000) {
            data[at] ^= version as u8;
        }
        vec![("app".into(), program(&format!("this is {version}"))), ("srv/data".into(), data)]
    };
    let gone: Files = vec![("usr/lib/.wh.base7".into(), Vec::new())];
    let base = layer(&base);
    [vec![base.clone(), layer(&app(1))], vec![base, layer(&app(2)), layer(&gone)]]
}

/// A workplace with both images, a patch between them, and the old one in the engine.
fn prepare(socket: &Socket, seed: u64, len: usize) -> (Workplace, [Vec<Vec<u8>>; 2], [String; 2]) {
    let work = Workplace::new();
    let images = pair(seed, len);
    let names = [1, 2].map(|version| format!("localhost/test{seed}:{version}"));
    for (index, file) in ["old.tar", "new.tar"].iter().enumerate() {
        work.write(file, &docker_archive(&names[index], &images[index]));
    }
    socket.docker(&["load", "-i", work.path("old.tar").to_str().unwrap()]);
    work.json(&["image", "diff", "docker-archive:old.tar", "docker-archive:new.tar", "-o", "patch"]);
    (work, images, names)
}

/// The arguments of `image apply` from the old image to the new one in the same engine.
fn apply<'a>(socket: &'a Socket, from: &'a str, to: &'a str) -> [&'a str; 9] {
    ["image", "apply", from, "patch", "--to", to, "--engine-socket", socket.path(), "--work-folder=."]
}

#[test]
fn an_engine_gets_the_image_of_a_pull() {
    for (index, socket) in sockets().iter().enumerate() {
        let (work, images, [old, new]) = prepare(socket, 1 + index as u64, 300_000);
        let (from, to) = (socket.reference(&old), socket.reference(&new));
        let arguments = apply(socket, &from, &to);
        let made = work.json(&arguments);
        let id = format!("sha256:{}", hex(&config(&images[1])));
        assert_eq!((&made["image_digest"], &made["layers_made"]), (&json!(id), &json!(2)));
        let inspected = socket.inspect(&new);
        assert_eq!(inspected["Id"].as_str().unwrap().trim_start_matches("sha256:"), &id[7..]);
        assert_eq!(inspected["RootFS"]["Layers"].as_array().unwrap().len(), 3);
        assert_eq!(socket.docker(&["run", "--rm", "--network=none", &new]), "this is 2");
        assert_eq!(socket.docker(&["run", "--rm", "--network=none", &old]), "this is 1", "it is still there");
        // A second run finds it.
        assert_eq!(work.json(&arguments)["layers_made"], 0);
        assert_eq!(work.names(), ["new.tar", "old.tar", "patch"]);

        // What the engine has can be written to files, and compared.
        let applied = [
            "image",
            "apply",
            &from,
            "patch",
            "--to",
            "docker-archive:made.tar",
            "--engine-socket",
            socket.path(),
        ];
        work.json(&applied);
        let compared =
            ["image", "diff", "docker-archive:made.tar", &to, "-o", "none", "--engine-socket", socket.path()];
        assert_eq!(work.json(&compared)["layers_made"], 0);
        socket.docker(&["rmi", "-f", &new, &old]);
    }
}

#[test]
fn an_engine_gets_a_published_image() {
    for (index, socket) in sockets().iter().enumerate() {
        let (work, images, [old, new]) = prepare(socket, 90 + index as u64, 300_000);
        work.json(&["image", "publish", "docker-archive:new.tar", "--to", "site"]);
        let digest = hex(&config(&images[1]));
        let (from, to, url) = (socket.reference(&old), socket.reference(&new), format!("site/{digest}"));
        let arguments =
            ["image", "fetch", &from, &url, "--to", &to, "--engine-socket", socket.path(), "--work-folder=."];
        let made = work.json(&arguments);
        assert_eq!(made["layers_made"], 2);
        assert!(made["found_bytes"].as_u64().unwrap() > 100_000, "{made}");
        let inspected = socket.inspect(&new);
        assert_eq!(inspected["Id"].as_str().unwrap().trim_start_matches("sha256:"), digest);
        assert_eq!(socket.docker(&["run", "--rm", "--network=none", &new]), "this is 2");
        assert_eq!(work.json(&arguments)["layers_made"], 0, "a second run finds it");
        assert_eq!(work.names(), ["new.tar", "old.tar", "patch", "site"]);
        socket.docker(&["rmi", "-f", &new, &old]);
    }
}

#[test]
fn layers_that_stand_on_others_are_sent_again() {
    for (index, socket) in sockets().iter().enumerate() {
        let (work, [old, _], [old_name, new_name]) = prepare(socket, 11 + index as u64, 50_000);
        // The application's layer stays, the base below it changes.
        let new = [layer(&vec![("usr/lib/base0".into(), noise(9, 3000))]), old[1].clone()];
        work.write("new.tar", &docker_archive(&new_name, &new));
        work.json(&["image", "diff", "docker-archive:old.tar", "docker-archive:new.tar", "-o", "patch"]);
        let (from, to) = (socket.reference(&old_name), socket.reference(&new_name));
        assert_eq!(work.json(&apply(socket, &from, &to))["layers_made"], 1);
        assert_eq!(socket.docker(&["run", "--rm", "--network=none", &new_name]), "this is 1");
        socket.docker(&["rmi", "-f", &new_name, &old_name]);
    }
}

#[test]
fn a_file_of_the_old_image_that_was_changed_is_noticed() {
    for (index, socket) in sockets().iter().enumerate() {
        let (work, _, [old, new]) = prepare(socket, 21 + index as u64, 50_000);
        let (from, to) = (socket.reference(&old), socket.reference(&new));
        let upper = socket.inspect(&old)["GraphDriver"]["Data"]["UpperDir"].as_str().unwrap().to_owned();
        let data = Path::new(&upper).join("srv/data");
        let before = fs::read(&data).unwrap();
        let mut changed = before.clone();
        changed[40_000] ^= 1;
        fs::write(&data, &changed).unwrap();
        assert_eq!(work.fault(&apply(socket, &from, &to)), ("wrong_source".into(), 13));
        fs::remove_file(&data).unwrap();
        assert_eq!(work.fault(&apply(socket, &from, &to)), ("wrong_source".into(), 13));
        // A link out of the image is not followed.
        let outside = work.write("outside", &changed);
        std::os::unix::fs::symlink(&outside, &data).unwrap();
        assert_eq!(work.fault(&apply(socket, &from, &to)), ("wrong_source".into(), 13));
        assert!(!socket.has(&new));
        // Where it leads to the right bytes, the engine may find the layer's tar there, which is compared with
        // its diff id; nothing else is made of it.
        fs::write(outside, &before).unwrap();
        if work.fluvial(&apply(socket, &from, &to)).output().unwrap().status.success() {
            assert_eq!(socket.docker(&["run", "--rm", "--network=none", &new]), "this is 2");
            socket.docker(&["rmi", "-f", &new]);
        }
        fs::remove_file(&data).unwrap();
        fs::write(&data, &before).unwrap();
        work.json(&apply(socket, &from, &to));
        socket.docker(&["rmi", "-f", &new, &old]);
        assert_eq!(work.fault(&apply(socket, &from, &to)).0, "usage", "the old image is gone");
    }
}

#[test]
fn what_the_storage_says_of_a_file_may_differ_from_the_layer() {
    for (index, socket) in sockets().iter().enumerate() {
        let (work, _, [old, new]) = prepare(socket, 51 + index as u64, 50_000);
        let (from, to) = (socket.reference(&old), socket.reference(&new));
        let upper = socket.inspect(&old)["GraphDriver"]["Data"]["UpperDir"].as_str().unwrap().to_owned();
        let data = fs::File::options().write(true).open(Path::new(&upper).join("srv/data")).unwrap();
        data.set_modified(std::time::SystemTime::now()).unwrap();
        // The engine knows what the layer said.
        assert_eq!(work.json(&apply(socket, &from, &to))["layers_made"], 2);
        assert_eq!(socket.docker(&["run", "--rm", "--network=none", &new]), "this is 2");
        assert_eq!(work.names(), ["new.tar", "old.tar", "patch"]);
        socket.docker(&["rmi", "-f", &new, &old]);
    }
}

#[test]
fn the_old_image_may_go_meanwhile() {
    for (index, socket) in sockets().iter().enumerate() {
        let (work, _, [old, new]) = prepare(socket, 61 + index as u64, 12_000_000);
        let (from, to) = (socket.reference(&old), socket.reference(&new));
        let arguments = apply(socket, &from, &to);
        let mut failed = 0;
        for step in 0.. {
            let child = work.start(&arguments);
            std::thread::sleep(Duration::from_millis(30 * step * step));
            socket.docker(&["rmi", "-f", &old]);
            let output = child.wait_with_output().unwrap();
            if output.status.success() {
                assert_eq!(socket.docker(&["run", "--rm", "--network=none", &new]), "this is 2");
                break;
            }
            assert!(!socket.has(&new), "{}", text(&output.stderr));
            let code = output.status.code().unwrap();
            assert!([2, 13, 20].contains(&code), "{code}: {}", text(&output.stderr));
            failed += 1;
            socket.docker(&["load", "-i", work.path("old.tar").to_str().unwrap()]);
        }
        assert!(failed > 0, "it was never gone too early");
        socket.docker(&["rmi", "-f", &new]);
    }
}

#[test]
fn a_run_that_is_killed_leaves_the_engine_as_it_was() {
    for (index, socket) in sockets().iter().enumerate() {
        let (work, _, [old, new]) = prepare(socket, 31 + index as u64, 12_000_000);
        let (from, to) = (socket.reference(&old), socket.reference(&new));
        let arguments = apply(socket, &from, &to);
        let mut wait_ms = 40;
        loop {
            let mut child = work.start(&arguments);
            std::thread::sleep(Duration::from_millis(wait_ms));
            child.kill().unwrap();
            if child.wait().unwrap().success() || socket.has(&new) {
                break;
            }
            wait_ms += wait_ms / 2;
        }
        let made = work.json(&arguments);
        assert!(socket.has(&new), "{made}");
        assert_eq!(socket.docker(&["run", "--rm", "--network=none", &new]), "this is 2");
        assert!(wait_ms > 40, "no run was killed");
        socket.docker(&["rmi", "-f", &new, &old]);
    }
}

#[test]
fn what_a_killed_run_has_made_is_used() {
    let [old, new] = pair(41, 12_000_000);
    let work = Workplace::new();
    work.write("old.tar", &docker_archive("app:1", &old));
    work.write("new.tar", &docker_archive("app:2", &new));
    work.json(&["image", "diff", "docker-archive:old.tar", "docker-archive:new.tar", "-o", "patch"]);
    for to in ["docker-archive:made.tar", "oci:made"] {
        let arguments = ["image", "apply", "docker-archive:old.tar", "patch", "--to", to];
        let mut resumed = 0;
        for wait_ms in (10..).step_by(10) {
            let mut child = work.start(&arguments);
            std::thread::sleep(Duration::from_millis(wait_ms));
            child.kill().unwrap();
            if child.wait().unwrap().success() {
                break;
            }
            let journals = fs::read_dir(work.path(".")).unwrap().flatten();
            resumed +=
                journals.filter(|entry| entry.file_name().to_string_lossy().ends_with(".journal")).count();
        }
        let made = work.json(&arguments);
        assert_eq!(made["image_digest"], format!("sha256:{}", hex(&config(&new))));
        println!("{to}: {resumed} runs left a journal");
        assert!(!work.names().iter().any(|name| name.contains(".part")), "{:?}", work.names());
    }
}

/// A dockerd that may be killed.
struct OwnDockerd {
    folder: tempfile::TempDir,
    child: Child,
    socket: Socket,
}

impl OwnDockerd {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("docker.sock");
        let child = Self::spawn(folder.path());
        let this = Self { child, socket: Socket { transport: "docker-daemon", path }, folder };
        this.wait();
        this
    }

    fn spawn(folder: &Path) -> Child {
        let log = fs::File::create(folder.join("log")).unwrap();
        let at = |name: &str| folder.join(name).into_os_string().into_string().unwrap();
        let mut command = Command::new("dockerd");
        command.args(["--data-root", &at("data"), "--exec-root", &at("exec"), "--pidfile", &at("pid")]);
        command.args(["-H", &format!("unix://{}", at("docker.sock")), "--bridge=none"]);
        command.args(["--iptables=false", "--ip6tables=false"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap()
    }

    fn wait(&self) {
        let began = Instant::now();
        while !self.answers() {
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(began.elapsed() < Duration::from_mins(1), "dockerd does not answer: {log}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn answers(&self) -> bool {
        let host = format!("unix://{}", self.socket.path());
        Command::new("docker").args(["-H", &host, "info"]).output().unwrap().status.success()
    }

    /// Kills it, and with it its containerd, and starts it again.
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        // Where nobody collects dead processes, they would be taken for living ones.
        for name in ["pid", "docker.sock", "exec/containerd/containerd.pid"] {
            let _ = fs::remove_file(self.folder.path().join(name));
        }
        std::thread::sleep(Duration::from_millis(200));
        self.child = Self::spawn(self.folder.path());
        self.wait();
    }

    /// Whether an archive with pipes has begun to be loaded.
    fn is_loading(&self) -> bool {
        let imports = fs::read_dir(self.folder.path().join("data/tmp")).into_iter().flatten().flatten();
        imports.flat_map(|import| fs::read_dir(import.path())).flatten().flatten().any(|member| {
            use std::os::unix::fs::FileTypeExt as _;
            member.file_type().is_ok_and(|kind| kind.is_fifo())
        })
    }
}

impl Drop for OwnDockerd {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.child.id().to_string()).output();
        let _ = self.child.wait();
        let pid = fs::read_to_string(self.folder.path().join("exec/containerd/containerd.pid"));
        let _ = Command::new("kill").arg(pid.unwrap_or_default().trim()).output();
        let _ = Command::new("umount").arg(self.folder.path().join("data")).output();
    }
}

#[test]
fn an_engine_that_is_killed_while_it_loads_gets_the_image_later() {
    if !can("dockerd", true) || std::env::var_os("FLUVIAL_ENGINES").is_none() {
        return;
    }
    let mut dockerd = OwnDockerd::start();
    let socket = dockerd.socket.clone();
    let (work, _, [old, new]) = prepare(&socket, 51, 60_000_000);
    let (from, to) = (socket.reference(&old), socket.reference(&new));
    let arguments = apply(&socket, &from, &to);
    let child = work.start(&arguments);
    let began = Instant::now();
    while !dockerd.is_loading() {
        assert!(began.elapsed() < Duration::from_mins(1), "it never loads");
        std::thread::sleep(Duration::from_millis(1));
    }
    dockerd.kill();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(20), "{}", text(&output.stderr));
    assert!(!socket.has(&new) && socket.has(&old));
    work.json(&arguments);
    assert_eq!(socket.docker(&["image", "inspect", "-f", "{{len .RootFS.Layers}}", &new]), "3");
    assert_eq!(work.names(), ["new.tar", "old.tar", "patch"]);
}
