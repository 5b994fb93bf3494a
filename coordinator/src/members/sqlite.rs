//! Rows about members on SQLite.

use std::sync::Arc;

use heddle_core::id::{AgentId, JoinTokenId, Subject};
use heddle_core::time::Timestamp;
use heddle_core::value::Digest;
use heddle_trust::Role;
use rusqlite::types::Type;
use rusqlite::{OptionalExtension as _, Row, params};

use super::{
    DrainRow, JOIN_TOKENS_LISTED_MAX, JoinTokenRow, Members, NodePauseRow, Redeem, role_from_row, role_to_row, used,
};
use crate::journal::Answer;
use crate::journal::sqlite::SqliteJournal;
use crate::records::sqlite::{array, many, one, text};

/// The columns that [`join_token`] reads, in its order.
const COLUMNS: &str = "id, role, subject, created_at, expires_at, used_at, used_by, used_key, revoked_at";

impl Members for SqliteJournal {
    fn put_join_token(&self, mac: Digest, row: JoinTokenRow) -> Answer<()> {
        self.write("keep a join token", move |connection| {
            let sql = "INSERT INTO join_token (id, mac, role, subject, created_at, expires_at)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
            let (created_at, expires_at) = (row.created_at.as_millis(), row.expires_at.as_millis());
            let (id, role) = (row.id.to_bytes(), role_to_row(row.role));
            connection.execute(sql, params![id, mac.0, role, &*row.subject.0, created_at, expires_at]).map(drop)
        })
    }

    fn join_tokens(&self) -> Answer<Vec<JoinTokenRow>> {
        self.read(|connection| {
            let sql = format!("SELECT {COLUMNS} FROM join_token ORDER BY id DESC LIMIT ?1");
            many(connection, &sql, params![JOIN_TOKENS_LISTED_MAX as i64], join_token)
        })
    }

    fn join_token(&self, mac: Digest) -> Answer<Option<JoinTokenRow>> {
        self.read(move |connection| {
            let sql = format!("SELECT {COLUMNS} FROM join_token WHERE mac = ?1");
            one(connection, &sql, params![mac.0], join_token)
        })
    }

    fn redeem_join_token(&self, redeem: Redeem) -> Answer<Option<JoinTokenRow>> {
        self.write("use a join token", move |connection| {
            let sql = format!(
                "UPDATE join_token SET used_at = coalesce(used_at, ?5), used_by = ?3, used_key = ?4
                 WHERE mac = ?1 AND role = ?2 AND revoked_at IS NULL AND (
                     (used_at IS NULL AND expires_at > ?5 AND NOT EXISTS (SELECT 1 FROM join_token AS other
                         WHERE other.used_by = ?3 AND other.role = ?2 AND other.used_key <> ?4))
                     OR (used_by = ?3 AND used_key = ?4 AND used_at > ?6))
                 RETURNING {COLUMNS}"
            );
            let now = redeem.now.as_millis();
            let oldest = now - redeem.again.as_millis() as i64;
            let values = params![redeem.mac.0, role_to_row(redeem.role), &*redeem.member, redeem.key.0, now, oldest];
            connection.prepare_cached(&sql)?.query_row(values, join_token).optional()
        })
    }

    fn revoke_join_token(&self, id: JoinTokenId, at: Timestamp) -> Answer<Option<JoinTokenRow>> {
        self.write("revoke a join token", move |connection| {
            let sql = format!(
                "UPDATE join_token SET revoked_at = CASE WHEN used_at IS NULL THEN coalesce(revoked_at, ?2)
                 ELSE revoked_at END WHERE id = ?1 RETURNING {COLUMNS}"
            );
            let values = params![id.to_bytes(), at.as_millis()];
            connection.prepare_cached(&sql)?.query_row(values, join_token).optional()
        })
    }

    fn has_joined(&self, role: Role) -> Answer<bool> {
        self.read(move |connection| {
            let sql = "SELECT 1 FROM join_token WHERE role = ?1 AND used_at IS NOT NULL LIMIT 1";
            Ok(one(connection, sql, params![role_to_row(role)], |_| Ok(()))?.is_some())
        })
    }

    fn put_drain(&self, drain: DrainRow) -> Answer<()> {
        self.write("drain an agent", move |connection| {
            let sql = "INSERT INTO agent_drain (agent, since, subject) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
            let values = params![&*drain.agent.0, drain.since.as_millis(), &*drain.subject.0];
            connection.execute(sql, values).map(drop)
        })
    }

    fn remove_drain(&self, agent: AgentId) -> Answer<bool> {
        self.write("resume an agent", move |connection| {
            Ok(connection.execute("DELETE FROM agent_drain WHERE agent = ?1", params![&*agent.0])? == 1)
        })
    }

    fn drains(&self) -> Answer<Vec<DrainRow>> {
        self.read(|connection| {
            let sql = "SELECT agent, since, subject FROM agent_drain ORDER BY agent";
            many(connection, sql, params![], |row| {
                Ok(DrainRow {
                    agent: AgentId(text(row, 0)?),
                    since: Timestamp::from_millis(row.get(1)?),
                    subject: Subject(text(row, 2)?),
                })
            })
        })
    }

    fn put_node_pause(&self, pause: NodePauseRow) -> Answer<NodePauseRow> {
        self.write("pause a node type", move |connection| {
            // A newer reason stands, with who gave it; the row comes back in any case, whoever has written it.
            let sql = "INSERT INTO node_pause (node_type, since, subject, reason) VALUES (?1, ?2, ?3, ?4)
                       ON CONFLICT (node_type) DO UPDATE SET reason = coalesce(excluded.reason, node_pause.reason),
                       subject = CASE WHEN excluded.reason IS NULL THEN node_pause.subject ELSE excluded.subject END
                       RETURNING node_type, since, subject, reason";
            let NodePauseRow { node_type, since, subject, reason } = &pause;
            let values = params![&**node_type, since.as_millis(), &*subject.0, reason.as_deref()];
            connection.prepare_cached(sql)?.query_row(values, node_pause)
        })
    }

    fn remove_node_pause(&self, node_type: Arc<str>) -> Answer<bool> {
        self.write("let a node type go on", move |connection| {
            Ok(connection.execute("DELETE FROM node_pause WHERE node_type = ?1", params![&*node_type])? == 1)
        })
    }

    fn node_pauses(&self) -> Answer<Vec<NodePauseRow>> {
        self.read(|connection| {
            let sql = "SELECT node_type, since, subject, reason FROM node_pause ORDER BY node_type";
            many(connection, sql, params![], node_pause)
        })
    }
}

fn node_pause(row: &Row<'_>) -> rusqlite::Result<NodePauseRow> {
    Ok(NodePauseRow {
        node_type: text(row, 0)?,
        since: Timestamp::from_millis(row.get(1)?),
        subject: Subject(text(row, 2)?),
        reason: row.get::<_, Option<String>>(3)?.map(Into::into),
    })
}

fn join_token(row: &Row<'_>) -> rusqlite::Result<JoinTokenRow> {
    let wrong = |error| rusqlite::Error::FromSqlConversionFailure(1, Type::Integer, Box::new(error));
    Ok(JoinTokenRow {
        id: JoinTokenId(u128::from_be_bytes(array(row, 0)?)),
        role: role_from_row(row.get(1)?).map_err(wrong)?,
        subject: Subject(text(row, 2)?),
        created_at: Timestamp::from_millis(row.get(3)?),
        expires_at: Timestamp::from_millis(row.get(4)?),
        used: used(row.get(5)?, row.get(6)?, row.get(7)?),
        revoked_at: row.get::<_, Option<i64>>(8)?.map(Timestamp::from_millis),
    })
}
