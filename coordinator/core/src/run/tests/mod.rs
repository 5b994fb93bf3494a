//! One run: by hand through every fact, and by properties over random courses.

mod branching;
mod by_hand;
mod course;
mod delegate;
mod failing;
mod properties;
mod race;
mod scopes;
mod trace;
mod values;
