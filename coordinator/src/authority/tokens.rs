//! Join tokens: minted here, kept as a MAC, shown once, used once.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use heddle_core::id::{JoinTokenId, Slot, Subject};
use heddle_core::time::{Span, Timestamp};
use heddle_core::value::Digest;
use heddle_proto::join_token;
use heddle_trust::Role;
use heddle_trust::files::{self, write_private};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::{Authority, AuthorityError, GATEWAY_TOKEN_FILE};
use crate::journal::JournalError;
use crate::limits::{FIRST_GATEWAY_TOKEN_TTL, JOIN_AGAIN};
use crate::members::{JoinTokenRow, Members, Redeem};

/// Makes tokens, and takes them.
#[derive(Clone)]
pub(crate) struct Tokens {
    pub(super) members: Arc<dyn Members>,
    key: [u8; 32],
    pub(super) authority: [u8; 32],
}

/// Why a token is not taken.
#[derive(Debug)]
pub(crate) enum Denial {
    /// It has another form.
    Malformed,
    /// It names another authority, or none of ours.
    Unknown,
    /// Somebody has used it.
    Used {
        /// Who.
        by: Arc<str>,
    },
    /// Its time is over.
    Expired,
    /// It was revoked.
    Revoked,
    /// It is for another role.
    OtherRole {
        /// Which.
        role: Role,
    },
    /// Another key has joined under this id.
    IdTaken,
    /// The database.
    Journal(JournalError),
}

/// Who wants to use a token.
#[derive(Debug, Clone)]
pub(crate) struct Newcomer {
    pub(crate) role: Role,
    pub(crate) id: Arc<str>,
    /// SHA-256 of the public key.
    pub(crate) key: [u8; 32],
}

impl Tokens {
    pub(crate) fn new(members: Arc<dyn Members>, authority: &Authority) -> Self {
        Self { members, key: authority.token_key(), authority: authority.fingerprint() }
    }

    /// Makes a token; its text is known to nobody else, and cannot be read again.
    pub(crate) async fn create(
        &self,
        role: Role,
        subject: Subject,
        ttl: Span,
        now: Timestamp,
    ) -> Result<(String, JoinTokenRow), JournalError> {
        let text = join_token::mint(&rand::random(), &self.authority);
        let row = JoinTokenRow {
            id: JoinTokenId::new(now, Slot(0), u128::from(rand::random::<u64>())),
            role,
            subject,
            created_at: now,
            expires_at: now.plus(ttl),
            used: None,
            revoked_at: None,
        };
        self.members.put_join_token(self.mac(&text), row.clone()).await?;
        Ok((text, row))
    }

    /// Uses a token up. Who lost the answer may ask again with the same key for a while.
    pub(crate) async fn redeem(&self, text: &str, newcomer: &Newcomer, now: Timestamp) -> Result<JoinTokenRow, Denial> {
        let authority = join_token::fingerprint(text).map_err(|_| Denial::Malformed)?;
        if authority != self.authority {
            return Err(Denial::Unknown);
        }
        let mac = self.mac(text);
        // Read first: what cannot be used must not make the database write.
        let found = self.members.join_token(mac).await.map_err(Denial::Journal)?;
        self.look(found.as_ref(), newcomer, now)?;
        let redeem = Redeem {
            mac,
            role: newcomer.role,
            member: Arc::clone(&newcomer.id),
            key: Digest(newcomer.key),
            now,
            again: JOIN_AGAIN,
        };
        if let Some(row) = self.members.redeem_join_token(redeem).await.map_err(Denial::Journal)? {
            return Ok(row);
        }
        // Somebody was faster, or the id belongs to another key.
        let found = self.members.join_token(mac).await.map_err(Denial::Journal)?;
        self.look(found.as_ref(), newcomer, now)?;
        Err(Denial::IdTaken)
    }

    /// What is wrong with a token, by its row.
    fn look(&self, row: Option<&JoinTokenRow>, newcomer: &Newcomer, now: Timestamp) -> Result<(), Denial> {
        let row = row.ok_or(Denial::Unknown)?;
        if row.role != newcomer.role {
            return Err(Denial::OtherRole { role: row.role });
        }
        if row.revoked_at.is_some() {
            return Err(Denial::Revoked);
        }
        match &row.used {
            None if row.expires_at <= now => Err(Denial::Expired),
            None => Ok(()),
            Some(used) => {
                let is_same = used.by == newcomer.id && used.key == Digest(newcomer.key);
                let is_soon = used.at.plus(JOIN_AGAIN) > now;
                if is_same && is_soon { Ok(()) } else { Err(Denial::Used { by: Arc::clone(&used.by) }) }
            }
        }
    }

    /// The first gateway has nobody to ask for a token: as long as none has joined, each start keeps one that can be used
    /// in the data folder; later only if it is asked to. Gives the file.
    pub(crate) async fn first_gateway(
        &self,
        data_dir: &Path,
        is_asked: bool,
        now: Timestamp,
    ) -> Result<Option<PathBuf>, AuthorityError> {
        if !is_asked && self.members.has_joined(Role::Gateway).await.map_err(AuthorityError::Journal)? {
            return Ok(None);
        }
        let path = data_dir.join(GATEWAY_TOKEN_FILE);
        let failed = |source| AuthorityError::File { path: path.display().to_string(), source };
        if let Some(kept) = files::read(&path).map_err(failed)? {
            let row = self.members.join_token(self.mac(kept.trim())).await.map_err(AuthorityError::Journal)?;
            if row.is_some_and(|row| row.used.is_none() && row.revoked_at.is_none() && row.expires_at > now) {
                return Ok(Some(path));
            }
        }
        let made = self.create(Role::Gateway, "first-gateway".into(), FIRST_GATEWAY_TOKEN_TTL, now).await;
        let (text, _) = made.map_err(AuthorityError::Journal)?;
        write_private(&path, format!("{text}\n").as_bytes()).map_err(failed)?;
        Ok(Some(path))
    }

    fn mac(&self, text: &str) -> Digest {
        #[allow(clippy::unwrap_used, reason = "HMAC takes keys of any length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).unwrap();
        mac.update(text.as_bytes());
        Digest(mac.finalize().into_bytes().into())
    }
}
