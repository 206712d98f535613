//! Two versions in a store, and the device that goes from one to the other.

use fluvial_testing::{Installed, SwupdateDevice};

use crate::packages::make_keys;
use crate::support::{Workplace, noise};

pub const IMAGE: [&str; 6] = ["--artifacts", "store", "--machine", "demo", "--image", "prod"];
pub const SIGN: [&str; 4] = ["--sign-key", "sign.key", "--sign-cert", "sign.pem"];
/// The length of both versions, in bytes.
pub const LEN: usize = 1 << 20;

/// A store with the versions 0.1.0 and 0.2.0, the second a bit longer inside; keys; slots, of which `a.img` holds the
/// first version.
pub struct Versions {
    pub work: Workplace,
    pub old: Vec<u8>,
    pub new: Vec<u8>,
    pub device: SwupdateDevice,
}

impl Versions {
    pub fn new() -> Self {
        let work = Workplace::new();
        let old = noise(1, LEN);
        let mut new = [&old[..300_000], b"something new", &old[300_000..]].concat();
        new.truncate(LEN);
        work.write("old.img", &old);
        work.write("new.img", &new);
        for (version, file) in [("0.1.0", "rootfs=old.img"), ("0.2.0", "rootfs=new.img")] {
            work.json(&[&["artifacts", "add"][..], &IMAGE, &["--version", version, file]].concat());
        }
        make_keys(&work, "sign");
        work.write("a.img", &old);
        work.write("b.img", &vec![0; LEN]);
        Self { work, old, new, device: SwupdateDevice::new().unwrap() }
    }

    /// Where `--slot` places the partition.
    pub fn slot(&self) -> String {
        format!("rootfs={},base={}", self.work.path("b.img").display(), self.work.path("a.img").display())
    }

    /// What the real `swupdate` makes of a package.
    pub fn install(&self, package: &str, arguments: &[&str]) -> Installed {
        self.device.install(&self.work.path(package), &self.work.path("sign.pem"), arguments).unwrap()
    }

    /// The real `swupdate` installs a package, and the slot holds `image`.
    pub fn assert_installed(&self, package: &str, image: &[u8]) {
        let Installed { output, is_success, .. } = self.install(package, &["-H", "demo:1.0"]);
        assert!(is_success && self.work.read("b.img") == image, "{output}");
    }
}
