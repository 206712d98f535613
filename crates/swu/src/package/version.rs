//! Which of two versions is older. The script on the device decides the same way (`check.sh`, tested together).

use std::cmp::Ordering;

/// The longest number in a version, in digits: every shell can compare it.
const NUMBER_DIGITS_MAX: usize = 9;

/// How a version stands to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionOrder {
    /// They can be compared.
    Known(Ordering),
    /// One of them is not numbers with dots.
    Unknown,
}

/// Compares versions: numbers with dots, where those that lack are 0; then what stands behind a `-`, which makes
/// a version older than the same without (Semantic Versioning 2.0.0, 11). What stands behind a `+` says nothing.
pub fn compare_versions(a: &str, b: &str) -> VersionOrder {
    let [a, b] = [a, b].map(|version| version.split('+').next().unwrap_or_default());
    let [(a, a_tail), (b, b_tail)] = [a, b].map(|version| version.split_once('-').unwrap_or((version, "")));
    let Some(order) = compare_numbers(a, b) else { return VersionOrder::Unknown };
    let tails = match (a_tail.is_empty(), b_tail.is_empty()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        (false, false) => compare_tails(a_tail, b_tail),
    };
    let is_text = |tail: &str| tail.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte));
    if is_text(a_tail) && is_text(b_tail) {
        VersionOrder::Known(order.then(tails))
    } else {
        VersionOrder::Unknown
    }
}

fn is_number(part: &str) -> bool {
    (1..=NUMBER_DIGITS_MAX).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
}

fn compare_numbers(a: &str, b: &str) -> Option<Ordering> {
    let [a, b] =
        [a, b].map(|version| version.split('.').map(|part| is_number(part).then(|| part.parse().ok())?));
    let [a, b]: [Option<Vec<u32>>; 2] = [a.collect(), b.collect()];
    let (mut a, mut b) = (a?, b?);
    let len = a.len().max(b.len());
    a.resize(len, 0);
    b.resize(len, 0);
    Some(a.cmp(&b))
}

/// Numbers are compared as such and stand before texts; what is longer stands behind what it begins with.
fn compare_tails(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.split('.'), b.split('.'));
    loop {
        let order = match (a.next(), b.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(a), Some(b)) => match (is_number(a), is_number(b)) {
                (true, true) => a.parse::<u32>().ok().cmp(&b.parse().ok()),
                (true, false) => Ordering::Less,
                (false, true) => Ordering::Greater,
                (false, false) => a.cmp(b),
            },
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}
