//! GRUB: two variables in its environment block, `fluvial_default` and `fluvial_try`.
//!
//! The block is written **over**, not replaced. GRUB reads a file system without its journal: until the
//! journal is carried out, which may be long after an `fsync`, a renamed file is the old one to GRUB, and when
//! GRUB then clears the try (`save_env` writes to the sectors from which it has read) it clears it in a file
//! that is gone, or in sectors that are something else's by now. Bytes that are written over stand where GRUB
//! finds them. The block has two sectors; what we change lies in the first one ([`block`]), which disks write
//! whole or not at all. GRUB refuses `save_env` where a file system moves what is written over.

use std::path::PathBuf;

use self::block::Block;
use super::write::{overwrite, read};
use super::{BootError, BootFlow, Change, Choice, Common, choice_of, damaged};
use crate::system::{Group, Groups};

mod block;

pub use block::GRUB_ENVIRONMENT_BYTES;

/// GRUB's environment.
#[derive(Debug)]
pub(super) struct Grub {
    common: Common,
    environment: PathBuf,
}

impl Grub {
    pub(super) fn new(common: Common, environment: PathBuf) -> Self {
        Self { common, environment }
    }

    fn block(&self) -> Result<Block, BootError> {
        let bytes = read(&self.environment, GRUB_ENVIRONMENT_BYTES as u64)?;
        Block::parse(&bytes).map_err(|reason| damaged(&self.environment, reason))
    }
}

impl BootFlow for Grub {
    fn groups(&self) -> &Groups {
        &self.common.groups
    }

    fn active(&self) -> Result<Group, BootError> {
        self.common.told_active()
    }

    fn choice(&self) -> Result<Choice, BootError> {
        let block = self.block()?;
        let place = self.environment.display().to_string();
        choice_of(&self.common.groups, &place, block.default_group().as_deref(), block.try_group().as_deref())
    }

    fn make(&self, _: &Change, result: &Choice) -> Result<(), BootError> {
        let mut block = self.block()?;
        block.set(result.default.as_str(), result.pending.as_ref().map_or("", Group::as_str));
        let bytes = block.render().ok_or_else(|| BootError::Full { path: self.environment.clone() })?;
        overwrite(&self.environment, &bytes)
    }

    fn reboot(&self) -> Result<(), BootError> {
        self.common.restart.run(None)
    }
}
