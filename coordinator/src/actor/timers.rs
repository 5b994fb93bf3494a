//! Parked runs that fall due are found here, on disk, and brought to their partitions (E6).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use heddle_core::limits::{DUE_SCAN_PERIOD, DUE_SCAN_RUNS_MAX};
use heddle_core::partition::io::Input;
use heddle_crash_point::crash_point;
use ractor::{Actor, ActorProcessingErr, ActorRef};

use crate::shared::Shared;

const PERIOD: Duration = Duration::from_millis(DUE_SCAN_PERIOD.as_millis());

pub(crate) struct TimersActor;

pub(crate) enum Message {
    Scan,
}

impl Actor for TimersActor {
    type Msg = Message;
    type State = Arc<Shared>;
    type Arguments = Arc<Shared>;

    async fn pre_start(
        &self,
        myself: ActorRef<Message>,
        shared: Arc<Shared>,
    ) -> Result<Arc<Shared>, ActorProcessingErr> {
        myself.cast(Message::Scan)?;
        Ok(shared)
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        Message::Scan: Message,
        shared: &mut Arc<Shared>,
    ) -> Result<(), ActorProcessingErr> {
        // One period ahead, so that a run is in memory when its instant comes.
        let before = shared.clock.now().plus(DUE_SCAN_PERIOD);
        let mut again = PERIOD;
        match shared.journal.due(before, DUE_SCAN_RUNS_MAX).await {
            Ok(due) => {
                if !due.is_empty() {
                    crash_point!("timers.due");
                }
                if due.len() == DUE_SCAN_RUNS_MAX {
                    again = PERIOD / 20;
                }
                let mut parts: BTreeMap<_, Vec<_>> = BTreeMap::new();
                for run in due {
                    parts.entry(shared.partition_of(run)).or_default().push(run);
                }
                for (partition, runs) in parts {
                    shared.doors.report(partition, [Input::Due(runs)]);
                }
            }
            Err(error) => tracing::warn!(%error, "parked runs could not be looked for; trying again"),
        }
        let _timer = myself.send_after(again, || Message::Scan);
        Ok(())
    }
}
