//! Pages: which of them are needed, and what they tell.

use std::ops::Range;
use std::sync::atomic::Ordering;

use super::copy::WRITTEN;
use super::tell::ToldPrograms;
use super::{Assembly, Payload, Want};
use crate::error::{AssembleError, IndexError};
use crate::index::{PAGE_DIGEST_BYTES, PageInfo, RunInfo};
use crate::page::{self, Listed};
use crate::pieces::{OpenRun, Piece};
use crate::shelf::Shelf;

/// Bytes of missing runs that are looked for at a time: their chunks stand in memory.
const WINDOW_BYTES: u64 = 128 << 20;

impl Assembly<'_> {
    /// The pages of the next part of the payloads that list runs which were not found; nothing once all of
    /// them were handled. What was wanted before must be there.
    pub fn pages(&mut self) -> Vec<Want> {
        let mut wants = Vec::new();
        let mut bytes = 0;
        self.close_window();
        if self.next_page == (0, 0) {
            self.note_repeats();
        }
        while let Some((number, pages)) = self.page_order.get(self.next_page.0) {
            let Some(at) = pages.clone().nth(self.next_page.1) else {
                self.next_page = (self.next_page.0 + 1, 0);
                continue;
            };
            let payload = &self.payloads[*number];
            let page = &payload.index.pages[at];
            let missing = payload.missing_bytes(page.runs.clone());
            if missing > 0 {
                if bytes > 0 && bytes + missing > WINDOW_BYTES {
                    break;
                }
                bytes += missing;
                let len = u64::from(page.len);
                wants.push(Want { payload: *number, offset: page.offset, len, again: false });
                self.window.push((*number, at));
            }
            self.next_page.1 += 1;
        }
        self.window.sort_unstable();
        wants.sort_unstable_by_key(|want| (want.payload, want.offset));
        wants
    }

    /// All of the window before stands in the payloads.
    pub(super) fn close_window(&mut self) {
        for open in self.open_runs.drain(..) {
            self.payloads[open.payload as usize].there[open.run as usize].store(WRITTEN, Ordering::Release);
        }
        self.pieces.clear();
        self.told = ToldPrograms::default();
        self.spool.clear();
        self.window.clear();
        self.round = 0;
    }

    /// Reads the pages that were wanted last.
    ///
    /// # Errors
    /// [`AssembleError::Shelf`], [`AssembleError::PageDigest`], [`AssembleError::Page`].
    pub fn open_pages(&mut self, fetched: &dyn Shelf) -> Result<(), AssembleError> {
        for &(number, page) in &self.window {
            let payload = &self.payloads[number];
            let mut first_chunk = payload.index.pages[page].first_chunk;
            for (run, list) in read_page(payload, number, page, fetched)?.lists {
                if payload.is_missing(run) {
                    self.open_runs.push(OpenRun {
                        payload: number as u32,
                        run: run as u32,
                        page: page as u32,
                        first_chunk,
                        first: self.pieces.len() as u32,
                        count: list.len() as u32,
                        failures: 0,
                        is_program: payload.program_of(payload.index.runs[run].offset).is_some(),
                    });
                    self.pieces.extend(list.iter().map(Piece::new));
                }
                first_chunk += list.len() as u32;
            }
        }
        // They are much of the memory that the window takes.
        self.open_runs.shrink_to_fit();
        self.pieces.shrink_to_fit();
        Ok(())
    }
}

/// Pages in the order in which they are handled: first those that list what stands behind payloads, of which packed files
/// are made. That takes long, and can be done while the rest is told.
pub(super) fn order(payloads: &[Payload<'_>]) -> Vec<(usize, Range<usize>)> {
    let (mut first, mut rest) = (Vec::new(), Vec::new());
    for (number, payload) in payloads.iter().enumerate() {
        let pages = &payload.index.pages;
        let mut at = 0;
        for runs in payload.behind.iter().filter(|runs| !runs.is_empty()) {
            let start = pages.partition_point(|page| page.runs.end <= runs.start).max(at);
            let end = pages.partition_point(|page| page.runs.start < runs.end).max(start);
            rest.push((number, at..start));
            first.push((number, start..end));
            at = end;
        }
        rest.push((number, at..pages.len()));
    }
    first.extend(rest);
    first
}

/// What a page that was fetched tells.
pub(super) struct ReadPage {
    pub(super) row_digest: [u8; PAGE_DIGEST_BYTES],
    /// The runs that it lists, and the chunks of each.
    pub(super) lists: Vec<(usize, Vec<Listed>)>,
}

/// Reads a page that was fetched.
pub(super) fn read_page(
    payload: &Payload<'_>,
    number: usize,
    page: usize,
    fetched: &dyn Shelf,
) -> Result<ReadPage, AssembleError> {
    let index = payload.index;
    let info = &index.pages[page];
    let mut bytes = vec![0; info.len as usize];
    fetched.read(number, info.offset, &mut bytes).map_err(AssembleError::Shelf)?;
    if PageInfo::digest_of(index.hash, &bytes) != info.digest {
        return Err(AssembleError::PageDigest { payload: number, page });
    }
    let runs: Vec<usize> = info.runs.clone().filter(|&run| !index.runs[run].is_zeros()).collect();
    let infos: Vec<RunInfo> = runs.iter().map(|&run| index.runs[run]).collect();
    let wrong = |source| AssembleError::Page { payload: number, page, source };
    let read = page::read(&bytes, &infos, index.cutting.chunk_bytes_max()).map_err(wrong)?;
    if read.runs.iter().map(Vec::len).sum::<usize>() != info.chunks as usize {
        return Err(wrong(IndexError::Invalid("a page has another count of chunks than the index tells")));
    }
    Ok(ReadPage { row_digest: read.row_digest, lists: runs.into_iter().zip(read.runs).collect() })
}

impl Payload<'_> {
    /// Whether a run stands behind the payload's end.
    pub(super) fn is_behind(&self, run: usize) -> bool {
        self.behind.iter().any(|runs| runs.contains(&run))
    }

    /// How many bytes of these runs were not found.
    fn missing_bytes(&self, runs: Range<usize>) -> u64 {
        runs.filter(|&run| self.is_missing(run)).map(|run| u64::from(self.index.runs[run].len)).sum()
    }
}

#[cfg(test)]
mod tests {
    use fluvial_delta::memory::MemoryTarget;
    use fluvial_delta::structure::Extent;

    use crate::assembly::{Assembly, Part};
    use crate::cut::tests::noise;
    use crate::cutting::Cutting;
    use crate::hash::HashKind;
    use crate::index::{RunDigest, Unpacked};
    use crate::write::{Payload, WriteOptions, write};

    #[test]
    fn pages_of_what_packed_files_are_made_of_come_first_and_all_of_them_once() {
        const IMAGE_BYTES: u64 = 500_000;
        const BEHIND_BYTES: u64 = 300_000;
        let bytes = noise((IMAGE_BYTES + BEHIND_BYTES) as usize, 1);
        let files = [
            Extent { offset: 100_000, len: 300_000 },
            Extent { offset: IMAGE_BYTES, len: BEHIND_BYTES - 100_000 },
        ];
        let files = files.into_iter().collect();
        let unpacked = Unpacked {
            files: vec![vec![Extent { offset: 10_000, len: 1000 }]],
            digests: vec![RunDigest([1; 12])],
            lens: vec![BEHIND_BYTES],
            packing: vec![7],
        };
        let payload =
            Payload { name: "", sha256: [0; 32], bytes: &bytes, files: &files, unpacked: Some(&unpacked) };
        let options = WriteOptions { level: 1, cutting: Cutting::Files, hash: HashKind::default() };
        let index = write(payload, options, &mut Vec::new(), &|_| true).unwrap();
        let target = MemoryTarget::new(bytes.len());
        let assembly = Assembly::new(&[Part { index: &index, target: &target }], Vec::new());
        let order: Vec<usize> = assembly.page_order.iter().flat_map(|(_, pages)| pages.clone()).collect();
        let mut all = order.clone();
        all.sort_unstable();
        assert_eq!(all, (0..index.pages.len()).collect::<Vec<_>>());
        let is_behind = |page: &usize| {
            let mut runs = index.pages[*page].runs.clone();
            runs.any(|run| assembly.payloads[0].is_behind(run))
        };
        assert!(order.iter().is_sorted_by_key(|page| !is_behind(page)));
        // What stands between files, and files.
        let behind = assembly.payloads[0].behind.clone();
        assert!(behind.iter().all(|runs| !runs.is_empty()));
        assert!(!is_behind(&order[order.len() - 1]));
    }
}
