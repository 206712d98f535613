//! Packages of `SWUpdate`, made and damaged.

use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use fluvial_delta::structure::ReadAt;
use fluvial_swu::cpio::{Checksum, CpioReader, CpioWriter};
use fluvial_swu::description::{Compression, Description, Variable};
use fluvial_swu::package::{
    Choice, DESCRIPTION_NAME, Downgrade, FileSpec, Hardware, ImageDigest, PackageSpec, Partition, Place,
    SIGNATURE_NAME, write,
};
use fluvial_swu::rsync::{Signature, SignatureOptions, write_delta};
use fluvial_swu::sign::{Certificate, CmsSigner, PrivateKey, Purpose, Signer, UnixSeconds};

use crate::support::{Workplace, edited, noise, tool};

/// The length of the image in a package with two partitions, in bytes.
const BOOT_BYTES: usize = 100_000;

/// Files of an archive, in order.
pub type Files = Vec<(String, Vec<u8>)>;

pub fn now() -> UnixSeconds {
    UnixSeconds(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs())
}

/// Makes `NAME.key`, `NAME.pem` (a certificate) and `NAME.pub`.
pub fn make_keys(work: &Workplace, name: &str) {
    let file = |ending: &str| work.path(&format!("{name}.{ending}"));
    tool(
        Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30"])
            .args(["-subj", "/O=Fleet/CN=signer", "-addext", "extendedKeyUsage=emailProtection"])
            .args(["-addext", "keyUsage=digitalSignature", "-keyout"])
            .arg(file("key"))
            .arg("-out")
            .arg(file("pem")),
    );
    tool(
        Command::new("openssl")
            .args(["pkey", "-pubout", "-in"])
            .arg(file("key"))
            .arg("-out")
            .arg(file("pub")),
    );
}

pub fn private_key(work: &Workplace, name: &str) -> PrivateKey {
    PrivateKey::from_pem(&work.read(&format!("{name}.key"))).unwrap()
}

/// Signs with CMS.
pub fn signer(work: &Workplace, name: &str) -> Signer {
    let certificates = Certificate::from_pem(&work.read(&format!("{name}.pem"))).unwrap();
    let signer = CmsSigner::new(private_key(work, name), certificates, Purpose::EmailProtection);
    Signer::Cms(Box::new(signer.unwrap()))
}

/// The delta between two images, as we make it.
pub fn delta(base: &[u8], target: &[u8]) -> Vec<u8> {
    let signature = Signature::make(&base, SignatureOptions::default(), &|_| true).unwrap();
    let mut delta = Vec::new();
    write_delta(&signature, Some(&base as &dyn ReadAt), &target, &mut delta, &|_| true).unwrap();
    delta
}

pub fn packed(bytes: &[u8], compression: Option<Compression>) -> Vec<u8> {
    match compression {
        None => bytes.to_vec(),
        Some(Compression::Zlib) => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        Some(Compression::Zstd) => zstd::encode_all(bytes, 3).unwrap(),
    }
}

/// What a package is made of: by default a delta from `old` to `new`, which go to files `a` and `b`.
pub struct Recipe {
    pub old: Vec<u8>,
    pub new: Vec<u8>,
    /// What is packed: a delta, or anything that claims to be one.
    pub content: Vec<u8>,
    pub is_delta: bool,
    pub has_boot: bool,
    pub compression: Option<Compression>,
}

impl Recipe {
    pub fn delta(len: usize) -> Self {
        let (old, new) = edited(len);
        let content = delta(&old, &new);
        Self { old, new, content, is_delta: true, has_boot: false, compression: None }
    }

    pub fn image(len: usize) -> Self {
        let (old, new) = edited(len);
        Self { content: new.clone(), old, new, is_delta: false, has_boot: false, compression: None }
    }

    pub fn boot() -> Vec<u8> {
        noise(77, BOOT_BYTES)
    }

    /// Makes the package, for slots in the workplace.
    pub fn package(&self, work: &Workplace, signer: Option<&Signer>) -> Vec<u8> {
        let path = |name: &str| work.path(name).to_str().unwrap().to_owned();
        let content = packed(&self.content, self.compression);
        let boot = Self::boot();
        let (content, boot) = (&&content[..], &&boot[..]);
        let mut partitions = vec![Partition {
            name: "rootfs".into(),
            file: FileSpec { name: "rootfs.packed".into(), content, compression: self.compression },
            target: ImageDigest::of(&&self.new[..]).unwrap(),
            base: self.is_delta.then(|| ImageDigest::of(&&self.old[..]).unwrap()),
        }];
        let mut places = vec![Place { target: path("b"), base: self.is_delta.then(|| path("a")) }];
        if self.has_boot {
            partitions.push(Partition {
                name: "boot".into(),
                file: FileSpec { name: "boot.img".into(), content: boot, compression: None },
                target: ImageDigest::of(boot).unwrap(),
                base: None,
            });
            places.push(Place { target: path("boot"), base: None });
        }
        let spec = PackageSpec {
            version: "0.2.0".into(),
            name: "demo".into(),
            text: "a test".into(),
            hardware: Hardware { board: None, revisions: vec!["1.0".into(), "1.1".into()] },
            partitions,
            choices: vec![Choice {
                set_and_mode: Some(("stable".into(), "copy2".into())),
                places,
                bootenv: vec![Variable { name: "chosen".into(), value: "b".into() }],
            }],
            downgrade: Downgrade::Allowed,
        };
        let mut package = Vec::new();
        write(&spec, signer, now(), &mut package).unwrap();
        package
    }
}

/// A workplace with keys, a base in `a`, and a package `X.swu`.
pub fn prepared(recipe: &Recipe) -> Workplace {
    let work = Workplace::new();
    make_keys(&work, "sign");
    work.write("a", &recipe.old);
    let package = recipe.package(&work, Some(&signer(&work, "sign")));
    work.write("X.swu", &package);
    work
}

/// Takes a package apart.
pub fn files(package: &[u8]) -> Files {
    let mut archive = CpioReader::new(package);
    let mut files = Vec::new();
    while let Some(mut member) = archive.next_member().unwrap() {
        let mut bytes = Vec::new();
        member.read_to_end(&mut bytes).unwrap();
        files.push((member.name().to_owned(), bytes));
    }
    files
}

/// Puts it together again, with right checksums.
pub fn archive(files: &Files) -> Vec<u8> {
    let mut archive = CpioWriter::new(Vec::new());
    for (name, bytes) in files {
        archive.add(name, &&bytes[..], Checksum::of(&&bytes[..]).unwrap()).unwrap();
    }
    archive.finish().unwrap()
}

/// Changes the description of the package `X.swu`, and signs it again.
pub fn describe_again(work: &Workplace, change: impl FnOnce(&mut Description)) -> PathBuf {
    let mut files = files(&work.read("X.swu"));
    let mut description = Description::read(&files[0].1).unwrap();
    change(&mut description);
    let text = description.to_text().unwrap().into_bytes();
    let signature = signer(work, "sign").sign(&text, now()).unwrap();
    assert_eq!((&files[0].0[..], &files[1].0[..]), (DESCRIPTION_NAME, SIGNATURE_NAME));
    (files[0].1, files[1].1) = (text, signature);
    work.write("X.swu", &archive(&files))
}

/// Packs something else as the last file of the package `X.swu`, and signs that.
pub fn pack_again(work: &Workplace, content: &[u8], compression: Option<Compression>) {
    let mut changed = files(&work.read("X.swu"));
    let (name, bytes) = changed.last_mut().unwrap();
    *bytes = content.to_vec();
    let name = name.clone();
    work.write("X.swu", &archive(&changed));
    let sha256 = Some(ImageDigest::of(&content).unwrap().sha256);
    describe_again(work, |description| {
        let images = description.sections.iter_mut().flat_map(|section| &mut section.images);
        for image in images.filter(|image| image.filename == name) {
            (image.compression, image.sha256) = (compression, sha256);
        }
    });
}
