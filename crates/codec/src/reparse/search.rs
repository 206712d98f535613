//! Finds the recipe that leaves the fewest corrections.

use super::correct::{Corrector, correct};
use super::error::AnalyzeError;
use super::events::{Event, Events};
use super::frame::FrameHeader;
use super::jobs::Reaches;
use super::levels::{LEVEL_MAX, search};
use super::predict::Search;
use super::recipe::Reparse;
use super::traits::Traits;

/// Content on which recipes are compared.
const SAMPLE_BYTES: usize = 1 << 20;
/// Below this share of the packed sample a recipe is taken without looking further: 1 / 200.
const GOOD_SHARE: usize = 200;
/// Content of less than this, in bytes, is a block of many that one encoder made: what fitted the others
/// is taken for it too, where it fits fairly.
const BLOCK_BYTES: usize = 256 << 10;
/// Below this share of the packed bytes a recipe fits a block fairly: 1 / 8.
const FAIR_SHARE: usize = 8;
/// Other recipes that are tried for a block that none of those before fits.
const BLOCK_SEARCHES_MAX: usize = 12;
/// Corrections of more than 1 / 2 of the packed bytes are not worth having.
const WORTH_SHARE: usize = 2;
/// Part of the window, as a shift, that a job sees of the one before, by strategy (1 to 9).
const OVERLAP_SHIFTS: [u8; 10] = [3, 3, 3, 3, 3, 2, 2, 1, 1, 0];
/// The smallest job that libzstd makes by itself.
const JOB_BYTES_MIN: u32 = 1 << 20;

/// A recipe and what it misses.
#[derive(Debug)]
pub struct Fit {
    /// The recipe.
    pub recipe: Reparse,
    /// The corrections.
    pub corrections: Vec<u8>,
}

/// Why there is none.
#[derive(Debug)]
pub enum NoFit {
    /// The stream cannot be taken apart.
    Analyze(AnalyzeError),
    /// No recipe that is affordable leaves few enough corrections.
    NotWorth,
}

impl From<AnalyzeError> for NoFit {
    fn from(error: AnalyzeError) -> Self {
        Self::Analyze(error)
    }
}

/// Finds a recipe for a stream and writes its corrections. `recent` are tried first, then at most
/// `searches_max` others; `affords` tells whether the device has the memory.
pub fn fit(
    packed: &[u8],
    plain: &[u8],
    recent: &[Reparse],
    searches_max: usize,
    affords: &mut dyn FnMut(&Reparse) -> bool,
) -> Result<Fit, NoFit> {
    let sample = Sample::new(packed, plain)?;
    let mut best: Option<(usize, Reparse)> = None;
    let reaches = Reaches::of(packed)?;
    let searches = sample.searches();
    let is_block = plain.len() < BLOCK_BYTES && !recent.is_empty();
    let searches_max = if is_block { searches_max.min(BLOCK_SEARCHES_MAX) } else { searches_max };
    let fresh = searches.into_iter().map(|search| in_jobs(search, &reaches)).take(searches_max);
    for (index, recipe) in recent.iter().copied().chain(fresh).enumerate() {
        if is_block
            && index >= recent.len()
            && best.is_some_and(|(cost, _)| cost * FAIR_SHARE < sample.packed_len)
        {
            break;
        }
        if !recipe.is_valid() || !affords(&recipe) {
            continue;
        }
        let limit = best.map_or(usize::MAX, |(cost, _)| cost);
        if let Some(cost) = sample.cost(recipe, limit)? {
            best = Some((cost, recipe));
            if cost * GOOD_SHARE < sample.packed_len && !recent.is_empty() {
                break;
            }
        }
    }
    let Some((_, recipe)) = best else { return Err(NoFit::NotWorth) };
    let mut max = packed.len() / WORTH_SHARE + 64;
    let mut fit = None;
    for recipe in ways_to_stream(recipe, &reaches) {
        if let Some(corrections) = correct(packed, plain, recipe, max)? {
            max = corrections.len().saturating_sub(1);
            fit = Some(Fit { recipe, corrections });
        }
    }
    fit.ok_or(NoFit::NotWorth)
}

/// The recipe of a search, in jobs if the stream was made so.
fn in_jobs(search: Search, reaches: &Reaches) -> Reparse {
    let job_bytes = JOB_BYTES_MIN.max(4 << search.window_log);
    let shift = OVERLAP_SHIFTS[usize::from(search.strategy.min(9))];
    let overlap_bytes = (1u32 << search.window_log) >> shift;
    if reaches.are_jobs(job_bytes, overlap_bytes) {
        Reparse { search, job_bytes, overlap_bytes }
    } else {
        Reparse { search, job_bytes: 0, overlap_bytes: 0 }
    }
}

/// The same recipe for content that came at once and for content that came bit by bit, where that
/// makes a difference.
fn ways_to_stream(recipe: Reparse, reaches: &Reaches) -> Vec<Reparse> {
    let mut ways = vec![recipe];
    if recipe.job_bytes == 0 && recipe.search.strategy == 2 && reaches.len() as usize > recipe.window() {
        let mut other = recipe;
        let ring = recipe.search.traits.has(Traits::RING);
        other.search.traits = recipe.search.traits.with(Traits::RING, !ring);
        ways.push(other);
    }
    ways
}

/// The start of a stream, taken apart.
struct Sample<'a> {
    events: Vec<Event<'a>>,
    plain: &'a [u8],
    packed_len: usize,
    header: FrameHeader,
}

impl<'a> Sample<'a> {
    fn new(packed: &'a [u8], plain: &'a [u8]) -> Result<Self, AnalyzeError> {
        let mut events = Events::new(packed);
        let mut sample = Self {
            events: Vec::new(),
            plain,
            packed_len: 0,
            header: FrameHeader { len: 0, window: 0, content: None, checksum: false, dictionary: 0 },
        };
        let mut len = 0;
        while let Some(event) = events.next()? {
            match &event {
                Event::Frame(header, _) if sample.header.len == 0 => sample.header = *header,
                Event::Block(block) => {
                    len += block.head.len as usize;
                    sample.packed_len += block.bytes.len();
                }
                _ => {}
            }
            sample.events.push(event);
            if len >= SAMPLE_BYTES {
                break;
            }
        }
        Ok(sample)
    }

    /// Bytes of corrections for the sample, if below `limit`.
    fn cost(&self, recipe: Reparse, limit: usize) -> Result<Option<usize>, AnalyzeError> {
        let mut corrector = Corrector::new(recipe, self.plain);
        for event in &self.events {
            match corrector.take(event) {
                // A distance beyond the recipe's window.
                Err(AnalyzeError::Pack(_)) => return Ok(None),
                other => other?,
            }
            if corrector.len() >= limit {
                return Ok(None);
            }
        }
        let cost = corrector.finish()?.len();
        Ok((cost < limit).then_some(cost))
    }

    /// The searches that an encoder with this frame header may have made.
    fn searches(&self) -> Vec<Search> {
        let content = self.header.content;
        let single_segment = content == Some(self.header.window);
        let fits = |search: &Search| {
            let window = 1u64 << search.window_log;
            if single_segment { window >= self.header.window } else { window == self.header.window }
        };
        let mut searches = Vec::new();
        for (old, traits) in VERSIONS {
            for level in 1..=LEVEL_MAX {
                let mut search = search(level, content, old);
                let rows = search.window_log > 14 || old;
                search.traits =
                    relevant(search.strategy, traits.with(Traits::ROWS, traits.has(Traits::ROWS) && rows));
                if !searches.contains(&search) {
                    searches.push(search);
                }
            }
        }
        if searches.iter().any(fits) {
            searches.retain(fits);
        } else {
            // A window that no level has: it was asked for.
            let window_log = (self.header.window.max(1) - 1).checked_ilog2().map_or(10, |log| log + 1) as u8;
            for search in &mut searches {
                search.window_log = window_log.max(10);
            }
        }
        // Common levels first: the best so far cuts the others short.
        searches.sort_by_key(|search| search.strategy > 6);
        searches
    }
}

/// libzstd's versions as far as they differ: whether levels are those of before 1.5.1, and traits.
const VERSIONS: [(bool, Traits); 7] = [
    (false, Traits::NONE.or(Traits::ROWS).or(Traits::FINE_LITERALS)),
    (false, Traits::ROWS.or(Traits::FINE_LITERALS).or(Traits::SINCE_1_5_5)),
    (false, Traits::ROWS.or(Traits::FINE_LITERALS).or(Traits::SINCE_1_5_5).or(Traits::STRETCHES)),
    (
        false,
        Traits::ROWS
            .or(Traits::FINE_LITERALS)
            .or(Traits::SINCE_1_5_5)
            .or(Traits::STRETCHES)
            .or(Traits::LONGER_ONLY),
    ),
    (false, Traits::ROWS),
    (true, Traits::CLASSIC.or(Traits::STABLE_SORT)),
    (true, Traits::CLASSIC.or(Traits::STABLE_SORT).or(Traits::ROWS)),
];

/// Traits without those that a strategy does not have.
fn relevant(strategy: u8, traits: Traits) -> Traits {
    let lazy = (3..=5).contains(&strategy);
    traits
        .with(Traits::ROWS, traits.has(Traits::ROWS) && lazy)
        .with(Traits::SINCE_1_5_5, traits.has(Traits::SINCE_1_5_5) && lazy)
        .with(Traits::LONGER_ONLY, traits.has(Traits::LONGER_ONLY) && strategy == 2)
        .with(Traits::FINE_LITERALS, traits.has(Traits::FINE_LITERALS) && strategy >= 7)
        .with(Traits::STRETCHES, traits.has(Traits::STRETCHES) && strategy >= 7)
}
