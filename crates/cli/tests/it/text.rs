//! What people and machines read, as snapshots.

use std::fmt::Write as _;

use crate::packages::{self, Recipe};
use crate::support::{Workplace, edited, text};

/// Standard output and error, and the exit code. Digits of measured figures become `#`.
fn shown(work: &Workplace, arguments: &[&str], mask: bool) -> String {
    let output = work.run(arguments);
    let mut shown = format!("$ fluvial {}\n", arguments.join(" "));
    for stream in [&output.stdout, &output.stderr] {
        shown.push_str(&text(stream));
    }
    writeln!(shown, "[exit code {}]", output.status.code().unwrap()).unwrap();
    if mask { masked(&shown) } else { shown }
}

/// Replaces each run of digits, which changes with every improvement of the engine, by one `#`.
fn masked(text: &str) -> String {
    let mut masked = String::new();
    let mut in_number = false;
    for letter in text.chars() {
        let digit = letter.is_ascii_digit() || (in_number && letter == '.');
        if !digit {
            masked.push(letter);
        } else if !in_number {
            masked.push('#');
        }
        in_number = digit;
    }
    // Columns are aligned by the length of numbers.
    masked.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ") + "\n").collect()
}

fn prepared() -> Workplace {
    let work = Workplace::new();
    let (old, new) = edited(20_000);
    work.write("old", &old);
    work.write("new", &new);
    work.json(&["diff", "old", "new", "-o", "patch"]);
    work
}

#[test]
fn help() {
    let work = Workplace::new();
    let commands = [
        &["--help"][..],
        &["diff", "--help"],
        &["apply", "--help"],
        &["inspect", "--help"],
        &["simulate", "--help"],
        &["savings", "--help"],
        &["image", "--help"],
        &["image", "diff", "--help"],
        &["image", "apply", "--help"],
        &["image", "push-delta", "--help"],
        &["image", "pull", "--help"],
        &["artifacts", "--help"],
        &["artifacts", "add", "--help"],
        &["artifacts", "list", "--help"],
        &["artifacts", "show", "--help"],
        &["artifacts", "verify", "--help"],
        &["artifacts", "prune", "--help"],
        &["swu", "--help"],
        &["swu", "delta", "--help"],
        &["swu", "full", "--help"],
        &["swu", "inspect", "--help"],
        &["swu", "verify", "--help"],
        &["swu", "apply", "--help"],
        &["key", "--help"],
        &["key", "init", "--help"],
        &["key", "rotate", "--help"],
        &["key", "show", "--help"],
    ];
    let help: Vec<_> = commands.iter().map(|arguments| shown(&work, arguments, false)).collect();
    insta::assert_snapshot!(help.join("\n"));
}

#[test]
fn errors() {
    let work = prepared();
    let patch = work.read("patch");
    let mut newer = patch.clone();
    newer[8] = 9;
    work.write("newer", &newer);
    work.write("cut", &patch[..patch.len() - 7]);
    let mut flipped = patch.clone();
    let last = patch.len() - 1;
    flipped[last] ^= 1;
    work.write("flipped", &flipped);
    let commands: &[&[&str]] = &[
        &["apply", "new", "patch", "-o", "result"],
        &["apply", "old", "new", "-o", "result"],
        &["apply", "old", "newer", "-o", "result"],
        &["apply", "old", "cut", "-o", "result"],
        &["apply", "old", "flipped", "-o", "result"],
        &["apply", "old", "patch", "-o", "nowhere/result"],
        &["apply", "missing", "patch", "-o", "result"],
        &["apply", "old", "patch", "-o", "result", "--memory-limit", "1MiB"],
        &["apply", "old", "patch", "-o", "patch"],
        &["diff", "old", "missing", "-o", "other"],
        &["diff", "old", "new", "-o", "other", "--apply-memory", "1MiB"],
        &["diff", "old", "new", "-o", "other", "--apply-memory", "lots"],
        &["inspect", "old"],
        &["apply", "new", "patch", "-o", "result", "--json"],
        &["apply", "--json"],
    ];
    let shown: Vec<_> = commands.iter().map(|arguments| shown(&work, arguments, false)).collect();
    insta::assert_snapshot!(masked_memory(&shown.join("\n")));
}

/// What a patch takes to apply changes with the engine; everything else stays as it is.
fn masked_memory(text: &str) -> String {
    let line = |line: &str| {
        if line.contains("of memory") || line.contains("bytes are here") {
            masked(line)
        } else {
            format!("{line}\n")
        }
    };
    text.lines().map(line).collect()
}

#[test]
fn results() {
    let work = prepared();
    let shown = [
        shown(&work, &["diff", "old", "new", "-o", "patch"], true),
        shown(&work, &["inspect", "patch"], true),
        masked(&text(&work.run(&["apply", "old", "patch", "-o", "result"]).stdout[..20])),
    ];
    insta::assert_snapshot!(without_digests(&shown.join("\n")));
}

/// Digests lose their digits in [`masked`]; what is left of them says nothing.
fn without_digests(text: &str) -> String {
    let line = |line: &str| match line.split_once("SHA-# ") {
        Some((before, _)) => format!("{before}SHA-# ...\n"),
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

#[test]
fn objects() {
    let work = prepared();
    let mut shown = String::new();
    for arguments in [
        &["diff", "old", "new", "-o", "patch"][..],
        &["inspect", "patch", "--top", "1"],
        &["apply", "old", "patch", "-o", "result"],
    ] {
        writeln!(shown, "$ fluvial {} --json", arguments.join(" ")).unwrap();
        names(&work.json(arguments), "", &mut shown);
    }
    insta::assert_snapshot!(shown);
}

#[test]
fn packages_of_swupdate() {
    let recipe = Recipe { has_boot: true, ..Recipe::delta(20_000) };
    let work = packages::prepared(&recipe);
    let here = ["--hardware-revision", "1.0", "--select", "stable,copy2"];
    let commands: &[&[&str]] = &[
        &["swu", "inspect", "X.swu"],
        &["swu", "verify", "X.swu", "--cert", "sign.pem"],
        &["swu", "verify", "X.swu"],
        &["swu", "verify", "X.swu", "--cert", "sign.pem", "--at", "2200-01-01T00:00:00Z"],
        &["swu", "verify", "a", "--cert", "sign.pem"],
        &[&["swu", "apply", "X.swu"][..], &here].concat(),
        &[
            "swu",
            "apply",
            "X.swu",
            "--allow-unsigned",
            "--hardware-revision",
            "7",
            "--select",
            "stable,copy2",
        ],
        &[&["swu", "apply", "X.swu", "--allow-unsigned", "--installed-version", "9"][..], &here].concat(),
        &[&["swu", "apply", "X.swu", "--allow-unsigned", "--base", "rootfs=X.swu"][..], &here].concat(),
        &[&["swu", "apply", "X.swu", "--allow-unsigned", "--target", "boot=boot.img"][..], &here].concat(),
    ];
    let mut all = String::new();
    for arguments in commands {
        let shown = shown(&work, arguments, false).replace(work.path("").to_str().unwrap(), "/here/");
        let line = |line: &str| if line.starts_with("$ ") { format!("{line}\n") } else { masked(line) };
        all.push_str(&shown.lines().map(line).collect::<String>());
    }
    insta::assert_snapshot!(without_digests(&all));

    let mut shown = String::new();
    for arguments in [
        &["swu", "inspect", "X.swu"][..],
        &["swu", "verify", "X.swu", "--cert", "sign.pem"],
        &[&["swu", "apply", "X.swu", "--allow-unsigned"][..], &here].concat(),
    ] {
        writeln!(shown, "$ fluvial {} --json", arguments.join(" ")).unwrap();
        names(&work.json(arguments), "", &mut shown);
    }
    insta::assert_snapshot!("packages_of_swupdate_objects", shown);
}

/// The names in an object, with the kinds of their values.
fn names(value: &serde_json::Value, path: &str, shown: &mut String) {
    use serde_json::Value;
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                names(field, &format!("{path}.{name}"), shown);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| names(item, &format!("{path}[]"), shown)),
        Value::Null => writeln!(shown, "{path}: null").unwrap(),
        Value::Bool(_) => writeln!(shown, "{path}: bool").unwrap(),
        Value::Number(_) => writeln!(shown, "{path}: number").unwrap(),
        Value::String(_) => writeln!(shown, "{path}: text").unwrap(),
    }
}
