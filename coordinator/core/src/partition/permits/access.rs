//! The way of a partition to the permits.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Permits;

/// Permits that a partition has for itself, or shares with others. It takes them for each question anew and not for a
/// whole turn: a long turn of one run must not hold up whoever else decides at the same time, nor the streams of agents.
#[derive(Debug)]
pub enum Access<'a> {
    /// Nobody else asks meanwhile.
    Alone(&'a mut Permits),
    /// Others may ask between two questions.
    Shared(&'a Mutex<Permits>),
}

/// The permits, for one question.
#[derive(Debug)]
pub(in crate::partition) enum Taken<'a> {
    Alone(&'a mut Permits),
    Shared(MutexGuard<'a, Permits>),
}

impl Access<'_> {
    /// Takes them. Nothing that takes long may be done with it.
    pub(in crate::partition) fn take(&mut self) -> Taken<'_> {
        match self {
            Access::Alone(permits) => Taken::Alone(permits),
            Access::Shared(permits) => Taken::Shared(permits.lock().unwrap_or_else(PoisonError::into_inner)),
        }
    }
}

impl<'a> From<&'a mut Permits> for Access<'a> {
    fn from(permits: &'a mut Permits) -> Self {
        Access::Alone(permits)
    }
}

impl<'a> From<&'a Mutex<Permits>> for Access<'a> {
    fn from(permits: &'a Mutex<Permits>) -> Self {
        Access::Shared(permits)
    }
}

impl Deref for Taken<'_> {
    type Target = Permits;

    fn deref(&self) -> &Permits {
        match self {
            Taken::Alone(permits) => permits,
            Taken::Shared(permits) => permits,
        }
    }
}

impl DerefMut for Taken<'_> {
    fn deref_mut(&mut self) -> &mut Permits {
        match self {
            Taken::Alone(permits) => permits,
            Taken::Shared(permits) => permits,
        }
    }
}
