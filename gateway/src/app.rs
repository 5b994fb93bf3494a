//! What all requests share: the way to the coordinator, and nothing that a restart could lose.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use heddle_address_guard::Guard;

use crate::artifacts::Artifacts;
use crate::client::Coordinator;
use crate::feeds::Feeds;
use crate::followers::Followers;
use crate::hosts::Hosts;
use crate::http::auth::KeyCache;
use crate::metrics::Numbers;
use crate::watch::Watch;

pub(crate) struct App {
    pub(crate) coordinator: Coordinator,
    pub(crate) keys: KeyCache,
    pub(crate) numbers: Numbers,
    /// What it is called.
    pub(crate) hosts: Hosts,
    /// How the coordinator is.
    pub(crate) watch: Watch,
    /// The artifact store, once the coordinator has said where it is.
    pub(crate) artifacts: Artifacts,
    /// Asks for files that users name.
    pub(crate) guard: Guard,
    /// Who follows runs.
    pub(crate) followers: Followers,
    /// What they are told.
    pub(crate) feeds: Feeds,
    /// How long one of them may take nothing.
    pub(crate) stream_stall: Duration,
    /// Cancelled when the gateway is asked to stop: long polls and event streams end then.
    pub(crate) stopping: CancellationToken,
}

impl App {
    pub(crate) fn new(coordinator: Coordinator, guard: Guard, hosts: Hosts, stream_stall: Duration) -> Self {
        Self {
            coordinator,
            artifacts: Artifacts::default(),
            guard,
            hosts,
            keys: KeyCache::default(),
            numbers: Numbers::default(),
            watch: Watch::default(),
            followers: Followers::default(),
            feeds: Feeds::default(),
            stream_stall,
            stopping: CancellationToken::new(),
        }
    }
}
