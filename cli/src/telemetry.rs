//! What the parts log, on stderr.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// Starts the exporters of traces of these parts, if an endpoint is set. Without them the parts work all the same.
pub fn export(parts: &[heddle_telemetry::Component]) {
    for part in parts {
        if let Err(error) = heddle_telemetry::start(*part) {
            tracing::warn!(%error, "no traces are exported");
        }
    }
}

/// Starts logging from `level` up. `HEDDLE_LOG` says otherwise (`debug`, `heddle_agent=trace`), and
/// `HEDDLE_LOG_FORMAT=json` makes each line a JSON object.
pub fn start(level: LevelFilter) {
    let wanted = std::env::var("HEDDLE_LOG").unwrap_or_default();
    // The first of these two is overruled by what is wanted. Actors would otherwise open a span for each message.
    let filter = EnvFilter::builder().with_default_directive(level.into()).parse_lossy(format!("ractor=warn,{wanted}"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second start, as in tests, leaves the first one in place.
    let _ = match std::env::var_os("HEDDLE_LOG_FORMAT").is_some_and(|format| format == "json") {
        true => log.json().try_init(),
        false => log.with_ansi(crate::ui::style::Style::stderr() != crate::ui::style::Style::PLAIN).try_init(),
    };
}
