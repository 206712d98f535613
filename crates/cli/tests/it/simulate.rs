//! What updates transfer and cost, on small real images.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::{Workplace, can, edited, noise, text, tool};

/// Two ext4 images that differ in a program, a text and a new file. `None` where they cannot be made.
fn images(work: &Workplace) -> Option<()> {
    if !can("mkfs.ext4", false) {
        return None;
    }
    let (old, new) = edited(300_000);
    let text = |seed: u64| -> Vec<u8> {
        let line = |(number, byte): (usize, &u8)| format!("line {number} has {byte} of {seed}\n");
        noise(seed, 4000).iter().enumerate().map(line).collect::<String>().into_bytes()
    };
    for (side, program) in [("old", &old), ("new", &new)] {
        let root = |name: &str| format!("{side}.root/{name}");
        work.write(&root("usr/bin/program"), program);
        work.write(&root("usr/lib/library"), &noise(5, 2_000_000));
        work.write(&root("etc/same"), &text(1));
        work.write(&root("etc/other"), &text(if side == "old" { 2 } else { 3 }));
    }
    work.write("new.root/etc/added", &noise(6, 70_000));
    for side in ["old", "new"] {
        let image = work.path(&format!("{side}.ext4"));
        tool(
            Command::new("mkfs.ext4")
                .args(["-q", "-d"])
                .arg(work.path(&format!("{side}.root")))
                .args(["-U", "6f1a0f5e-0000-4000-8000-000000000001"])
                .arg(&image)
                .arg("16M"),
        );
    }
    Some(())
}

fn row<'a>(object: &'a Value, method: &str) -> &'a Value {
    let rows = object["methods"].as_array().unwrap();
    rows.iter().find(|row| row["method"] == method).unwrap_or_else(|| panic!("no {method}: {object}"))
}

fn bytes(object: &Value, method: &str) -> u64 {
    row(object, method)["bytes"].as_u64().unwrap()
}

#[test]
fn every_way_is_measured_on_images() {
    let work = Workplace::new();
    let Some(()) = images(&work) else { return };
    let object = work.json(&["simulate", "old.ext4", "new.ext4", "--work-folder", ".", "--plot", "plot.svg"]);
    for row in object["methods"].as_array().unwrap() {
        let number = |name: &str| row[name].as_u64().unwrap();
        let parts = number("data_bytes") + number("index_bytes") + 768 * number("requests");
        assert_eq!(number("bytes"), parts, "{row}");
        assert!(number("requests") > 0, "{row}");
        let percent = 100.0 * number("bytes") as f64 / bytes(&object, "full-xz") as f64;
        assert!((row["xz_percent"].as_f64().unwrap() - percent).abs() < 1e-6, "{row}");
    }
    // 2,372,100 bytes of the image cannot be packed, and about 80 KB of them are new.
    let full = bytes(&object, "full-xz");
    assert!((2_372_100..2_800_000).contains(&full), "{full}");
    assert!(bytes(&object, "full-zstd").abs_diff(bytes(&object, "full-xz")) < 200_000);
    let (ours, deltar) = (bytes(&object, "fluvial-static"), bytes(&object, "deltar-16"));
    assert!((70_000..170_000).contains(&ours), "{ours}");
    // Of a chunk with a few changes in it all has to come, and what stands beside it in its group.
    assert!((ours + 100_000..700_000).contains(&deltar), "{deltar}");
    for method in ["fixed-4-32", "casync-16", "casync-64"] {
        assert!(bytes(&object, method) > ours + 100_000, "{method}");
    }
    let dynamic = bytes(&object, "fluvial-dynamic");
    assert!((ours..deltar).contains(&dynamic), "{dynamic}");
    for (program, methods) in [
        ("xdelta3", &["xdelta3", "xdelta3-9"][..]),
        ("rdiff", &["rdiff", "rdiff-gzip"]),
        ("zstd", &["zstd-patch-from"]),
    ] {
        if can(program, false) {
            for method in methods {
                // Beside the header of a signed bundle, which others do not have.
                let patch = row(&object, "fluvial-static")["data_bytes"].as_u64().unwrap();
                assert!(bytes(&object, method) > patch, "{method}");
                assert!(row(&object, method)["apply_memory_bytes"].as_u64().unwrap() > 0);
            }
        }
    }
    assert!(text(&work.read("plot.svg")).contains("fluvial-static"));
    let left: Vec<_> = work.names().into_iter().filter(|name| name.starts_with(".tmp")).collect();
    assert_eq!(left, [""; 0], "temporary files");
}

#[test]
fn ways_that_cannot_be_gone_are_left_out_with_a_word() {
    let work = Workplace::new();
    let (old, new) = edited(200_000);
    work.write("old", &old);
    work.write("new", &new);
    let methods = ["deltar-16", "rdiff", "xdelta3-9", "casync-16"];
    let mut arguments = vec!["simulate", "old", "new", "--work-folder", ".", "--json"];
    for method in methods {
        arguments.extend(["--method", method]);
    }
    let output = work.fluvial(&arguments).env("PATH", work.path("nothing")).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let object: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(object["methods"].as_array().unwrap().len(), 1);
    assert_eq!(row(&object, "casync-16")["xz_percent"], Value::Null, "xz was not asked for");
    let reasons: Vec<_> = object["left_out"]
        .as_array()
        .unwrap()
        .iter()
        .map(|left| (left["method"].as_str().unwrap(), left["reason"].as_str().unwrap()))
        .collect();
    let expected = [
        ("deltar-16", "OLD is no file system whose files stand in it as they are"),
        ("xdelta3-9", "xdelta3 is not installed"),
        ("rdiff", "rdiff is not installed"),
    ];
    assert_eq!(reasons, expected);
}

#[test]
fn a_stop_ends_the_program_at_hand_and_leaves_nothing() {
    let work = Workplace::new();
    for name in ["old", "new"] {
        work.write(name, &noise(1, 5000));
    }
    // A program that tells when it runs, and would run for long.
    tool(Command::new("mkfifo").arg(work.path("started")));
    let script = format!("#!/bin/sh\necho $$ >{}\nexec sleep 1000\n", work.path("started").display());
    let program = work.write("bin/xdelta3", script.as_bytes());
    tool(Command::new("chmod").arg("755").arg(&program));
    let path = format!("{}:{}", work.path("bin").display(), std::env::var("PATH").unwrap());
    let arguments = ["simulate", "old", "new", "--work-folder", ".", "--method", "xdelta3", "--json"];
    let child = work.fluvial(&arguments).env("PATH", path).stderr(Stdio::piped()).spawn().unwrap();
    let program_pid = text(&work.read("started"));
    tool(Command::new("sh").args(["-c", &format!("kill -INT {}", child.id())]));
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("\"cancelled\""), "{}", text(&output.stderr));
    assert!(!Path::new("/proc").join(program_pid.trim()).exists(), "the program still runs");
    assert_eq!(work.names(), ["bin", "new", "old", "started"]);
}

#[test]
fn what_was_measured_is_turned_into_money() {
    let work = Workplace::new();
    let (old, new) = edited(400_000);
    work.write("old", &old);
    work.write("new", &new);
    let simulate = ["simulate", "old", "new", "--work-folder", ".", "--method", "full-xz", "--method"];
    let object = work.json(&[&simulate[..], &["fluvial-static"]].concat());
    work.write("measured.json", object.to_string().as_bytes());
    let savings = work.json(&["savings", "--from-simulation", "measured.json", "--plot", "plot.svg"]);
    let published: Vec<u64> = savings["methods"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["source"] == "published")
        .map(|row| row["cost_per_year"].as_f64().unwrap().round() as u64)
        .collect();
    assert_eq!(published, [303, 77, 69, 61, 36]);
    let ours = row(&savings, "fluvial-static");
    // 12 updates of 1000 devices, 1.5 GiB at 0.09.
    let expected = 1620.0 * bytes(&object, "fluvial-static") as f64 / new.len() as f64;
    assert!((ours["cost_per_year"].as_f64().unwrap() - expected).abs() < 1e-6);
    let full = row(&savings, "full-xz")["cost_per_year"].as_f64().unwrap();
    assert!((ours["savings_per_year"].as_f64().unwrap() - (full - expected)).abs() < 1e-6);
    assert!(text(&work.read("plot.svg")).contains("fluvial-static"));
}

#[test]
fn wrong_input_is_refused() {
    let work = Workplace::new();
    work.write("old", &noise(1, 5000));
    work.write("text", b"not a simulation");
    work.write("other.json", b"{\"old\": 3}");
    work.write("long.json", &vec![b' '; (1 << 20) + 1]);
    for file in ["text", "other.json", "long.json"] {
        let fault = work.fault(&["savings", "--from-simulation", file]);
        assert_eq!(fault, ("usage".into(), 2), "{file}");
    }
    assert_eq!(work.fault(&["savings", "--from-simulation", "missing"]).0, "io");
    assert_eq!(work.fault(&["savings", "--updates-per-year", "-1"]).0, "usage");
    assert_eq!(work.fault(&["simulate", "old", "missing"]).0, "io");
    assert_eq!(work.fault(&["simulate", "old", "old", "--plot", "old"]).0, "usage");
    assert_eq!(work.fault(&["simulate", "old", "old", "--method", "magic"]).0, "usage");
    assert_eq!(work.fault(&["simulate", "old", "old", "--work-folder", "missing"]).0, "io");
    assert_eq!(work.read("old"), noise(1, 5000));
}

#[test]
fn the_calculator_reads_well() {
    let work = Workplace::new();
    let shown = |arguments: &[&str]| text(&work.run(arguments).stdout);
    let quarterly = ["savings", "--devices", "50000", "--updates-per-year", "4", "--image-size", "640MiB"];
    insta::assert_snapshot!(shown(&["savings"]) + "\n" + &shown(&quarterly));
}
