//! The script, in the shells that devices have.

use std::fs;
use std::io::Read as _;
use std::process::Command;

use fluvial_swu::cpio::CpioReader;
use fluvial_swu::package::{
    Downgrade, ImageDigest, PackageSpec, Place, VersionOrder, compare_versions, write,
};
use tempfile::TempDir;

use crate::support::{noise, now, spec};

const SHELLS: [&[&str]; 2] = [&["dash"], &["busybox", "ash"]];

/// The script of a package.
fn script(spec: &PackageSpec<'_>) -> String {
    let mut bytes = Vec::new();
    write(spec, None, now(), &mut bytes).unwrap();
    let mut reader = CpioReader::new(&bytes[..]);
    loop {
        let mut member = reader.next_member().unwrap().unwrap();
        if member.name() == "fluvial-check-1.sh" {
            let mut text = String::new();
            member.read_to_string(&mut text).unwrap();
            return text;
        }
    }
}

/// What a shell answers: whether it was content, and what it said.
fn shell(shell: &[&str], folder: &TempDir, script: &str, arguments: &[&str]) -> (bool, String) {
    let file = folder.path().join("script");
    fs::write(&file, script).unwrap();
    let output = Command::new(shell[0]).args(&shell[1..]).arg(&file).args(arguments).output().unwrap();
    (
        output.status.success(),
        [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat(),
    )
}

#[test]
fn versions_are_compared_as_by_ourselves() {
    let versions = [
        "0",
        "1",
        "1.0",
        "1.0.0",
        "1.0.1",
        "1.2",
        "1.10",
        "01.2",
        "1.2.3.4.5",
        "999999999",
        "1000000000",
        "1.0-rc1",
        "1.0-rc2",
        "1.0-rc.2",
        "1.0-rc.10",
        "1.0-rc",
        "1.0-1",
        "1.0-a-b",
        "1.0.0-",
        "1.0+build",
        "1.0-rc1+5",
        "1.0+a-b",
        "2.0-0",
        "",
        "v1",
        "1..2",
        "1.",
        ".1",
        "1 2",
        "1.x",
        "1-a_b",
        "$(false)",
        "*",
        "-1",
        "+1",
    ];
    let folder = tempfile::tempdir().unwrap();
    let file = noise(10, 1);
    let place = Place { target: "/x".into(), base: None };
    let functions = script(&spec(&file, None, &file, place));
    let (functions, _) = functions.split_once("\ncase \"${1-}\" in").unwrap();
    let pairs: Vec<_> = versions.iter().flat_map(|a| versions.iter().map(move |b| (*a, *b))).collect();
    let call = |(a, b): &(&str, &str)| {
        format!("if compare '{a}' '{b}'; then echo \"$order\"; else echo unknown; fi")
    };
    let calls = pairs.iter().map(call).collect::<Vec<_>>().join("\n");
    for name in SHELLS {
        let (_, answers) = shell(name, &folder, &format!("{functions}\n{calls}"), &[]);
        assert_eq!(answers.lines().count(), pairs.len());
        for ((a, b), answer) in pairs.iter().zip(answers.lines()) {
            let ours = match compare_versions(a, b) {
                VersionOrder::Known(order) => (order as i32).to_string(),
                VersionOrder::Unknown => "unknown".to_owned(),
            };
            assert_eq!(answer, ours, "{name:?}: {a} and {b}");
        }
    }
}

#[test]
fn bases_are_checked_to_the_byte() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    // Names that a shell would take apart.
    let (base, target) = (path("a 'b' $(touch x) \"*\" \\"), path("-target ;"));
    for len in [1, 1000, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, (2 << 20) + 77] {
        let bytes = noise(len, 3);
        let place = Place { target: target.clone(), base: Some(base.clone()) };
        let mut spec = spec(&bytes, None, &bytes, place);
        spec.partitions[0].base = Some(ImageDigest::of(&bytes).unwrap());
        let script = script(&spec);
        let mut flipped = bytes.clone();
        flipped[len - 1] ^= 1;
        for name in SHELLS {
            let ask = |content: &[u8], argument: &str| {
                fs::write(&base, content).unwrap();
                shell(name, &folder, &script, &[argument])
            };
            assert_eq!(ask(&bytes, "preinst"), (true, String::new()), "{name:?}: {len}");
            let refused =
                |(is_content, said): (bool, String), words: &str| !is_content && said.contains(words);
            assert!(refused(ask(&flipped, "preinst"), "fluvial: rootfs: base "), "{name:?}: {len}");
            assert!(refused(ask(&bytes[1..], "preinst"), "bytes, not"), "{name:?}: {len}");
            assert!(refused(ask(&[&bytes[..], b"x"].concat(), "preinst"), "bytes, not"), "{name:?}: {len}");
            assert!(refused(ask(&bytes, "anything"), "called with anything"), "{name:?}");
            // A refusal has written nothing; what it is content with has no right end any more.
            fs::write(&target, [&bytes[..], b"rest"].concat()).unwrap();
            ask(&flipped, "preinst");
            assert!(fs::read(&target).unwrap().starts_with(&bytes));
            ask(&bytes, "preinst");
            let (spoilt, start) = (fs::read(&target).unwrap(), len - len.min(64));
            assert!(spoilt[..start] == bytes[..start] && spoilt[len..] == *b"rest");
            assert!(spoilt[len - 1] != bytes[len - 1], "{name:?}: {len}");
            fs::write(&target, &bytes).unwrap();
            assert_eq!(ask(b"", "postinst"), (true, String::new()), "{name:?}: {len}");
            fs::write(&target, b"").unwrap();
            assert!(refused(ask(&bytes, "postinst"), "target "), "{name:?}: {len}");
            assert!(ask(b"", "postfailure").0);
        }
    }
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 3, "nothing was carried out");
}

#[test]
fn tools_that_are_missing_are_a_refusal() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let bytes = noise(5000, 3);
    let place = Place { target: path("target"), base: Some(path("base")) };
    fs::write(path("base"), &bytes).unwrap();
    let mut spec = spec(&bytes, None, &bytes, place);
    spec.partitions[0].base = Some(ImageDigest::of(&bytes).unwrap());
    spec.downgrade = Downgrade::Refused { versions_file: path("versions"), component: "demo".into() };
    fs::write(path("versions"), "demo 0.1-b\n").unwrap();
    let file = path("script");
    fs::write(&file, script(&spec)).unwrap();
    let tools = ["sha256sum", "head", "wc", "readlink"];
    let run = |missing: &str| {
        let tools_folder = tempfile::tempdir().unwrap();
        for tool in tools.iter().filter(|tool| **tool != missing) {
            let found = Command::new("which").arg(tool).output().unwrap().stdout;
            let found = String::from_utf8(found).unwrap();
            std::os::unix::fs::symlink(found.trim(), tools_folder.path().join(tool)).unwrap();
        }
        Command::new("/bin/dash").args([&file, "preinst"]).env("PATH", tools_folder.path()).output().unwrap()
    };
    assert!(run("").status.success());
    for tool in tools {
        assert!(!run(tool).status.success(), "{tool}");
    }
}

#[test]
fn what_readback_cannot_count_the_script_checks() {
    let bytes = noise(10, 3);
    let place = Place { target: "/target".into(), base: None };
    let mut spec = spec(&bytes, None, &bytes, place);
    let digest = hex(&spec.partitions[0].target.sha256);
    assert!(!script(&spec).contains(&format!("'0' '{digest}'")));
    spec.partitions[0].target.size_bytes = 1 << 32;
    let line = format!("check_written 'rootfs' '/target' 'least' '4294967296' '4096' '0' '{digest}'");
    assert!(script(&spec).contains(&line));
    let description = write(&spec, None, now(), std::io::sink()).unwrap();
    assert_eq!(description.sections[0].scripts.len(), 1, "readback would read the wrong length");
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}
