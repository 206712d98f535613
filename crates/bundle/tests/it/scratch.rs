//! What was told of programs is kept in temporary storage; nothing but time hangs on it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fluvial_bundle::Tally;
use fluvial_delta::scratch::{MemoryScratch, Scratch, ScratchStore};
use fluvial_delta::structure::{Extent, ReadAt};

use crate::parity::{code, program};
use crate::{assemble_in, publish};

/// How temporary storage fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// There is none.
    Create,
    /// It is full from the start.
    Append,
    /// Nothing can be read back.
    Read,
    /// Something else is read back.
    Damage,
}

/// Bytes that were written to storage, and read of it.
#[derive(Default)]
struct Traffic {
    written: AtomicU64,
    read: AtomicU64,
}

struct FaultyStore {
    fault: Option<Fault>,
    traffic: Arc<Traffic>,
}

struct FaultyScratch {
    bytes: Vec<u8>,
    fault: Option<Fault>,
    traffic: Arc<Traffic>,
}

impl FaultyStore {
    fn new(fault: Option<Fault>) -> Self {
        Self { fault, traffic: Arc::default() }
    }
}

impl ScratchStore for FaultyStore {
    fn create(&self) -> io::Result<Box<dyn Scratch>> {
        if self.fault == Some(Fault::Create) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let traffic = Arc::clone(&self.traffic);
        Ok(Box::new(FaultyScratch { bytes: Vec::new(), fault: self.fault, traffic }))
    }
}

impl ReadAt for FaultyScratch {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        if self.fault == Some(Fault::Read) {
            return Err(io::ErrorKind::Other.into());
        }
        self.traffic.read.fetch_add(buf.len() as u64, Ordering::Relaxed);
        self.bytes.read_at(offset, buf)?;
        if self.fault == Some(Fault::Damage) {
            buf.iter_mut().step_by(101).for_each(|byte| *byte ^= 0x55);
        }
        Ok(())
    }
}

impl Scratch for FaultyScratch {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.fault == Some(Fault::Append) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.traffic.written.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}

/// Makes a program, of which a constant here and there has changed, of its old version; answers how much was wanted.
fn make(store: &dyn ScratchStore) -> (u64, Tally) {
    let (old, new) = (program(&code(false)), program(&code(true)));
    let bytes = [&b"a header"[..], &new].concat();
    let (index, published) = publish(&bytes, &[Extent { offset: 8, len: new.len() as u64 }]);
    let mut wanted = 0;
    let (made, tally) =
        assemble_in(store, &index, &published, &[old], &mut |want| wanted += want.len).unwrap();
    assert!(made == bytes);
    assert_eq!(tally.repaired_runs, 0);
    (wanted, tally)
}

#[test]
fn guesses_are_corrected_where_they_are_kept() {
    let store = FaultyStore::new(None);
    let kept = make(&store);
    assert_eq!(kept, make(&MemoryScratch));
    assert_eq!(kept, make(&store), "the same every time");
    let read = store.traffic.read.load(Ordering::Relaxed);
    let written = store.traffic.written.load(Ordering::Relaxed);
    assert!(read > 0 && written > 0, "{read} of {written}");
    let told = make(&FaultyStore::new(Some(Fault::Create)));
    assert_eq!(kept, told, "the same as told again");
}

#[test]
fn storage_that_fails_costs_nothing_but_time() {
    let kept = make(&MemoryScratch);
    for fault in [Fault::Create, Fault::Append, Fault::Read] {
        let store = FaultyStore::new(Some(fault));
        assert_eq!(make(&store), kept, "{fault:?}");
    }
}

#[test]
fn storage_that_is_damaged_costs_bytes_only() {
    let (wanted, _) = make(&MemoryScratch);
    let (wanted_now, _) = make(&FaultyStore::new(Some(Fault::Damage)));
    assert!((wanted..2 * wanted).contains(&wanted_now), "{wanted_now} instead of {wanted}");
}
