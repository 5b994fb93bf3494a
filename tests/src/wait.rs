//! Waiting: for a condition until a deadline. The only place of the tests that sleeps.

use std::time::{Duration, Instant};

/// How often a condition is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Looks until the condition gives a value.
///
/// # Panics
/// When the deadline passes, with what was waited for and the last word of the condition on why it does not hold.
pub async fn until<T, F>(what: &str, deadline: Duration, look: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, String>>,
{
    match try_until(deadline, look).await {
        Ok(value) => value,
        Err(why) => panic!("{what} did not come to be within {deadline:?}: {why}"),
    }
}

/// Looks until the condition gives a value; past the deadline, its last word.
///
/// # Errors
/// Why the condition did not hold at the last look.
pub async fn try_until<T, F>(deadline: Duration, mut look: impl FnMut() -> F) -> Result<T, String>
where
    F: Future<Output = Result<T, String>>,
{
    let end = Instant::now() + deadline;
    loop {
        match look().await {
            Ok(value) => return Ok(value),
            Err(why) if Instant::now() >= end => return Err(why),
            Err(_) => pace(LOOK_AGAIN).await,
        }
    }
}

/// Lets time pass where time itself is the subject: the gap before the next fault, the pace of a load, a pause that must
/// be longer than a grace. Never in the hope that something has happened by then.
pub async fn pace(time: Duration) {
    tokio::time::sleep(time).await;
}
