//! The figures against what plain counting gives.

use super::*;
use crate::draw::Draw;

const CODES: [Option<&str>; 4] = [None, Some("timeout"), Some("server_failed"), Some("stopped")];

fn runs(seed: u64, count: usize, from: i64, to: i64) -> Vec<EndedRun> {
    let mut draw = Draw::from_seed(seed);
    let mut below = move |most: u64| draw.next_u64() % most;
    (0..count)
        .map(|number| {
            let ended_at = from - 1_000 + below((to - from + 2_000) as u64) as i64;
            let status = [RunStatus::Completed, RunStatus::Failed, RunStatus::Cancelled][below(3) as usize];
            let is_failed = status == RunStatus::Failed;
            EndedRun {
                run: RunId(number as u128),
                workflow: WorkflowId(u128::from(below(3))),
                status,
                created_at: Timestamp::from_millis(ended_at - below(50) as i64),
                ended_at: Timestamp::from_millis(ended_at),
                code: CODES[below(4) as usize].filter(|_| is_failed).map(Arc::from),
                class: Some(ErrorClass::ALL[below(3) as usize]).filter(|_| is_failed),
            }
        })
        .collect()
}

fn tally(runs: &[EndedRun], from: i64, to: i64, most: usize) -> Result<Figures, TooMany> {
    let mut tally = Tally::new(Timestamp::from_millis(from), Timestamp::from_millis(to), most);
    runs.iter().try_for_each(|run| tally.add(run))?;
    Ok(tally.figures())
}

/// As one would by hand: everything sorted, everything filtered.
fn check_by_hand(figures: &Figures, runs: &[EndedRun]) {
    let inside: Vec<&EndedRun> =
        runs.iter().filter(|run| run.ended_at >= figures.from && run.ended_at < figures.to).collect();
    let of = |status| inside.iter().filter(|run| run.status == status).count() as u64;
    let by_hand = Counts {
        completed: of(RunStatus::Completed),
        failed: of(RunStatus::Failed),
        cancelled: of(RunStatus::Cancelled),
    };
    assert_eq!(figures.counts, by_hand);
    let ended = inside.iter().filter(|run| run.status != RunStatus::Cancelled);
    let mut durations: Vec<u64> = ended.map(|run| run.ended_at.since(run.created_at).as_millis()).collect();
    durations.sort_unstable();
    // The least one that at least so many of a hundred do not exceed.
    let percentile = |percent: usize| {
        let does_not_exceed = |most: u64| durations.iter().filter(|one| **one <= most).count();
        durations.iter().copied().find(|one| does_not_exceed(*one) * 100 >= percent * durations.len())
    };
    assert_eq!(figures.durations.map(|it| it.p50.as_millis()), percentile(50));
    assert_eq!(figures.durations.map(|it| it.p95.as_millis()), percentile(95));
    assert_eq!(figures.durations.map(|it| it.max.as_millis()), durations.last().copied());
    for bucket in &figures.buckets {
        let its = inside.iter().filter(|run| run.ended_at >= bucket.from && run.ended_at < bucket.to);
        assert_eq!(bucket.counts.total(), its.count() as u64);
    }
    for error in &figures.errors {
        let its = inside.iter().filter(|run| {
            run.status == RunStatus::Failed
                && (run.code.as_deref(), run.class.map(ErrorClass::name)) == (error.code.as_deref(), error.class)
        });
        let its: Vec<_> = its.collect();
        assert_eq!(error.count, its.len() as u64);
        assert_eq!(its.iter().map(|run| (run.ended_at, run.run)).max(), Some((error.last_at, error.example)));
    }
    assert_eq!(figures.errors.iter().map(|error| error.count).sum::<u64>(), by_hand.failed);
    assert!(figures.errors.is_sorted_by(|one, next| one.count >= next.count));
}

#[test]
fn figures_are_those_of_plain_counting() {
    let day = 86_400_000;
    for seed in 0..200 {
        let spans = [1, 3_600_000, day + 7, 2 * day, 30 * day + 1, 200 * day];
        let from = 1_760_000_123_456 + seed as i64 * 1_234_567;
        let to = from + spans[seed as usize % spans.len()];
        let runs = runs(seed, (seed as usize * 7) % 230, from, to);
        let figures = tally(&runs, from, to, usize::MAX).unwrap();
        assert!(figures.is_complete && figures.from.as_millis() == from && figures.to.as_millis() == to, "seed {seed}");
        check_by_hand(&figures, &runs);
    }
}

#[test]
fn of_too_many_runs_the_youngest_stretches_are_told_exactly() {
    let (from, to) = (1_760_000_000_000, 1_760_000_000_000 + 40 * DAY);
    for seed in 0..100 {
        let runs = runs(seed, 200, from, to);
        let Ok(figures) = tally(&runs, from, to, 50) else { panic!("seed {seed}: a day has so many") };
        assert!(!figures.is_complete && figures.counts.total() <= 50 && figures.counts.total() > 20, "seed {seed}");
        check_by_hand(&figures, &runs);
    }
    let all_at_once: Vec<EndedRun> = runs(1, 60, from, to)
        .into_iter()
        .map(|run| EndedRun { ended_at: Timestamp::from_millis(to - 1), ..run })
        .collect();
    assert_eq!(tally(&all_at_once, from, to, 50), Err(TooMany));
}

#[test]
fn buckets_join_without_gaps_and_lie_on_whole_hours_days_and_weeks() {
    for (span, width) in [(HOURS_UNTIL, HOUR), (HOURS_UNTIL + 1, DAY), (DAYS_UNTIL, DAY), (DAYS_UNTIL + 1, WEEK)] {
        let from = 1_760_000_123_456;
        let figures = tally(&[], from, from + span, 1).unwrap();
        assert_eq!((figures.width.as_millis() as i64, figures.durations), (width, None));
        let borders: Vec<_> = figures.buckets.iter().map(|it| (it.from.as_millis(), it.to.as_millis())).collect();
        assert_eq!((borders[0].0, borders[borders.len() - 1].1), (from, from + span));
        for pair in borders.windows(2) {
            assert_eq!(pair[0].1, pair[1].0);
            let origin = if width == WEEK { FIRST_MONDAY } else { 0 };
            assert_eq!((pair[1].0 - origin) % width, 0, "{pair:?}");
        }
        assert!(borders.len() <= 102, "{}", borders.len());
    }
    // 2026-11-23 was a Monday.
    assert_eq!((1_795_392_000_000_i64 - FIRST_MONDAY) % WEEK, 0);
}

#[test]
fn a_run_counts_from_the_first_instant_on_and_not_at_the_last() {
    let at = |ended_at| EndedRun {
        run: RunId(1),
        workflow: WorkflowId(1),
        status: RunStatus::Completed,
        created_at: Timestamp::from_millis(0),
        ended_at: Timestamp::from_millis(ended_at),
        code: None,
        class: None,
    };
    let counts = |ended_at| tally(&[at(ended_at)], 1_000, 2_000, 10).unwrap().counts.completed;
    assert_eq!([999, 1_000, 1_999, 2_000].map(counts), [0, 1, 1, 0]);
}
