//! One run: by hand through every fact, and by properties over random courses.

mod by_hand;
mod course;
mod properties;
mod trace;
