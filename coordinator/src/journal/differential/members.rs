//! Operations on rows about members.

use std::sync::Arc;

use heddle_core::id::{AgentId, JoinTokenId};
use heddle_core::time::Span;
use heddle_core::value::Digest;
use heddle_trust::Role;

use super::{Pair, same};
use crate::members::{DrainRow, JoinTokenRow, Members as _, NodePauseRow, Redeem};

pub(super) const OPERATIONS: &[&str] = &[
    "put_join_token",
    "join_tokens",
    "redeem_join_token",
    "redeem_join_token again",
    "redeem_join_token of another key",
    "revoke_join_token",
    "has_joined",
    "drain",
    "resume",
    "pause a node type",
    "let a node type go on",
];

impl Pair {
    pub(super) async fn perform_members(&mut self, operation: &str) -> bool {
        match operation {
            "put_join_token" => {
                self.join_token().await;
                true
            }
            "join_tokens" => same!(self, join_tokens()).unwrap().len() > 1,
            "redeem_join_token" => {
                let mac = self.join_token().await;
                let redeem = self.redeem(mac);
                let redeemed = same!(self, redeem_join_token(redeem)).unwrap();
                same!(self, join_token(mac)).unwrap();
                redeemed.is_some()
            }
            "redeem_join_token again" => {
                let mac = self.join_token().await;
                let first = self.redeem(mac);
                let first_time = same!(self, redeem_join_token(first)).unwrap();
                self.clock.advance(3_000);
                let redeem = Redeem { now: self.clock.now(), ..first };
                let redeem = if self.draw.below(3) == 0 { self.redeem(mac) } else { redeem };
                first_time.is_some() && same!(self, redeem_join_token(redeem)).unwrap().is_some()
            }
            "redeem_join_token of another key" => {
                let (mac, other) = (self.join_token().await, self.join_token().await);
                let first = self.redeem(mac);
                let redeem = Redeem { mac: other, key: self.draw.digest(), ..first.clone() };
                let first_time = same!(self, redeem_join_token(first)).unwrap();
                first_time.is_some() && same!(self, redeem_join_token(redeem)).unwrap().is_none()
            }
            "revoke_join_token" => {
                let mac = self.join_token().await;
                let row = same!(self, join_token(mac)).unwrap().unwrap();
                let at = self.clock.now();
                let absent = JoinTokenId(row.id.0 ^ 1);
                assert_eq!(same!(self, revoke_join_token(absent, at)).unwrap(), None);
                let id = row.id;
                let revoked = same!(self, revoke_join_token(id, at)).unwrap().unwrap();
                let redeem = self.redeem(mac);
                same!(self, redeem_join_token(redeem)).unwrap();
                same!(self, revoke_join_token(id, at)).unwrap();
                revoked.revoked_at.is_some()
            }
            "has_joined" => {
                let role = self.role();
                same!(self, has_joined(role)).unwrap()
            }
            "drain" => {
                let drain = DrainRow { agent: self.agent(), since: self.clock.now(), subject: "somebody".into() };
                same!(self, put_drain(drain)).unwrap();
                same!(self, drains()).unwrap().len() > 1
            }
            "resume" => {
                let agent = self.agent();
                let is_gone = same!(self, remove_drain(agent)).unwrap();
                same!(self, drains()).unwrap();
                is_gone
            }
            "pause a node type" => {
                let (node_type, since) = (self.node_type(), self.clock.now());
                let reason = (self.draw.below(2) == 0).then(|| "too dear".into());
                let pause = NodePauseRow { node_type, since, subject: "somebody".into(), reason };
                let kept = same!(self, put_node_pause(pause)).unwrap();
                let silent = NodePauseRow { subject: "another".into(), reason: None, ..kept.clone() };
                assert_eq!(same!(self, put_node_pause(silent)).unwrap(), kept, "without a reason nothing changes");
                let newer = NodePauseRow { subject: "another".into(), reason: Some("down".into()), ..kept };
                let again = NodePauseRow { since: newer.since.plus(Span::from_millis(1)), ..newer.clone() };
                assert_eq!(
                    same!(self, put_node_pause(again)).unwrap(),
                    newer,
                    "the newer reason stands, since the first"
                );
                same!(self, node_pauses()).unwrap().len() > 1
            }
            "let a node type go on" => {
                let node_type = self.node_type();
                let is_gone = same!(self, remove_node_pause(node_type)).unwrap();
                same!(self, node_pauses()).unwrap();
                is_gone
            }
            unknown => panic!("{unknown} is not an operation"),
        }
    }

    async fn join_token(&mut self) -> Digest {
        let (now, expires_at) = (self.clock.now(), self.draw.time_near(self.clock.now()));
        let row = JoinTokenRow {
            id: JoinTokenId(self.draw.from(0..u128::MAX)),
            role: self.role(),
            subject: "somebody".into(),
            created_at: now,
            expires_at,
            used: None,
            revoked_at: None,
        };
        let mac = Digest(self.draw.from(proptest::array::uniform32(0..=255u8)));
        same!(self, put_join_token(mac, row)).unwrap();
        mac
    }

    fn redeem(&mut self, mac: Digest) -> Redeem {
        Redeem {
            mac,
            role: self.role(),
            member: self.draw.from("[a-z]{1,2}").into(),
            key: self.draw.digest(),
            now: self.clock.now(),
            again: Span::from_millis(5_000),
        }
    }

    fn role(&mut self) -> Role {
        self.draw.one_of(&[Role::Agent, Role::Gateway])
    }

    fn node_type(&mut self) -> Arc<str> {
        self.draw.one_of(&["llm:chat", "http:request", "a"]).into()
    }

    fn agent(&mut self) -> AgentId {
        AgentId::from(self.draw.one_of(&["a", "b", "c"]))
    }
}
