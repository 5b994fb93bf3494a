//! One run: by hand through every fact, and by properties over random courses.

mod branching;
mod broken;
mod by_hand;
mod children;
mod closed_lists;
mod course;
mod delegate;
mod delegate_turns;
mod failing;
mod given_up;
mod instances;
mod jobs;
mod lifting;
mod listening;
mod pausing;
mod plan;
mod properties;
mod race;
mod recall;
mod reuse;
mod reuse_reviews;
mod reviews;
mod scopes;
mod scopes_ending;
mod trace;
mod values;
