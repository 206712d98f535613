//! Tells whether a frame was made in jobs that see little of each other.

use super::block::Repeats;
use super::error::AnalyzeError;
use super::events::{Event, Events};

/// How far back each block of a stream's first frame reaches.
#[derive(Debug, Default)]
pub struct Reaches {
    /// Start of each block, and the earliest position that it refers to.
    blocks: Vec<(u32, u32)>,
    /// Content of the frame.
    len: u32,
}

impl Reaches {
    /// Goes through the first frame.
    pub fn of(packed: &[u8]) -> Result<Self, AnalyzeError> {
        let mut reaches = Self::default();
        let mut repeats = Repeats::default();
        let mut events = Events::new(packed);
        while let Some(event) = events.next()? {
            let Event::Block(block) = event else { continue };
            let mut at = reaches.len;
            let mut earliest = at;
            for &sequence in block.parsed.iter().flat_map(|parsed| &parsed.sequences) {
                let distance = repeats.distance(sequence);
                repeats.push(sequence, distance);
                earliest = earliest.min((at + sequence.literals).saturating_sub(distance));
                at += sequence.literals + sequence.length;
            }
            reaches.blocks.push((reaches.len, earliest));
            reaches.len += block.head.len;
            if block.head.last {
                break;
            }
        }
        Ok(reaches)
    }

    /// Content of the frame in bytes.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether no job of `job` bytes refers to more than `overlap` bytes before it, and a block
    /// begins with each job.
    pub fn are_jobs(&self, job: u32, overlap: u32) -> bool {
        job > 0
            && self.len > job
            && self
                .blocks
                .iter()
                .all(|&(start, earliest)| earliest >= (start - start % job).saturating_sub(overlap))
            && (1..=(self.len - 1) / job)
                .all(|index| self.blocks.binary_search_by_key(&(index * job), |&(start, _)| start).is_ok())
    }
}
