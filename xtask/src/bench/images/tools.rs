//! The tools that compete on images.

use super::super::peer::{
    FULL, HDIFFPATCH, OURS, OURS_FAST, PULL, RDIFF_512, Tool, XDELTA3_WIDE, ZSTD, debian_version, tools,
};

/// All tools, ours first; `version` tells which of ours.
///
/// For ours `{old}` and `{new}` are images, for the others files.
pub fn all(version: &str) -> Vec<Tool> {
    let ours = |name, diff| {
        Tool::new(name, version, &[diff], &["fluvial image apply {old} {patch} --to oci:{out}:made"])
    };
    let mut all = vec![
        ours(OURS, "fluvial image diff {old} {new} -o {patch} --preset default"),
        ours(OURS_FAST, "fluvial image diff {old} {new} -o {patch} --preset fast"),
    ];
    let of_files = tools(version);
    all.extend(of_files.into_iter().filter(|tool| [HDIFFPATCH, ZSTD, FULL].contains(&tool.name)));
    all.push(Tool::new(
        XDELTA3_WIDE,
        &debian_version("xdelta3"),
        &["xdelta3 -9 -B 536870912 -f -e -s {old} {new} {patch}"],
        &["xdelta3 -B 536870912 -f -d -s {old} {patch} {out}"],
    ));
    all.push(Tool::new(
        RDIFF_512,
        &debian_version("rdiff"),
        &[
            "rdiff -f -b 512 signature {old} {tmp}/signature",
            "rdiff -f delta {tmp}/signature {new} {tmp}/delta",
            "sh -c gzip -9 <{tmp}/delta >{patch}",
        ],
        &["sh -c gzip -d <{patch} >{tmp}/delta", "rdiff -f patch {old} {tmp}/delta {out}"],
    ));
    all.push(Tool::new(
        PULL,
        &debian_version("gzip"),
        &["sh -c gzip -9 <{new} >{patch}"],
        &["sh -c gzip -d <{patch} >{out}"],
    ));
    all
}

/// Whether an unrelated pair is measured with it: a delta has nothing to find there.
pub fn is_of_worst_case(name: &str) -> bool {
    [OURS, OURS_FAST, PULL, FULL].contains(&name)
}
