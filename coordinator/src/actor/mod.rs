//! The supervision tree: `root → { partitions → partition*, agents → session*, timers, retention }`. The journal has threads of its
//! own; what fails past its restart window ends the process, and the process manager starts it again.

pub(crate) mod agents;
mod alerts;
pub(crate) mod doors;
mod inbox;
mod inputs;
pub(crate) mod load;
mod partition;
mod partitions;
mod release;
mod retention;
pub(crate) mod root;
mod supervise;
mod timers;
