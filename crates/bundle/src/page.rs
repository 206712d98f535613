//! Pages: the chunks of a few runs. They are fetched for runs only that the device lacks.

use fluvial_delta::wire::{WireReader, WireWriter};

use crate::cut::Chunk;
use crate::error::IndexError;
use crate::index::{PAGE_DIGEST_BYTES, RunInfo, unpack};
use crate::limits::{CHUNK_BYTES_MAX, PAGE_BYTES_MAX, RUN_BYTES_MAX, RUN_CHUNKS_MAX};

const PACK_LEVEL: i32 = 19;
/// Runs of a page that is read for fuzzing at most.
const PROBED_RUNS_MAX: usize = 16;

/// A chunk, and what it is packed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Listed {
    /// Key and check of a run's only chunk are zero: the run's digest tells more.
    pub(crate) chunk: Chunk,
    pub(crate) packed_len: u32,
}

/// What a page tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Page {
    /// The digest of the page's row: the digests of its packed chunks, 12 bytes each.
    pub(crate) row_digest: [u8; PAGE_DIGEST_BYTES],
    /// The chunks of each run.
    pub(crate) runs: Vec<Vec<Listed>>,
}

/// Writes a page.
pub(crate) fn write(page: &Page) -> Result<Vec<u8>, IndexError> {
    let runs = &page.runs;
    // All of a run's only chunk is known from the run.
    let several = || runs.iter().filter(|run| run.len() > 1).flatten();
    let mut writer = WireWriter::default();
    for run in runs {
        writer.number(run.len() as u64);
    }
    several().for_each(|one| writer.number(u64::from(one.chunk.len)));
    several().for_each(|one| writer.number(u64::from(one.packed_len)));
    several().for_each(|one| writer.raw(&one.chunk.key.to_le_bytes()));
    several().for_each(|one| writer.raw(&one.chunk.check.to_le_bytes()));
    writer.raw(&page.row_digest);
    let packed =
        zstd::bulk::compress(&writer.bytes, PACK_LEVEL).map_err(|_| IndexError::Packed("Zstandard"))?;
    Ok([&(writer.bytes.len() as u32).to_le_bytes()[..], &packed].concat())
}

/// Reads the page of these runs, whose digest was checked; none of them is zeros. A chunk of several has
/// `chunk_bytes_max` bytes at most.
pub(crate) fn read(bytes: &[u8], runs: &[RunInfo], chunk_bytes_max: usize) -> Result<Page, IndexError> {
    let (&len, packed) = bytes.split_first_chunk().ok_or(IndexError::NotAnIndex)?;
    let len = u32::from_le_bytes(len) as usize;
    if len > PAGE_BYTES_MAX {
        return Err(IndexError::TooLong { have: len as u64, limit: PAGE_BYTES_MAX as u64 });
    }
    read_body(&unpack(packed, len)?, runs, chunk_bytes_max)
}

fn read_body(body: &[u8], runs: &[RunInfo], chunk_bytes_max: usize) -> Result<Page, IndexError> {
    let mut reader = WireReader::new(body);
    let empty = Listed { chunk: Chunk { len: 0, key: 0, check: 0 }, packed_len: 0 };
    let mut lists = Vec::with_capacity(runs.len());
    for run in runs {
        // A chunk takes two bytes at least of what is left: the memory is bounded by the page.
        let count = reader.count("chunks of a run", RUN_CHUNKS_MAX)?;
        lists.push(vec![empty; count]);
        if let Some([only]) = lists.last_mut().map(Vec::as_mut_slice) {
            (only.chunk.len, only.packed_len) = (run.len, run.packed_len);
        }
    }
    let mut several = |each: &mut dyn FnMut(&mut Listed, &mut WireReader<'_>) -> Result<(), IndexError>| {
        let mut chunks = lists.iter_mut().filter(|list| list.len() > 1).flatten();
        chunks.try_for_each(|one| each(one, &mut reader))
    };
    several(&mut |one, reader| {
        one.chunk.len = reader.limited("a chunk's length", chunk_bytes_max as u64)? as u32;
        Ok(())
    })?;
    several(&mut |one, reader| {
        one.packed_len = reader.limited("a chunk's packed length", u64::from(one.chunk.len))? as u32;
        Ok(())
    })?;
    several(&mut |one, reader| {
        one.chunk.key = word(reader)?;
        Ok(())
    })?;
    several(&mut |one, reader| {
        one.chunk.check = word(reader)?;
        Ok(())
    })?;
    let mut row_digest = [0; PAGE_DIGEST_BYTES];
    row_digest.copy_from_slice(reader.raw(PAGE_DIGEST_BYTES)?);
    reader.finish()?;
    for (run, list) in runs.iter().zip(&lists) {
        let len: u64 = list.iter().map(|one| u64::from(one.chunk.len)).sum();
        let packed_len: u64 = list.iter().map(|one| u64::from(one.packed_len)).sum();
        let is_empty = list.iter().any(|one| one.chunk.len == 0 || one.packed_len == 0);
        if is_empty || (len, packed_len) != (u64::from(run.len), u64::from(run.packed_len)) {
            return Err(IndexError::Invalid("a run's chunks are not as long as the run"));
        }
    }
    Ok(Page { row_digest, runs: lists })
}

/// Reads any bytes as a page of any runs, for fuzzing. The first byte says how many runs there are; two numbers
/// for each, its length and packed length; the page's body (string).
///
/// # Panics
/// If what was read is not read again as it was written.
pub fn probe(bytes: &[u8]) {
    let mut reader = WireReader::new(bytes);
    let Ok(&[count]) = reader.raw(1) else { return };
    let mut runs = Vec::new();
    for _ in 0..usize::from(count).min(PROBED_RUNS_MAX) {
        let limit = RUN_BYTES_MAX as u64;
        let (Ok(len), Ok(packed_len)) = (reader.limited("len", limit), reader.limited("packed", limit))
        else {
            return;
        };
        runs.push(RunInfo {
            offset: 0,
            len: len as u32,
            digest: crate::index::RunDigest([0; 12]),
            packed_offset: 0,
            packed_len: packed_len as u32,
        });
    }
    let Ok(body) = reader.string("a page", PAGE_BYTES_MAX) else { return };
    if let Ok(page) = read_body(body, &runs, CHUNK_BYTES_MAX) {
        let again = write(&page).and_then(|page| read(&page, &runs, CHUNK_BYTES_MAX));
        assert_eq!(again.ok(), Some(page), "what was written is read again");
    }
}

fn word(reader: &mut WireReader<'_>) -> Result<u32, IndexError> {
    let bytes = reader.raw(4)?.iter().rev();
    Ok(bytes.fold(0, |word, &byte| word << 8 | u32::from(byte)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::index::RunDigest;

    fn listed() -> Listed {
        Listed { chunk: Chunk { len: 9, key: 0, check: 0 }, packed_len: 3 }
    }

    fn info(list: &[Listed]) -> RunInfo {
        RunInfo {
            offset: 0,
            len: list.iter().map(|one| one.chunk.len).sum(),
            digest: RunDigest([0; 12]),
            packed_offset: 0,
            packed_len: list.iter().map(|one| one.packed_len).sum(),
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            lists in proptest::collection::vec(
                proptest::collection::vec((1_u32..4097, any::<u32>(), any::<u32>()), 1..50), 1..5)
        ) {
            let listed = |&(len, key, check): &(u32, u32, u32)| Listed {
                chunk: Chunk { len, key, check },
                packed_len: 1 + len / 2,
            };
            let mut lists: Vec<Vec<Listed>> = lists.iter().map(|list| list.iter().map(listed).collect()).collect();
            for list in &mut lists {
                if let [only] = list.as_mut_slice() {
                    (only.chunk.key, only.chunk.check) = (0, 0);
                }
            }
            let runs: Vec<RunInfo> = lists.iter().map(|list| info(list)).collect();
            let page = Page { row_digest: [5; 12], runs: lists };
            prop_assert_eq!(read(&write(&page).unwrap(), &runs, 4096).unwrap(), page);
        }

        #[test]
        fn any_page_is_read_without_panic(body: Vec<u8>, bytes: Vec<u8>) {
            let one = listed();
            let runs = [info(&[one, one]), info(&[one])];
            let _ = read_body(&body, &runs, CHUNK_BYTES_MAX);
            let _ = read(&bytes, &runs, CHUNK_BYTES_MAX);
        }
    }

    #[test]
    fn chunks_that_are_not_the_run_are_refused() {
        let one = listed();
        let page = write(&Page { row_digest: [5; 12], runs: vec![vec![one, one]] }).unwrap();
        assert_eq!(read(&page, &[info(&[one, one])], 9).unwrap().runs, [[one, one]]);
        assert!(matches!(read(&page, &[info(&[one])], 9), Err(IndexError::Invalid(_))));
        // Chunks of another way of cutting are too long.
        assert!(matches!(read(&page, &[info(&[one, one])], 8), Err(IndexError::Wire(_))));
    }
}
