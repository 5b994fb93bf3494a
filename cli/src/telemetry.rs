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

/// The later ones overrule the earlier. Actors would otherwise open a span for each message. A filter's own default would
/// count only if there were no directive at all.
fn filter(level: LevelFilter, wanted: &str) -> EnvFilter {
    EnvFilter::builder().parse_lossy(format!("{level},ractor=warn,{wanted}"))
}

/// Starts logging from `level` up. `HEDDLE_LOG` says otherwise (`debug`, `heddle_agent=trace`), and
/// `HEDDLE_LOG_FORMAT=json` makes each line a JSON object.
pub fn start(level: LevelFilter) {
    let wanted = std::env::var("HEDDLE_LOG").unwrap_or_default();
    let filter = filter(level, &wanted);
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second start, as in tests, leaves the first one in place.
    let _ = match std::env::var_os("HEDDLE_LOG_FORMAT").is_some_and(|format| format == "json") {
        true => log.json().try_init(),
        false => log.with_ansi(crate::ui::style::Style::stderr() != crate::ui::style::Style::PLAIN).try_init(),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_logs_from_its_level_up_unless_somebody_wants_otherwise() {
        let said = |level, wanted| filter(level, wanted).to_string();
        let directives = |text: &str| text.split(',').map(str::to_owned).collect::<std::collections::BTreeSet<_>>();
        for (level, wanted, expected) in [
            (LevelFilter::INFO, "", "ractor=warn,info"),
            (LevelFilter::WARN, "", "ractor=warn,warn"),
            (LevelFilter::INFO, "debug", "ractor=warn,debug"),
            (LevelFilter::INFO, "error,ractor=info", "ractor=info,error"),
            (LevelFilter::WARN, "heddle_agent=trace", "heddle_agent=trace,ractor=warn,warn"),
        ] {
            assert_eq!(directives(&said(level, wanted)), directives(expected), "{wanted}");
        }
    }
}
