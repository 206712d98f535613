//! Covers of a program: the cheapest way through the alignments that exact matches suggest.
//!
//! Both sides are compared in forms in which alike code is alike ([`crate::predict::labels`]). Exact
//! matches come from the suffix array of both texts in one: each new suffix looks at its nearest old
//! neighbours (matching statistics; W. I. Chang, E. L. Lawler, 1994). Then dynamic programming over
//! the bytes: every alignment that is open is a **lane** with the bits that it took to come there;
//! each byte costs little where it agrees and much where not, and so does changing lanes. At the end
//! the cheapest lane is followed back.

use libsais::SuffixArrayConstruction;
use rayon::prelude::*;

use super::exact::common_prefix;
use super::windows::Window;
use crate::predict::Cover;

/// What a way through the new bytes costs, in sixteenths of a bit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Costs {
    /// A byte that agrees.
    pub(super) equal: u32,
    /// A byte that differs behind one that agrees.
    pub(super) unequal: u32,
    /// A byte that differs behind another one.
    pub(super) unequal_again: u32,
    /// A literal byte.
    pub(super) literal: u32,
    /// Beginning a run of literal bytes.
    pub(super) literals: u32,
    /// Beginning a cover.
    pub(super) cover: u32,
    /// Shorter exact matches, in bytes, suggest no alignment.
    pub(super) match_min: usize,
    /// Alignments that are open at a time.
    pub(super) lanes_max: usize,
}

impl Default for Costs {
    fn default() -> Self {
        // Tried on kernel modules, interpreters and libraries: what the streams come to when packed.
        Self {
            equal: 1,
            unequal: 160,
            unequal_again: 130,
            literal: 72,
            literals: 32,
            cover: 600,
            match_min: 10,
            lanes_max: 24,
        }
    }
}

/// How much memory looking for alignments takes beside the two texts, in bytes.
pub(super) fn memory_bytes(old_len: u64, new_len: u64) -> u64 {
    4 * (old_len + new_len) + (old_len + new_len).max(8 * new_len)
}

/// The cheapest covers of `new` by `old`, in order. Alignments are looked for in `windows`, which are in
/// the order of the new side, [`WINDOWS_AT_A_TIME`] of them at a time; those of the `present` covers are
/// known. `None` where memory is short, or there is more than 2 GiB of both.
pub(super) fn covers(
    old: &[u8],
    new: &[u8],
    windows: &[Window],
    present: &[Cover],
    costs: Costs,
) -> Option<Vec<Cover>> {
    i32::try_from(old.len() + new.len()).ok()?;
    let mut found: Vec<Alignment> = Vec::new();
    for windows in windows.chunks(WINDOWS_AT_A_TIME) {
        let alignments: Vec<Option<Vec<Alignment>>> = windows
            .par_iter()
            .with_max_len(1)
            .map(|window| alignments(old, new, window, costs.match_min))
            .collect();
        for alignments in alignments {
            found.extend(alignments?);
        }
    }
    if windows.len() > 1 {
        let known = present.iter().filter(|cover| cover.len >= costs.match_min as u64);
        found.extend(
            known.map(|cover| Alignment { at: cover.new as u32, shift: cover.old as i32 - cover.new as i32 }),
        );
    }
    found.sort_by_key(|alignment| alignment.at);
    Some(Search::new(old, new, costs).run(&found))
}

/// An alignment that is worth a try from here on: old position minus new position.
#[derive(Debug, Clone, Copy)]
struct Alignment {
    at: u32,
    shift: i32,
}

/// The nearest old suffixes of every new one.
struct Neighbours {
    before: Vec<u32>,
    after: Vec<u32>,
}

/// So many windows are searched at a time.
pub(super) const WINDOWS_AT_A_TIME: usize = 2;
/// Shifts for which it is known how far they were tried.
const SHIFTS_SEEN: usize = 1 << 10;
/// No neighbour.
const NONE: u32 = u32::MAX;

fn neighbours(old: &[u8], new: &[u8]) -> Option<Neighbours> {
    let (old_len, new_len) = (old.len(), new.len());
    let mut text = Vec::with_capacity(old_len + new_len);
    text.extend_from_slice(old);
    text.extend_from_slice(new);
    let order: Vec<i32> =
        SuffixArrayConstruction::for_text(&text).in_owned_buffer32().single_threaded().run().ok()?.into_vec();
    drop(text);
    let nearest = |order: &mut dyn Iterator<Item = &i32>| {
        let mut found = vec![NONE; new_len];
        let mut last = NONE;
        for &suffix in order {
            match (suffix as usize).checked_sub(old_len) {
                None => last = suffix as u32,
                Some(new) => found[new] = last,
            }
        }
        found
    };
    Some(Neighbours { before: nearest(&mut order.iter()), after: nearest(&mut order.iter().rev()) })
}

/// The alignments in a window of the longest matches that no other one contains.
fn alignments(old: &[u8], new: &[u8], window: &Window, match_min: usize) -> Option<Vec<Alignment>> {
    let (old_start, start) = (window.old.start, window.new.start);
    let (old_part, new_part) = (&old[window.old.clone()], &new[window.new.clone()]);
    if old_part.is_empty() || new_part.is_empty() {
        return Some(Vec::new());
    }
    let found = neighbours(old_part, new_part)?;
    let mut alignments = Vec::new();
    let (mut last_shift, mut last_end) = (None, 0);
    let (mut before_len, mut after_len) = (0, 0);
    let mut seen = [(0, 0); SHIFTS_SEEN];
    for at in window.new.clone() {
        // A neighbour matches at most one byte less than the one of the position before (Kasai et
        // al., 2001), so that all comparisons together are linear.
        let len_of = |neighbour: u32, known: &mut usize| {
            if neighbour == NONE {
                *known = 0;
                return 0;
            }
            let old_at = old_start + neighbour as usize;
            *known = known.saturating_sub(1).min(old.len() - old_at);
            *known += common_prefix(&old[old_at + *known..], &new[at + *known..]);
            *known
        };
        let (before, after) = (found.before[at - start], found.after[at - start]);
        let (before, after) =
            ((len_of(before, &mut before_len), before), (len_of(after, &mut after_len), after));
        let (len, neighbour) = if after.0 > before.0 { after } else { before };
        let shift = old_start as i32 + neighbour as i32 - at as i32;
        if len >= match_min && at + len > last_end && (last_shift != Some(shift) || at > last_end) {
            (last_shift, last_end) = (Some(shift), at + len);
            // What one alignment went over another one with the same shift need not go over again.
            let seen = &mut seen[shift as usize % SHIFTS_SEEN];
            let stop = if seen.0 == shift { seen.1 } else { 0 };
            *seen = (shift, at);
            alignments.push(Alignment { at: resembling_from(old, new, at, shift, stop) as u32, shift });
        }
    }
    Some(alignments)
}

/// Goes back from a match over what resembles, to `stop` at most.
fn resembling_from(old: &[u8], new: &[u8], at: usize, shift: i32, stop: usize) -> usize {
    const BACK_BYTES_MAX: usize = 256;
    const SLACK: i32 = 24;
    let (mut score, mut best, mut best_at) = (0_i32, 0_i32, at);
    let mut back = at;
    while back > stop
        && back as i64 + i64::from(shift) > 0
        && score > best - SLACK
        && at - back < BACK_BYTES_MAX
    {
        back -= 1;
        score += if old[(back as i64 + i64::from(shift)) as usize] == new[back] { 1 } else { -2 };
        if score > best {
            (best, best_at) = (score, back);
        }
    }
    best_at
}

/// An alignment that is open.
#[derive(Debug, Clone, Copy)]
struct Lane {
    shift: i32,
    cost: u32,
    /// The change into this lane.
    node: u32,
    /// Which of the last bytes agreed, the last one in bit 0.
    recent: u64,
}

/// Literal bytes, as a lane.
const LITERAL: i32 = i32::MIN;
/// A lane of which fewer of the last 64 bytes agreed is given up once another one is that much cheaper.
const RECENT_MIN: u32 = 20;
/// Bytes that agree in a row and are skipped at once.
const RUN_MIN: usize = 16;
/// Changes that are kept before those that nothing leads to are dropped.
const NODES_MAX: usize = 1 << 22;

/// A change of lanes.
#[derive(Debug, Clone, Copy)]
struct Node {
    at: u32,
    shift: i32,
    before: u32,
}

struct Search<'a> {
    old: &'a [u8],
    new: &'a [u8],
    costs: Costs,
    nodes: Vec<Node>,
    nodes_max: usize,
    literal: Lane,
    lanes: Vec<Lane>,
}

impl<'a> Search<'a> {
    fn new(old: &'a [u8], new: &'a [u8], costs: Costs) -> Self {
        let nodes = vec![Node { at: 0, shift: LITERAL, before: NONE }];
        let literal = Lane { shift: LITERAL, cost: 0, node: 0, recent: 0 };
        Self { old, new, costs, nodes, nodes_max: NODES_MAX, literal, lanes: Vec::new() }
    }

    fn run(mut self, alignments: &[Alignment]) -> Vec<Cover> {
        let mut waiting = alignments.iter().peekable();
        let (mut at, mut tried) = (0, 0);
        while at < self.new.len() {
            let mut cheapest = self.cheapest();
            while let Some(alignment) = waiting.next_if(|alignment| alignment.at as usize <= at) {
                self.open(at, alignment.shift, cheapest);
            }
            // Costs stay small: only differences count.
            if cheapest.cost > 1 << 30 {
                let floor = cheapest.cost;
                cheapest.cost = 0;
                self.literal.cost -= floor;
                for lane in &mut self.lanes {
                    lane.cost -= floor;
                }
            }
            if at >= tried && cheapest.recent & 0xff == 0xff {
                let stop = waiting.peek().map_or(self.new.len(), |next| next.at as usize);
                let run = self.run_len(at, stop, cheapest);
                tried = at + run;
                if run >= RUN_MIN {
                    self.skip(at, run, cheapest);
                    at += run;
                    continue;
                }
            }
            self.step(at, cheapest);
            at += 1;
            if self.nodes.len() > self.nodes_max {
                self.drop_dead_nodes();
                self.nodes_max = NODES_MAX.max(2 * self.nodes.len());
            }
        }
        self.covers()
    }

    /// How many bytes up to `stop` agree in the cheapest lane while no other lane is worth keeping.
    fn run_len(&self, at: usize, stop: usize, cheapest: Lane) -> usize {
        let dear = cheapest.cost + self.costs.cover;
        let alone = self.lanes.iter().all(|lane| lane.shift == cheapest.shift || lane.cost >= dear);
        let old_at = (at as i64 + i64::from(cheapest.shift)) as usize;
        match self.old.get(old_at..) {
            Some(old) if alone && cheapest.shift != LITERAL => common_prefix(old, &self.new[at..stop]),
            _ => 0,
        }
    }

    /// Goes over bytes that agree in the cheapest lane. The others can be changed to behind them.
    fn skip(&mut self, at: usize, run: usize, cheapest: Lane) {
        let end = at + run;
        let cost = cheapest.cost + self.costs.equal * run as u32;
        let mut index = 0;
        while index < self.lanes.len() {
            let lane = self.lanes[index];
            if lane.shift == cheapest.shift {
                self.lanes[index] = Lane { cost, recent: u64::MAX, ..lane };
                index += 1;
                continue;
            }
            let recent = self.recent(end, run, lane);
            if recent.count_ones() < RECENT_MIN {
                self.lanes.swap_remove(index);
                continue;
            }
            let node = self.node(end, lane.shift, cheapest.node);
            self.lanes[index] = Lane { cost: cost + self.costs.cover, node, recent, ..lane };
            index += 1;
        }
        // The next step begins literals anew.
        self.literal.cost = u32::MAX / 2;
    }

    /// Which of the last bytes before `end` agreed in a lane, of which `run` are not counted yet.
    fn recent(&self, end: usize, run: usize, lane: Lane) -> u64 {
        let agrees =
            |at: usize| self.old.get((at as i64 + i64::from(lane.shift)) as usize) == Some(&self.new[at]);
        (end - run.min(64)..end).fold(lane.recent, |recent, at| recent << 1 | u64::from(agrees(at)))
    }

    fn cheapest(&self) -> Lane {
        self.lanes
            .iter()
            .copied()
            .fold(self.literal, |best, lane| if lane.cost < best.cost { lane } else { best })
    }

    fn node(&mut self, at: usize, shift: i32, before: u32) -> u32 {
        self.nodes.push(Node { at: at as u32, shift, before });
        self.nodes.len() as u32 - 1
    }

    /// Opens a lane, in the place of the dearest one where there are too many.
    fn open(&mut self, at: usize, shift: i32, cheapest: Lane) {
        if self.lanes.iter().any(|lane| lane.shift == shift) {
            return;
        }
        if self.lanes.len() == self.costs.lanes_max
            && let Some(worst) = (0..self.lanes.len()).max_by_key(|&index| self.lanes[index].cost)
        {
            self.lanes.swap_remove(worst);
        }
        let node = self.node(at, shift, cheapest.node);
        self.lanes.push(Lane { shift, cost: cheapest.cost + self.costs.cover, node, recent: u64::MAX });
    }

    /// Takes one byte in all lanes.
    fn step(&mut self, at: usize, cheapest: Lane) {
        let costs = self.costs;
        if self.literal.cost > cheapest.cost + costs.literals {
            self.literal.cost = cheapest.cost + costs.literals;
            self.literal.node = self.node(at, LITERAL, cheapest.node);
        }
        self.literal.cost += costs.literal;
        let byte = self.new[at];
        let mut index = 0;
        while index < self.lanes.len() {
            let lane = self.lanes[index];
            let Some(&old) = self.old.get((at as i64 + i64::from(lane.shift)) as usize) else {
                self.lanes.swap_remove(index);
                continue;
            };
            let (mut cost, mut node) = (lane.cost, lane.node);
            if cost > cheapest.cost + costs.cover {
                if lane.recent.count_ones() < RECENT_MIN {
                    self.lanes.swap_remove(index);
                    continue;
                }
                cost = cheapest.cost + costs.cover;
                node = self.node(at, lane.shift, cheapest.node);
            }
            let equal = old == byte;
            cost += match (equal, lane.recent & 1 == 1) {
                (true, _) => costs.equal,
                (false, true) => costs.unequal,
                (false, false) => costs.unequal_again,
            };
            let recent = lane.recent << 1 | u64::from(equal);
            self.lanes[index] = Lane { cost, node, recent, ..lane };
            index += 1;
        }
    }

    fn drop_dead_nodes(&mut self) {
        let mut used = vec![false; self.nodes.len()];
        for lane in self.lanes.iter().chain([&self.literal]) {
            let mut at = lane.node;
            while let Some(used) = used.get_mut(at as usize).filter(|used| !**used) {
                *used = true;
                at = self.nodes[at as usize].before;
            }
        }
        let mut moved = vec![NONE; self.nodes.len()];
        let mut kept = 0;
        for index in (0..used.len()).filter(|&index| used[index]) {
            let node = self.nodes[index];
            moved[index] = kept;
            let before = moved.get(node.before as usize).copied().unwrap_or(NONE);
            self.nodes[kept as usize] = Node { before, ..node };
            kept += 1;
        }
        self.nodes.truncate(kept as usize);
        for lane in self.lanes.iter_mut().chain([&mut self.literal]) {
            lane.node = moved[lane.node as usize];
        }
    }

    /// The way to the cheapest end.
    fn covers(&self) -> Vec<Cover> {
        let mut covers = Vec::new();
        let mut end = self.new.len() as u64;
        let mut index = self.cheapest().node;
        while let Some(node) = self.nodes.get(index as usize) {
            let start = u64::from(node.at);
            if node.shift != LITERAL && end > start {
                let old = (i64::from(node.at) + i64::from(node.shift)) as u64;
                covers.push(Cover { old, new: start, len: end - start });
            }
            end = start;
            index = node.before;
        }
        covers.reverse();
        self.trimmed(covers)
    }

    /// Unequal bytes at the ends of a cover are better told as literals.
    fn trimmed(&self, covers: Vec<Cover>) -> Vec<Cover> {
        let mut trimmed: Vec<Cover> = Vec::with_capacity(covers.len());
        for cover in covers {
            let equal = |at: &u64| self.old[(cover.old + at) as usize] == self.new[(cover.new + at) as usize];
            let Some(skip) = (0..cover.len).find(equal) else { continue };
            let len = (skip..cover.len).rev().find(equal).map_or(0, |last| last + 1 - skip);
            let cover = Cover { old: cover.old + skip, new: cover.new + skip, len };
            match trimmed.last_mut() {
                Some(last) if last.old + last.len == cover.old && last.new + last.len == cover.new => {
                    last.len += cover.len;
                }
                _ => trimmed.push(cover),
            }
        }
        trimmed
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whole(old: &[u8], new: &[u8]) -> Vec<Window> {
        vec![Window { old: 0..old.len(), new: 0..new.len() }]
    }

    #[test]
    fn an_insertion_costs_one_change() {
        let old: Vec<u8> =
            (0..4000_u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let mut new = old[..2000].to_vec();
        new.extend_from_slice(b"something else");
        new.extend_from_slice(&old[2000..]);
        new[500] ^= 1;
        let covers = covers(&old, &new, &whole(&old, &new), &[], Costs::default()).unwrap();
        assert_eq!(covers, [Cover { old: 0, new: 0, len: 2000 }, Cover { old: 2000, new: 2014, len: 2000 }]);
    }

    #[test]
    fn windows_find_what_stands_in_them_and_keep_what_is_known() {
        let old: Vec<u8> =
            (0..40_000_u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        // Three quarters stay, behind something else; the last one comes from the start.
        let new = [b"something else", &old[..30_000], &old[..10_000]].concat();
        let half = new.len() / 2;
        let windows =
            [Window { old: 0..21_000, new: 0..half }, Window { old: 19_000..40_000, new: half..new.len() }];
        let far = Cover { old: 0, new: 30_014, len: 10_000 };
        let near = Cover { old: 0, new: 14, len: 30_000 };
        let found = |present: &[Cover]| covers(&old, &new, &windows, present, Costs::default()).unwrap();
        assert_eq!(found(&[far]), [near, far]);
        assert!(!found(&[]).contains(&far), "no window holds it");
    }

    proptest! {
        #[test]
        fn covers_are_in_order_and_inside(
            old in proptest::collection::vec(0_u8..4, 0..400),
            new in proptest::collection::vec(0_u8..4, 0..400),
        ) {
            let mut at = 0;
            let costs = Costs { match_min: 4, cover: 40, ..Costs::default() };
            for cover in covers(&old, &new, &whole(&old, &new), &[], costs).unwrap() {
                prop_assert!(cover.new >= at && cover.len > 0);
                at = cover.new + cover.len;
                prop_assert!(at <= new.len() as u64 && cover.old + cover.len <= old.len() as u64);
            }
        }
    }
}
