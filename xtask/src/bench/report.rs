//! `RESULTS.md`: the bars first, then a table for every pair.

use std::fmt::Write;

use super::bars::{self, Bar, Verdict};
use super::images::pair as image_pair;
use super::pair;
use super::results::{Outcome, Results, Row, Turns};

/// The section on deltas of librsync, which no task measures.
const RDIFF: &str = include_str!("../../../bench/rdiff.md");

/// Writes the whole report.
pub fn write(results: &Results) -> String {
    let mut text = String::new();
    text.push_str("# Results\n\n");
    text.push_str(
        "Written by `cargo xtask bench run`; every figure comes from a run, and every patch was applied ",
    );
    text.push_str("and its result compared with the new file byte for byte.\n\n");
    text.push_str("![Patch sizes](results.svg)\n\n");
    let _ = writeln!(text, "Machine: {}.\n", results.machine);
    for line in &results.data {
        let _ = writeln!(text, "- {line}");
    }
    text.push_str(
        "\nMB is 10^6 bytes, MiB 2^20. CPU is user and system time of all processes, memory the largest ",
    );
    text.push_str(
        "resident set of any; the machine was shared, so times are upper bounds. Peers are measured ",
    );
    text.push_str("once for the same bytes, version and command; `measured` says when (UTC).\n");
    write_bars(&mut text, &bars::all(results));
    for pair in pair::all() {
        let rows: Vec<&Row> = results.rows.iter().filter(|row| row.pair == pair.name).collect();
        if !rows.is_empty() {
            write_pair(&mut text, results, &pair.name, rows);
        }
    }
    write_images(&mut text, results);
    if let Some(turns) = &results.turns {
        write_turns(&mut text, turns);
    }
    text.push_str(RDIFF);
    write_identities(&mut text, results);
    text
}

fn write_bars(text: &mut String, bars: &[Bar]) {
    let measured = bars.iter().filter(|bar| bar.measured.is_some()).count();
    let passed =
        bars.iter().filter(|bar| matches!(bar.verdict(), Verdict::Passed | Verdict::Moonshot)).count();
    let _ =
        writeln!(text, "\n## Bars\n\n{passed} of {measured} measured bars passed; {} in all.\n", bars.len());
    text.push_str("| what | measured | bar | moonshot | |\n|---|---:|---:|---:|---|\n");
    for bar in bars {
        let number = |value: Option<f64>| value.map_or(String::new(), |value| bar.unit.text(value));
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} |",
            bar.what,
            number(bar.measured),
            bar.unit.text(bar.limit),
            number(bar.moonshot),
            bar.verdict()
        );
    }
}

fn write_pair(text: &mut String, results: &Results, name: &str, mut rows: Vec<&Row>) {
    rows.sort_by_key(|row| row.figures().map_or(u64::MAX, |figures| figures.patch_bytes));
    let (old, new) = (megabytes(rows[0].old_bytes), megabytes(rows[0].new_bytes));
    let _ = writeln!(text, "\n## {name}\n\n{old} -> {new} MB\n");
    text.push_str(
        "| tool | patch MB | / best peer | diff s | CPU s | MiB | apply s | CPU s | MiB | measured |\n",
    );
    text.push_str("|---|---:|---:|---:|---:|---:|---:|---:|---:|---|\n");
    let best = bars::best_peer(results, name);
    for row in rows {
        match &row.outcome {
            Outcome::Proved(figures) => {
                let ratio =
                    best.map_or(String::new(), |best| format!("{:.3}", figures.patch_bytes as f64 / best));
                let _ = writeln!(
                    text,
                    "| {} | {} | {ratio} | {:.1} | {:.1} | {} | {:.2} | {:.2} | {} | {} |",
                    row.tool,
                    megabytes(figures.patch_bytes),
                    figures.diff.wall_s,
                    figures.diff.cpu_s,
                    figures.diff.rss_bytes >> 20,
                    figures.apply.wall_s,
                    figures.apply.cpu_s,
                    figures.apply.rss_bytes >> 20,
                    row.measured
                );
            }
            Outcome::Failed(reason) => {
                let reason = reason.replace(['\n', '|'], " ");
                let _ =
                    writeln!(text, "| {} | failed: {reason} | | | | | | | | {} |", row.tool, row.measured);
            }
            Outcome::Skipped(reason) => {
                let _ = writeln!(text, "| {} | not run: {reason} | | | | | | | | |", row.tool);
            }
        }
    }
}

/// The pairs of container images.
fn write_images(text: &mut String, results: &Results) {
    let rows_of = |name: &str| results.rows.iter().filter(|row| row.pair == name).collect::<Vec<_>>();
    if image_pair::ALL.iter().all(|pair| rows_of(&pair.name()).is_empty()) {
        return;
    }
    text.push_str(
        "\n## Container images\n\nWritten by `cargo xtask bench images`. Ours goes from image to image, and the \
         config and every layer are compared with the new image's; the peers go from the old image's layers one \
         behind the other to those of the new image that the old one lacks, as plain tars; `pull` and `full` are \
         these layers packed. Sizes are of all old layers and the missing new ones, unpacked.\n\n",
    );
    for pair in &image_pair::ALL {
        let _ = writeln!(text, "- {}: {}.", pair.name(), pair.story);
    }
    for pair in &image_pair::ALL {
        let (name, rows) = (pair.name(), rows_of(&pair.name()));
        if !rows.is_empty() {
            write_pair(text, results, &name, rows);
        }
    }
}

fn write_turns(text: &mut String, turns: &Turns) {
    let [first, second] = &turns.tools;
    let _ = writeln!(text, "\n## {}: applied in turn\n\n{} (UTC).\n", turns.pair, turns.measured);
    let _ = writeln!(text, "| round | {first}, s | CPU s | {second}, s | CPU s |\n|---|---:|---:|---:|---:|");
    for (index, [ours, peer]) in turns.rounds.iter().enumerate() {
        let _ = writeln!(
            text,
            "| {} | {:.2} | {:.2} | {:.2} | {:.2} |",
            index + 1,
            ours.wall_s,
            ours.cpu_s,
            peer.wall_s,
            peer.cpu_s
        );
    }
    if let (Some(ours), Some(peer)) = (turns.median_s(0), turns.median_s(1)) {
        let _ = writeln!(text, "| median | {ours:.2} | | {peer:.2} | |");
    }
}

fn write_identities(text: &mut String, results: &Results) {
    text.push_str("\n## Versions and commands\n\n");
    let mut seen: Vec<(&str, &str)> =
        results.rows.iter().map(|row| (row.tool.as_str(), row.identity.as_str())).collect();
    seen.sort_unstable();
    seen.dedup();
    for (tool, identity) in seen {
        let _ = writeln!(text, "- {tool}: `{identity}`");
    }
}

/// Megabytes with as many digits as tell something: 657.6, 26.79, 0.0081.
fn megabytes(bytes: u64) -> String {
    let megabytes = bytes as f64 / 1e6;
    let digits = match bytes {
        100_000_000.. => 1,
        1_000_000.. => 2,
        10_000.. => 3,
        _ => 6,
    };
    format!("{megabytes:.digits$}")
}
