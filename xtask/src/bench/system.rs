//! Debian root file systems as an embedded product would build them: one run of mmdebstrap each.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::data::{is_built, part};
use super::image::Kind;
use crate::command::{command, output, run};

/// What the product's image installs; with dependencies 300 packages in bookworm.
const PACKAGES: [&str; 57] = [
    "avahi-daemon",
    "bluez",
    "ca-certificates",
    "containerd",
    "cron",
    "cryptsetup-bin",
    "curl",
    "dbus",
    "dosfstools",
    "e2fsprogs",
    "ethtool",
    "gnupg",
    "htop",
    "initramfs-tools",
    "iproute2",
    "iptables",
    "iputils-ping",
    "iw",
    "jq",
    "kmod",
    "less",
    "linux-image-cloud-amd64",
    "locales",
    "logrotate",
    "lsof",
    "modemmanager",
    "mosquitto",
    "nano",
    "network-manager",
    "nftables",
    "nginx",
    "openssh-server",
    "openssl",
    "parted",
    "pciutils",
    "python3",
    "python3-requests",
    "python3-yaml",
    "rsync",
    "socat",
    "sqlite3",
    "strace",
    "sudo",
    "systemd",
    "systemd-resolved",
    "systemd-sysv",
    "systemd-timesyncd",
    "tcpdump",
    "tmux",
    "tzdata",
    "udev",
    "usbutils",
    "vim-tiny",
    "wget",
    "wireguard-tools",
    "wpasupplicant",
    "zstd",
];

/// What the image of the upgrade pair installs beside [`PACKAGES`], without a kernel: mostly packages that
/// security updates touch, about 40 with those that they need, as a month or two of a product's life brings.
const UPGRADE_PACKAGES: [&str; 10] = [
    "bind9-dnsutils",
    "git",
    "libarchive-tools",
    "python3-lxml",
    "redis-server",
    "rsyslog",
    "unzip",
    "vim",
    "xz-utils",
    "zip",
];
/// What it leaves out: a new kernel would be most of the update, and 640 MiB hold no container engine.
const UPGRADE_LEAVES_OUT: [&str; 3] = ["containerd", "initramfs-tools", "linux-image-cloud-amd64"];

/// Removes what belongs to one machine or to the moment of the build: keys, ids, logs, caches.
pub const CLEAN: &str = "cd \"$1\" && rm -rf etc/ssh/ssh_host_* etc/resolv.conf etc/.resolv* etc/.pwd.lock \
    etc/passwd- etc/group- etc/shadow- etc/gshadow- etc/subuid- etc/subgid- var/cache/ldconfig/aux-cache \
    var/cache/debconf/*-old var/lib/dpkg/*-old var/lib/apt/lists/* var/cache/apt/* \
    var/lib/systemd/random-seed var/lib/dbus/machine-id && find var/log -type f -delete && : > etc/machine-id";

/// Where packages come from.
pub struct Mirrors {
    main: String,
    security: String,
}

impl Mirrors {
    /// Takes the mirrors given, else those that apt is set to on this machine.
    ///
    /// # Errors
    /// When one is not given and apt knows none: not a Debian machine.
    pub fn find(main: Option<String>, security: Option<String>) -> Result<Self> {
        let format = "$(LABEL)|$(REPO_URI)";
        let known =
            output(&mut command("apt-get", ["indextargets", "--format", format, "Created-By: Packages"]));
        let known = known.unwrap_or_default();
        let site = |label: &str| {
            let uri = known.lines().find_map(|line| line.strip_prefix(label)?.strip_prefix('|'))?;
            Some(uri.trim_end_matches('/').to_owned())
        };
        let main = main.or_else(|| site("Debian")).context("apt knows no Debian mirror: give --mirror")?;
        let security = security.or_else(|| site("Debian-Security"));
        let security = security.context("apt knows no security mirror: give --security-mirror")?;
        Ok(Self { main, security })
    }

    /// The line of an apt source list for a suite.
    pub fn source(&self, suite: &str) -> String {
        self.suite(suite).source()
    }

    /// A suite at its mirror.
    pub fn suite(&self, suite: &str) -> Suite {
        let mirror = if suite.ends_with("-security") { &self.security } else { &self.main };
        Suite { mirror: mirror.clone(), name: suite.to_owned() }
    }
}

/// A part of a distribution, as apt knows it.
pub struct Suite {
    mirror: String,
    name: String,
}

impl Suite {
    /// Its line of an apt source list.
    pub fn source(&self) -> String {
        format!("deb {} {} main", self.mirror, self.name)
    }

    /// When the suite was last published, in seconds since 1970.
    pub fn date(&self, work: &Path) -> Result<u64> {
        let file = work.join(format!("Release.{}", self.name));
        let url = format!("{}/dists/{}/Release", self.mirror, self.name);
        run(command("/usr/lib/apt/apt-helper", ["download-file", &url]).arg(&file))?;
        let text = fs::read_to_string(&file)?;
        let date =
            text.lines().find_map(|line| line.strip_prefix("Date: ")).context("Release has no date")?;
        Ok(output(&mut command("date", ["+%s", "--date", date]))?.parse()?)
    }
}

/// Builds the root file system of `suites[0]` with the later suites applied, without an output of its own
/// beyond the tree.
pub fn bootstrap(
    tree: &Path,
    suites: &[String],
    distribution: &str,
    epoch: u64,
    packages: &[&str],
) -> Result<()> {
    let building = part(tree);
    remove_tree(&building)?;
    let mut mmdebstrap =
        command("mmdebstrap", ["--quiet", "--mode=root", "--variant=apt", "--format=directory"]);
    mmdebstrap.env("SOURCE_DATE_EPOCH", epoch.to_string()).arg(format!("--include={}", packages.join(",")));
    mmdebstrap.args(["--aptopt=APT::Install-Recommends \"false\"", "--aptopt=Acquire::Languages \"none\""]);
    mmdebstrap.arg(format!("--customize-hook={CLEAN}")).arg(distribution).arg(&building).args(suites);
    run(&mut mmdebstrap)?;
    fs::rename(&building, tree)?;
    Ok(())
}

/// Removes a tree if it is there, unless something is mounted in it: mmdebstrap, when it is stopped, can leave
/// the machine's own /proc, /sys and /dev in there for a while.
pub fn remove_tree(tree: &Path) -> Result<()> {
    if !tree.exists() {
        return Ok(());
    }
    let mounts = fs::read_to_string("/proc/self/mounts").context("/proc/self/mounts")?;
    if let Some(mounted) = mounted_below(&mounts, tree) {
        bail!("{mounted} is mounted: unmount it before {} can be removed", tree.display());
    }
    run(command("rm", ["-rf", "--one-file-system", "--"]).arg(tree))
}

/// The first mount point at or below a folder; `mounts` is what /proc/self/mounts holds (see fstab(5)).
fn mounted_below(mounts: &str, folder: &Path) -> Option<String> {
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    let unescaped = points.map(|point| {
        let point = point.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n");
        point.replace("\\134", "\\")
    });
    unescaped.into_iter().find(|point| Path::new(point).starts_with(folder))
}

/// A root file system: a tree on disk and the time to which newer files are set back.
#[derive(Clone)]
pub struct System {
    pub name: String,
    pub tree: PathBuf,
    /// Seconds since 1970: when the newest suite in it was published.
    pub epoch: u64,
}

impl System {
    /// bookworm as of its last point release.
    ///
    /// # Errors
    /// When mmdebstrap fails.
    pub fn point_release(work: &Path, mirrors: &Mirrors) -> Result<Self> {
        Self::of_suites(work, "bookworm-old", &[mirrors.suite("bookworm")], &PACKAGES)
    }

    /// The same with all updates since.
    ///
    /// # Errors
    /// When mmdebstrap fails.
    pub fn with_updates(work: &Path, mirrors: &Mirrors) -> Result<Self> {
        Self::of_suites(work, "bookworm-new", &updated(mirrors), &PACKAGES)
    }

    /// The upgrade pair: old as of the last point release, new with all updates since, both without a kernel.
    ///
    /// # Errors
    /// When mmdebstrap fails.
    pub fn upgrade(work: &Path, mirrors: &Mirrors) -> Result<[Self; 2]> {
        let mut packages: Vec<&str> = PACKAGES.into_iter().chain(UPGRADE_PACKAGES).collect();
        packages.retain(|package| !UPGRADE_LEAVES_OUT.contains(package));
        Ok([
            Self::of_suites(work, "upgrade-old", &[mirrors.suite("bookworm")], &packages)?,
            Self::of_suites(work, "upgrade-new", &updated(mirrors), &packages)?,
        ])
    }

    /// The same packages from trixie.
    ///
    /// # Errors
    /// When mmdebstrap fails.
    pub fn next_distribution(work: &Path, mirrors: &Mirrors) -> Result<Self> {
        Self::of_suites(work, "trixie", &[mirrors.suite("trixie")], &PACKAGES)
    }

    fn of_suites(work: &Path, name: &str, suites: &[Suite], packages: &[&str]) -> Result<Self> {
        let tree = work.join(name);
        let note = work.join(format!("{name}.epoch"));
        if !tree.exists() || !is_built(&note) {
            let mut epoch = 0;
            for suite in suites {
                epoch = epoch.max(suite.date(work)?);
            }
            let sources: Vec<String> = suites.iter().map(Suite::source).collect();
            bootstrap(&tree, &sources, &suites[0].name, epoch, packages)?;
            fs::write(&note, epoch.to_string())?;
        }
        let epoch = fs::read_to_string(&note)?.trim().parse()?;
        Ok(Self { name: name.to_owned(), tree, epoch })
    }

    /// Packs a changed copy of the tree as `dir/NAME.tar`.
    ///
    /// # Errors
    /// When copying, the change or packing fails.
    pub fn pack_variant(
        &self,
        dir: &Path,
        name: &str,
        change: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<Self> {
        let variant = Self { name: name.to_owned(), tree: self.tree.with_file_name(name), epoch: self.epoch };
        if is_built(&dir.join(Kind::Tar.file_name(name))) {
            return Ok(variant);
        }
        remove_tree(&variant.tree)?;
        run(command("cp", ["--archive", "--reflink=auto"]).arg(&self.tree).arg(&variant.tree))?;
        change(&variant.tree)?;
        variant.pack(dir)?;
        remove_tree(&variant.tree)?;
        Ok(variant)
    }

    /// Packs the tree as `dir/NAME.tar`, sorted, newer times set back to the epoch, and lists its packages.
    ///
    /// # Errors
    /// When tar or dpkg-query fails.
    pub fn pack(&self, dir: &Path) -> Result<()> {
        let target = dir.join(Kind::Tar.file_name(&self.name));
        if is_built(&target) {
            return Ok(());
        }
        let packages = self.packages()?;
        if packages.is_empty() {
            bail!("{} has no packages", self.tree.display());
        }
        fs::write(dir.join(format!("{}.packages", self.name)), packages)?;
        let mut tar = command("tar", ["--sort=name", "--format=posix", "--numeric-owner", "--clamp-mtime"]);
        tar.arg("--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime");
        tar.args(["--xattrs", "--xattrs-include=*"]).arg(format!("--mtime=@{}", self.epoch));
        run(tar.arg("-C").arg(&self.tree).arg("-cf").arg(part(&target)).arg("."))?;
        fs::rename(part(&target), &target)?;
        Ok(())
    }

    fn packages(&self) -> Result<String> {
        let admin = format!("--admindir={}", self.tree.join("var/lib/dpkg").display());
        output(&mut command(
            "dpkg-query",
            [admin.as_str(), "--show", "--showformat=${Package} ${Version}\\n"],
        ))
    }
}

/// bookworm with all updates since its last point release.
fn updated(mirrors: &Mirrors) -> [Suite; 3] {
    ["bookworm", "bookworm-updates", "bookworm-security"].map(|suite| mirrors.suite(suite))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_with_a_mount_in_it_is_told_from_its_neighbours() {
        let mounts = "proc /data/a\\040b.part/proc proc ro 0 0\ntmpfs /data/c/dev/shm tmpfs rw 0 0\n";
        let below = |folder: &str| mounted_below(mounts, Path::new(folder));
        assert_eq!(below("/data/a b.part").as_deref(), Some("/data/a b.part/proc"));
        assert_eq!(below("/data/c/dev/shm").as_deref(), Some("/data/c/dev/shm"));
        assert_eq!(below("/data/a"), None, "a name that only begins alike");
        assert_eq!(below("/data/c/dev/shm/deeper"), None);
    }

    #[test]
    fn a_tree_without_mounts_goes() {
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path().join("tree");
        fs::create_dir_all(tree.join("deep")).unwrap();
        fs::write(tree.join("deep/file"), "x").unwrap();
        remove_tree(&tree).unwrap();
        assert!(!tree.exists());
        remove_tree(&tree).unwrap();
    }
}
