//! `heddle workflows stats`: how runs ended, how long they took, and why they failed.

use std::time::Duration;

use crate::client::{Bucket, Client, ErrorStats, RunCounts, Stats, read_value};
use crate::error::Result;
use crate::ui::style::Style;
use crate::ui::table::Table;
use crate::ui::{clock, note, print, print_json};

/// Columns of the longest bar.
const BAR_COLUMNS: u64 = 40;
const DAY_MS: u64 = 86_400_000;

/// Shows figures of one workflow, or of all; times in milliseconds since 1970.
pub(super) async fn show(
    client: &Client,
    workflow: Option<&str>,
    (from, to): (Option<i64>, Option<i64>),
    as_json: bool,
) -> Result<()> {
    let (from, to) = (from.map(clock::rfc3339), to.map(clock::rfc3339));
    let value = client.stats(workflow, from.as_deref(), to.as_deref()).await?;
    if as_json {
        return print_json(&value);
    }
    let stats: Stats = read_value(value, "figures")?;
    let style = Style::stdout();
    print(&head(&stats, style))?;
    if stats.runs.total > 0 {
        print("")?;
        print(&picture(&stats, style))?;
    }
    if !stats.errors.is_empty() {
        print("")?;
        print(&errors(&stats.errors).render(style))?;
    }
    if stats.other_errors > 0 {
        note(&format!("{} more runs failed with other errors", stats.other_errors));
    }
    if !stats.complete {
        note(&format!(
            "there are more runs than are counted: these figures begin at {}; choose a later --from",
            stats.from
        ));
    }
    Ok(())
}

fn head(stats: &Stats, style: Style) -> String {
    let RunCounts { total, completed, failed, cancelled } = stats.runs;
    let rate = stats.success_rate.map_or_else(|| "-".to_owned(), |rate| format!("{:.1} %", rate * 100.0));
    let mut lines = vec![
        format!("{} to {}", style.bold(&stats.from), stats.to),
        format!(
            "runs      {total}: {completed} completed, {failed} failed, {cancelled} cancelled; {} running now",
            stats.running
        ),
        format!("success   {rate}"),
    ];
    if let Some(took) = stats.duration_ms {
        let span = |ms| clock::span(Duration::from_millis(ms));
        lines.push(format!("duration  p50 {}, p95 {}, max {}", span(took.p50), span(took.p95), span(took.max)));
    }
    lines.join("\n")
}

/// A bar for each bucket. What failed and what was cancelled looks another way, whether there are colours or not.
fn picture(stats: &Stats, style: Style) -> String {
    let most = stats.buckets.iter().map(|bucket| bucket.runs.total).max().unwrap_or(0).max(1);
    let digits = most.to_string().len();
    let line = |bucket: &Bucket| {
        let RunCounts { total, completed, failed, .. } = bucket.runs;
        // Where each part ends: so rounding makes no bar longer than its whole.
        let ends = [completed, completed + failed, total].map(|runs| columns(runs, most));
        let part = |from: u64, to: u64, with: &str| with.repeat(usize::try_from(to - from).unwrap_or(0));
        let bar = [
            style.green(&part(0, ends[0], "█")),
            style.red(&part(ends[0], ends[1], "▓")),
            style.dim(&part(ends[1], ends[2], "░")),
        ];
        format!("{}  {total:>digits$}  {}", label(bucket, stats.bucket_ms), bar.concat()).trim_end().to_owned()
    };
    let legend = format!("{} completed  {} failed  {} cancelled", style.green("█"), style.red("▓"), style.dim("░"));
    let lines: Vec<String> = stats.buckets.iter().map(line).chain([legend]).collect();
    lines.join("\n")
}

/// What is there is seen, however little it is.
fn columns(runs: u64, most: u64) -> u64 {
    (runs * BAR_COLUMNS).div_ceil(most)
}

/// The day of a bucket; of shorter ones the hour, too.
fn label(bucket: &Bucket, bucket_ms: u64) -> String {
    let end = if bucket_ms < DAY_MS { "2026-05-02T09:00".len() } else { "2026-05-02".len() };
    bucket.from.get(..end).unwrap_or(&bucket.from).replace('T', " ")
}

fn errors(errors: &[ErrorStats]) -> Table {
    let mut table = Table::new(&["ERROR", "CLASS", "RUNS", "LAST", "EXAMPLE"]);
    for error in errors {
        table.row(vec![
            error.code.clone().unwrap_or_else(|| "(not known)".to_owned()),
            error.class.clone().unwrap_or_default(),
            error.count.to_string(),
            error.last_at.clone(),
            error.example_execution_id.clone(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn figures_read_well_in_plain_text() {
        let bucket = |from: &str, completed: u64, failed: u64, cancelled: u64| {
            json!({"from": from, "to": "", "total": completed + failed + cancelled,
                "completed": completed, "failed": failed, "cancelled": cancelled})
        };
        let value = json!({
            "from": "2026-05-01T00:00:00.000Z", "to": "2026-05-04T00:00:00.000Z", "complete": true, "running": 2,
            "runs": {"total": 11, "completed": 9, "failed": 1, "cancelled": 1}, "successRate": 0.9,
            "durationMs": {"p50": 340, "p95": 2_100, "max": 184_000}, "bucketMs": 86_400_000,
            "buckets": [bucket("2026-05-01T00:00:00.000Z", 8, 1, 1), bucket("2026-05-02T00:00:00.000Z", 0, 0, 0),
                bucket("2026-05-03T00:00:00.000Z", 1, 0, 0)],
            "errors": [{"code": "timeout", "class": "timeout", "count": 1, "exampleExecutionId": "exec_1", "lastAt": "2026-05-01T09:00:00.000Z"}],
        });
        let stats: Stats = read_value(value, "figures").unwrap();
        assert_eq!(
            head(&stats, Style::PLAIN),
            "2026-05-01T00:00:00.000Z to 2026-05-04T00:00:00.000Z\n\
             runs      11: 9 completed, 1 failed, 1 cancelled; 2 running now\n\
             success   90.0 %\n\
             duration  p50 340 ms, p95 2.1 s, max 3 min 4 s"
        );
        let expected = format!(
            "2026-05-01  10  {}▓▓▓▓░░░░\n2026-05-02   0\n2026-05-03   1  ████\n█ completed  ▓ failed  ░ cancelled",
            "█".repeat(32)
        );
        assert_eq!(picture(&stats, Style::PLAIN), expected);
        assert!(errors(&stats.errors).render(Style::PLAIN).ends_with("exec_1"));
        assert_eq!(
            label(&Bucket { from: "2026-05-01T07:00:00.000Z".into(), ..Bucket::default() }, 3_600_000),
            "2026-05-01 07:00"
        );
    }
}
