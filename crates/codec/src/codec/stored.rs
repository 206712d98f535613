//! Bytes that are not packed at all.

use std::fmt;
use std::io;

use crate::codec::{Codec, Method};
use crate::packer::{PackError, Packer, Promise};
use crate::prover::{Bench, Found};
use crate::recipe::{RecipeError, Way};

/// Gives the content as it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Recipe;

pub(crate) struct Stored;

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("stored")
    }
}

impl Method for Recipe {
    fn write(&self, _bytes: &mut Vec<u8>) {}

    fn check_linked(&self) -> Result<(), RecipeError> {
        Ok(())
    }

    fn memory_bytes(&self, _plain_len: u64, _packed_len_max: u64) -> u64 {
        0
    }

    fn packer(
        &self,
        plain_len: u64,
        _packed_len_max: u64,
        _corrections: &[u8],
    ) -> Result<Box<dyn Packer>, PackError> {
        Ok(Box::new(Passer(Promise::new(plain_len))))
    }
}

struct Passer(Promise);

impl Packer for Passer {
    fn write(&mut self, plain: &[u8], sink: &mut dyn io::Write) -> Result<(), PackError> {
        self.0.take(plain.len())?;
        sink.write_all(plain).map_err(PackError::Sink)
    }

    fn finish(self: Box<Self>, _sink: &mut dyn io::Write) -> Result<(), PackError> {
        self.0.keep()
    }
}

impl Codec for Stored {
    fn prove(&self, _packed: &[u8], _plain: &[u8], _bench: &mut Bench<'_>) -> Option<Found> {
        Some(Found { recipe: Way::Stored(Recipe).into(), corrections: Vec::new() })
    }
}
