//! GNU cpio and ours, both ways.

use std::fs;
use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use fluvial_swu::cpio::{Checksum, CpioError, CpioReader, CpioWriter};

use crate::support::noise;

fn contents() -> Vec<(String, Vec<u8>)> {
    let names = ["sw-description", "empty", "one", "a name", "long"];
    let sizes = [100, 0, 1, 4096, 300_001];
    names.iter().zip(sizes).map(|(name, size)| ((*name).to_owned(), noise(size, size as u64))).collect()
}

fn read(bytes: &[u8]) -> Result<Vec<(String, Vec<u8>)>, CpioError> {
    let mut reader = CpioReader::new(bytes);
    let mut files = Vec::new();
    while let Some(mut member) = reader.next_member()? {
        let mut content = Vec::new();
        member.read_to_end(&mut content).map_err(CpioError::from_reader)?;
        files.push((member.name().to_owned(), content));
    }
    Ok(files)
}

#[test]
fn gnu_cpio_lists_and_unpacks_what_we_write() {
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("archive");
    let mut writer = CpioWriter::new(fs::File::create(&archive).unwrap());
    for (name, content) in contents() {
        writer.add(&name, &content, Checksum::of(&content).unwrap()).unwrap();
    }
    writer.finish().unwrap();
    let cpio = |argument: &str| {
        let input = fs::File::open(&archive).unwrap();
        let output =
            Command::new("cpio").arg(argument).stdin(input).current_dir(folder.path()).output().unwrap();
        let complaints = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && !complaints.contains("checksum"), "{complaints}");
        String::from_utf8(output.stdout).unwrap()
    };
    let list = cpio("-itv");
    for ((name, content), line) in contents().iter().zip(list.lines()) {
        assert!(line.starts_with("-rw-r--r--") && line.ends_with(name), "{line}");
        assert!(line.split_whitespace().any(|field| field == content.len().to_string()), "{line}");
    }
    cpio("-i");
    for (name, content) in contents() {
        assert!(fs::read(folder.path().join(name)).unwrap() == content);
    }
}

#[test]
fn we_read_what_gnu_cpio_writes() {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in contents() {
        fs::write(folder.path().join(name), content).unwrap();
    }
    let names: Vec<String> = contents().into_iter().map(|(name, _)| name).collect();
    let cpio = |format: &str| {
        let mut command = Command::new("cpio");
        command.args(["-o", "-H", format]).current_dir(folder.path());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(names.join("\n").as_bytes()).unwrap();
        child.wait_with_output().unwrap().stdout
    };
    for format in ["crc", "newc"] {
        assert_eq!(read(&cpio(format)).unwrap(), contents());
    }
    assert!(matches!(read(&cpio("odc")), Err(CpioError::Magic { offset: 0 })));
    let mut damaged = cpio("crc");
    let at = damaged.len() / 2;
    damaged[at] ^= 1;
    assert!(matches!(read(&damaged), Err(CpioError::Checksum { name }) if name == "long"));
}
