//! A run that stands still on purpose: what is at work finishes and is recorded, people may decide, and nothing begins.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::corrupt::Corrupt;
use super::{Admitted, Rejection, Run, RunStatus};
use crate::fault::{Fault as Planted, is_planted};
use crate::id::Subject;
use crate::run::event::Fact;
use crate::time::Timestamp;

/// That a run is paused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Since when.
    pub at: Timestamp,
    /// Who wanted it.
    pub by: Subject,
    /// Why, for people.
    pub reason: Option<Arc<str>>,
}

/// What somebody wants of a run that is to stand still or go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PauseChange {
    /// Nothing of it begins any more.
    Pause {
        /// Why, for people.
        reason: Option<Arc<str>>,
    },
    /// It goes on.
    Unpause,
}

impl Run {
    /// Since when, by whom and why it is paused, if it is.
    pub fn pause(&self) -> Option<&Pause> {
        self.state.pause.as_deref()
    }

    /// Whether nothing of it may begin.
    pub fn is_paused(&self) -> bool {
        self.state.pause.is_some() && !is_planted(Planted::PausedGoesOn)
    }

    /// Somebody pauses it, or lets it go on. Who pauses it the second time may give another reason; else there is nothing to do.
    pub(super) fn change_pause(&self, change: PauseChange, by: Subject) -> Result<Admitted, Rejection> {
        if self.status() != RunStatus::Running {
            return Err(Rejection::Over(self.status()));
        }
        match (change, &self.state.pause) {
            (PauseChange::Pause { reason }, None) => Ok(Fact::Paused { by, reason }.into()),
            (PauseChange::Pause { reason: Some(reason) }, Some(pause))
                if (pause.reason.as_ref(), &pause.by) != (Some(&reason), &by) =>
            {
                Ok(Fact::Paused { by, reason: Some(reason) }.into())
            }
            (PauseChange::Unpause, Some(_)) => Ok(Fact::Unpaused { by }.into()),
            (PauseChange::Pause { .. }, Some(_)) | (PauseChange::Unpause, None) => Err(Rejection::Idle),
        }
    }

    /// Folds that it is paused, or why it stays so.
    pub(super) fn paused(&mut self, at: Timestamp, by: &Subject, reason: Option<&Arc<str>>) -> Result<(), Corrupt> {
        let at = match (&self.state.pause, reason) {
            (None, _) => at,
            (Some(pause), Some(_)) => pause.at,
            (Some(_), None) => return Err(Corrupt::WrongSide { seq: self.state.seq }),
        };
        self.state.pause = Some(Box::new(Pause { at, by: by.clone(), reason: reason.cloned() }));
        Ok(())
    }

    /// Folds that it goes on.
    pub(super) fn unpaused(&mut self) -> Result<(), Corrupt> {
        let was_paused = self.state.pause.take();
        was_paused.map(drop).ok_or(Corrupt::WrongSide { seq: self.state.seq })
    }

    /// While it is paused nothing of it begins: neither a decision nor an attempt.
    pub(super) fn expect_going_on(&self) -> Result<(), Corrupt> {
        if self.is_paused() { Err(Corrupt::WrongSide { seq: self.state.seq }) } else { Ok(()) }
    }
}
