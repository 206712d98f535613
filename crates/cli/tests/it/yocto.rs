//! `integration/yocto/meta-fluvial`: what its class and recipe run is run here, by a shell and with the real command.
//!
//! `BitBake` is not at hand. It does three things that are done here in its place: it asks Python for `${@...}`, puts
//! values in place of `${NAME}`, and runs the function by a shell.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::{Workplace, can, text, tool};

/// The options of `fluvial swu delta` that are agreed on.
const SWU_DELTA_OPTIONS: [&str; 11] = [
    "--artifacts",
    "--machine",
    "--image",
    "--from",
    "--to",
    "--sign-key",
    "--sign-cert",
    "--signature",
    "--slot",
    "--hardware",
    "--block-len",
];

fn layer() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../integration/yocto/meta-fluvial")
}

/// Variables of a build, from `NAME ?= "value"` of files of the layer and from what a test sets.
struct Build {
    values: BTreeMap<String, String>,
    python: String,
    shell: String,
}

impl Build {
    /// Reads files of the layer as far as they are used here: assignments, Python and shell functions.
    fn read(files: &[&str], set: &[(&str, &str)]) -> Self {
        let mut values: BTreeMap<String, String> =
            set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let (mut python, mut shell) = (String::new(), String::new());
        for file in files {
            let source = fs::read_to_string(layer().join(file)).unwrap().replace("\\\n", "");
            let mut lines = source.lines().peekable();
            while let Some(line) = lines.next() {
                if line.starts_with("def ") {
                    python.push_str(line);
                    python.push('\n');
                    while let Some(body) = lines.next_if(|line| line.starts_with(' ') || line.is_empty()) {
                        python.push_str(body);
                        python.push('\n');
                    }
                } else if line.starts_with("do_") && line.ends_with("() {") {
                    let body = lines.by_ref().take_while(|line| *line != "}");
                    shell = body.collect::<Vec<_>>().join("\n");
                } else if let Some((name, value)) = assignment(line) {
                    values.entry(name.into()).or_insert_with(|| value.into());
                }
            }
        }
        Self { values, python, shell }
    }

    /// The shell function as a shell gets it.
    fn script(&self) -> String {
        let mut values = self.values.clone();
        for value in values.values_mut() {
            *value = self.answered(value);
        }
        let mut script = self.shell.clone();
        // Values name values.
        for _ in 0..4 {
            for (name, value) in &values {
                script = script.replace(&format!("${{{name}}}"), value);
            }
        }
        assert!(!script.contains("${"), "a variable without a value: {script}");
        let functions = "bbfatal() { echo \"FATAL $*\"; exit 1; }\nbbwarn() { echo \"WARN $*\"; }\n";
        format!("set -e\n{functions}{script}")
    }

    /// A value with what Python answers in place of `${@...}`.
    fn answered(&self, value: &str) -> String {
        let mut answered = value.to_owned();
        while let Some(start) = answered.find("${@") {
            let len = answered[start..].find(")}").unwrap() + 2;
            let expression = &answered[start + 3..start + len - 1];
            let values = serde_json::to_string(&self.values).unwrap();
            let program = format!(
                "import json\nclass D:\n    values = json.loads({values:?})\n    def getVar(self, name):\n        \
                 return self.values.get(name)\nd = D()\n{}\nprint({expression})",
                self.python
            );
            let answer = text(&tool(Command::new("python3").args(["-c", &program])).stdout);
            answered.replace_range(start..start + len, answer.trim_end());
        }
        answered
    }

    fn run(&self, work: &Workplace) -> Output {
        Command::new("sh").args(["-c", &self.script()]).current_dir(work.path("")).output().unwrap()
    }
}

fn assignment(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once(" ?= ").or_else(|| line.split_once(" = "))?;
    Some((name, value.trim_matches('"')))
}

fn image_build(version: &str, more: &[(&str, &str)]) -> Build {
    let set = [
        ("FLUVIAL", env!("CARGO_BIN_EXE_fluvial")),
        ("FLUVIAL_ARTIFACTS", "artifacts dir"),
        ("MACHINE", "qemux86-64"),
        ("PN", "core-image-minimal"),
        ("DISTRO", "poky"),
        ("BUILD_VERSION", version),
        ("DEPLOY_DIR_IMAGE", "deploy"),
        ("IMAGE_LINK_NAME", "core-image-minimal-qemux86-64.rootfs"),
        ("TCLIBC", "glibc"),
        ("INIT_MANAGER", "systemd"),
        ("TUNE_PKGARCH", "core2-64"),
        ("DISTRO_VERSION", "5.0 of \"poky\", it's   new"),
        ("FLUVIAL_PARTITION_SIZES", "rootfs=512MiB"),
    ];
    // What is told first counts.
    let set: Vec<_> = more.iter().chain(&set).rev().copied().collect();
    Build::read(&["classes/fluvial.bbclass", "classes/fluvial-artifacts.bbclass"], &set)
}

fn prepared() -> Workplace {
    let work = Workplace::new();
    work.write("deploy/core-image-minimal-qemux86-64.rootfs.ext4", &[1; 8192]);
    work
}

#[test]
fn the_class_adds_images() {
    if !can("python3", false) {
        return;
    }
    let work = prepared();
    let added = image_build("0.1.0", &[]).run(&work);
    assert!(added.status.success(), "{} {}", text(&added.stdout), text(&added.stderr));
    let folder = "artifacts dir/qemux86-64/core-image-minimal/0.1.0";
    assert_eq!(work.read(&format!("{folder}/rootfs.img")), [1; 8192]);
    let manifest: serde_json::Value =
        serde_json::from_slice(&work.read(&format!("{folder}/build-info.json"))).unwrap();
    assert_eq!(manifest["distribution"], "poky");
    assert_eq!(manifest["partitions"][0]["partition_bytes"], 512 << 20);
    let expected = serde_json::json!({
        "TCLIBC": "glibc", "INIT_MANAGER": "systemd", "TUNE_PKGARCH": "core2-64"
    });
    assert_eq!(manifest["build_info"], expected);
    assert_eq!(manifest["build_notes"]["DISTRO_VERSION"], "5.0 of \"poky\", it's new");

    let again = image_build("0.1.0", &[]).run(&work);
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stdout).contains("FATAL core-image-minimal 0.1.0 was not added"), "{again:?}");
    let kept = image_build("0.1.0", &[("FLUVIAL_EXISTING", "keep")]).run(&work);
    assert!(kept.status.success() && text(&kept.stdout).starts_with("WARN"), "{kept:?}");
    let unset = image_build("", &[]).run(&work);
    assert!(text(&unset.stdout).contains("BUILD_VERSION is not set"), "{unset:?}");
}

/// The recipe, with a command that only tells how it was called.
fn delta_build(fluvial: &str, more: &[(&str, &str)]) -> Build {
    let set = [
        ("FLUVIAL", fluvial),
        ("FLUVIAL_ARTIFACTS", "artifacts"),
        ("MACHINE", "qemux86-64"),
        ("FLUVIAL_DELTA_IMAGE", "core-image-minimal"),
        ("VERSION_FROM", "0.1.0"),
        ("VERSION_TO", "0.2.0"),
        ("FLUVIAL_SIGN_KEY", "keys/sign.key.pem"),
        ("FLUVIAL_SIGN_CERT", "keys/sign.cert.pem"),
        ("FLUVIAL_SLOTS", "rootfs=/dev/vda3,base=/dev/vda2 boot=/dev/vda5,base=/dev/vda4"),
        ("FLUVIAL_HARDWARE", "qemux86-64:1.0"),
    ];
    let set: Vec<_> = more.iter().chain(&set).rev().copied().collect();
    let recipe = "recipes-core/imgen-update-delta/imgen-update-delta.bb";
    Build::read(&["classes/fluvial.bbclass", recipe], &set)
}

#[test]
fn the_recipe_calls_swu_delta_as_agreed() {
    if !can("python3", false) {
        return;
    }
    let work = Workplace::new();
    work.write("tell", b"#!/bin/sh\nprintf '%s\\n' \"$ARTIFACTS_PATTERNS\" \"$@\"\n");
    tool(Command::new("chmod").arg("+x").arg(work.path("tell")));
    let told = delta_build("./tell", &[("ARTIFACTS_PATTERNS", "*.swu *.delta")]).run(&work);
    assert!(told.status.success(), "{told:?}");
    let told = text(&told.stdout);
    let words: Vec<&str> = told.lines().collect();
    assert_eq!(words[..3], ["*.swu *.delta", "swu", "delta"]);
    let options: Vec<&str> = words.iter().copied().filter(|word| word.starts_with("--")).collect();
    for option in &options {
        assert!(SWU_DELTA_OPTIONS.contains(option), "{option}");
    }
    // All that tell something come with a value.
    assert_eq!(words.len(), 3 + 2 * options.len(), "{words:?}");
    let missing = delta_build("./tell", &[("VERSION_FROM", "")]).run(&work);
    assert!(text(&missing.stdout).contains("VERSION_FROM and VERSION_TO"), "{missing:?}");
    let unsigned = delta_build("./tell", &[("FLUVIAL_SIGN_KEY", "")]).run(&work);
    assert!(text(&unsigned.stdout).contains("FLUVIAL_SIGN_KEY"), "{unsigned:?}");

    // What follows begins to count with the subcommand.
    let help = work.run(&["swu", "delta", "--help"]);
    if !help.status.success() {
        println!("`fluvial swu delta` is not there yet");
        return;
    }
    let help = text(&help.stdout);
    for option in SWU_DELTA_OPTIONS {
        assert!(help.contains(option), "{option} is not an option of `fluvial swu delta`");
    }
    // Taken by the parser; there is no store.
    let output = work.run(&words[1..]);
    assert_ne!(output.status.code(), Some(2), "{}", text(&output.stderr));
}

/// kas reads the example's files and resolves their includes. What they fetch stands in an empty repository here.
#[test]
fn kas_reads_the_example() {
    if !can("kas", false) || !can("git", false) {
        return;
    }
    // The file's format, 14, is that of kas 4.0. Debian 12 has 3.1; `pip install kas` brings a newer one.
    let version = text(&tool(Command::new("kas").arg("--version")).stdout);
    if version.starts_with("kas 3.") {
        println!("skipped: {version}");
        return;
    }
    let work = Workplace::new();
    let poky = work.path("poky.git");
    let git = |folder: &Path, arguments: &[&str]| {
        let identity = ["-c", "user.name=test", "-c", "user.email=test@example.invalid"];
        tool(Command::new("git").arg("-C").arg(folder).args(identity).args(arguments));
    };
    for folder in [&poky, &work.path("fluvial")] {
        fs::create_dir(folder).unwrap();
        git(folder, &["init", "--quiet", "--initial-branch", "scarthgap"]);
    }
    let copy = work.path("fluvial/integration/yocto");
    fs::create_dir_all(&copy).unwrap();
    tool(Command::new("cp").arg("-r").arg(layer()).arg(&copy));
    for folder in [&poky, &work.path("fluvial")] {
        git(folder, &["add", "--all"]);
        git(folder, &["commit", "--quiet", "--allow-empty", "--message", "all"]);
    }
    let config = format!("[url \"{}\"]\n\tinsteadOf = https://git.yoctoproject.org/poky\n", poky.display());
    let config = work.write("gitconfig", config.as_bytes());
    let dump = |file: &str| -> serde_json::Value {
        let mut kas = Command::new("kas");
        kas.args(["dump", "--format", "json"]).arg(copy.join("meta-fluvial/kas").join(file));
        kas.current_dir(work.path("")).env("KAS_WORK_DIR", work.path("")).env("GITCONFIG_FILE", &config);
        kas.env("VERSION_FROM", "0.1.0").env("VERSION_TO", "0.2.0");
        serde_json::from_slice(&tool(&mut kas).stdout).unwrap()
    };
    let image = dump("qemux86-64_core-image-minimal.yml");
    assert_eq!((&image["machine"], &image["target"]), (&"qemux86-64".into(), &"core-image-minimal".into()));
    assert!(image["local_conf_header"]["buildinfo"].as_str().unwrap().contains("BUILD_VERSION = \"0.1.0\""));
    assert!(image["repos"]["poky"]["layers"]["meta-poky"].is_null());
    let delta = dump("qemux86-64_imgen-update-delta.yml");
    assert_eq!(delta["target"], "imgen-update-delta");
    for name in ["VERSION_FROM", "VERSION_TO", "FLUVIAL_SIGN_KEY", "FLUVIAL_SIGN_CERT"] {
        assert!(delta["env"].as_object().unwrap().contains_key(name), "{name}");
    }
    assert!(
        delta["repos"]["fluvial"]["layers"]
            .as_object()
            .unwrap()
            .contains_key("integration/yocto/meta-fluvial")
    );
}
