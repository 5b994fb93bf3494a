//! How the coordinator is: looked at now and then, told once per change, and known without asking.

use std::sync::Arc;

use heddle_proto::control::StatusReply;
use heddle_proto::limits::{PROTOCOL_VERSION, PROTOCOL_VERSION_MIN};
use heddle_trust::Way;
use tokio::sync::watch;
use tokio::time::sleep;
use tonic::Status;

use crate::app::App;
use crate::convert::failure;
use crate::http::error::ApiError;
use crate::limits::WATCH_PERIOD;

/// The code of a coordinator and a gateway that do not speak the same protocol.
pub(crate) const PROTOCOL_MISMATCH: &str = "protocol_mismatch";

/// How the coordinator was when it was last looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nobody has looked yet.
    Unknown,
    Ready,
    /// It answers, and says why it takes no requests.
    NotReady(String),
    /// No answer, and why.
    Unreachable(String),
    /// It speaks another protocol: a person has to act.
    Mismatch(String),
}

impl Standing {
    /// What the answer to a status request says.
    pub(crate) fn of(answer: &Result<StatusReply, Status>) -> Self {
        match answer {
            Ok(status) if !(PROTOCOL_VERSION_MIN..=PROTOCOL_VERSION).contains(&status.protocol) => {
                Standing::Mismatch(format!(
                    "the coordinator speaks protocol {}, this gateway {PROTOCOL_VERSION_MIN} to {PROTOCOL_VERSION}; update \
                     the older of the two",
                    status.protocol
                ))
            }
            Ok(status) if status.ready => Standing::Ready,
            Ok(status) => Standing::NotReady(status.reason.clone()),
            Err(status) => match failure::said(status) {
                Some(error) if error.code == PROTOCOL_MISMATCH => Standing::Mismatch(error.message.into_owned()),
                Some(error) => Standing::NotReady(error.message.into_owned()),
                None => Standing::Unreachable(failure::chain(status)),
            },
        }
    }

    /// Why no request can be served, if none can.
    pub(crate) fn reason(&self) -> Option<String> {
        match self {
            Standing::Ready => None,
            Standing::Unknown => Some("the coordinator has not answered yet".to_owned()),
            Standing::NotReady(reason) | Standing::Mismatch(reason) => Some(reason.clone()),
            Standing::Unreachable(_) => Some("the coordinator cannot be reached; trying on".to_owned()),
        }
    }

    fn tell(&self, coordinator: &str) {
        match self {
            Standing::Unknown => {}
            Standing::Ready => tracing::info!(coordinator, "the coordinator is ready"),
            Standing::NotReady(reason) => tracing::warn!(coordinator, reason, "the coordinator is not ready"),
            Standing::Unreachable(reason) => {
                tracing::warn!(coordinator, reason, "cannot reach the coordinator; requests wait for it; trying on");
            }
            Standing::Mismatch(reason) => tracing::error!(coordinator, reason, "requests are refused"),
        }
    }
}

/// The last look at the coordinator.
#[derive(Debug)]
pub(crate) struct Watch(watch::Sender<Standing>);

impl Default for Watch {
    fn default() -> Self {
        Self(watch::Sender::new(Standing::Unknown))
    }
}

impl Watch {
    /// Refuses what would be lost in translation.
    pub(crate) fn refuse_mismatch(&self) -> Result<(), ApiError> {
        match &*self.0.borrow() {
            Standing::Mismatch(reason) => Err(ApiError::unavailable(PROTOCOL_MISMATCH, reason.clone())),
            _ => Ok(()),
        }
    }

    /// Whether requests can be served, as far as is known.
    pub(crate) fn is_ready(&self) -> bool {
        *self.0.borrow() == Standing::Ready
    }

    /// Takes a new standing; says it if it is another kind of standing than before.
    fn note(&self, standing: Standing, coordinator: &str) {
        self.0.send_if_modified(|last| {
            if std::mem::discriminant(last) != std::mem::discriminant(&standing) {
                standing.tell(coordinator);
            }
            let is_new = *last != standing;
            *last = standing;
            is_new
        });
    }
}

/// What a gateway that goes this way in plaintext has to bring.
pub(crate) fn without_certificate(way: &Way) -> String {
    format!(
        "the coordinator at {way} speaks TLS, and this gateway has no certificate: pass --join TOKEN; the first gateway's is \
         in `gateway-token` of the coordinator's data folder, and `heddle agents token create --for gateway` makes others"
    )
}

/// Looks at the coordinator until the gateway stops.
pub(crate) async fn watch(app: Arc<App>, way: Way, coordinator: String) {
    loop {
        let look = async {
            match Standing::of(&app.coordinator.look().await) {
                // What the libraries say of an alert of TLS tells nobody what to do.
                Standing::Unreachable(_) if way.meets_tls().await => Standing::NotReady(without_certificate(&way)),
                standing => standing,
            }
        };
        let standing = tokio::select! {
            standing = look => standing,
            () = app.stopping.cancelled() => return,
        };
        app.watch.note(standing, &coordinator);
        tokio::select! {
            () = sleep(WATCH_PERIOD) => {}
            () = app.stopping.cancelled() => return,
        }
    }
}
