//! Time that outlives the process (E7): nothing falls due later because the machine's clock was set back while nobody ran.
//!
//! Two things are kept. When this process's time was zero on the clock that counts from the machine's start and that nobody sets:
//! as long as the machine has not been started anew, the time that has passed is known from that alone. And the time of the youngest
//! transaction, which is never gone behind. A clock that is *ahead* counts: it cannot be told from time that has really passed, as
//! while a machine is off or stopped by what it runs on.

use std::sync::Arc;

use heddle_core::time::{Span, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::journal::limits::TIME_MARK_PERIOD;
use crate::journal::{Clock, running};

/// The time of the youngest transaction, at most [`TIME_MARK_PERIOD`] behind.
const MARK: &str = "time";
/// Which start of the machine the process before was in.
const MACHINE: &str = "machine_start";
/// When the machine was started, by that process's time.
const MACHINE_AT: &str = "machine_start_at";
/// A clock that was set back by less is not worth a word.
const WORTH_A_WORD: Span = Span::from_seconds(2);

/// The clock, moved ahead if it is behind what the file tells; notes what the next process needs to know.
pub(super) fn go_on(connection: &Connection, clock: Clock, machine_start: Option<i64>) -> rusqlite::Result<Clock> {
    let says = clock();
    let since_start = running().as_millis() as i64;
    let is_same_start = machine_start.is_some() && kept(connection, MACHINE)? == machine_start;
    let by_machine = kept(connection, MACHINE_AT)?.filter(|_| is_same_start).map(|at| at.saturating_add(since_start));
    let mark = kept(connection, MARK)?.map(Timestamp::from_millis);
    // What was written just after the mark is not later than that.
    let by_mark = mark.filter(|mark| *mark > says).map(|mark| mark.plus(TIME_MARK_PERIOD));
    let now = says.max(by_mark.unwrap_or_default()).max(by_machine.map_or(says, Timestamp::from_millis));
    let behind = now.since(says);
    if behind > WORTH_A_WORD {
        tracing::warn!(
            behind_s = behind.as_millis() / 1_000,
            "the machine's clock was set back while no coordinator ran: going on from the time it was, so that nothing is late; \
             times that are shown are ahead of the machine's clock by as much"
        );
    }
    let noted =
        [(MARK, Some(now.as_millis())), (MACHINE_AT, Some(now.as_millis() - since_start)), (MACHINE, machine_start)];
    let note = || {
        let transaction = connection.unchecked_transaction()?;
        transaction.execute("DELETE FROM meta WHERE name IN (?1, ?2, ?3)", params![MARK, MACHINE_AT, MACHINE])?;
        noted.into_iter().filter_map(|(name, value)| Some((name, value?))).try_for_each(|it| keep(&transaction, it))?;
        transaction.commit()
    };
    // A full disk does not keep a coordinator from starting; what an earlier process has noted is as good.
    if let Err(error) = note() {
        tracing::warn!(%error, "the time of this start could not be noted");
    }
    if behind == Span::ZERO {
        return Ok(clock);
    }
    Ok(Arc::new(move || clock().plus(behind)))
}

/// Notes the time of a transaction in it.
pub(super) fn mark(connection: &Connection, now: Timestamp) -> rusqlite::Result<()> {
    keep(connection, (MARK, now.as_millis()))
}

fn keep(connection: &Connection, (name, value): (&str, i64)) -> rusqlite::Result<()> {
    let sql = "INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    connection.prepare_cached(sql)?.execute(params![name, value]).map(drop)
}

fn kept(connection: &Connection, name: &str) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT value FROM meta WHERE name = ?1";
    connection.query_row(sql, params![name], |row| row.get(0)).optional()
}
