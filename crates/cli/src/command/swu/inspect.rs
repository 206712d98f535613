//! `fluvial swu inspect`.

use std::collections::HashMap;
use std::fmt::Write as _;

use fluvial_console::{Fault, Interrupt, Progress, say};
use fluvial_swu::description::{Compression, Description, DeviceChoice, Image, Lists, Script};
use fluvial_swu::package::{PartitionInfo, RefusalError};
use fluvial_swu::sign::SignatureInfo;
use indicatif::HumanBytes;
use serde_json::{Value, json};

use super::input::{Source, now, watched};
use super::{choice_name, choices, fault};
use crate::arguments::SwuInspectArguments;

/// What is in a package.
struct Contents {
    description: Description,
    signature: Option<SignatureInfo>,
    /// Names and lengths of files, in their order.
    files: Vec<(String, u32)>,
}

/// Shows a package. Its files are compared with their hashes; who signed it is told, and not verified.
///
/// # Errors
/// Every way that it fails.
pub fn run(arguments: &SwuInspectArguments, interrupt: Interrupt) -> Result<(), Fault> {
    let contents = watched(interrupt, arguments.json, |progress| read(arguments, progress))?;
    if arguments.json {
        let mut object = contents.json();
        object["package"] = json!(arguments.package);
        return say(object);
    }
    say(contents.text().trim_end())
}

fn read(arguments: &SwuInspectArguments, progress: &Progress) -> Result<Contents, Fault> {
    let source = Source::open(&arguments.package)?;
    let path = source.path();
    progress.phase("reading", source.len);
    let advance = |bytes| progress.advance(bytes);
    let mut package = source.package(None, now(), &advance)?;
    let description = package.description().clone();
    let signature = package.signature().map(SignatureInfo::of);
    let mut files = Vec::new();
    while let Some(file) = package.next_file().map_err(|error| fault::of_open(&path, error))? {
        files.push((file.name().to_owned(), file.size_bytes()));
    }
    Ok(Contents { description, signature, files })
}

impl Contents {
    fn json(&self) -> Value {
        let packed: HashMap<&str, u32> = self.files.iter().map(|(name, len)| (&name[..], *len)).collect();
        let (kind, signer) = match &self.signature {
            None => (None, None),
            Some(SignatureInfo::Raw) => (Some("raw"), None),
            Some(SignatureInfo::Cms { subject }) => (Some("cms"), subject.as_deref()),
        };
        let choices = choices(&self.description);
        let choices: Vec<Value> = choices.iter().map(|choice| self.choice(choice, &packed)).collect();
        let files = self.files.iter().map(|(name, len)| json!({ "name": name, "packed_bytes": len }));
        json!({
            "version": self.description.version,
            "name": self.description.name,
            "description": self.description.text,
            "signature": kind,
            "signer": signer,
            "choices": choices,
            "files": files.collect::<Vec<Value>>(),
        })
    }

    fn choice(&self, choice: &DeviceChoice, packed: &HashMap<&str, u32>) -> Value {
        let lists = self.description.lists_for(choice);
        let guarded = self.description.partitions_for(choice);
        let partitions: Vec<Value> = match &guarded {
            Ok(partitions) => partitions.iter().map(|partition| partition_json(partition, packed)).collect(),
            Err(_) => lists.images.iter().map(|image| image_json(image, packed)).collect(),
        };
        let set_and_mode = choice.set_and_mode.as_ref();
        let variables = lists.bootenv.iter().map(|one| json!({ "name": one.name, "value": one.value }));
        json!({
            "board": choice.board,
            "set": set_and_mode.map(|(set, _)| set),
            "mode": set_and_mode.map(|(_, mode)| mode),
            "hardware": lists.hardware,
            "is_guarded": guarded.is_ok(),
            "unguarded_because": guarded.err().map(|error| error.to_string()),
            "partitions": partitions,
            "scripts": lists.scripts.iter().map(script_json).collect::<Vec<Value>>(),
            "bootenv": variables.collect::<Vec<Value>>(),
        })
    }

    fn text(&self) -> String {
        let Description { version, name, text, .. } = &self.description;
        let signed = match &self.signature {
            None => "no".to_owned(),
            Some(SignatureInfo::Raw) => "with a key (RSA)".to_owned(),
            Some(SignatureInfo::Cms { subject: None }) => {
                "with a certificate that is not in it (CMS)".to_owned()
            }
            Some(SignatureInfo::Cms { subject: Some(subject) }) => format!("by {subject} (CMS)"),
        };
        let name = if name.is_empty() { "package" } else { name };
        let about = if text.is_empty() { String::new() } else { format!("about     {text}\n") };
        let packed: HashMap<&str, u32> = self.files.iter().map(|(name, len)| (&name[..], *len)).collect();
        let sum: u64 = packed.values().map(|&len| u64::from(len)).sum();
        let mut text = format!(
            "{name} {version}\n{about}signed    {signed}; `fluvial swu verify` checks it\nfiles     {}, {}\n",
            self.files.len(),
            HumanBytes(sum),
        );
        for choice in choices(&self.description) {
            let lists = self.description.lists_for(&choice);
            let guarded = self.description.partitions_for(&choice);
            show_choice(&choice, &lists, &guarded, &packed, &mut text);
        }
        text
    }
}

/// What `SWUpdate` calls a packing; `none` for what is not packed.
fn packing(compression: Option<Compression>) -> &'static str {
    compression.map_or("none", Compression::name)
}

fn partition_json(partition: &PartitionInfo<'_>, packed: &HashMap<&str, u32>) -> Value {
    let base = partition.base.as_ref();
    json!({
        "name": partition.name,
        "kind": if base.is_some() { "delta" } else { "full" },
        "file": partition.filename,
        "packed_bytes": packed.get(partition.filename),
        "compression": packing(partition.compression),
        "device": partition.device,
        "target_bytes": partition.target.size_bytes,
        "target_sha256": hex::encode(partition.target.sha256),
        "base_device": base.map(|base| base.device),
        "base_bytes": base.map(|base| base.image.size_bytes),
        "base_sha256": base.map(|base| hex::encode(base.image.sha256)),
    })
}

/// What is known of an image that is not guarded.
fn image_json(image: &Image, packed: &HashMap<&str, u32>) -> Value {
    json!({
        "name": image.name,
        "kind": image.kind.name(),
        "file": image.filename,
        "packed_bytes": packed.get(&image.filename[..]),
        "compression": packing(image.compression),
        "device": image.device,
    })
}

fn script_json(script: &Script) -> Value {
    json!({ "file": script.filename, "kind": script.kind.name(), "device": script.device })
}

fn show_choice(
    choice: &DeviceChoice,
    lists: &Lists<'_>,
    guarded: &Result<Vec<PartitionInfo<'_>>, RefusalError>,
    packed: &HashMap<&str, u32>,
    text: &mut String,
) {
    let size_of = |name: &str| HumanBytes(packed.get(name).map_or(0, |&len| len.into()));
    let is_guarded = match guarded {
        Ok(_) => "yes".to_owned(),
        Err(error) => format!("no: {error}"),
    };
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "for {}\n  hardware  {}\n  guarded   {is_guarded}",
        choice_name(choice),
        lists.hardware.join(", "),
    );
    for partition in guarded.iter().flatten() {
        let PartitionInfo { name, filename, device, target, .. } = partition;
        let kind = if partition.base.is_some() { "delta" } else { "image" };
        let _ = writeln!(
            text,
            "  partition {name}: {kind} {filename}, {} ({})\n    makes {device}: {} bytes, SHA-256 {}",
            size_of(filename),
            packing(partition.compression),
            target.size_bytes,
            hex::encode(target.sha256),
        );
        if let Some(base) = &partition.base {
            let (device, size) = (base.device, base.image.size_bytes);
            let _ =
                writeln!(text, "    from {device}: {size} bytes, SHA-256 {}", hex::encode(base.image.sha256));
        }
    }
    if guarded.is_err() {
        for image in lists.images {
            let (kind, name, device) = (image.kind.name(), &image.filename, &image.device);
            let _ = writeln!(text, "  image {name} ({kind}), {}, to {device}", size_of(name));
        }
    }
    for script in lists.scripts {
        let what = script.filename.as_deref().unwrap_or(&script.device);
        let _ = writeln!(text, "  script    {} {what}", script.kind.name());
    }
    for variable in lists.bootenv {
        let _ = writeln!(text, "  bootenv   {}={}", variable.name, variable.value);
    }
}
