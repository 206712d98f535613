//! How each engine is set up and started, and when it is up.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;

use super::process::Marker;
use crate::command::{command, output};

/// How long an engine may take to answer.
const UP_WITHIN: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(50);
/// How long one question waits for its answer, in seconds.
const ANSWER_WITHIN_S: &str = "2";
/// The longest name that a socket can have; see unix(7).
const SOCKET_NAME_BYTES_MAX: usize = 107;
/// Containers get no higher limits than this: podman's own default is more than some machines allow.
const LIMIT_MAX: u64 = 20_000;
/// A port that is free when it is looked for may be taken when it is used.
const PORTS_TRIED: usize = 5;
/// How much of a log an error shows.
const LOG_LINES: usize = 12;

/// How to reach the engines.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Endpoints {
    pub docker_sock: PathBuf,
    pub podman_sock: PathBuf,
    /// Address and port; plain HTTP.
    pub registry: String,
    /// What podman's own command line needs to see the same images as the service.
    pub podman_root: PathBuf,
    pub podman_runroot: PathBuf,
    pub containers_conf: PathBuf,
    pub containers_registries_conf: PathBuf,
}

/// Starts all of them, and waits until each answers.
///
/// # Errors
/// When one does not come up; the others may run then.
pub fn start_all(dir: &Path, marker: &Marker) -> Result<Endpoints> {
    let endpoints = Endpoints {
        docker_sock: dir.join("docker.sock"),
        podman_sock: dir.join("podman.sock"),
        registry: String::new(),
        podman_root: dir.join("podman"),
        podman_runroot: dir.join("podman-run"),
        containers_conf: dir.join("containers.conf"),
        containers_registries_conf: dir.join("registries.conf"),
    };
    for socket in [&endpoints.docker_sock, &endpoints.podman_sock] {
        let len = socket.as_os_str().len();
        ensure!(len <= SOCKET_NAME_BYTES_MAX, "{}: too long a name for a socket", socket.display());
    }
    fs::write(&endpoints.containers_conf, containers_conf(dir)?)?;
    let registries = "[[registry]]\nlocation = \"127.0.0.1\"\ninsecure = true\n";
    fs::write(&endpoints.containers_registries_conf, registries)?;

    let mut dockerd = marker.spawn("dockerd", &dockerd(dir, &endpoints)?)?;
    let mut service = podman(&endpoints);
    service.args(["system", "service", "--time=0"]).arg(unix(&endpoints.podman_sock));
    let mut podman = marker.spawn("podman", &service)?;
    let registry = start_registry(dir, marker)?;
    let ping = "http://engine/_ping";
    wait(marker, "dockerd", &mut dockerd, || answers(Some(&endpoints.docker_sock), ping))?;
    wait(marker, "podman", &mut podman, || answers(Some(&endpoints.podman_sock), ping))?;
    Ok(Endpoints { registry, ..endpoints })
}

/// Ends podman's containers: its monitors outlive the service. dockerd ends its own.
pub fn end_containers(dir: &Path, marker: &Marker) {
    let endpoints = Endpoints {
        podman_root: dir.join("podman"),
        podman_runroot: dir.join("podman-run"),
        containers_conf: dir.join("containers.conf"),
        containers_registries_conf: dir.join("registries.conf"),
        ..Endpoints::default()
    };
    if !endpoints.podman_root.join("overlay-containers/containers.json").is_file() {
        return;
    }
    // What this leaves is ended as a process; it only does it more gently.
    if let Err(error) = output(podman(&endpoints).args(["stop", "--all", "--time=1"])) {
        let _ = fs::write(marker.log("podman-stop"), format!("{error:#}\n"));
    }
}

fn dockerd(dir: &Path, endpoints: &Endpoints) -> Result<Command> {
    // Not the machine's own settings.
    let config = dir.join("daemon.json");
    fs::write(&config, "{}\n")?;
    let mut dockerd = command("dockerd", ["--config-file"]);
    dockerd.arg(config).arg("--data-root").arg(dir.join("docker"));
    dockerd.arg("--exec-root").arg(dir.join("docker-exec")).arg("--pidfile").arg(dir.join("dockerd.pid"));
    dockerd.arg("--host").arg(unix(&endpoints.docker_sock));
    // The machine's own network stays as it is.
    dockerd.args(["--iptables=false", "--ip6tables=false", "--bridge=none"]);
    Ok(dockerd)
}

fn podman(endpoints: &Endpoints) -> Command {
    let mut podman = command("podman", ["--root"]);
    podman.arg(&endpoints.podman_root).arg("--runroot").arg(&endpoints.podman_runroot);
    podman.env("CONTAINERS_CONF", &endpoints.containers_conf);
    podman.env("CONTAINERS_REGISTRIES_CONF", &endpoints.containers_registries_conf);
    podman
}

/// Podman's settings; see containers.conf(5). No network, as there may be none; runc, as crun refuses machines
/// with both versions of cgroups.
fn containers_conf(dir: &Path) -> Result<String> {
    let limits = fs::read_to_string("/proc/self/limits").context("/proc/self/limits")?;
    let limit = hard_limit(&limits, "Max open files").map_or(LIMIT_MAX, |limit| limit.min(LIMIT_MAX));
    let dir = dir.display();
    Ok(format!(
        "[containers]\n\
         default_ulimits = [\"nofile={limit}:{limit}\", \"nproc={limit}:{limit}\"]\n\
         netns = \"none\"\n\
         [engine]\n\
         runtime = \"runc\"\n\
         cgroup_manager = \"cgroupfs\"\n\
         events_logger = \"file\"\n\
         lock_type = \"file\"\n\
         tmp_dir = \"{dir}/podman-tmp\"\n\
         static_dir = \"{dir}/podman-static\"\n\
         volume_path = \"{dir}/podman-volumes\"\n\
         [network]\n\
         network_config_dir = \"{dir}/podman-networks\"\n"
    ))
}

/// A hard limit from /proc/self/limits; none when it is unlimited.
fn hard_limit(limits: &str, name: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn start_registry(dir: &Path, marker: &Marker) -> Result<String> {
    let config = dir.join("registry.yml");
    let mut failure = None;
    for _ in 0..PORTS_TRIED {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        fs::write(&config, registry_yml(dir, &address))?;
        let mut serve = command("docker-registry", ["serve"]);
        let mut registry = marker.spawn("registry", serve.arg(&config))?;
        let url = format!("http://{address}/v2/");
        match wait(marker, "registry", &mut registry, || answers(None, &url)) {
            Ok(()) => return Ok(address),
            Err(error) => failure = Some(error),
        }
        let has_ended = registry.try_wait()?.is_some();
        ensure!(has_ended, "the registry hangs");
    }
    Err(failure.unwrap_or_else(|| anyhow::anyhow!("no port is free")))
}

fn registry_yml(dir: &Path, address: &str) -> String {
    let dir = dir.display();
    format!(
        "version: 0.1\n\
         log: {{level: warn, accesslog: {{disabled: true}}}}\n\
         storage: {{filesystem: {{rootdirectory: \"{dir}/registry\"}}, delete: {{enabled: true}}}}\n\
         http: {{addr: \"{address}\"}}\n"
    )
}

fn unix(socket: &Path) -> String {
    format!("unix://{}", socket.display())
}

/// Whether something answers a question with success.
fn answers(socket: Option<&Path>, url: &str) -> bool {
    let mut curl = command("curl", ["--silent", "--fail", "--max-time", ANSWER_WITHIN_S, "--noproxy", "*"]);
    if let Some(socket) = socket {
        curl.arg("--unix-socket").arg(socket);
    }
    output(curl.arg(url)).is_ok()
}

fn wait(marker: &Marker, name: &str, child: &mut Child, is_up: impl Fn() -> bool) -> Result<()> {
    let start = Instant::now();
    while !is_up() {
        if let Some(status) = child.try_wait()? {
            bail!("{name} ended: {status}\n{}", end_of(&marker.log(name)));
        }
        if start.elapsed() > UP_WITHIN {
            bail!("{name} does not answer\n{}", end_of(&marker.log(name)));
        }
        sleep(POLL);
    }
    // Somebody else may answer in its place, as where a port was taken meanwhile.
    if let Some(status) = child.try_wait()? {
        bail!("{name} ended: {status}\n{}", end_of(&marker.log(name)));
    }
    Ok(())
}

fn end_of(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hard_limit_is_the_second_number() {
        let limits = "Limit            Soft Limit  Hard Limit  Units\n\
                      Max open files   1024        20000       files\n\
                      Max processes    unlimited   unlimited   processes\n";
        assert_eq!(hard_limit(limits, "Max open files"), Some(20_000));
        assert_eq!(hard_limit(limits, "Max processes"), None);
    }

    #[test]
    fn a_service_that_ends_is_told_with_what_it_said() {
        let folder = tempfile::tempdir().unwrap();
        let marker = Marker::new(folder.path());
        let mut child = marker.spawn("broken", &command("sh", ["-c", "echo no disk; exit 3"])).unwrap();
        let error = wait(&marker, "broken", &mut child, || false).unwrap_err().to_string();
        assert!(error.contains("no disk") && error.contains('3'), "{error}");
    }
}
