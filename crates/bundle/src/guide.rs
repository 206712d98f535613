//! What is like a stream of which everything is known need not be cut.
//!
//! Most files of a system are the same in the next release. Cutting one gives the runs that the release's index
//! tells, so they are compared instead: a digest of each, which is needed in any case, and neither a rolling hash nor a
//! look into programs.

use std::io;
use std::ops::Range;

use fluvial_delta::structure::ReadAt;

use crate::cut::is_zeros;
use crate::hash::HashKind;
use crate::index::{Index, RunDigest, RunInfo};
use crate::survey::Offer;

/// Streams of the same length that are compared beyond their first run, at most: the time is bounded, whatever is
/// published.
const TRIES_MAX: usize = 4;

/// So much of a stream is read at a time: runs are short, and asking for each takes longer than comparing it.
const AHEAD_BYTES: u64 = 128 << 10;

/// Streams whose runs are known, by their length.
#[derive(Debug, Clone, Default)]
pub struct Guide<'a> {
    /// Sorted by length.
    streams: Vec<Known<'a>>,
}

/// A stream whose runs are known.
#[derive(Debug, Clone, Copy)]
struct Known<'a> {
    len: u64,
    runs: &'a [RunInfo],
    is_program: bool,
}

impl<'a> Guide<'a> {
    /// Knows the files of payloads that are cut in the same way, and with the same hash, as what is to be looked at.
    /// Memory: 40 bytes for each file.
    pub fn new(indexes: impl IntoIterator<Item = &'a Index>) -> Self {
        let mut streams = Vec::new();
        for index in indexes {
            let mut first = 0;
            // What stands between files comes first, and is no program.
            let programs = std::iter::once(&false).chain(&index.programs);
            for (stream, &is_program) in index.streams().into_iter().zip(programs) {
                let count = index.runs[first..].partition_point(|run| run.offset < stream.end());
                let runs = &index.runs[first..first + count];
                first += count;
                if !runs.is_empty() {
                    streams.push(Known { len: stream.len, runs, is_program });
                }
            }
        }
        streams.sort_by_key(|stream| stream.len);
        Self { streams }
    }

    /// Whether a stream is the same as one that is known. Nothing is read where none is as long.
    ///
    /// # Errors
    /// Whatever the medium reports.
    pub fn knows(&self, stream: &dyn ReadAt, hash: HashKind) -> io::Result<bool> {
        Ok(self.runs_of(stream, &mut Vec::new(), hash, &|_, _| {})?.is_some())
    }

    fn like(&self, len: u64) -> &[Known<'a>] {
        let first = self.streams.partition_point(|stream| stream.len < len);
        let count = self.streams[first..].partition_point(|stream| stream.len == len);
        &self.streams[first..first + count]
    }

    /// The runs of a stream, with places in it, and whether it is a program, where it is the same as one that is
    /// known; `None` else. `offer` hears of each run that is the same, also where a later one is not. The stream is read to
    /// `window`.
    ///
    /// # Errors
    /// Whatever the medium reports.
    pub(crate) fn runs_of(
        &self,
        stream: &dyn ReadAt,
        window: &mut Vec<u8>,
        hash: HashKind,
        offer: &Offer<'_>,
    ) -> io::Result<Option<(Vec<RunInfo>, bool)>> {
        let mut ahead = Ahead { stream, bytes: window, range: 0..0 };
        let mut start = Start { len: 0, digest: None };
        let mut tries = 0;
        for known in self.like(stream.len()) {
            if start.len != known.runs[0].len {
                start = Start::of(ahead.get(0, known.runs[0].len)?, hash);
            }
            if !start.is(&known.runs[0]) {
                continue;
            }
            if let Some(runs) = compare(&mut ahead, known.runs, hash, offer)? {
                return Ok(Some((runs, known.is_program)));
            }
            tries += 1;
            if tries == TRIES_MAX {
                break;
            }
        }
        Ok(None)
    }
}

/// Bytes of a stream, which are read several runs at a time.
struct Ahead<'a> {
    stream: &'a dyn ReadAt,
    /// Never made shorter: making it longer takes time.
    bytes: &'a mut Vec<u8>,
    /// Which bytes of the stream stand at its start.
    range: Range<u64>,
}

impl Ahead<'_> {
    fn get(&mut self, offset: u64, len: u32) -> io::Result<&[u8]> {
        let end = offset + u64::from(len);
        if offset < self.range.start || self.range.end < end {
            let ahead = offset..(offset + AHEAD_BYTES).min(self.stream.len()).max(end);
            let len = (ahead.end - ahead.start) as usize;
            self.bytes.resize(self.bytes.len().max(len), 0);
            self.range = 0..0;
            self.stream.read_at(offset, &mut self.bytes[..len])?;
            self.range = ahead;
        }
        let at = (offset - self.range.start) as usize;
        Ok(&self.bytes[at..at + len as usize])
    }
}

/// What a stream begins with.
#[derive(Clone, Copy)]
struct Start {
    len: u32,
    /// None of zeros.
    digest: Option<RunDigest>,
}

impl Start {
    fn of(bytes: &[u8], hash: HashKind) -> Self {
        Self { len: bytes.len() as u32, digest: (!is_zeros(bytes)).then(|| RunDigest::of(hash, bytes)) }
    }

    fn is(&self, run: &RunInfo) -> bool {
        self.len == run.len && self.digest == (!run.is_zeros()).then_some(run.digest)
    }
}

/// The runs of a stream, of which the first was compared, if they are those that are known.
fn compare(
    ahead: &mut Ahead<'_>,
    known: &[RunInfo],
    hash: HashKind,
    offer: &Offer<'_>,
) -> io::Result<Option<Vec<RunInfo>>> {
    let mut runs = Vec::with_capacity(known.len());
    let mut offset = 0;
    for run in known {
        let bytes = ahead.get(offset, run.len)?;
        if offset > 0 && !Start::of(bytes, hash).is(run) {
            return Ok(None);
        }
        let packed_len = if run.is_zeros() { 0 } else { run.len };
        let run = RunInfo { offset, packed_offset: 0, packed_len, ..*run };
        offer(&run, bytes);
        offset += u64::from(run.len);
        runs.push(run);
    }
    Ok(Some(runs))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::cut::tests::noise;
    use crate::cutting::Cutting;
    use crate::survey::{Seen, Survey};
    use crate::write::{Payload, index_of};
    use fluvial_delta::structure::{Extent, Files};

    fn index(files: &[&Vec<u8>]) -> Index {
        let mut bytes = vec![9; 100];
        let mut extents = Vec::new();
        for file in files {
            extents.push(Extent { offset: bytes.len() as u64, len: file.len() as u64 });
            bytes.extend_from_slice(file);
        }
        let files: Files = extents.into_iter().collect();
        let payload = Payload { name: "", sha256: [0; 32], bytes: &bytes, files: &files, unpacked: None };
        index_of(payload, &Survey::plain(Cutting::Files, HashKind::default()), &|_, _| {}, &|_| true)
            .unwrap()
            .0
    }

    /// The runs of a stream, and which places of it were offered.
    fn seen(stream: &[u8], guide: &Guide<'_>) -> (Vec<RunInfo>, Vec<u64>) {
        let stream = stream.to_vec();
        let offered = Mutex::new(Vec::new());
        let offer = |run: &RunInfo, bytes: &[u8]| {
            assert_eq!(bytes, &stream[run.offset as usize..][..run.len as usize]);
            offered.lock().unwrap().push(run.offset);
        };
        let survey = Survey::guided(Cutting::Files, HashKind::default(), guide.clone());
        let mut runs = Vec::new();
        let hear = |_, seen: Seen| {
            runs = seen.runs;
            Ok::<(), ()>(())
        };
        survey.see(&[&stream], &offer, hear).unwrap();
        (runs, offered.into_inner().unwrap())
    }

    #[test]
    fn a_stream_is_the_same_with_and_without_a_guide() {
        let mut holed = noise(300_000, 1);
        holed[100_000..200_000].fill(0);
        let known = [noise(300_000, 2), holed, noise(20, 3), vec![0; 300_000]];
        let mut changed = known[0].clone();
        changed[250_000] ^= 1;
        let mut changed_soon = known[1].clone();
        changed_soon[0] ^= 1;
        let index = index(&known.iter().collect::<Vec<_>>());
        let guide = Guide::new([&index]);
        let others = [changed, changed_soon, noise(300_001, 2), noise(20, 4), Vec::new()];
        for stream in known.iter().chain(&others) {
            let (runs, offered) = seen(stream, &guide);
            let (plain, all) = seen(stream, &Guide::default());
            assert_eq!(runs, plain);
            assert!(all.iter().all(|place| offered.contains(place)));
        }
        let hash = HashKind::default();
        let is_known = |stream: &Vec<u8>| guide.knows(stream, hash).unwrap();
        assert!(known.iter().all(is_known));
        assert!(!others.iter().any(is_known));
    }

    #[test]
    fn many_streams_of_one_length_are_not_all_compared() {
        let like = noise(300_000, 1);
        let files: Vec<Vec<u8>> = (0..20)
            .map(|last| {
                let mut file = like.clone();
                file[299_999] = last;
                file
            })
            .collect();
        let index = index(&files.iter().collect::<Vec<_>>());
        let (runs, offered) = seen(&like, &Guide::new([&index]));
        assert_eq!(runs, seen(&like, &Guide::default()).0);
        assert!(offered.len() <= (TRIES_MAX + 1) * runs.len(), "{}", offered.len());
    }
}
