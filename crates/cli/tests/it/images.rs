//! Images for tests.

use serde_json::json;
use sha2::{Digest as _, Sha256};

/// Files of a layer: path and content.
pub type Files = Vec<(String, Vec<u8>)>;

/// The SHA-256 of bytes, in hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// A tar of files.
pub fn tar_of<'a>(files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o755);
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, path, content).unwrap();
    }
    builder.into_inner().unwrap()
}

/// The tar of a layer.
pub fn layer(files: &Files) -> Vec<u8> {
    tar_of(files.iter().map(|(path, content)| (path.as_str(), content.as_slice())))
}

/// The config of an image of these layers.
pub fn config(layers: &[Vec<u8>]) -> Vec<u8> {
    let diff_ids: Vec<String> = layers.iter().map(|layer| format!("sha256:{}", hex(layer))).collect();
    let object = json!({
        "architecture": "amd64",
        "os": "linux",
        "config": { "Cmd": ["/app"] },
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    object.to_string().into_bytes()
}

/// What `docker save` writes.
pub fn docker_archive(name: &str, layers: &[Vec<u8>]) -> Vec<u8> {
    let config = config(layers);
    let config_name = format!("{}.json", hex(&config));
    let names: Vec<String> = layers.iter().map(|layer| format!("{}/layer.tar", hex(layer))).collect();
    let manifest = json!([{ "Config": config_name, "RepoTags": [name], "Layers": names }]).to_string();
    let mut members: Vec<(&str, &[u8])> = vec![(&config_name, &config)];
    members.extend(names.iter().zip(layers).map(|(name, layer)| (name.as_str(), layer.as_slice())));
    members.push(("manifest.json", manifest.as_bytes()));
    tar_of(members)
}

/// A program for x86-64 that prints a text and ends: no library, no shell, 200 bytes.
pub fn program(text: &str) -> Vec<u8> {
    const BASE: u64 = 0x40_0000;
    const HEADERS_BYTES: u64 = 64 + 56;
    let mut code = vec![0xb8, 1, 0, 0, 0, 0xbf, 1, 0, 0, 0]; // write to the standard output
    code.extend([0x48, 0x8d, 0x35, 16, 0, 0, 0]); // what stands behind the code
    code.push(0xba);
    code.extend((text.len() as u32).to_le_bytes());
    code.extend([0x0f, 0x05, 0xb8, 60, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05]); // exit with 0
    code.extend(text.as_bytes());
    let len = HEADERS_BYTES + code.len() as u64;
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0".to_vec();
    for number in [BASE + HEADERS_BYTES, 64, 0] {
        elf.extend(number.to_le_bytes());
    }
    elf.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    elf.extend([1, 0, 0, 0, 5, 0, 0, 0]);
    for number in [0, BASE, BASE, len, len, 0x1000] {
        elf.extend(number.to_le_bytes());
    }
    elf.extend(code);
    elf
}
