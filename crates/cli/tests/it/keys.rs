//! `fluvial key`.

use std::fs;

use serde_json::Value;

use crate::support::{Workplace, text};

/// The names of keys and the time of expiry are others at each run.
fn masked(work: &Workplace, arguments: &[&str]) -> String {
    let output = work.run(arguments);
    let shown = text(&output.stdout) + &text(&output.stderr);
    let is_key = |text: &str| text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let hide = |text: &str| match text.split_once('/') {
        Some((folder, file)) if is_key(file.trim_end_matches(".pem")) => format!("{folder}/KEY.pem"),
        _ if is_key(text) => "KEY".to_owned(),
        _ if text.ends_with('Z') && text.contains('T') => "TIME".to_owned(),
        _ => text.to_owned(),
    };
    let line = |line: &str| line.split(' ').map(hide).collect::<Vec<_>>().join(" ") + "\n";
    let shown: String = shown.lines().map(line).collect();
    let exit_code = output.status.code().unwrap();
    format!("$ fluvial {}\n{shown}[exit code {exit_code}]\n", arguments.join(" "))
}

#[test]
fn what_people_read() {
    let work = Workplace::new();
    let mut shown = Vec::new();
    shown.push(masked(&work, &["key", "init", "keys", "--keys", "3", "--threshold", "2"]));
    shown.push(masked(&work, &["key", "init", "keys"]));
    shown.push(masked(&work, &["key", "rotate", "keys", "timestamp"]));
    fs::rename(work.path("keys/root"), work.path("offline")).unwrap();
    shown.push(masked(&work, &["key", "show", "keys"]));
    shown.push(masked(&work, &["key", "rotate", "keys", "timestamp"]));
    shown.push(masked(&work, &["key", "rotate", "keys", "mirrors"]));
    shown.push(masked(&work, &["key", "show", "."]));
    shown.push(masked(&work, &["key", "init", "other", "--threshold", "2"]));
    shown.push(masked(&work, &["key", "init", "other", "--keys", "0"]));
    fs::write(work.path("keys/2.root.json"), "{").unwrap();
    shown.push(masked(&work, &["key", "show", "keys"]));
    assert_eq!(work.names(), ["keys", "offline"]);
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn what_machines_read() {
    let work = Workplace::new();
    let made = work.json(&["key", "init", "keys", "--timestamp-days", "7"]);
    assert_eq!((&made["root_version"], &made["timestamp_days"]), (&Value::from(1), &Value::from(7)));
    assert_eq!(work.json(&["key", "show", "keys"]), made);
    let names: Vec<_> = made["roles"].as_array().unwrap().iter().map(|role| &role["role"]).collect();
    assert_eq!(names, ["root", "targets", "snapshot", "timestamp"]);

    let rotated = work.json(&["key", "rotate", "keys", "targets", "--keys", "2"]);
    assert_eq!(rotated["root_version"], 2);
    let targets = &rotated["roles"][1];
    assert_eq!((&targets["threshold"], targets["keys"].as_array().unwrap().len()), (&Value::from(1), 2));
    assert_eq!(targets["unused_keys"][0], made["roles"][1]["keys"][0]["path"]);
    for path in rotated["new_keys"].as_array().unwrap() {
        assert!(work.path("keys").join(path.as_str().unwrap()).is_file());
    }
    fs::rename(work.path("keys/root"), work.path("offline")).unwrap();
    assert_eq!(work.json(&["key", "show", "keys"])["roles"][0]["keys"][0]["path"], Value::Null);
    assert_eq!(work.fault(&["key", "rotate", "keys", "root"]), ("usage".into(), 2));
}
