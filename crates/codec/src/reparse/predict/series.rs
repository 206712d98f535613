//! The forward pass of libzstd's optimal parser, and the way back: as it was before 1.5.6, with
//! sequences for nodes, and as it is since, with stretches (a match and the literals behind it).

use super::optimal::{Node, Optimal, Series};
use super::trees::SERIES_MAX;
use crate::reparse::history::View;

/// Half a bit: btopt does not look for matches where the next position costs no more.
const HALF_BIT: i32 = 128;

impl Optimal {
    /// Prices of the matches at the start of a series; answers the last position that is reached.
    fn price_first(&mut self, literals: u32, stretches: bool) -> u32 {
        let base = self.nodes[0].price;
        let no_literals = self.prices.literal_length(0);
        let mut position = 1;
        while position < self.min_length {
            let node = &mut self.nodes[position as usize];
            node.price = Self::NEVER;
            if stretches {
                node.length = 0;
                node.literals = literals + position;
            }
            position += 1;
        }
        for index in 0..self.matches.len() {
            let found = self.matches[index];
            while position <= found.length {
                let price = base + self.prices.matched(found.offset, position) + no_literals;
                let node = &mut self.nodes[position as usize];
                node.length = position;
                node.offset = found.offset;
                node.literals = if stretches { 0 } else { literals };
                node.price = price;
                position += 1;
            }
        }
        position - 1
    }

    /// Prices of the matches at `current`; answers the last position that is reached.
    fn price_matches(&mut self, current: u32, literals: u32, mut last: u32) -> u32 {
        let base = self.nodes[current as usize].price + self.prices.literal_length(0);
        for index in 0..self.matches.len() {
            let found = self.matches[index];
            let shortest = if index > 0 { self.matches[index - 1].length + 1 } else { self.min_length };
            for length in (shortest..=found.length).rev() {
                let position = current + length;
                let price = base + self.prices.matched(found.offset, length);
                if position <= last && price >= self.nodes[position as usize].price {
                    if self.exact {
                        continue;
                    }
                    break;
                }
                while last < position {
                    last += 1;
                    let node = &mut self.nodes[last as usize];
                    node.price = Self::NEVER;
                    node.literals = 1;
                }
                let node = &mut self.nodes[position as usize];
                node.length = length;
                node.offset = found.offset;
                node.literals = literals;
                node.price = price;
            }
        }
        last
    }

    /// One series as before 1.5.6.
    pub(super) fn by_sequences(&mut self, view: View<'_>, limit: u32) -> Option<Series> {
        let (literals, longest) = self.start(view)?;
        if longest.length > self.sufficient() {
            let last = Node { literals, length: longest.length, offset: longest.offset, ..Node::default() };
            return Some(Series::Found { from: 0, last });
        }
        let mut last = self.price_first(literals, false);
        let mut current = 1;
        while current <= last {
            let at = self.at + current;
            let before = self.nodes[current as usize - 1];
            let literals = if before.length == 0 { before.literals + 1 } else { 1 };
            let price =
                before.price + self.prices.literal(view.byte(at - 1)) + self.prices.literal_length(literals)
                    - self.prices.literal_length(literals - 1);
            if price <= self.nodes[current as usize].price {
                self.nodes[current as usize] =
                    Node { price, offset: 0, length: 0, literals, ..Node::default() };
            }
            let node = self.nodes[current as usize];
            let repeats = if node.length == 0 {
                before.repeats
            } else {
                let start = self.nodes[(current - node.length) as usize];
                Self::repeats_behind(&start, node.offset, node.literals == 0)
            };
            self.nodes[current as usize].repeats = repeats;
            current += 1;
            if at > limit {
                continue;
            }
            let here = current - 1;
            if here == last {
                break;
            }
            if !self.exact && self.nodes[here as usize + 1].price <= node.price + HALF_BIT {
                continue;
            }
            self.find(view, at, repeats, node.length != 0);
            let Some(&longest) = self.matches.last() else { continue };
            let literals = if node.length == 0 { node.literals } else { 0 };
            if longest.length > self.sufficient() || here + longest.length >= SERIES_MAX {
                let last =
                    Node { literals, length: longest.length, offset: longest.offset, ..Node::default() };
                return Some(Series::Found { from: here.saturating_sub(literals), last });
            }
            last = self.price_matches(here, literals, last);
        }
        let end = self.nodes[last as usize];
        Some(Series::Found { from: last.saturating_sub(end.literals + end.length), last: end })
    }

    /// Puts the cheapest way of a series into the queue, as before 1.5.6.
    pub(super) fn queue_sequences(&mut self, from: u32, last: Node) {
        let mut way = vec![last];
        let mut position = from;
        while position > 0 {
            let node = self.nodes[position as usize];
            way.push(node);
            position = position.saturating_sub((node.literals + node.length).max(1));
        }
        let mut end = self.anchor;
        for node in way.iter().rev() {
            end += node.literals + node.length;
            if node.length > 0 {
                self.enqueue(node.literals, node);
            }
        }
        self.enqueue_end(end);
    }

    /// One series as since 1.5.6.
    pub(super) fn by_stretches(&mut self, view: View<'_>, limit: u32) -> Option<Series> {
        let (literals, longest) = self.start(view)?;
        let jump = |length: u32, offset: u32| Node { offset, length, ..Node::default() };
        if longest.length > self.sufficient() {
            return Some(Series::Found { from: 0, last: jump(longest.length, longest.offset) });
        }
        let mut last = self.price_first(literals, true);
        self.nodes[last as usize + 1].price = Self::NEVER;
        let mut here = 0;
        while here < last {
            here += 1;
            let at = self.at + here;
            self.one_literal(view, here, &mut last);
            let node = self.nodes[here as usize];
            if node.literals == 0 {
                let start = self.nodes[(here - node.length) as usize];
                self.nodes[here as usize].repeats =
                    Self::repeats_behind(&start, node.offset, start.literals == 0);
            }
            if at > limit {
                continue;
            }
            if here == last {
                break;
            }
            if !self.exact && self.nodes[here as usize + 1].price <= node.price + HALF_BIT {
                continue;
            }
            self.find(view, at, self.nodes[here as usize].repeats, node.literals == 0);
            let Some(&longest) = self.matches.last() else { continue };
            if longest.length > self.sufficient()
                || here + longest.length >= SERIES_MAX
                || at + longest.length >= self.unit.end
            {
                return Some(Series::Found { from: here, last: jump(longest.length, longest.offset) });
            }
            last = self.price_matches(here, 0, last);
            self.nodes[last as usize + 1].price = Self::NEVER;
        }
        let end = self.nodes[last as usize];
        if end.length == 0 {
            return Some(Series::Literals(self.at + last));
        }
        Some(Series::Found { from: last - end.length, last: end })
    }

    /// Makes `here` one more literal if that is cheaper.
    fn one_literal(&mut self, view: View<'_>, here: u32, last: &mut u32) {
        let at = self.at + here;
        let before = self.nodes[here as usize - 1];
        let literals = before.literals + 1;
        let step = |length: u32| self.prices.literal_length(length) - self.prices.literal_length(length - 1);
        let price = before.price + self.prices.literal(view.byte(at - 1)) + step(literals);
        let replaced = self.nodes[here as usize];
        if price > replaced.price {
            return;
        }
        let first_step = step(1);
        let next_step = step(literals + 1);
        self.nodes[here as usize] = Node { price, literals, ..before };
        if !(self.exact && replaced.literals == 0 && first_step < 0 && at < self.unit.end) {
            return;
        }
        let literal = self.prices.literal(view.byte(at));
        let with_match = replaced.price + literal + first_step;
        let without = price + literal + next_step;
        if with_match < without && with_match < self.nodes[here as usize + 1].price {
            let start = self.nodes[(here - replaced.length) as usize];
            let repeats = Self::repeats_behind(&start, replaced.offset, start.literals == 0);
            self.nodes[here as usize + 1] = Node { literals: 1, price: with_match, repeats, ..replaced };
            *last = (*last).max(here + 1);
        }
    }

    /// Puts the cheapest way of a series into the queue, as since 1.5.6.
    pub(super) fn queue_stretches(&mut self, from: u32, last: Node) {
        let mut way = vec![last];
        let mut position = from.saturating_sub(last.literals);
        loop {
            let node = self.nodes[position as usize];
            way.push(node);
            if node.length == 0 {
                break;
            }
            position = position.saturating_sub(node.literals + node.length);
        }
        // Each match is preceded by the literals of the stretch before it.
        let mut end = self.anchor;
        for pair in way.windows(2).rev() {
            end += pair[1].literals + pair[0].length;
            self.enqueue(pair[1].literals, &pair[0]);
        }
        self.enqueue_end(end + last.literals);
    }
}
