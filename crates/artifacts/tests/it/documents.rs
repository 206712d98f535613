//! Documents and their schemas.

use std::fs;
use std::path::Path;

use fluvial_artifacts::{BuildInfo, DeltaInfo, DocumentError, Manifest, Patterns};
use jsonschema::Validator;
use serde_json::{Value, json};

use crate::support::Depot;
use crate::update::{begin, info_of};

fn schema(name: &str) -> Validator {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name);
    let schema: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    jsonschema::meta::validate(&schema).unwrap();
    jsonschema::validator_for(&schema).unwrap()
}

/// A manifest and a delta-info with everything in them, as they stand in the store.
fn documents() -> (Vec<u8>, Vec<u8>) {
    let depot = Depot::new();
    depot.add("0.1.0");
    let mut new = depot.new_version("0.2.0");
    new.images[0].partition_bytes = Some(8192);
    new.time_unix_s = Some(1_700_000_000);
    new.build_notes = BuildInfo::from_lines(["TITLE=Wörter und \"Zeichen\" \\ $HOME 'so'"]).unwrap();
    depot.try_add(&new).unwrap();
    let (draft, info) = begin(&depot, "0.1.0", "0.2.0");
    let folder = draft.finish(&info, &Patterns::DEFAULT.parse().unwrap()).unwrap();
    let manifest = depot.store.version_folder(&depot.id("0.2.0")).join(Manifest::FILE_NAME);
    (fs::read(manifest).unwrap(), fs::read(folder.join(DeltaInfo::FILE_NAME)).unwrap())
}

#[test]
fn what_is_written_is_what_the_schemas_say() {
    let (manifest, info) = documents();
    for (name, bytes) in [("build-info.schema.json", &manifest), ("delta-info.schema.json", &info)] {
        let document: Value = serde_json::from_slice(bytes).unwrap();
        let schema = schema(name);
        let errors: Vec<_> = schema.iter_errors(&document).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{name}: {errors:?}");
    }
}

/// Schema and reader refuse the same.
#[test]
fn what_the_schemas_refuse_is_not_read() {
    let (manifest, info) = documents();
    let (manifest, info): (Value, Value) =
        (serde_json::from_slice(&manifest).unwrap(), serde_json::from_slice(&info).unwrap());
    let manifest_changes = [
        ("/more", json!(1)),
        ("/format_version", json!(2)),
        ("/machine", json!("../other")),
        ("/version", json!("1..0")),
        ("/version", json!("-1")),
        ("/image", json!("")),
        ("/image", json!("x".repeat(101))),
        ("/distribution", json!(1)),
        ("/partitions", json!([])),
        ("/partitions/0/sha256", json!("00")),
        ("/partitions/0/sha256", json!("A".repeat(64))),
        ("/partitions/0/size_bytes", json!(0)),
        ("/partitions/0/size_bytes", json!(-1)),
        ("/partitions/0/size_bytes", json!(1.5)),
        ("/partitions/0/block_len_bytes", json!(0)),
        ("/partitions/0/more", json!(1)),
        ("/build_info/1X", json!("")),
        ("/build_info/X", json!("two\nlines")),
        ("/build_info/X", json!("x".repeat(4097))),
        ("/created_by", json!("x".repeat(129))),
        ("/time_unix_s", json!(-1)),
    ];
    refused("build-info.schema.json", &manifest, &manifest_changes, |bytes| Manifest::read(bytes).is_ok());
    let info_changes = [
        ("/more", json!(1)),
        ("/format_version", json!(2)),
        ("/from/version", json!("a/b")),
        ("/from/more", json!(1)),
        ("/swu/name", json!("../x.swu")),
        ("/swu/size_bytes", json!(0)),
        ("/partitions/0/kind", json!("full")),
        ("/partitions/0/kind", json!("other")),
        ("/partitions/0/why", json!("delta_not_smaller")),
        ("/partitions/0/full", info["partitions"][1]["full"].clone()),
        ("/partitions/0/delta/algorithm", json!("other")),
        ("/partitions/0/delta/compression", json!("zlib")),
        ("/partitions/0/delta/block_len_bytes", json!(0)),
        ("/partitions/1/why", json!("delta_smaller")),
        ("/partitions/1/full/compressed_size_bytes", json!(0)),
    ];
    refused("delta-info.schema.json", &info, &info_changes, |bytes| DeltaInfo::read(bytes).is_ok());
}

fn refused(name: &str, document: &Value, changes: &[(&str, Value)], reads: impl Fn(&[u8]) -> bool) {
    let schema = schema(name);
    assert!(schema.is_valid(document) && reads(&serde_json::to_vec(document).unwrap()));
    for (path, value) in changes {
        let mut other = document.clone();
        let (parent, field) = path.rsplit_once('/').unwrap();
        other.pointer_mut(parent).unwrap()[field] = value.clone();
        assert!(!schema.is_valid(&other), "{name} takes {path} = {value}");
        assert!(!reads(&serde_json::to_vec(&other).unwrap()), "{path} = {value} is read");
    }
}

#[test]
fn what_no_schema_can_say_is_refused_too() {
    let depot = Depot::new();
    let (old, new) = (depot.add("0.1.0"), depot.add("0.2.0"));
    let mut info = info_of(&depot.pair("0.1.0", "0.2.0"), b"package");
    info.partitions.push(info.partitions[0].clone());
    assert!(matches!(info.to_bytes(), Err(DocumentError::Twice(_))));
    info.partitions.truncate(1);
    info.from = (&new).into();
    assert!(matches!(info.to_bytes(), Err(DocumentError::Contradiction(_))));
    info.from = (&old).into();
    assert_eq!(DeltaInfo::read(&info.to_bytes().unwrap()).unwrap(), info);
    let text = String::from_utf8(info.to_bytes().unwrap()).unwrap();
    let twice = text.replacen("\"machine\"", "\"machine\": \"x\", \"machine\"", 1);
    assert!(matches!(DeltaInfo::read(twice.as_bytes()), Err(DocumentError::Json(_))));
    let long = " ".repeat(fluvial_artifacts::DOCUMENT_BYTES_MAX) + &text;
    assert!(matches!(DeltaInfo::read(long.as_bytes()), Err(DocumentError::TooLong)));
    let later = text.replacen("\"format_version\": 1", "\"format_version\": 7, \"more\": {}", 1);
    assert!(matches!(DeltaInfo::read(later.as_bytes()), Err(DocumentError::Version(7))));
}

/// Documents of released versions are read forever.
#[test]
fn the_first_version_is_read() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/seeds");
    let manifest = Manifest::read(&fs::read(seeds.join("build-info-1.json")).unwrap()).unwrap();
    let info = DeltaInfo::read(&fs::read(seeds.join("delta-info-1.json")).unwrap()).unwrap();
    assert_eq!((manifest.version.as_str(), manifest.partitions.len()), ("0.2.0", 2));
    assert_eq!((info.from.version.as_str(), info.to.version), ("0.1.0", manifest.version));
}
