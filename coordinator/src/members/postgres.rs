//! Rows about members on PostgreSQL.

use std::sync::Arc;

use futures::FutureExt as _;
use heddle_core::id::{AgentId, JoinTokenId, Subject};
use heddle_core::time::Timestamp;
use heddle_core::value::Digest;
use heddle_trust::Role;
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::{
    DrainRow, JOIN_TOKENS_LISTED_MAX, JoinTokenRow, Members, NodePauseRow, Redeem, role_from_row, role_to_row, used,
};
use crate::journal::Answer;
use crate::journal::postgres::{PostgresJournal, Trouble, id, time};

type Result<T> = std::result::Result<T, Trouble>;

/// The columns that [`join_token`] reads, in its order.
macro_rules! columns {
    () => {
        "id, role, subject, created_at, expires_at, used_at, used_by, used_key, revoked_at"
    };
}

impl Members for PostgresJournal {
    fn put_join_token(&self, mac: Digest, row: JoinTokenRow) -> Answer<()> {
        self.ask("keep a join token", move |connection| {
            async move {
                let sql = "INSERT INTO join_token (id, mac, role, subject, created_at, expires_at)
                           VALUES ($1, $2, $3, $4, $5, $6)";
                let query = sqlx::query(sql).bind(row.id.to_bytes()).bind(mac.0).bind(role_to_row(row.role));
                let query = query.bind(&*row.subject.0).bind(row.created_at.as_millis());
                query.bind(row.expires_at.as_millis()).execute(connection).await?;
                Ok(())
            }
            .boxed()
        })
    }

    fn join_tokens(&self) -> Answer<Vec<JoinTokenRow>> {
        self.ask("read join tokens", |connection| {
            async move {
                let sql = concat!("SELECT ", columns!(), " FROM join_token ORDER BY id DESC LIMIT $1");
                let rows = sqlx::query(sql).bind(JOIN_TOKENS_LISTED_MAX as i64).fetch_all(connection).await?;
                rows.iter().map(join_token).collect()
            }
            .boxed()
        })
    }

    fn join_token(&self, mac: Digest) -> Answer<Option<JoinTokenRow>> {
        self.ask("read a join token", move |connection| {
            async move {
                let sql = concat!("SELECT ", columns!(), " FROM join_token WHERE mac = $1");
                sqlx::query(sql).bind(mac.0).fetch_optional(connection).await?.as_ref().map(join_token).transpose()
            }
            .boxed()
        })
    }

    fn redeem_join_token(&self, redeem: Redeem) -> Answer<Option<JoinTokenRow>> {
        self.ask("use a join token", move |connection| {
            async move {
                let sql = concat!(
                    "UPDATE join_token SET used_at = coalesce(used_at, $5), used_by = $3, used_key = $4
                     WHERE mac = $1 AND role = $2 AND revoked_at IS NULL AND (
                         (used_at IS NULL AND expires_at > $5 AND NOT EXISTS (SELECT 1 FROM join_token AS other
                             WHERE other.used_by = $3 AND other.role = $2 AND other.used_key <> $4))
                         OR (used_by = $3 AND used_key = $4 AND used_at > $6))
                     RETURNING ",
                    columns!()
                );
                let now = redeem.now.as_millis();
                let query = sqlx::query(sql).bind(redeem.mac.0).bind(role_to_row(redeem.role)).bind(&*redeem.member);
                let query = query.bind(redeem.key.0).bind(now).bind(now - redeem.again.as_millis() as i64);
                query.fetch_optional(connection).await?.as_ref().map(join_token).transpose()
            }
            .boxed()
        })
    }

    fn revoke_join_token(&self, id: JoinTokenId, at: Timestamp) -> Answer<Option<JoinTokenRow>> {
        self.ask("revoke a join token", move |connection| {
            async move {
                let sql = concat!(
                    "UPDATE join_token SET revoked_at = CASE WHEN used_at IS NULL THEN coalesce(revoked_at, $2)
                     ELSE revoked_at END WHERE id = $1 RETURNING ",
                    columns!()
                );
                let query = sqlx::query(sql).bind(id.to_bytes()).bind(at.as_millis());
                query.fetch_optional(connection).await?.as_ref().map(join_token).transpose()
            }
            .boxed()
        })
    }

    fn has_joined(&self, role: Role) -> Answer<bool> {
        self.ask("read join tokens", move |connection| {
            async move {
                let sql = "SELECT EXISTS (SELECT 1 FROM join_token WHERE role = $1 AND used_at IS NOT NULL)";
                Ok(sqlx::query(sql).bind(role_to_row(role)).fetch_one(connection).await?.try_get(0)?)
            }
            .boxed()
        })
    }

    fn put_drain(&self, drain: DrainRow) -> Answer<()> {
        self.ask("drain an agent", move |connection| {
            async move {
                let sql = "INSERT INTO agent_drain (agent, since, subject) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
                let query = sqlx::query(sql).bind(&*drain.agent.0).bind(drain.since.as_millis());
                query.bind(&*drain.subject.0).execute(connection).await?;
                Ok(())
            }
            .boxed()
        })
    }

    fn remove_drain(&self, agent: AgentId) -> Answer<bool> {
        self.ask("resume an agent", move |connection| {
            async move {
                let sql = "DELETE FROM agent_drain WHERE agent = $1";
                Ok(sqlx::query(sql).bind(&*agent.0).execute(connection).await?.rows_affected() == 1)
            }
            .boxed()
        })
    }

    fn drains(&self) -> Answer<Vec<DrainRow>> {
        self.ask("read drains", |connection| {
            async move {
                let sql = "SELECT agent, since, subject FROM agent_drain ORDER BY agent";
                sqlx::query(sql).fetch_all(connection).await?.iter().map(drain).collect()
            }
            .boxed()
        })
    }

    fn put_node_pause(&self, pause: NodePauseRow) -> Answer<NodePauseRow> {
        self.ask("pause a node type", move |connection| {
            async move {
                // A newer reason stands, with who gave it; the row comes back in any case, whoever has written it.
                let sql = "INSERT INTO node_pause (node_type, since, subject, reason) VALUES ($1, $2, $3, $4)
                           ON CONFLICT (node_type) DO UPDATE SET reason = coalesce(excluded.reason, node_pause.reason),
                           subject = CASE WHEN excluded.reason IS NULL THEN node_pause.subject ELSE excluded.subject END
                           RETURNING node_type, since, subject, reason";
                let query = sqlx::query(sql).bind(&*pause.node_type).bind(pause.since.as_millis());
                let query = query.bind(&*pause.subject.0).bind(pause.reason.as_deref());
                node_pause(&query.fetch_one(connection).await?)
            }
            .boxed()
        })
    }

    fn remove_node_pause(&self, node_type: Arc<str>) -> Answer<bool> {
        self.ask("let a node type go on", move |connection| {
            async move {
                let sql = "DELETE FROM node_pause WHERE node_type = $1";
                Ok(sqlx::query(sql).bind(&*node_type).execute(connection).await?.rows_affected() == 1)
            }
            .boxed()
        })
    }

    fn node_pauses(&self) -> Answer<Vec<NodePauseRow>> {
        self.ask("read pauses of node types", |connection| {
            async move {
                let sql = "SELECT node_type, since, subject, reason FROM node_pause ORDER BY node_type";
                sqlx::query(sql).fetch_all(connection).await?.iter().map(node_pause).collect()
            }
            .boxed()
        })
    }
}

fn drain(row: &PgRow) -> Result<DrainRow> {
    Ok(DrainRow {
        agent: AgentId(row.try_get::<String, _>(0)?.into()),
        since: time(row, 1)?,
        subject: Subject(row.try_get::<String, _>(2)?.into()),
    })
}

fn node_pause(row: &PgRow) -> Result<NodePauseRow> {
    Ok(NodePauseRow {
        node_type: row.try_get::<String, _>(0)?.into(),
        since: time(row, 1)?,
        subject: Subject(row.try_get::<String, _>(2)?.into()),
        reason: row.try_get::<Option<String>, _>(3)?.map(Into::into),
    })
}

fn join_token(row: &PgRow) -> Result<JoinTokenRow> {
    Ok(JoinTokenRow {
        id: JoinTokenId(id(row, 0)?),
        role: role_from_row(row.try_get(1)?)?,
        subject: Subject(row.try_get::<String, _>(2)?.into()),
        created_at: time(row, 3)?,
        expires_at: time(row, 4)?,
        used: used(row.try_get(5)?, row.try_get(6)?, row.try_get(7)?),
        revoked_at: row.try_get::<Option<i64>, _>(8)?.map(Timestamp::from_millis),
    })
}
