//! Runs that are killed, stopped or cut go on where they were.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command};

use crate::support::{Mount, Workplace, can, noise, text, tool};

const APPLY: [&str; 5] = ["apply", "old", "patch", "-o", "result"];
const PART: &str = "result.part";
const JOURNAL: &str = "result.part.journal";
/// Bytes of the journal before the frame's number; see docs in src/journal.rs.
const FRAME_AT: usize = 49;

/// Much more than is made before the disk has to be waited for (see src/notary.rs): a run that has noted
/// something goes on for a while.
const SLOW_BYTES: usize = 160 << 20;

/// A patch of many frames: nothing of NEW stands in OLD.
fn many_frames() -> Workplace {
    many_frames_of(24 << 20)
}

/// The same for a NEW of so many bytes.
fn many_frames_of(len: usize) -> Workplace {
    let work = Workplace::new();
    work.write("old", &noise(3, 100_000));
    work.write("new", &noise(4, len));
    let made = work.json(&["diff", "old", "new", "-o", "patch", "--preset", "fast"]);
    assert!(made["frames"].as_u64().unwrap() >= 6, "{made}");
    work
}

/// The frame that the journal names; 0 if there is none.
fn noted(work: &Workplace) -> u64 {
    let Ok(bytes) = fs::read(work.path(JOURNAL)) else { return 0 };
    u64::from_le_bytes(bytes[FRAME_AT..FRAME_AT + 8].try_into().unwrap())
}

/// Starts an apply and waits until its journal has passed a frame, or it has ended.
fn start_until(work: &Workplace, frame: u64) -> Child {
    let mut child = work.start(&[&APPLY[..], &["--json"]].concat());
    while noted(work) <= frame && child.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    child
}

fn signal(child: &Child, name: &str) {
    tool(Command::new("sh").args(["-c", &format!("kill -{name} {}", child.id())]));
}

fn check_result(work: &Workplace) {
    assert!(work.read("result") == work.read("new"), "the result differs");
    assert_eq!(work.names(), ["new", "old", "patch", "result"]);
}

#[test]
fn killed_again_and_again_it_still_arrives() {
    let work = many_frames_of(SLOW_BYTES);
    let mut kills = 0;
    loop {
        let before = noted(&work);
        let mut child = start_until(&work, before);
        child.kill().unwrap();
        let output = child.wait_with_output().unwrap();
        if output.status.success() {
            let object: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(object["first_frame"], before);
            break;
        }
        assert_eq!(output.status.signal(), Some(9), "{}", text(&output.stderr));
        assert!(noted(&work) > before, "each run makes progress");
        assert!(!work.path("result").exists());
        kills += 1;
    }
    assert!(kills >= 2, "only {kills} runs were killed");
    check_result(&work);
}

#[test]
fn killed_at_any_system_call_that_writes_it_still_arrives() {
    let work = many_frames();
    work.kill_at_writes(&APPLY, "result", &work.read("new"));
}

#[test]
fn an_interrupt_stops_cleanly_and_keeps_what_is_made() {
    let work = many_frames_of(SLOW_BYTES);
    let output = loop {
        let child = start_until(&work, 0);
        signal(&child, "INT");
        let output = child.wait_with_output().unwrap();
        if !output.status.success() {
            break output;
        }
        // On a busy machine the signal may come too late.
        check_result(&work);
        fs::remove_file(work.path("result")).unwrap();
    };
    assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
    let object: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(object["error"]["kind"], "cancelled");
    let frame = noted(&work);
    let hint = object["error"]["hint"].as_str().unwrap();
    assert!(
        hint.contains(&format!("result.part is kept: the same command goes on from frame {frame} of")),
        "{hint}"
    );
    assert_eq!(work.names(), ["new", "old", "patch", PART, JOURNAL]);
    assert_eq!(work.json(&APPLY)["first_frame"], frame);
    check_result(&work);
}

#[test]
fn two_at_once_do_not_meet() {
    let work = many_frames_of(SLOW_BYTES);
    let child = start_until(&work, 0);
    signal(&child, "STOP");
    assert_eq!(work.fault(&APPLY), ("busy".into(), 18));
    signal(&child, "CONT");
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    check_result(&work);
}

#[test]
fn what_cannot_be_used_is_said_and_made_again() {
    let work = many_frames();
    let cut = |work: &Workplace| {
        // A damaged frame ends the run at a known place, however fast the disk is.
        let patch = work.read("patch");
        let mut damaged = patch.clone();
        *damaged.last_mut().unwrap() ^= 1;
        work.write("patch", &damaged);
        assert_eq!(work.fault(&APPLY).0, "damaged_patch");
        work.write("patch", &patch);
        assert!(noted(work) > 2);
    };
    let restart = |work: &Workplace, why: &str| {
        let object = work.json(&APPLY);
        assert_eq!(object["first_frame"], 0, "{why}");
        assert!(object["restart"].as_str().unwrap().contains(why), "{object}");
        check_result(work);
        fs::remove_file(work.path("result")).unwrap();
    };

    cut(&work);
    let mut journal = work.read(JOURNAL);
    journal[FRAME_AT] ^= 1;
    work.write(JOURNAL, &journal);
    restart(&work, "it is damaged");

    cut(&work);
    // A copy under the same name; the original lives on, so that its inode is not used again.
    fs::rename(work.path(PART), work.path("aside")).unwrap();
    fs::copy(work.path("aside"), work.path(PART)).unwrap();
    fs::remove_file(work.path("aside")).unwrap();
    restart(&work, "it belongs to a file that is gone");

    cut(&work);
    fs::OpenOptions::new().write(true).open(work.path(PART)).unwrap().set_len(1000).unwrap();
    restart(&work, "another length");

    // Bytes that an earlier run has made, and that changed meanwhile.
    cut(&work);
    let mut part = work.read(PART);
    part[1_000_000] ^= 1;
    work.write(PART, &part);
    restart(&work, "what an earlier run has left is damaged");

    // The journal of another patch.
    cut(&work);
    work.json(&["diff", "new", "old", "-o", "patch", "--preset", "fast"]);
    let object = work.json(&["apply", "new", "patch", "-o", "result"]);
    assert!(object["restart"].as_str().unwrap().contains("it belongs to another patch"), "{object}");
    assert_eq!(work.read("result"), work.read("old"));
}

#[test]
fn a_damaged_frame_is_fetched_again_and_the_rest_is_kept() {
    let work = many_frames();
    let whole = work.read("patch");
    let mut damaged = whole.clone();
    let at = whole.len() * 3 / 4;
    damaged[at] ^= 1;
    work.write("patch", &damaged);
    assert_eq!(work.fault(&APPLY), ("damaged_patch".into(), 12));
    let frame = noted(&work);
    assert!(frame > 0);
    assert!(!work.path("result").exists());
    work.write("patch", &whole);
    assert_eq!(work.json(&APPLY)["first_frame"], frame);
    check_result(&work);
}

#[test]
fn a_disk_filled_by_another_program_meanwhile() {
    let Some(mount) = Mount::memory(40 << 20) else { return };
    let work = many_frames();
    let place = mount.path().join("result").into_os_string().into_string().unwrap();
    let journal = mount.path().join("result.part.journal");
    let apply = ["apply", "old", "patch", "-o", &place];
    let mut child = work.start(&[&apply[..], &["--json"]].concat());
    while !journal.exists() && child.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    signal(&child, "STOP");
    // The room for the result is taken; what is left is not.
    let filler = mount.path().join("filler");
    let full = fs::write(&filler, vec![1; 40 << 20]).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    signal(&child, "CONT");
    let output = child.wait_with_output().unwrap();
    let object: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(object["error"]["kind"], "no_space", "{object}");
    assert!(object["error"]["hint"].as_str().unwrap().contains("free some space"), "{object}");
    assert!(!Path::new(&place).exists());

    fs::remove_file(&filler).unwrap();
    let object = work.json(&apply);
    assert!(object["first_frame"].as_u64().unwrap() > 0, "{object}");
    assert!(fs::read(&place).unwrap() == work.read("new"), "the result differs");
    assert_eq!(fs::read_dir(mount.path()).unwrap().count(), 1);
}

#[test]
fn a_write_that_fails_in_the_middle_keeps_what_was_made() {
    if !can("strace", false) {
        return;
    }
    let work = many_frames();
    for (error, kind, exit_code) in [("ENOSPC", "no_space", 15), ("EROFS", "read_only", 16), ("EIO", "io", 3)]
    {
        let mut strace = Command::new("strace");
        strace
            .args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=pwrite64"])
            .args(["-e", &format!("inject=pwrite64:error={error}:when=60+")])
            .arg(env!("CARGO_BIN_EXE_fluvial"))
            .args(APPLY)
            .arg("--json")
            .current_dir(work.path(""));
        let output = strace.output().unwrap();
        if text(&output.stderr).contains("Operation not permitted") {
            println!("skipped: no tracing here");
            return;
        }
        let object: serde_json::Value =
            serde_json::from_slice(&output.stderr).unwrap_or_else(|_| panic!("{}", text(&output.stderr)));
        assert_eq!(object["error"]["kind"], kind, "{object}");
        assert_eq!(output.status.code(), Some(exit_code));
        assert!(!work.path("result").exists());
        assert_eq!(work.names(), ["new", "old", "patch", PART, JOURNAL]);
        let frame = noted(&work);
        assert!(frame > 0);
        assert_eq!(work.json(&APPLY)["first_frame"], frame);
        check_result(&work);
        fs::remove_file(work.path("result")).unwrap();
    }
}

#[test]
fn temporary_storage_that_fills_up_is_no_fault_of_the_patch() {
    let work = Workplace::new();
    let plain = noise(9, 6 << 20);
    work.write("old", &plain);
    let packed = Command::new("gzip").args(["-1", "-n", "old"]).current_dir(work.path("")).status();
    if !packed.is_ok_and(|status| status.success()) {
        println!("skipped: gzip is not installed");
        return;
    }
    // Stored in the gzip file, so that it is read unpacked.
    fs::rename(work.path("old.gz"), work.path("old")).unwrap();
    work.write("new", &plain[..1 << 20]);
    assert_eq!(work.json(&["diff", "old", "new", "-o", "patch"])["scratch_bytes"], 6 << 20);
    // Files of at most 4 MiB (in blocks of 512 bytes): NEW fits, what OLD unpacks to does not.
    let script = "trap '' XFSZ; ulimit -f 8192; exec \"$0\" apply old patch -o result --json";
    let mut shell = Command::new("sh");
    shell.args(["-c", script, env!("CARGO_BIN_EXE_fluvial")]).current_dir(work.path(""));
    let output = shell.output().unwrap();
    let object: serde_json::Value =
        serde_json::from_slice(&output.stderr).unwrap_or_else(|_| panic!("{}", text(&output.stderr)));
    assert_eq!(object["error"]["kind"], "no_space", "{object}");
    assert_eq!(work.names(), ["new", "old", "patch"]);
    work.json(&APPLY);
    check_result(&work);
}
