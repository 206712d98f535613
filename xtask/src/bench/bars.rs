//! The bars that the engine is held to, each with what was measured.

use std::fmt;

use super::image::Kind;
use super::images::pair as image_pair;
use super::pair::{self, Pair, SYSTEM_TAR, Story};
use super::peer::{self, FULL, HDIFFPATCH, OURS, OURS_FAST, OURS_SMALL, PULL, XDELTA3};
use super::results::{Results, Turns};

const KIB: f64 = 1024.0;
const MIB: f64 = 1024.0 * KIB;

/// How a bar's numbers are written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Unit {
    Ratio,
    Kibibytes,
    Mebibytes,
    Seconds,
}

impl Unit {
    pub fn text(self, value: f64) -> String {
        match self {
            Self::Ratio => format!("{value:.3} x"),
            Self::Kibibytes => format!("{:.1} KiB", value / KIB),
            Self::Mebibytes => format!("{:.1} MiB", value / MIB),
            Self::Seconds => format!("{value:.1} s"),
        }
    }
}

/// How a measured value stands to its bar. Smaller is better for all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    NotMeasured,
    Missed,
    Passed,
    /// As good as what was thought the best that can be reached.
    Moonshot,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotMeasured => "not measured",
            Self::Missed => "**miss**",
            Self::Passed => "pass",
            Self::Moonshot => "pass, moonshot",
        })
    }
}

/// One bar.
#[derive(Debug, Clone)]
pub struct Bar {
    pub what: String,
    pub unit: Unit,
    pub limit: f64,
    pub moonshot: Option<f64>,
    pub measured: Option<f64>,
}

impl Bar {
    fn new(what: impl Into<String>, unit: Unit, limit: f64, measured: Option<f64>) -> Self {
        Self { what: what.into(), unit, limit, moonshot: None, measured }
    }

    fn moonshot(mut self, moonshot: f64) -> Self {
        self.moonshot = Some(moonshot);
        self
    }

    pub fn verdict(&self) -> Verdict {
        match self.measured {
            None => Verdict::NotMeasured,
            Some(value) if value > self.limit => Verdict::Missed,
            Some(value) if self.moonshot.is_some_and(|moonshot| value <= moonshot) => Verdict::Moonshot,
            Some(_) => Verdict::Passed,
        }
    }
}

/// All bars, in the order of the report.
pub fn all(results: &Results) -> Vec<Bar> {
    let mut bars = Vec::new();
    for pair in pair::all() {
        bars.extend(sizes(results, &pair));
    }
    bars.extend(costs(results));
    bars.extend(images(results));
    bars
}

/// The smallest patch that any peer made.
pub fn best_peer(results: &Results, pair: &str) -> Option<f64> {
    let peers = results.rows.iter().filter(|row| row.pair == pair && peer::is_delta_peer(&row.tool));
    peers.filter_map(|row| row.figures()).map(|figures| figures.patch_bytes as f64).reduce(f64::min)
}

fn sizes(results: &Results, pair: &Pair) -> Vec<Bar> {
    let name = &pair.name;
    let bytes = |tool: &str| results.figures(name, tool).map(|figures| figures.patch_bytes as f64);
    let ours = bytes(OURS);
    let ratio = |other: Option<f64>| Some(ours? / other?);
    let against =
        |tool: &str, bar| Bar::new(format!("{name}: patch / {tool}"), Unit::Ratio, bar, ratio(bytes(tool)));
    let best = |bar| {
        Bar::new(format!("{name}: patch / best peer"), Unit::Ratio, bar, ratio(best_peer(results, name)))
    };
    let is_packed = !matches!(pair.kind, Some(Kind::Tar | Kind::Ext4));
    match (pair.story, pair.kind) {
        (Story::System, Some(Kind::Tar)) => {
            vec![against(XDELTA3, 0.28).moonshot(0.19), against(HDIFFPATCH, 0.40).moonshot(0.27)]
        }
        (Story::System, Some(Kind::Ext4)) => {
            let tar = results.figures(SYSTEM_TAR, OURS).map(|figures| figures.patch_bytes as f64);
            vec![Bar::new(format!("{name}: patch / the tar's patch"), Unit::Ratio, 1.05, ratio(tar))]
        }
        (Story::System, _) => vec![best(0.45).moonshot(0.17)],
        (Story::Upgrade, _) => vec![against(XDELTA3, 0.45)],
        (Story::Application, _) if is_packed => vec![best(0.35).moonshot(0.28)],
        (Story::Application, _) => vec![against(HDIFFPATCH, 0.95).moonshot(0.8)],
        (Story::SmallChange, _) => {
            vec![Bar::new(format!("{name}: patch"), Unit::Kibibytes, 32.0 * KIB, ours).moonshot(8.0 * KIB)]
        }
        (Story::Distribution, _) => vec![against(FULL, 1.0).moonshot(0.6)],
        (Story::Identical, _) => {
            let wall_s = results.figures(name, OURS).map(|figures| figures.diff.wall_s);
            vec![
                Bar::new(format!("{name}: patch"), Unit::Kibibytes, 4.0 * KIB, ours),
                Bar::new(format!("{name}: diff, time"), Unit::Seconds, 3.0, wall_s),
            ]
        }
        (Story::Binary(architecture), _) if architecture.name() == "x64" => {
            vec![against(HDIFFPATCH, 0.9).moonshot(0.6), against(XDELTA3, 0.55)]
        }
        (Story::Binary(_), _) => vec![against(HDIFFPATCH, 0.95).moonshot(0.6)],
    }
}

/// Container images: sizes, and the memory of applying.
fn images(results: &Results) -> Vec<Bar> {
    let mut bars = Vec::new();
    let mut rss_bytes: Option<f64> = None;
    for pair in &image_pair::ALL {
        let name = pair.name();
        let ours = results.figures(&name, OURS);
        rss_bytes = rss_bytes.into_iter().chain(ours.map(|f| f.apply.rss_bytes as f64)).reduce(f64::max);
        let ratio = |other: Option<f64>| Some(ours?.patch_bytes as f64 / other?);
        let against_full = |tool: &str| {
            let full = results.figures(&name, tool).map(|figures| figures.patch_bytes as f64);
            Bar::new(format!("{name}: patch / {tool}"), Unit::Ratio, 1.01, ratio(full))
        };
        let against_best = |bar| {
            let best = ratio(best_peer(results, &name));
            Bar::new(format!("{name}: patch / best peer"), Unit::Ratio, bar, best).moonshot(0.6)
        };
        match pair.bar {
            image_pair::Bar::Below => bars.push(against_best(0.9)),
            image_pair::Bar::NotAbove => bars.push(against_best(1.0)),
            image_pair::Bar::WorstCase => bars.extend([PULL, FULL].map(against_full)),
        }
    }
    bars.push(Bar::new("any image: apply, memory", Unit::Mebibytes, 48.0 * MIB, rss_bytes));
    bars
}

/// What diff and apply may cost on the system pair.
fn costs(results: &Results) -> Vec<Bar> {
    let system = |tool| results.figures(SYSTEM_TAR, tool);
    let ours = system(OURS);
    let fast = system(OURS_FAST);
    let small = system(OURS_SMALL);
    let over_declared = results.rows.iter().filter_map(|row| {
        let figures = row.figures()?;
        Some(figures.apply.rss_bytes as f64 / figures.declared_bytes? as f64)
    });
    let title = |text: &str| format!("{SYSTEM_TAR}: {text}");
    let slower = results.turns.as_ref().and_then(Turns::ratio);
    let fast_size =
        fast.zip(system(XDELTA3)).map(|(fast, peer)| fast.patch_bytes as f64 / peer.patch_bytes as f64);
    vec![
        Bar::new(title("apply, memory"), Unit::Mebibytes, 64.0 * MIB, ours.map(|f| f.apply.rss_bytes as f64)),
        Bar::new(title("apply, CPU"), Unit::Seconds, 7.0, ours.map(|f| f.apply.cpu_s)),
        Bar::new(
            title("apply of a 32 MiB patch, memory"),
            Unit::Mebibytes,
            32.0 * MIB,
            small.map(|f| f.apply.rss_bytes as f64),
        ),
        Bar::new(title("apply of a 32 MiB patch, time in turn / hpatchz"), Unit::Ratio, 1.0, slower),
        Bar::new("any pair: apply, memory / declared", Unit::Ratio, 1.0, over_declared.reduce(f64::max)),
        Bar::new(title("diff, CPU"), Unit::Seconds, 150.0, ours.map(|f| f.diff.cpu_s)).moonshot(80.0),
        Bar::new(title("diff, memory"), Unit::Mebibytes, 1536.0 * MIB, ours.map(|f| f.diff.rss_bytes as f64))
            .moonshot(1024.0 * MIB),
        Bar::new(title("fast diff, CPU"), Unit::Seconds, 8.0, fast.map(|f| f.diff.cpu_s)).moonshot(4.0),
        Bar::new(title("fast patch / xdelta3 -9"), Unit::Ratio, 0.75, fast_size).moonshot(0.62),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::measure::Cost;
    use crate::bench::results::{Figures, Outcome, Row};

    fn row(pair: &str, tool: &str, patch_bytes: u64) -> Row {
        let figures =
            Figures { patch_bytes, diff: Cost::default(), apply: Cost::default(), declared_bytes: None };
        Row {
            pair: pair.to_owned(),
            tool: tool.to_owned(),
            identity: String::new(),
            hashes: [String::new(), String::new()],
            old_bytes: 1000,
            new_bytes: 1000,
            measured: String::new(),
            outcome: Outcome::Proved(figures),
        }
    }

    #[test]
    fn turns_are_judged_by_their_medians() {
        let cost = |wall_s| Cost { wall_s, ..Cost::default() };
        let rounds = [(3.0, 2.0), (9.0, 2.5), (2.0, 40.0)].map(|(ours, peer)| [cost(ours), cost(peer)]);
        let (pair, measured) = (SYSTEM_TAR.to_owned(), String::new());
        let tools = [OURS_SMALL.to_owned(), HDIFFPATCH.to_owned()];
        let turns = Turns { pair, tools, measured, rounds: rounds.to_vec() };
        let results = Results { turns: Some(turns), ..Results::default() };
        let bar = all(&results).into_iter().find(|bar| bar.what.contains("in turn")).unwrap();
        assert_eq!((bar.measured, bar.verdict()), (Some(1.2), Verdict::Missed));
    }

    #[test]
    fn an_unrelated_image_is_judged_by_both_ways_to_pack_its_layers() {
        let mut results = Results::default();
        for (tool, bytes) in [(OURS, 1010), (PULL, 1000), (FULL, 999)] {
            results.put(row("image-U1", tool, bytes));
        }
        let verdict = |tool: &str| {
            let what = format!("image-U1: patch / {tool}");
            all(&results).into_iter().find(|bar| bar.what == what).unwrap().verdict()
        };
        assert_eq!((verdict(PULL), verdict(FULL)), (Verdict::Passed, Verdict::Missed));
    }

    #[test]
    fn a_bar_is_judged_by_the_same_pairs_peers() {
        let mut results = Results::default();
        results.put(row(SYSTEM_TAR, XDELTA3, 1000));
        results.put(row(SYSTEM_TAR, HDIFFPATCH, 700));
        results.put(row("system-squashfs", HDIFFPATCH, 10));
        let find =
            |results: &Results, what: &str| all(results).into_iter().find(|bar| bar.what == what).unwrap();
        let what = "system-tar: patch / xdelta3 -9";
        assert_eq!(find(&results, what).verdict(), Verdict::NotMeasured);
        for (bytes, verdict) in
            [(281, Verdict::Missed), (280, Verdict::Passed), (191, Verdict::Passed), (190, Verdict::Moonshot)]
        {
            results.put(row(SYSTEM_TAR, OURS, bytes));
            assert_eq!(find(&results, what).verdict(), verdict, "{bytes}");
        }
        assert_eq!(best_peer(&results, SYSTEM_TAR), Some(700.0), "ours is no peer");
    }
}
