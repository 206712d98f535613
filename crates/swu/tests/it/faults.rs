//! Every fault: the real `swupdate` never counts the slot as good, and our reader says why where it can know.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use fluvial_swu::cpio::{Checksum, CpioReader, CpioWriter};
use fluvial_swu::description::DeviceChoice;
use fluvial_swu::package::{
    ContentError, Downgrade, ImageDigest, OpenError, PackageReader, PackageSpec, RefusalError, write,
};
use fluvial_swu::sign::{SignError, UnixSeconds, VerifyError};

use crate::support::*;

/// What the real one says to a signature that it does not take.
const NOT_AUTHENTIC: &str = "Authentication of all signatures failed";

/// A device, and the package that it would install.
struct Scene {
    device: Device,
    delta: Vec<u8>,
}

impl Scene {
    fn new() -> Self {
        let device = Device::new();
        let (base, target) = images();
        let delta = rdiff(device.folder.path(), &base, &target);
        Self { device, delta }
    }

    fn spec(&self) -> PackageSpec<'_> {
        delta_spec(&self.device, &self.delta)
    }

    fn package(&self) -> Vec<u8> {
        package(&self.spec(), &self.device.keys)
    }

    /// What our reader says to a package.
    fn opened(&self, package: &[u8]) -> Result<(), OpenError> {
        read(package, &self.device.keys)
    }

    /// The real one fails, with these words somewhere, and the boot loader is not told.
    fn assert_refused(&self, package: &[u8], arguments: &[&str], words: &str) {
        let installed = self.device.install(package, arguments);
        assert!(!installed.is_success && !installed.is_good, "{}", installed.output);
        assert!(installed.output.contains(words), "no \"{words}\" in {}", installed.output);
    }

    fn assert_slot_untouched(&self) {
        assert_eq!(fs::metadata(&self.device.slot_b).unwrap().len(), 0);
    }
}

fn read(package: &[u8], keys: &Keys) -> Result<(), OpenError> {
    let mut reader = PackageReader::open(package, Some(&keys.verifier()), now())?;
    while let Some(mut file) = reader.next_file()? {
        io::copy(&mut file, &mut io::sink()).map_err(OpenError::from_reader)?;
    }
    Ok(())
}

/// The files of an archive, in order.
fn files(package: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut reader = CpioReader::new(package);
    let mut files = Vec::new();
    while let Some(mut member) = reader.next_member().unwrap() {
        let mut content = Vec::new();
        member.read_to_end(&mut content).unwrap();
        files.push((member.name().to_owned(), content));
    }
    files
}

/// An archive whose checksums are right.
fn archive(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut writer = CpioWriter::new(Vec::new());
    for (name, content) in files {
        writer.add(name, content, Checksum::of(content).unwrap()).unwrap();
    }
    writer.finish().unwrap()
}

fn changed(package: &[u8], change: impl Fn(&mut Vec<(String, Vec<u8>)>)) -> Vec<u8> {
    let mut files = files(package);
    change(&mut files);
    archive(&files)
}

#[test]
fn nothing_is_refused_without_a_fault() {
    let scene = Scene::new();
    let package = scene.package();
    scene.opened(&package).unwrap();
    assert_eq!(archive(&files(&package)), package);
    let installed = scene.device.install(&package, &[]);
    assert!(installed.is_success && installed.is_good, "{}", installed.output);
}

#[test]
fn a_wrong_base() {
    let scene = Scene::new();
    let (base, target) = images();
    let digest = ImageDigest::of(&base).unwrap();
    let mut flipped = base.clone();
    flipped[1_200_000] ^= 1;
    let bases = [target, noise(base.len(), 7), flipped];
    for wrong in &bases {
        fs::write(&scene.device.slot_a, wrong).unwrap();
        let words = if wrong.len() == base.len() { "has the SHA-256" } else { "bytes, not 1500000" };
        scene.assert_refused(&scene.package(), &[], words);
        scene.assert_slot_untouched();
        let found = digest.check_start_of(&OnDisk::open(&scene.device.slot_a)).unwrap_err();
        let is_short = matches!(found, ContentError::TooShort { wanted: 1_500_000, found: 1_400_000 });
        assert!(is_short || matches!(found, ContentError::Sha256 { .. }), "{found}");
    }
    fs::write(&scene.device.slot_a, [&base[..], b"more"].concat()).unwrap();
    scene.assert_refused(&scene.package(), &[], "base ");
    fs::remove_file(&scene.device.slot_a).unwrap();
    scene.assert_refused(&scene.package(), &[], "is not there");
    scene.assert_slot_untouched();
}

#[test]
fn a_wrong_base_on_a_block_device() {
    let scene = Scene::new();
    let mut slot = images().0;
    slot.resize(2 << 20, 0);
    slot[1_499_999] ^= 1;
    fs::write(&scene.device.slot_a, &slot).unwrap();
    let attached = Loop::attach(&scene.device.slot_a, &["--read-only"]);
    let mut spec = scene.spec();
    spec.choices[0].places[0].base = Some(attached.device.clone());
    scene.assert_refused(&package(&spec, &scene.device.keys), &[], "has the SHA-256");
    scene.assert_slot_untouched();
}

#[test]
fn a_delta_that_ends_early_although_it_is_signed() {
    let scene = Scene::new();
    for len in [10, scene.delta.len() / 2, scene.delta.len() - 2] {
        let delta = scene.delta[..len].to_vec();
        let package = package(&delta_spec(&scene.device, &delta), &scene.device.keys);
        scene.assert_refused(&package, &[], "bytes, not 1400000");
        scene.opened(&package).unwrap();
    }
    // What only marks the end makes no difference to the image.
    let delta = scene.delta[..scene.delta.len() - 1].to_vec();
    let package = package(&delta_spec(&scene.device, &delta), &scene.device.keys);
    let installed = scene.device.install(&package, &[]);
    assert!(installed.is_good, "{}", installed.output);
    assert!(fs::read(&scene.device.slot_b).unwrap() == images().1);
}

#[test]
fn a_delta_that_ends_early_on_a_block_device() {
    let scene = Scene::new();
    fs::write(&scene.device.slot_b, vec![0; 2 << 20]).unwrap();
    let attached = Loop::attach(&scene.device.slot_b, &[]);
    let delta = scene.delta[..scene.delta.len() - 2].to_vec();
    let mut spec = delta_spec(&scene.device, &delta);
    spec.choices[0].places[0].target.clone_from(&attached.device);
    scene.assert_refused(&package(&spec, &scene.device.keys), &[], "Readback verification failed");
}

#[test]
fn a_delta_that_ends_early_where_the_right_bytes_stand_already() {
    let mut scene = Scene::new();
    let mut content = images().1;
    content.resize(2 << 20, 0);
    fs::write(&scene.device.slot_b, &content).unwrap();
    let slot = Loop::attach(&scene.device.slot_b, &[]);
    let whole = scene.delta.clone();
    for len in [whole.len() / 2, whole.len() - 2] {
        scene.delta = whole[..len].to_vec();
        let mut spec = scene.spec();
        spec.choices[0].places[0].target.clone_from(&slot.device);
        scene.assert_refused(&package(&spec, &scene.device.keys), &[], "Readback verification failed");
    }
}

#[test]
fn a_delta_that_makes_more_although_it_is_signed() {
    let scene = Scene::new();
    let (end, commands) = scene.delta.split_last().unwrap();
    assert_eq!(*end, 0, "the end of a delta of librsync");
    let delta = [commands, &[4], b"more", &[0]].concat();
    let package = package(&delta_spec(&scene.device, &delta), &scene.device.keys);
    scene.assert_refused(&package, &[], "has 1400004 bytes, not 1400000");
    // Bytes behind the end are not applied.
    let delta = [&scene.delta[..], &[4], b"more", &[0]].concat();
    let package = crate::support::package(&delta_spec(&scene.device, &delta), &scene.device.keys);
    let installed = scene.device.install(&package, &[]);
    assert!(fs::read(&scene.device.slot_b).unwrap() == images().1, "{}", installed.output);
}

#[test]
fn bytes_that_nobody_described() {
    let scene = Scene::new();
    let package = scene.package();
    let extra = changed(&package, |files| files[3].1.push(0));
    scene.assert_refused(&extra, &[], "HASH mismatch");
    assert!(matches!(scene.opened(&extra), Err(OpenError::Hash { name }) if name == "rootfs.packed"));
    // What stands behind the end, and files that are not named, the real one passes over.
    let behind = [&package[..], &[1; 600]].concat();
    assert!(matches!(scene.opened(&behind), Err(OpenError::Archive(_))));
    let more = changed(&package, |files| files.push(("more".into(), b"x".to_vec())));
    assert!(matches!(scene.opened(&more), Err(OpenError::Unknown { name }) if name == "more"));
    let fewer = changed(&package, |files| drop(files.pop()));
    scene.assert_refused(&fewer, &[], "missing");
    assert!(matches!(scene.opened(&fewer), Err(OpenError::Missing { name }) if name == "rootfs.packed"));
    let cut = &package[..package.len() - 1000];
    scene.assert_refused(cut, &[], "");
    assert!(matches!(scene.opened(cut), Err(OpenError::Archive(_))));
    scene.assert_slot_untouched();
}

#[test]
fn tampered_files() {
    let scene = Scene::new();
    let package = scene.package();
    let script = changed(&package, |files| files[2].1 = b"#!/bin/sh\nexit 0\n".to_vec());
    scene.assert_refused(&script, &[], "HASH mismatch");
    assert!(matches!(scene.opened(&script), Err(OpenError::Hash { name }) if name == "fluvial-check-1.sh"));
    let description = changed(&package, |files| {
        let text = String::from_utf8(files[0].1.clone()).unwrap();
        files[0].1 = text.replace("0.2.0", "9.2.0").into_bytes();
    });
    scene.assert_refused(&description, &[], "Signature verification failed");
    assert!(matches!(scene.opened(&description), Err(OpenError::Signature(VerifyError::Content))));
    let mut damaged = package.clone();
    let at = package.len() - 1000;
    damaged[at] ^= 1;
    scene.assert_refused(&damaged, &[], "");
    assert!(scene.opened(&damaged).is_err());
    scene.assert_slot_untouched();
}

#[test]
fn signatures_that_are_not_ours() {
    let scene = Scene::new();
    let package_of = |keys: &Keys| package(&scene.spec(), keys);
    let unsigned = changed(&scene.package(), |files| drop(files.remove(1)));
    scene.assert_refused(&unsigned, &[], "");
    assert!(matches!(scene.opened(&unsigned), Err(OpenError::Unsigned)));
    let late = changed(&scene.package(), |files| files.swap(1, 2));
    scene.assert_refused(&late, &[], "");
    assert!(matches!(scene.opened(&late), Err(OpenError::Unsigned)));
    let other = package_of(&Keys::new(scene.device.folder.path(), "other", &["-days", "30"]));
    scene.assert_refused(&other, &[], NOT_AUTHENTIC);
    // Both certificates are named the same; that of the message is taken, and nobody trusts it.
    assert!(matches!(scene.opened(&other), Err(OpenError::Signature(VerifyError::Untrusted))));
    scene.assert_slot_untouched();
}

#[test]
fn a_certificate_that_has_expired() {
    let mut scene = Scene::new();
    // Debian 12's `openssl x509` takes no dates, `openssl ca` does.
    scene.device.keys = valid_from_2020_until(&scene, "valid", "20400101000000Z");
    let package = scene.package();
    scene.opened(&package).unwrap();
    let installed = scene.device.install(&package, &[]);
    assert!(installed.is_success && installed.is_good, "{}", installed.output);
    fs::write(&scene.device.slot_b, b"").unwrap();

    scene.device.keys = valid_from_2020_until(&scene, "expired", "20200201000000Z");
    let (mut expired, then) = (Vec::new(), UnixSeconds(1_578_000_000));
    write(&scene.spec(), Some(&scene.device.keys.signer()), then, &mut expired).unwrap();
    scene.assert_refused(&expired, &[], NOT_AUTHENTIC);
    assert!(matches!(scene.opened(&expired), Err(OpenError::Signature(VerifyError::Expired))));
    scene.assert_slot_untouched();
    let signed_now = scene.device.keys.signer().sign(b"x", now());
    assert_eq!(signed_now, Err(SignError::Certificate(VerifyError::Expired)));
}

/// A certificate of its own.
fn valid_from_2020_until(scene: &Scene, name: &str, end: &str) -> Keys {
    let folder = scene.device.path(name);
    fs::create_dir(&folder).unwrap();
    let keys = Keys::new(&folder, "one", &["-days", "30"]);
    let config = "[ca]\ndefault_ca=d\n[d]\ndatabase=index\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\n\
                  policy=p\nx509_extensions=e\n[p]\nO=optional\nCN=supplied\n[e]\nkeyUsage=digitalSignature\n\
                  extendedKeyUsage=emailProtection\n";
    for (name, content) in [("ca.conf", config), ("index", ""), ("serial", "01\n")] {
        fs::write(folder.join(name), content).unwrap();
    }
    let openssl = |arguments: &str| {
        run(Command::new("openssl").args(arguments.split(' ')).current_dir(&folder));
    };
    openssl("req -new -key one.key -subj /O=Fleet/CN=signer -out one.csr");
    openssl(&format!(
        "ca -batch -config ca.conf -selfsign -keyfile one.key -in one.csr -out one.pem -notext \
         -startdate 20200101000000Z -enddate {end}"
    ));
    keys
}

#[test]
fn wrong_hardware() {
    let scene = Scene::new();
    scene.assert_refused(&scene.package(), &["-H", "demo-board:2.0"], "not compatible");
    let mut spec = scene.spec();
    spec.hardware.board = Some("demo-board".into());
    let package = package(&spec, &scene.device.keys);
    scene.assert_refused(&package, &["-H", "other-board:1.0"], "");
    scene.assert_slot_untouched();
    let reader = PackageReader::open(&package[..], Some(&scene.device.keys.verifier()), now()).unwrap();
    let description = reader.description();
    let board = |name: &str| DeviceChoice { board: Some(name.into()), set_and_mode: None };
    description.check_hardware(&board("demo-board"), "1.0").unwrap();
    for (name, revision, fits) in [("demo-board", "2.0", "1.0"), ("other-board", "1.0", "")] {
        let refused = RefusalError::Hardware { fits: fits.into(), revision: revision.into() };
        assert_eq!(description.check_hardware(&board(name), revision), Err(refused));
    }
    assert_eq!(description.partitions_for(&board("other-board")), Err(RefusalError::Choice));
    let partitions = description.partitions_for(&board("demo-board")).unwrap();
    let base = partitions[0].base.unwrap();
    assert_eq!((partitions[0].name, partitions[0].target), ("rootfs", spec.partitions[0].target));
    assert_eq!(
        (Some(base.image), base.device),
        (spec.partitions[0].base, scene.device.slot_a.to_str().unwrap())
    );
    let installed = scene.device.install(&package, &[]);
    assert!(installed.is_success && installed.is_good, "{}", installed.output);
}

#[test]
fn a_downgrade() {
    let scene = Scene::new();
    let file = scene.device.path("sw-versions");
    let mut spec = scene.spec();
    let versions_file = file.to_str().unwrap().to_owned();
    spec.downgrade = Downgrade::Refused { versions_file, component: "demo".into() };
    let package = package(&spec, &scene.device.keys);
    for (installed, words) in
        [("0.10.0", "is older than 0.10.0"), ("unknown", "cannot be compared with unknown")]
    {
        fs::write(&file, format!("# comment\nother 0.1\ndemo   {installed}")).unwrap();
        scene.assert_refused(&package, &[], words);
    }
    // What it is told itself.
    fs::remove_file(&file).unwrap();
    scene.assert_refused(&package, &["-N", "0.10.0"], "");
    scene.assert_slot_untouched();
    let reader = PackageReader::open(&package[..], None, now()).unwrap();
    let (offered, newer) = ("0.2.0".to_owned(), "0.10.0".to_owned());
    let refused = RefusalError::Downgrade { offered, installed: newer };
    assert_eq!(reader.description().check_version("0.10.0"), Err(refused));
    fs::write(&file, "demo 0.1.9\n").unwrap();
    let installed = scene.device.install(&package, &[]);
    assert!(installed.is_success && installed.is_good, "{}", installed.output);
}

#[test]
fn a_slot_that_is_in_use() {
    let scene = Scene::new();
    fs::write(&scene.device.slot_b, vec![0; 4 << 20]).unwrap();
    run(Command::new("mkfs.ext4").arg("-q").arg(&scene.device.slot_b));
    let before = fs::read(&scene.device.slot_b).unwrap();
    let attached = Loop::attach(&scene.device.slot_b, &[]);
    let mut spec = scene.spec();
    spec.choices[0].places[0].target.clone_from(&attached.device);
    let package = package(&spec, &scene.device.keys);
    // Read-only, so that nothing of it changes by being mounted.
    let mount = Mount::new(&attached.device, scene.device.path("mounted"));
    scene.assert_refused(&package, &[], "is mounted");
    drop(mount);
    assert!(fs::read(&scene.device.slot_b).unwrap() == before);
    let installed = scene.device.install(&package, &[]);
    assert!(installed.is_success && installed.is_good, "{}", installed.output);
    drop(attached);
    let mut spec = scene.spec();
    spec.choices[0].places[0].target = "/dev/fluvial-no-such-device".into();
    scene.assert_refused(&crate::support::package(&spec, &scene.device.keys), &[], "is not a device");
    assert!(!Path::new("/dev/fluvial-no-such-device").exists());
    let link = scene.device.path("link");
    std::os::unix::fs::symlink(&scene.device.slot_a, &link).unwrap();
    spec.choices[0].places[0].target = link.to_str().unwrap().into();
    scene.assert_refused(&crate::support::package(&spec, &scene.device.keys), &[], "is the base");
}

struct Mount(PathBuf);

impl Mount {
    fn new(device: &str, folder: PathBuf) -> Self {
        fs::create_dir(&folder).unwrap();
        run(Command::new("mount").args(["-o", "ro,noload", device]).arg(&folder));
        Self(folder)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).output();
    }
}
