//! Pages: which of them are needed, and what they tell.

use super::{Assembly, Payload, Want};
use crate::cut::Chunk;
use crate::error::AssembleError;
use crate::index::{PAGE_RUNS, PageInfo, RunInfo};
use crate::page::{self, Listed};
use crate::pieces::{NOWHERE, OpenRun, Piece};
use crate::shelf::Shelf;

impl Assembly<'_> {
    /// The pages of the indexes that list runs which were not found.
    pub fn pages(&self) -> Vec<Want> {
        let mut wants = Vec::new();
        for (number, payload) in self.payloads.iter().enumerate() {
            for (page, _) in payload.missing_pages() {
                let offset = payload.index.pages_offset() + page.offset;
                wants.push(Want { payload: number, offset, len: u64::from(page.len), again: false });
            }
        }
        wants
    }

    /// Reads the pages.
    ///
    /// # Errors
    /// [`AssembleError::Shelf`], [`AssembleError::PageDigest`], [`AssembleError::Page`].
    pub fn open_pages(&mut self, fetched: &dyn Shelf) -> Result<(), AssembleError> {
        for (number, payload) in self.payloads.iter().enumerate() {
            let index = payload.index;
            // Runs of one chunk are in no page.
            for run in (0..index.runs.len()).filter(|&run| !index.runs[run].is_listed) {
                if payload.run_places[run] == NOWHERE {
                    let info = index.runs[run];
                    let chunk = Chunk { len: info.len as u16, key: 0, check: 0 };
                    let listed = Listed { chunk, packed_len: info.packed_len as u16 };
                    open_run(&mut self.open_runs, &mut self.pieces, payload, (number, run), &[listed]);
                }
            }
            for (page_number, (page, runs)) in payload.missing_pages().enumerate() {
                let mut bytes = vec![0; page.len as usize];
                let offset = index.pages_offset() + page.offset;
                fetched.read(number, offset, &mut bytes).map_err(AssembleError::Shelf)?;
                if PageInfo::digest_of(&bytes) != page.digest {
                    return Err(AssembleError::PageDigest { payload: number, page: page_number });
                }
                let infos: Vec<RunInfo> = runs.iter().map(|&run| index.runs[run]).collect();
                let lists = page::read(&bytes, &infos).map_err(|source| AssembleError::Page {
                    payload: number,
                    page: page_number,
                    source,
                })?;
                for (&run, list) in runs.iter().zip(&lists) {
                    if payload.run_places[run] == NOWHERE {
                        open_run(&mut self.open_runs, &mut self.pieces, payload, (number, run), list);
                    }
                }
            }
        }
        self.open_runs.sort_unstable_by_key(|open| (open.payload, open.run));
        Ok(())
    }
}

impl Payload<'_> {
    /// Pages that list a run which is not there, each with all runs that it lists.
    fn missing_pages(&self) -> impl Iterator<Item = (PageInfo, Vec<usize>)> + '_ {
        let listed: Vec<usize> = self.index.listed().collect();
        let pages: Vec<_> = self
            .index
            .pages
            .iter()
            .zip(listed.chunks(PAGE_RUNS))
            .filter(|(_, runs)| runs.iter().any(|&run| self.run_places[run] == NOWHERE))
            .map(|(page, runs)| (*page, runs.to_vec()))
            .collect();
        pages.into_iter()
    }
}

fn open_run(
    open_runs: &mut Vec<OpenRun>,
    pieces: &mut Vec<Piece>,
    payload: &Payload<'_>,
    (number, run): (usize, usize),
    list: &[Listed],
) {
    open_runs.push(OpenRun {
        payload: number as u32,
        run: run as u32,
        first: pieces.len() as u32,
        count: list.len() as u32,
        failures: 0,
        is_program: payload.program_of(payload.index.runs[run].offset).is_some(),
    });
    pieces.extend(list.iter().map(Piece::new));
}
