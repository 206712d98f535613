//! Where files stand in a stream.

use super::Extent;

/// Files of a stream, each in one extent or several, in the order of its content. Zeros that stand nowhere are
/// extents, too ([`Extent::hole`]). Memory: 16 bytes for each extent and 4 for each file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files {
    /// Those of all files, file behind file.
    extents: Vec<Extent>,
    /// Where those of each file end.
    ends: Vec<u32>,
}

impl Files {
    /// No files.
    #[must_use]
    pub const fn new() -> Self {
        Self { extents: Vec::new(), ends: Vec::new() }
    }

    /// Takes one file more, of less than 2^32 extents.
    pub fn push(&mut self, extents: impl IntoIterator<Item = Extent>) {
        self.extents.extend(extents);
        self.ends.push(self.extents.len() as u32);
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The extents of each file.
    pub fn iter(&self) -> impl Iterator<Item = &[Extent]> + Clone {
        let mut from = 0;
        self.ends.iter().map(move |&end| {
            let file = &self.extents[from..end as usize];
            from = end as usize;
            file
        })
    }

    /// Where all files together stand: their extents without holes.
    pub fn stored(&self) -> impl Iterator<Item = Extent> + '_ {
        self.extents.iter().copied().filter(|extent| !extent.is_hole())
    }
}

impl FromIterator<Extent> for Files {
    /// Files of one extent each.
    fn from_iter<I: IntoIterator<Item = Extent>>(extents: I) -> Self {
        let mut files = Self::new();
        extents.into_iter().for_each(|extent| files.push([extent]));
        files
    }
}

impl<'a> FromIterator<&'a [Extent]> for Files {
    fn from_iter<I: IntoIterator<Item = &'a [Extent]>>(list: I) -> Self {
        let mut files = Self::new();
        list.into_iter().for_each(|file| files.push(file.iter().copied()));
        files
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_have_their_extents() {
        let extent = |offset| Extent { offset, len: 10 };
        let lists = [vec![extent(0)], vec![extent(30), Extent::hole(5), extent(10)], Vec::new()];
        let files: Files = lists.iter().map(Vec::as_slice).collect();
        assert_eq!((files.len(), files.is_empty()), (3, false));
        assert!(files.iter().eq(lists.iter().map(Vec::as_slice)));
        assert_eq!(files.stored().map(|one| one.offset).collect::<Vec<_>>(), [0, 30, 10]);
        let short: Files = [extent(0), extent(30)].into_iter().collect();
        assert_eq!(short.iter().map(<[Extent]>::len).collect::<Vec<_>>(), [1, 1]);
    }
}
