//! The script that guards an installation: functions that are always the same (`check.sh`), and what they are
//! called with.

use super::ImageDigest;
use super::spec::{Choice, Downgrade, PackageSpec, Partition, Place};
use crate::limits::READBACK_BYTES_MAX;

const FUNCTIONS: &str = include_str!("check.sh");
/// Bytes that `dd` reads at a time.
const BLOCK_BYTES: u64 = 1 << 20;

/// Writes the script for one choice of slots, with what was found in the packed file of each partition.
pub(super) fn script(spec: &PackageSpec<'_>, choice: &Choice, packed: &[ImageDigest]) -> String {
    let mut before = Vec::new();
    if let Downgrade::Refused { versions_file, component } = &spec.downgrade {
        before.push(call("refuse_older", &[versions_file, component, &spec.version]));
    }
    let pairs = || spec.partitions.iter().zip(&choice.places);
    // What costs little first: hashes of whole slots last.
    before.extend(pairs().map(|(partition, place)| {
        let base = place.base.as_deref().unwrap_or_default();
        call("check_free", &[&partition.name, &place.target, base])
    }));
    before.extend(
        spec.partitions.iter().zip(packed).map(|(partition, packed)| packed_check(partition, packed)),
    );
    before.extend(pairs().filter_map(|(partition, place)| base_check(partition, place)));
    // Once nothing speaks against it any more.
    before.extend(pairs().map(|(partition, place)| spoil(partition, place)));
    let after: Vec<String> = pairs().map(|(partition, place)| target_check(partition, place)).collect();
    let [before, after] = [before, after].map(|lines| lines.join("\n    "));
    format!(
        "{FUNCTIONS}\ncase \"${{1-}}\" in\n  preinst)\n    {before}\n    ;;\n  postinst)\n    {after}\n    ;;\n  \
         postfailure)\n    ;;\n  *)\n    fail package \"called with ${{1-nothing}}\"\n    ;;\nesac\nexit 0\n"
    )
}

fn packed_check(partition: &Partition<'_>, packed: &ImageDigest) -> String {
    let [size, blocks, rest, sha256] = numbers(packed);
    call("check_packed", &[&partition.name, &partition.file.name, &size, &blocks, &rest, &sha256])
}

fn base_check(partition: &Partition<'_>, place: &Place) -> Option<String> {
    let (base, device) = (partition.base.as_ref()?, place.base.as_ref()?);
    let [size, blocks, rest, sha256] = numbers(base);
    Some(call("check_base", &[&partition.name, device, &size, &blocks, &rest, &sha256]))
}

fn target_check(partition: &Partition<'_>, place: &Place) -> String {
    let [size, blocks, rest, sha256] = numbers(&partition.target);
    // Deltas write files anew; images are written over what is there, which may be longer.
    let length = if partition.base.is_some() { "exact" } else { "least" };
    let digest = if partition.target.size_bytes > READBACK_BYTES_MAX { &sha256 } else { "" };
    call("check_written", &[&partition.name, &place.target, length, &size, &blocks, &rest, digest])
}

/// An image does not end with its own digest.
fn spoil(partition: &Partition<'_>, place: &Place) -> String {
    let ImageDigest { size_bytes, sha256 } = &partition.target;
    let mut text = hex::encode(sha256);
    text.truncate(usize::try_from(*size_bytes).unwrap_or(usize::MAX).min(text.len()));
    let offset = size_bytes - text.len() as u64;
    call("spoil", &[&partition.name, &place.target, &offset.to_string(), &text])
}

/// Length, whole blocks of it, the rest, digest. A shell may count in 32 bits: so nothing is left to it.
fn numbers(image: &ImageDigest) -> [String; 4] {
    let size = image.size_bytes;
    [
        size.to_string(),
        (size / BLOCK_BYTES).to_string(),
        (size % BLOCK_BYTES).to_string(),
        hex::encode(image.sha256),
    ]
}

fn call(function: &str, arguments: &[&str]) -> String {
    let quoted = arguments.iter().map(|argument| quoted(argument));
    std::iter::once(function.to_owned()).chain(quoted).collect::<Vec<_>>().join(" ")
}

/// A text that a shell takes as it is.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
