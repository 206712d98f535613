//! Finds covers: matching statistics from a suffix array over old and new, then a search for the
//! cheapest way through the diagonals (old offset minus new offset) that matches suggest.

use fluvial_delta::predict::Cover;
use libsais::SuffixArrayConstruction;

/// What a way through the new bytes costs, in sixteenths of a bit.
#[derive(Debug, Clone, Copy)]
pub struct Costs {
    pub equal: u32,
    pub unequal: u32,
    pub unequal_again: u32,
    pub literal: u32,
    pub switch: u32,
    pub match_min: u32,
}

impl Default for Costs {
    fn default() -> Self {
        Self { equal: 1, unequal: 160, unequal_again: 110, literal: 88, switch: 480, match_min: 10 }
    }
}

/// For every new position: the longest match in the old bytes, as (old position, length).
fn statistics(old: &[u8], new: &[u8]) -> Vec<(u32, u32)> {
    let mut text = Vec::with_capacity(old.len() + new.len());
    text.extend_from_slice(old);
    text.extend_from_slice(new);
    let all = SuffixArrayConstruction::for_text(&text)
        .in_owned_buffer32()
        .single_threaded()
        .run()
        .expect("suffix array")
        .plcp_construction()
        .single_threaded()
        .run()
        .expect("plcp");
    let (order, plcp, _) = all.into_parts();
    let mut found = vec![(0_u32, 0_u32); new.len()];
    let split = old.len();
    // plcp[i] is the length that the suffix i shares with the one before it in the order.
    let mut last = (0_u32, 0_i32);
    for &suffix in &order {
        let at = suffix as usize;
        last.1 = last.1.min(plcp[at]);
        if at < split {
            last = (at as u32, i32::MAX);
        } else {
            found[at - split] = (last.0, last.1.max(0) as u32);
        }
    }
    let mut next = (0_u32, 0_i32);
    for &suffix in order.iter().rev() {
        let at = suffix as usize;
        if at < split {
            next = (at as u32, i32::MAX);
        } else if next.1 as u32 > found[at - split].1 {
            found[at - split] = (next.0, next.1 as u32);
        }
        next.1 = next.1.min(plcp[at]);
    }
    for (at, entry) in found.iter_mut().enumerate() {
        entry.1 = entry.1.min((split - entry.0 as usize).min(new.len() - at) as u32);
    }
    found
}

#[derive(Clone, Copy)]
struct Lane {
    diagonal: i64,
    cost: u32,
    /// Node of the switch into this lane.
    node: u32,
    unequal: bool,
    /// Recent equality, one bit per byte.
    recent: u64,
}

/// A switch: at `at` into `diagonal`.
#[derive(Clone, Copy)]
struct Node {
    at: u32,
    diagonal: i64,
    before: u32,
}

const LITERAL: i64 = i64::MIN;

/// The cheapest covers. Bytes are compared in `old` and `new`, whatever normal form they are in.
pub fn covers(old: &[u8], new: &[u8], costs: Costs) -> Vec<Cover> {
    let found = statistics(old, new);
    let candidates = candidates(old, new, &found, costs);
    drop(found);
    search(old, new, &candidates, costs)
}

/// Diagonals worth trying, and from where.
fn candidates(old: &[u8], new: &[u8], found: &[(u32, u32)], costs: Costs) -> Vec<(u32, i64)> {
    let mut candidates = Vec::new();
    let mut last = LITERAL;
    let mut last_end = 0;
    for (at, &(from, len)) in found.iter().enumerate() {
        if len < costs.match_min {
            continue;
        }
        let diagonal = i64::from(from) - at as i64;
        if diagonal == last && at <= last_end {
            continue;
        }
        // Only matches that the last one does not contain bring something new.
        if at + len as usize <= last_end {
            continue;
        }
        last = diagonal;
        last_end = at + len as usize;
        // Back over what resembles.
        let (mut score, mut best, mut best_at) = (0_i32, 0_i32, at);
        let mut back = at;
        while back > 0 && back as i64 + diagonal > 0 && score > best - 24 && at - back < 4096 {
            back -= 1;
            score += if old[(back as i64 + diagonal) as usize] == new[back] { 1 } else { -2 };
            if score > best {
                (best, best_at) = (score, back);
            }
        }
        candidates.push((best_at as u32, diagonal));
    }
    candidates.sort_by_key(|&(at, _)| at);
    candidates
}

fn search(old: &[u8], new: &[u8], candidates: &[(u32, i64)], costs: Costs) -> Vec<Cover> {
    const LANES_MAX: usize = 24;
    let mut nodes = vec![Node { at: 0, diagonal: LITERAL, before: u32::MAX }];
    let mut literal = Lane { diagonal: LITERAL, cost: 0, node: 0, unequal: false, recent: 0 };
    let mut lanes: Vec<Lane> = Vec::new();
    let mut waiting = candidates.iter().peekable();
    #[expect(clippy::needless_range_loop, reason = "the position stands for both sides")]
    for at in 0..new.len() {
        let cheapest = lanes.iter().chain(std::iter::once(&literal)).min_by_key(|lane| lane.cost).copied();
        let cheapest = cheapest.unwrap_or(literal);
        while let Some(&&(start, diagonal)) = waiting.peek() {
            if start as usize > at {
                break;
            }
            waiting.next();
            if lanes.iter().any(|lane| lane.diagonal == diagonal) {
                continue;
            }
            if lanes.len() == LANES_MAX
                && let Some(worst) = (0..lanes.len()).max_by_key(|&index| lanes[index].cost)
            {
                lanes.swap_remove(worst);
            }
            nodes.push(Node { at: at as u32, diagonal, before: cheapest.node });
            lanes.push(Lane {
                diagonal,
                cost: cheapest.cost + costs.switch,
                node: nodes.len() as u32 - 1,
                unequal: false,
                recent: u64::MAX,
            });
        }
        // Costs stay small: only differences count.
        if cheapest.cost > 1 << 30 {
            let floor = cheapest.cost;
            literal.cost -= floor;
            for lane in &mut lanes {
                lane.cost -= floor;
            }
        }
        let cheapest_cost =
            cheapest.cost.min(lanes.iter().map(|lane| lane.cost).min().unwrap_or(u32::MAX)).min(literal.cost);
        if literal.cost > cheapest_cost + 32 {
            nodes.push(Node { at: at as u32, diagonal: LITERAL, before: cheapest.node });
            literal.cost = cheapest_cost + 32;
            literal.node = nodes.len() as u32 - 1;
        }
        literal.cost += costs.literal;
        let mut index = 0;
        while index < lanes.len() {
            let lane = &mut lanes[index];
            let from = at as i64 + lane.diagonal;
            if from < 0 || from as usize >= old.len() {
                lanes.swap_remove(index);
                continue;
            }
            if lane.cost > cheapest_cost + costs.switch {
                if lane.recent.count_ones() < 20 {
                    lanes.swap_remove(index);
                    continue;
                }
                nodes.push(Node { at: at as u32, diagonal: lane.diagonal, before: cheapest.node });
                lane.cost = cheapest_cost + costs.switch;
                lane.node = nodes.len() as u32 - 1;
            }
            let equal = old[from as usize] == new[at];
            lane.recent = lane.recent << 1 | u64::from(equal);
            lane.cost += match (equal, lane.unequal) {
                (true, _) => costs.equal,
                (false, false) => costs.unequal,
                (false, true) => costs.unequal_again,
            };
            lane.unequal = !equal;
            index += 1;
        }
        // Nodes that nothing leads to are many; drop them now and then.
        if nodes.len() > 1 << 25 {
            collect(&mut nodes, &mut literal, &mut lanes);
        }
    }
    let best = lanes.iter().chain(std::iter::once(&literal)).min_by_key(|lane| lane.cost).copied();
    let mut covers = Vec::new();
    let mut end = new.len() as u64;
    let mut at = best.unwrap_or(literal).node;
    while let Some(node) = nodes.get(at as usize) {
        let start = u64::from(node.at);
        if node.diagonal != LITERAL && end > start {
            covers.push(Cover { old: (start as i64 + node.diagonal) as u64, new: start, len: end - start });
        }
        end = start;
        at = node.before;
    }
    covers.reverse();
    trim(old, new, covers)
}

fn collect(nodes: &mut Vec<Node>, literal: &mut Lane, lanes: &mut [Lane]) {
    let mut used = vec![false; nodes.len()];
    for lane in lanes.iter().chain(std::iter::once(&*literal)) {
        let mut at = lane.node;
        while let Some(flag) = used.get_mut(at as usize) {
            if *flag {
                break;
            }
            *flag = true;
            at = nodes[at as usize].before;
        }
    }
    let mut moved = vec![u32::MAX; nodes.len()];
    let mut kept = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        if used[index] {
            moved[index] = kept.len() as u32;
            let before = moved.get(node.before as usize).copied().unwrap_or(u32::MAX);
            kept.push(Node { before, ..*node });
        }
    }
    *nodes = kept;
    for lane in lanes.iter_mut().chain(std::iter::once(literal)) {
        lane.node = moved[lane.node as usize];
    }
}

/// Unequal bytes at the ends of a cover are better told as literals.
fn trim(old: &[u8], new: &[u8], covers: Vec<Cover>) -> Vec<Cover> {
    let mut trimmed: Vec<Cover> = Vec::new();
    for mut cover in covers {
        let equal = |cover: &Cover, at: u64| old[(cover.old + at) as usize] == new[(cover.new + at) as usize];
        while cover.len > 0 && !equal(&cover, cover.len - 1) {
            cover.len -= 1;
        }
        let mut skip = 0;
        while skip < cover.len && !equal(&cover, skip) {
            skip += 1;
        }
        cover = Cover { old: cover.old + skip, new: cover.new + skip, len: cover.len - skip };
        if cover.len == 0 {
            continue;
        }
        if let Some(last) = trimmed.last_mut()
            && last.old + last.len == cover.old
            && last.new + last.len == cover.new
        {
            last.len += cover.len;
            continue;
        }
        trimmed.push(cover);
    }
    trimmed
}
