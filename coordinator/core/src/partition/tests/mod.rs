//! A partition and its permits, moved by hand: what the simulator finds by chance is shown here on purpose.

mod agents;
mod bench;
mod children;
mod commits;
mod dropped;
mod jobs;
mod lists;
mod pausing;
mod permits;
mod placement;
mod places;
mod recall;
mod reviews;
mod runs;
mod values;
mod watch;
