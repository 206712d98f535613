//! What a program has taught, and where.

use std::io;
use std::ops::Range;

use fluvial_delta::predict::Lore;

use crate::spool::{StrandReader, StrandWriter};

/// What is kept of a program from one try to the next.
#[derive(Default)]
pub(crate) struct Taught {
    pub(crate) lore: Option<Lore>,
    /// Which bytes of the program have taught; in order.
    pub(crate) ranges: Vec<Range<u64>>,
}

impl Taught {
    /// Writes it, unless there is nothing.
    pub(crate) fn write(&self, strand: &mut StrandWriter<'_>) {
        let Some(lore) = &self.lore else { return };
        lore.write(&mut |bytes| strand.put(bytes));
        for range in &self.ranges {
            strand.put(&range.start.to_le_bytes());
            strand.put(&range.end.to_le_bytes());
        }
    }

    /// Reads what a program of so many bytes has taught.
    ///
    /// # Errors
    /// What the storage reports.
    pub(crate) fn read(strand: &mut StrandReader<'_>, program_bytes: u64) -> io::Result<Self> {
        if strand.is_at_end() {
            return Ok(Self::default());
        }
        let lore = Some(Lore::read(program_bytes, &mut |bytes| strand.fill(bytes))?);
        let mut ranges = Vec::new();
        while !strand.is_at_end() {
            let (mut start, mut end) = ([0; 8], [0; 8]);
            strand.fill(&mut start)?;
            strand.fill(&mut end)?;
            ranges.push(u64::from_le_bytes(start)..u64::from_le_bytes(end));
        }
        Ok(Self { lore, ranges })
    }
}

#[cfg(test)]
mod tests {
    use fluvial_delta::predict::Predictor;
    use fluvial_delta::scratch::MemoryScratch;
    use fluvial_delta::structure::Extent;

    use super::*;
    use crate::spool::Spool;

    #[test]
    fn what_was_taught_comes_back() {
        let spool = Spool::new(&MemoryScratch);
        let program = [Extent { offset: 0, len: 1 << 20 }];
        let old: Vec<u8> = Vec::new();
        let (lore, _) = Predictor::new(&[][..], &old, &[][..], &program).unwrap().into_lore();
        let ranges = vec![0..100, 7000..1 << 20];
        let mut writer = spool.writer();
        Taught { lore: Some(lore), ranges: ranges.clone() }.write(&mut writer);
        let strand = writer.finish().unwrap();
        let taught = Taught::read(&mut spool.reader(&strand), 1 << 20).unwrap();
        assert_eq!(taught.ranges, ranges);
        assert!(taught.lore.is_some());
        assert!(Taught::read(&mut spool.reader(&strand), 1 << 24).is_err(), "of a longer program");

        let mut writer = spool.writer();
        Taught::default().write(&mut writer);
        let strand = writer.finish().unwrap();
        assert!(Taught::read(&mut spool.reader(&strand), 1 << 20).unwrap().lore.is_none());
    }
}
