//! Rows about members in memory, for tests.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use heddle_core::id::{AgentId, JoinTokenId};
use heddle_core::time::Timestamp;
use heddle_core::value::Digest;
use heddle_trust::Role;

use super::{DrainRow, JOIN_TOKENS_LISTED_MAX, JoinTokenRow, Members, NodePauseRow, Redeem, Use};
use crate::journal::Answer;
use crate::journal::memory::{MemoryJournal, answer};

/// The tables.
#[derive(Default)]
pub(crate) struct MemberRows {
    tokens: BTreeMap<Digest, JoinTokenRow>,
    drains: BTreeMap<AgentId, DrainRow>,
    pauses: BTreeMap<Arc<str>, NodePauseRow>,
}

impl Members for MemoryJournal {
    fn put_join_token(&self, mac: Digest, row: JoinTokenRow) -> Answer<()> {
        self.tables().members.tokens.insert(mac, row);
        answer(())
    }

    fn join_tokens(&self) -> Answer<Vec<JoinTokenRow>> {
        let mut rows: Vec<_> = self.tables().members.tokens.values().cloned().collect();
        rows.sort_by_key(|row| Reverse(row.id));
        rows.truncate(JOIN_TOKENS_LISTED_MAX);
        answer(rows)
    }

    fn join_token(&self, mac: Digest) -> Answer<Option<JoinTokenRow>> {
        answer(self.tables().members.tokens.get(&mac).cloned())
    }

    fn redeem_join_token(&self, redeem: Redeem) -> Answer<Option<JoinTokenRow>> {
        let tokens = &mut self.tables().members.tokens;
        let is_other = |row: &JoinTokenRow| {
            let used = row.used.as_ref().filter(|used| used.by == redeem.member && row.role == redeem.role);
            used.is_some_and(|used| used.key != redeem.key)
        };
        let has_other_key = tokens.values().any(is_other);
        let fits = |row: &JoinTokenRow| match &row.used {
            _ if row.role != redeem.role || row.revoked_at.is_some() => false,
            None => row.expires_at > redeem.now && !has_other_key,
            Some(used) => {
                let until = used.at.plus(redeem.again);
                used.by == redeem.member && used.key == redeem.key && until > redeem.now
            }
        };
        let row = tokens.get_mut(&redeem.mac).filter(|row| fits(row));
        answer(row.map(|row| {
            let at = row.used.as_ref().map_or(redeem.now, |used| used.at);
            row.used = Some(Use { at, by: redeem.member, key: redeem.key });
            row.clone()
        }))
    }

    fn revoke_join_token(&self, id: JoinTokenId, at: Timestamp) -> Answer<Option<JoinTokenRow>> {
        let tokens = &mut self.tables().members.tokens;
        let row = tokens.values_mut().find(|row| row.id == id);
        answer(row.map(|row| {
            if row.used.is_none() {
                row.revoked_at = row.revoked_at.or(Some(at));
            }
            row.clone()
        }))
    }

    fn has_joined(&self, role: Role) -> Answer<bool> {
        answer(self.tables().members.tokens.values().any(|row| row.role == role && row.used.is_some()))
    }

    fn put_drain(&self, drain: DrainRow) -> Answer<()> {
        self.tables().members.drains.entry(drain.agent.clone()).or_insert(drain);
        answer(())
    }

    fn remove_drain(&self, agent: AgentId) -> Answer<bool> {
        answer(self.tables().members.drains.remove(&agent).is_some())
    }

    fn drains(&self) -> Answer<Vec<DrainRow>> {
        answer(self.tables().members.drains.values().cloned().collect())
    }

    fn put_node_pause(&self, pause: NodePauseRow) -> Answer<NodePauseRow> {
        let mut tables = self.tables();
        let kept = tables.members.pauses.entry(Arc::clone(&pause.node_type)).or_insert_with(|| pause.clone());
        if pause.reason.is_some() {
            *kept = NodePauseRow { since: kept.since, ..pause };
        }
        answer(kept.clone())
    }

    fn remove_node_pause(&self, node_type: Arc<str>) -> Answer<bool> {
        answer(self.tables().members.pauses.remove(&node_type).is_some())
    }

    fn node_pauses(&self) -> Answer<Vec<NodePauseRow>> {
        answer(self.tables().members.pauses.values().cloned().collect())
    }
}
