//! Devices that run the real `swupdate`, keys and images.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{SystemTime, UNIX_EPOCH};

use fluvial_delta::structure::ReadAt;
use fluvial_swu::description::{Compression, Variable};
use fluvial_swu::package::{
    Choice, Downgrade, FileSpec, Hardware, ImageDigest, PackageSpec, Partition, Place, write,
};
use fluvial_swu::sign::{Certificate, CmsSigner, PrivateKey, Purpose, Signer, UnixSeconds, Verifier};
use fluvial_testing::{Installed, SwupdateDevice};
use tempfile::TempDir;

/// Runs a program, which must succeed.
pub fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

pub fn now() -> UnixSeconds {
    UnixSeconds(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs())
}

/// Bytes that do not compress.
pub fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    (0..len).map(next).collect()
}

/// A base, and a target that has much of it.
pub fn images() -> (Vec<u8>, Vec<u8>) {
    let base = noise(1_500_000, 1);
    let mut target = base.clone();
    target.splice(700_000..700_100, noise(5000, 2));
    target.truncate(1_400_000);
    (base, target)
}

/// A key with a certificate of its own.
pub struct Keys {
    pub key: PathBuf,
    pub certificate: PathBuf,
}

impl Keys {
    pub fn new(folder: &Path, name: &str, arguments: &[&str]) -> Self {
        let (key, certificate) = (folder.join(format!("{name}.key")), folder.join(format!("{name}.pem")));
        run(Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/O=Fleet/CN=signer"])
            .args(["-addext", "extendedKeyUsage=emailProtection", "-addext", "keyUsage=digitalSignature"])
            .args(arguments)
            .args([Path::new("-keyout"), &key, Path::new("-out"), &certificate]));
        Self { key, certificate }
    }

    pub fn private(&self) -> PrivateKey {
        PrivateKey::from_pem(&fs::read(&self.key).unwrap()).unwrap()
    }

    pub fn certificates(&self) -> Vec<Certificate> {
        Certificate::from_pem(&fs::read(&self.certificate).unwrap()).unwrap()
    }

    pub fn signer(&self) -> Signer {
        let signer = CmsSigner::new(self.private(), self.certificates(), Purpose::EmailProtection);
        Signer::Cms(Box::new(signer.unwrap()))
    }

    pub fn verifier(&self) -> Verifier {
        Verifier::Cms { trusted: self.certificates(), purpose: Purpose::EmailProtection }
    }
}

/// A file that is read where it stands.
pub struct OnDisk(File, u64);

impl OnDisk {
    pub fn open(path: &Path) -> Self {
        let file = File::open(path).unwrap();
        let len = file.metadata().unwrap().len();
        Self(file, len)
    }
}

impl ReadAt for OnDisk {
    fn len(&self) -> u64 {
        self.1
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.0, buf, offset)
    }
}

/// A block device on a file, detached when it is dropped.
pub struct Loop {
    pub device: String,
}

impl Loop {
    pub fn attach(file: &Path, arguments: &[&str]) -> Self {
        let output = run(Command::new("losetup").args(["--find", "--show"]).args(arguments).arg(file));
        Self { device: String::from_utf8(output.stdout).unwrap().trim().to_owned() }
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["--detach", &self.device]).output();
    }
}

/// A device with two slots in files, slot a holding the base.
pub struct Device {
    pub folder: TempDir,
    pub keys: Keys,
    pub slot_a: PathBuf,
    pub slot_b: PathBuf,
    swupdate: SwupdateDevice,
}

impl Device {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keys::new(folder.path(), "sign", &["-days", "30"]);
        let (slot_a, slot_b) = (folder.path().join("slot a.img"), folder.path().join("slot'b.img"));
        fs::write(&slot_a, images().0).unwrap();
        fs::write(&slot_b, b"").unwrap();
        Self { folder, keys, slot_a, slot_b, swupdate: SwupdateDevice::new().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Installs a package as a device would.
    pub fn install(&self, package: &[u8], arguments: &[&str]) -> Installed {
        let file = self.path("package.swu");
        fs::write(&file, package).unwrap();
        self.swupdate.install(&file, &self.keys.certificate, arguments).unwrap()
    }

    pub fn place(&self) -> Place {
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        Place { target: text(&self.slot_b), base: Some(text(&self.slot_a)) }
    }
}

/// What rdiff makes of two images.
pub fn rdiff(folder: &Path, base: &[u8], target: &[u8]) -> Vec<u8> {
    let [base_file, signature, target_file, delta] =
        ["rdiff.base", "rdiff.signature", "rdiff.target", "rdiff.delta"].map(|name| folder.join(name));
    fs::write(&base_file, base).unwrap();
    fs::write(&target_file, target).unwrap();
    run(Command::new("rdiff").args([Path::new("-f"), Path::new("signature"), &base_file, &signature]));
    run(Command::new("rdiff").args([Path::new("-f"), Path::new("delta"), &signature, &target_file, &delta]));
    fs::read(delta).unwrap()
}

pub fn packed(bytes: &[u8], compression: Option<Compression>) -> Vec<u8> {
    match compression {
        None => bytes.to_vec(),
        Some(Compression::Zlib) => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            io::Write::write_all(&mut encoder, bytes).unwrap();
            encoder.finish().unwrap()
        }
        Some(Compression::Zstd) => zstd::encode_all(bytes, 3).unwrap(),
    }
}

/// A package for one partition and one choice without a name.
pub fn spec<'a>(
    content: &'a dyn ReadAt,
    compression: Option<Compression>,
    target: &[u8],
    place: Place,
) -> PackageSpec<'a> {
    PackageSpec {
        version: "0.2.0".into(),
        name: "demo".into(),
        text: "a \"test\"".into(),
        hardware: Hardware { board: None, revisions: vec!["1.0".into()] },
        partitions: vec![Partition {
            name: "rootfs".into(),
            file: FileSpec { name: "rootfs.packed".into(), content, compression },
            target: ImageDigest::of(&target).unwrap(),
            base: None,
        }],
        choices: vec![Choice {
            set_and_mode: None,
            places: vec![place],
            bootenv: vec![Variable { name: "chosen".into(), value: "b".into() }],
        }],
        downgrade: Downgrade::Allowed,
    }
}

/// A package with the delta between both images, on file slots.
pub fn delta_spec<'a>(device: &Device, delta: &'a dyn ReadAt) -> PackageSpec<'a> {
    let (base, target) = images();
    let mut spec = spec(delta, None, &target, device.place());
    spec.partitions[0].base = Some(ImageDigest::of(&base).unwrap());
    spec
}

pub fn package(spec: &PackageSpec<'_>, keys: &Keys) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(spec, Some(&keys.signer()), now(), &mut bytes).unwrap();
    bytes
}
