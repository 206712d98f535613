//! Payloads made of old streams and of what is fetched.

use fluvial_bundle::{Assembly, Part, Tally, Want};
use fluvial_delta::scratch::ScratchStore;
use fluvial_delta::structure::ReadAt;

use crate::error::FetchError;
use crate::files::ChunkFile;
use crate::observer::{FetchObserver, FetchPhase};
use crate::site::Site;
use crate::store::Store;

/// Makes `parts` of old `streams` and of what `site` has in `files`, one for each part, in their order; the
/// `store` was opened for their indexes. Each payload's SHA-256 is then left to be checked. What is needed once more
/// goes to `scratch` instead of memory ([`Assembly::with_scratch`]).
///
/// # Errors
/// [`FetchError`]; what has come stays in the store.
pub fn assemble<'a>(
    parts: &[Part<'a>],
    streams: Vec<&'a dyn ReadAt>,
    scratch: &'a dyn ScratchStore,
    site: &Site,
    files: &[ChunkFile],
    store: &Store,
    observer: &dyn FetchObserver,
) -> Result<Tally, FetchError> {
    let mut assembly = Assembly::new(parts, streams).with_scratch(scratch);
    let advance = |bytes| observer.advance(bytes);
    observer.begin(FetchPhase::Look, assembly.old_bytes());
    assembly.find_runs(&advance)?;
    complete(&mut assembly, site, files, store, observer)?;
    Ok(assembly.tally())
}

/// Fetches what is missing of payloads in which whole runs were looked for, and completes them. Each payload's
/// SHA-256 is then left to be checked.
///
/// # Errors
/// [`FetchError`]; what has come stays in the store.
pub fn complete(
    assembly: &mut Assembly<'_>,
    site: &Site,
    files: &[ChunkFile],
    store: &Store,
    observer: &dyn FetchObserver,
) -> Result<(), FetchError> {
    let advance = |bytes| observer.advance(bytes);
    let fetch = |wants: &[Want]| {
        observer.begin(FetchPhase::Fetch, wants.iter().map(|want| want.len).sum());
        site.fetch(files, wants, store, observer)
    };
    let mut is_told = false;
    let mut tell = |assembly: &mut Assembly<'_>| -> Result<(), FetchError> {
        if is_told {
            return Ok(());
        }
        assembly.copy_made_repeats(&advance)?;
        if assembly.is_behind_made()? {
            observer.behind_is_made();
            is_told = true;
        }
        Ok(())
    };
    loop {
        let pages = assembly.pages();
        if pages.is_empty() {
            return Ok(assembly.copy_repeats(&advance)?);
        }
        fetch(&pages)?;
        assembly.open_pages(store)?;
        observer.begin(FetchPhase::Look, assembly.old_bytes());
        assembly.find_chunks(&advance)?;
        tell(assembly)?;
        loop {
            let wants = assembly.next_round(store, &advance)?;
            if wants.is_empty() {
                break;
            }
            fetch(&wants)?;
            assembly.take(store, &advance)?;
            tell(assembly)?;
        }
    }
}
