//! `results.svg`: one small panel of bars for every pair, so that each has a scale of its own.

use std::fmt::Write;

use super::bars::best_peer;
use super::pair::{self, Pair, Story};
use super::peer::{HDIFFPATCH, OURS, XDELTA3, ZSTD};
use super::results::Results;

const COLUMNS: usize = 3;
const PANEL_WIDTH: f64 = 320.0;
const PANEL_HEIGHT: f64 = 146.0;
const MARGIN: f64 = 24.0;
const HEAD_HEIGHT: f64 = 84.0;
const LABEL_WIDTH: f64 = 84.0;
/// Room right of the longest bar for its number.
const VALUE_WIDTH: f64 = 66.0;
const BAR_HEIGHT: f64 = 14.0;
const BAR_STEP: f64 = 22.0;

/// The tools shown, and how the chart calls them.
const TOOLS: [(&str, &str); 4] =
    [(OURS, "fluvial"), (HDIFFPATCH, "HDiffPatch"), (XDELTA3, "xdelta3"), (ZSTD, "zstd")];

const STYLE: &str = "\
text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;fill:#1c2733}\
.page{fill:#ffffff}.card{fill:#f5f7f9}.title{font-size:22px;font-weight:650}.note{font-size:13px;fill:#5b6876}\
.pair{font-size:14px;font-weight:600}.ratio{font-size:14px;font-weight:650;fill:#0b7a75}\
.worse{font-size:14px;font-weight:650;fill:#b3502d}.tool{font-size:12px;fill:#5b6876}.value{font-size:12px}\
.ours{fill:#0b7a75}.peer{fill:#b9c4ce}.strong{font-weight:650;fill:#1c2733}\
@media(prefers-color-scheme:dark){text{fill:#e6ecf1}.page{fill:#0f161d}.card{fill:#18222c}\
.note,.tool{fill:#93a3b2}.ratio{fill:#3ec9c0}.worse{fill:#ee9a78}.ours{fill:#2bb3aa}.peer{fill:#46576699}\
.strong{fill:#e6ecf1}}";

/// Draws the chart of patch sizes.
pub fn draw(results: &Results) -> String {
    let pairs: Vec<Pair> = pair::all().into_iter().filter(|pair| is_shown(results, pair)).collect();
    let rows = pairs.len().div_ceil(COLUMNS);
    let width = 2.0f64.mul_add(MARGIN, COLUMNS as f64 * PANEL_WIDTH) + (COLUMNS - 1) as f64 * MARGIN / 2.0;
    let height = HEAD_HEIGHT + rows as f64 * (PANEL_HEIGHT + MARGIN / 2.0) + MARGIN / 2.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" role=\"img\" aria-label=\"Patch sizes of fluvial and its peers\">\n\
         <style>{STYLE}</style>\n<rect class=\"page\" width=\"{width}\" height=\"{height}\"/>\n\
         <text class=\"title\" x=\"{MARGIN}\" y=\"42\">Bytes to send: the patch from old to new</text>\n\
         <text class=\"note\" x=\"{MARGIN}\" y=\"64\">Shorter is better. Each panel has its own scale; the number \
         at its top right is fluvial's patch as a share of the best peer's.</text>\n"
    );
    for (index, pair) in pairs.iter().enumerate() {
        let x = MARGIN + (index % COLUMNS) as f64 * (PANEL_WIDTH + MARGIN / 2.0);
        let y = HEAD_HEIGHT + (index / COLUMNS) as f64 * (PANEL_HEIGHT + MARGIN / 2.0);
        draw_panel(&mut svg, results, pair, x, y);
    }
    svg.push_str("</svg>\n");
    svg
}

fn is_shown(results: &Results, pair: &Pair) -> bool {
    let is_small = matches!(pair.story, Story::SmallChange | Story::Identical);
    !is_small && results.figures(&pair.name, OURS).is_some() && best_peer(results, &pair.name).is_some()
}

fn draw_panel(svg: &mut String, results: &Results, pair: &Pair, x: f64, y: f64) {
    let sizes: Vec<(&str, f64)> = TOOLS
        .iter()
        .filter_map(|&(tool, label)| Some((label, results.figures(&pair.name, tool)?.patch_bytes as f64)))
        .collect();
    let largest = sizes.iter().map(|&(_, size)| size).fold(1.0, f64::max);
    let _ = writeln!(
        svg,
        "<g transform=\"translate({x:.0} {y:.0})\"><rect class=\"card\" width=\"{PANEL_WIDTH}\" \
         height=\"{PANEL_HEIGHT}\" rx=\"8\"/><text class=\"pair\" x=\"14\" y=\"26\">{}</text>",
        title(pair)
    );
    let ours = results.figures(&pair.name, OURS).map(|figures| figures.patch_bytes as f64);
    if let Some(ratio) = ours.zip(best_peer(results, &pair.name)).map(|(ours, best)| ours / best) {
        let class = if ratio < 1.0 { "ratio" } else { "worse" };
        let right = PANEL_WIDTH - 14.0;
        let _ = writeln!(
            svg,
            "<text class=\"{class}\" x=\"{right}\" y=\"26\" text-anchor=\"end\">{:.0} %</text>",
            100.0 * ratio
        );
    }
    let scale = (PANEL_WIDTH - 28.0 - LABEL_WIDTH - VALUE_WIDTH) / largest;
    for (index, &(label, size)) in sizes.iter().enumerate() {
        let top = BAR_STEP.mul_add(index as f64, 46.0);
        let base = top + BAR_HEIGHT - 3.0;
        let left = 14.0 + LABEL_WIDTH;
        let length = (size * scale).max(1.5);
        let (bar, text) = if label == "fluvial" { ("ours", "value strong") } else { ("peer", "value") };
        let tool = if label == "fluvial" { "tool strong" } else { "tool" };
        let _ = writeln!(
            svg,
            "<text class=\"{tool}\" x=\"14\" y=\"{base}\">{label}</text><rect class=\"{bar}\" x=\"{left}\" \
             y=\"{top}\" width=\"{length:.1}\" height=\"{BAR_HEIGHT}\" rx=\"2\"/><text class=\"{text}\" \
             x=\"{:.1}\" y=\"{base}\">{}</text>",
            left + length + 6.0,
            size_text(size)
        );
    }
    svg.push_str("</g>\n");
}

fn title(pair: &Pair) -> String {
    let container = pair.kind.map_or("", super::image::Kind::extension).replace("erofs-", "erofs, ");
    match pair.story {
        Story::System => format!("System update, {container}"),
        Story::Upgrade => format!("40 packages, {container}"),
        Story::Application => format!("One program replaced, {container}"),
        Story::SmallChange => format!("One small file, {container}"),
        Story::Distribution => format!("bookworm to trixie, {container}"),
        Story::Identical => "Nothing changed".to_owned(),
        Story::Binary(architecture) => {
            let name = pair.name.trim_start_matches("elf-").trim_end_matches(architecture.name());
            format!("{} ({})", name.trim_end_matches('-'), architecture.name())
        }
    }
}

fn size_text(bytes: f64) -> String {
    match bytes {
        1e8.. => format!("{:.0} MB", bytes / 1e6),
        1e7.. => format!("{:.1} MB", bytes / 1e6),
        1e6.. => format!("{:.2} MB", bytes / 1e6),
        _ => format!("{:.0} KB", bytes / 1e3),
    }
}
