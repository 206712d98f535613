//! What was told of programs before is corrected by the parity that has come.

use std::collections::HashSet;
use std::io;

use fluvial_delta::apply::Target as _;

use super::Assembly;
use super::rounds::levels_of;
use super::syndromes::Syndromes;
use super::tell::{each_in_order, open_run_of};
use crate::error::AssembleError;
use crate::guesses::{self, Guess};
use crate::parity::PARITY_BYTES;
use crate::pieces::State;
use crate::programs::correct;
use crate::shelf::Shelf;
use crate::spool::Strand;

/// Why the guesses of a program could not be corrected.
enum Failed {
    /// They cannot be read back.
    Lost,
    Write(io::Error),
}

impl Assembly<'_> {
    /// Makes what was told of programs right by so many levels of parity, where they suffice.
    pub(super) fn correct_guesses(
        &mut self,
        fetched: &dyn Shelf,
        levels: usize,
    ) -> Result<(), AssembleError> {
        let guesses = self.told.iter().filter_map(|(key, told)| Some((*key, told.guesses.as_ref()?)));
        let mut list: Vec<_> = guesses.collect();
        list.sort_unstable_by_key(|(key, _)| *key);
        let proved = each_in_order(&list, |((number, _), guesses)| {
            match self.correct_program(*number, guesses, fetched, levels) {
                Ok(proved) => Ok(Some(proved)),
                Err(Failed::Lost) => Ok(None),
                Err(Failed::Write(source)) => Err(AssembleError::Write(source)),
            }
        })?;
        let keys: Vec<_> = list.into_iter().map(|(key, _)| key).collect();
        for (key, proved) in keys.into_iter().zip(proved) {
            let Some(told) = self.told.get_mut(&key) else { continue };
            match proved {
                Some(proved) => {
                    told.proved += proved.len();
                    self.note_proved(&proved);
                }
                // What is not proved is told again.
                None => told.guesses = None,
            }
        }
        Ok(())
    }

    /// Answers the pieces of a program that were proved and written, and where the old space has the like of each.
    fn correct_program(
        &self,
        number: usize,
        guesses: &Strand,
        fetched: &dyn Shelf,
        levels: usize,
    ) -> Result<Vec<(u32, u64)>, Failed> {
        let payload = &self.payloads[number];
        let mut proved = Vec::new();
        // There may be several guesses of a piece.
        let mut are_proved = HashSet::new();
        let mut syndromes = Syndromes::new(payload, number, fetched);
        let mut parity = [0; PARITY_BYTES];
        let mut reader = self.spool.reader(guesses);
        let mut guess = Guess::default();
        while guesses::read_next(&mut reader, &mut guess).map_err(|_| Failed::Lost)? {
            let piece = self.pieces.get(guess.piece as usize).ok_or(Failed::Lost)?;
            if piece.state != State::Missing || levels > levels_of(piece) || are_proved.contains(&guess.piece)
            {
                continue;
            }
            let open = open_run_of(&self.open_runs, guess.piece).ok_or(Failed::Lost)?;
            if open.payload as usize != number || guess.bytes.len() != piece.len as usize {
                return Err(Failed::Lost);
            }
            let len = syndromes.read(open, guess.piece, levels, &mut parity);
            if correct(self.hash, piece.check, &mut guess.bytes, &parity[..len]) {
                let before = &self.pieces[open.first as usize..guess.piece as usize];
                let before_bytes: u64 = before.iter().map(|piece| u64::from(piece.len)).sum();
                let offset = payload.index.runs[open.run as usize].offset + before_bytes;
                payload.order.write_at(offset, &guess.bytes).map_err(Failed::Write)?;
                are_proved.insert(guess.piece);
                proved.push((guess.piece, guess.place));
            }
        }
        Ok(proved)
    }
}
