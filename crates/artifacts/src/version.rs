//! Versions, and which of two is the newer one.
//!
//! Versions of builds are not always semantic versions: `2024.04`, `v1.2`, `1.0~rc1`, what `git describe` prints.
//! The crates for such versions (`versions` 8.0, `version-compare` 0.2) were tried: both answer in circles for some
//! (`0` < `0~0` < `0rc1` < `0`), which a sort may not be given. So versions are compared here piece by piece, each
//! piece by its rank, then by its value; such an order has no circles. Where two semantic versions differ in the
//! order of their specification (2.0.0, 11), they do so here too, except that numbers in words count as numbers
//! (`rc2` < `rc10`) and that hyphens inside of a pre-release begin another one.

use std::cmp::Ordering;
use std::iter;

use crate::limits::NAME_BYTES_MAX;
use crate::name::name_type;

/// Words that say that a version is not finished, wherever they stand behind a digit.
const UNFINISHED: [&str; 7] = ["alpha", "beta", "dev", "pre", "preview", "rc", "snapshot"];

name_type! {
    /// A version: a name as [`Name`](crate::Name), ordered as people mean it. `1.9.0` < `1.10.0`, `1.0.0-rc1` <
    /// `1.0.0` < `1.0.0+1` < `1.0.0.1`. Versions that say the same (`1.0` and `v1.0`, `1.01` and `1.1`) are
    /// ordered by their bytes, so that only those are equal that are the same text.
    Version, NAME_BYTES_MAX
}

/// A piece of a version. The order of the variants is that of their ranks.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Piece<'a> {
    /// What follows leads to the version, and comes before it.
    Before,
    /// The end.
    End,
    /// What follows was made from the version, and comes behind it.
    Behind,
    /// The next field.
    Field,
    /// A number, of any length.
    Number(Number<'a>),
    /// A word, in small letters.
    Word(String),
}

/// A number without leading zeros.
#[derive(Debug, PartialEq, Eq)]
struct Number<'a>(&'a str);

impl Ord for Number<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.len().cmp(&other.0.len()).then_with(|| self.0.cmp(other.0))
    }
}

impl PartialOrd for Number<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Takes a version apart.
struct Pieces<'a> {
    rest: &'a str,
    follows_digit: bool,
}

impl<'a> Pieces<'a> {
    fn of(version: &'a str) -> Self {
        // "v1.2" is 1.2.
        let plain =
            version.strip_prefix(['v', 'V']).filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        Self { rest: plain.unwrap_or(version), follows_digit: false }
    }

    fn take(&mut self, len: usize) -> &'a str {
        let (piece, rest) = self.rest.split_at(len);
        self.rest = rest;
        piece
    }

    /// How many of the next bytes are alike.
    fn run(&self, is_in: impl Fn(&u8) -> bool) -> usize {
        self.rest.bytes().take_while(is_in).count()
    }

    fn next(&mut self) -> Piece<'a> {
        let follows_digit = std::mem::take(&mut self.follows_digit);
        match self.rest.bytes().next() {
            None => Piece::End,
            Some(b'0'..=b'9') => {
                let digits = self.take(self.run(u8::is_ascii_digit));
                self.follows_digit = true;
                Piece::Number(Number(digits.trim_start_matches('0')))
            }
            Some(b'-') if is_described(&self.rest[1..]) => {
                self.take(1);
                Piece::Behind
            }
            Some(b'-' | b'~') => {
                self.take(1);
                Piece::Before
            }
            Some(b'+') => {
                self.take(1);
                Piece::Behind
            }
            Some(byte) if byte.is_ascii_alphabetic() => {
                let word = self.rest[..self.run(u8::is_ascii_alphabetic)].to_ascii_lowercase();
                if follows_digit && UNFINISHED.contains(&word.as_str()) {
                    // As if a hyphen stood before it; the word is the next piece.
                    return Piece::Before;
                }
                self.take(word.len());
                Piece::Word(word)
            }
            Some(_) => {
                self.take(1);
                Piece::Field
            }
        }
    }
}

/// Whether what follows a hyphen is a count of commits and a commit, as `git describe` appends them.
fn is_described(rest: &str) -> bool {
    let Some((count, commit)) = rest.split_once("-g") else { return false };
    let hex = commit.bytes().take_while(u8::is_ascii_hexdigit).count();
    !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit()) && hex >= 4
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let (mut left, mut right) = (Pieces::of(self.as_str()), Pieces::of(other.as_str()));
        iter::from_fn(|| {
            let (left, right) = (left.next(), right.next());
            let is_end = left == Piece::End && right == Piece::End;
            (!is_end).then(|| left.cmp(&right))
        })
        .find(|order| order.is_ne())
        .unwrap_or_else(|| self.as_str().cmp(other.as_str()))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn versions_are_ordered_as_people_mean_it() {
        let rows = [
            &["0.1.0", "0.2.0", "0.10.0", "1.0.0-dev", "1.0.0", "1.0.1", "1.9.0", "1.10.0", "2.0.0"][..],
            &["1.0.0-1", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2"],
            &["1.0.0-beta.11", "1.0.0-rc1", "1.0.0-rc2", "1.0.0-rc10", "1.0.0", "1.0.0+1", "1.0.0.1"],
            &["1.0~rc1", "1.0", "1.0+git9", "1.0+git10", "1.0.0"],
            &["1.0rc1", "1.0rc10", "1.0", "1.0a", "1.0b", "1.1"],
            &["v1.2-rc1", "v1.2", "v1.2-1-gabcdef0", "v1.2-14-g0123456", "v1.3", "v1.10"],
            &["2023.12", "2024.04", "2024.10", "20240101", "20250101"],
            &["kirkstone-4.0.9", "kirkstone-4.0.10", "kirkstone", "scarthgap-5.0.1", "scarthgap"],
            &["release9", "release10"],
            &["0.9", "v1.0", "1.1"],
            &["9999999999999999999998", "9999999999999999999999", "10000000000000000000000"],
        ];
        for row in rows {
            for pair in row.windows(2) {
                assert!(version(pair[0]) < version(pair[1]), "{} < {}", pair[0], pair[1]);
                assert!(version(pair[1]) > version(pair[0]), "{} > {}", pair[1], pair[0]);
            }
        }
        // The same to people, and yet two folders.
        assert_ne!(version("1.0").cmp(&version("v1.0")), Ordering::Equal);
        assert_ne!(version("1.01").cmp(&version("1.1")), Ordering::Equal);
        assert_eq!(version("1.0-rc1").cmp(&version("1.0-rc1")), Ordering::Equal);
    }

    fn any_version() -> impl Strategy<Value = String> {
        let piece = proptest::sample::select(vec![
            "0", "00", "1", "01", "2", "10", "a", "b", "rc", "RC", "rc1", "rc10", "dev", "g", "gabcd", ".",
            "-", "+", "~", "_", "v", "-5-gabcd",
        ]);
        proptest::collection::vec(piece, 1..7)
            .prop_map(|pieces| pieces.concat())
            .prop_filter("a version", |text| text.parse::<Version>().is_ok())
    }

    /// Identifiers that semantic versions and ours take for the same: all digits, or no digits.
    fn semantic() -> impl Strategy<Value = String> {
        let field = "(0|[1-9][0-9]{0,2})";
        let identifier = "(0|[1-9][0-9]{0,2}|[a-z]{1,4})";
        proptest::string::string_regex(&format!(
            r"{field}\.{field}\.{field}(-{identifier}(\.{identifier}){{0,2}})?"
        ))
        .unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn the_order_has_no_circles(a in any_version(), b in any_version(), c in any_version()) {
            let (a, b, c) = (version(&a), version(&b), version(&c));
            prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            prop_assert_eq!(a.cmp(&b).is_eq(), a == b);
            if a < b && b < c {
                prop_assert!(a < c, "{} < {} < {}", a, b, c);
            }
        }

        #[test]
        fn semantic_versions_are_ordered_by_their_specification(a in semantic(), b in semantic()) {
            let semantic = |text: &str| semver::Version::parse(text).unwrap();
            prop_assert_eq!(version(&a).cmp(&version(&b)), semantic(&a).cmp_precedence(&semantic(&b)));
        }
    }
}
