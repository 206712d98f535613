//! The programs that make real images.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Whether the program can be started. A test that needs one that is not there says so and passes:
/// the committed images of `tests/seeds` are checked on every machine. In CI (`CI=true`), which
/// installs all of them, a missing one is an error.
pub fn have(program: &str) -> bool {
    let found = Command::new("sh")
        .args(["-c", "command -v \"$0\"", program])
        .env("PATH", path())
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !found {
        assert!(std::env::var_os("CI").is_none(), "{program} is not installed");
        eprintln!("skipped: {program} is not installed");
    }
    found
}

/// The `PATH` with the places where file-system tools live, which users other than root lack.
fn path() -> String {
    format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default())
}

/// Runs a program in `folder`; its output.
pub fn run(folder: &Path, program: &str, args: &[&str]) -> Vec<u8> {
    feed(folder, program, args, &[])
}

/// Runs a program in `folder` with `input` as its standard input; its output.
pub fn feed(folder: &Path, program: &str, args: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(args)
        .current_dir(folder)
        .env("PATH", path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}
