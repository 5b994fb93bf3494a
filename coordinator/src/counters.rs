//! Totals since the start, for people and for the tests' oracles.

use std::fmt::Debug;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// One number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Total(AtomicU64);

impl Total {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What the coordinator counts.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) commits: Total,
    pub(crate) event_rows: Total,
    pub(crate) attempts: Total,
    pub(crate) zombie_results: Total,
    /// About attempts that their sender did not hold.
    pub(crate) foreign_messages: Total,
    /// By the place of the reason in [`Refused::ALL`].
    refused_joins: [Total; Refused::ALL.len()],
    runs_in_memory: AtomicI64,
}

impl Counters {
    /// A partition holds this many more runs than before.
    pub(crate) fn runs_changed(&self, by: i64) {
        self.runs_in_memory.fetch_add(by, Ordering::Relaxed);
    }

    /// Somebody was not let in: a connection, a call or a stream.
    pub(crate) fn refuse(&self, refused: Refused, who: &dyn Debug) {
        self.refused_joins[refused as usize].add(1);
        tracing::warn!(reason = refused.as_str(), ?who, "refused");
    }

    /// Who was not let in, by reason.
    pub(crate) fn refused_joins(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Refused::ALL.iter().map(|refused| (refused.as_str(), self.refused_joins[*refused as usize].get()))
    }

    pub(crate) fn runs_in_memory(&self) -> u64 {
        self.runs_in_memory.load(Ordering::Relaxed).max(0) as u64
    }
}

/// Why somebody is not let in. The names are stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Plaintext where it is not taken.
    Plaintext,
    /// Another process than the coordinator's own.
    WrongSecret,
    /// Nothing came in time, or the connection broke off.
    Silent,
    /// Too many without a certificate at once.
    Crowd,
    /// TLS that the coordinator does not speak.
    BadHandshake,
    /// The other end does not trust this coordinator.
    Distrusted,
    /// A certificate of another authority.
    OtherAuthority,
    /// A certificate that names no member of this cluster.
    BadCertificate,
    /// A certificate that has ended, or does not count yet.
    CertificateExpired,
    /// A call that needs a certificate, without one.
    NoCertificate,
    /// A certificate or a token of another role.
    WrongRole,
    /// A stream under another id than the certificate's.
    WrongAgent,
    /// A token that is none.
    TokenUnknown,
    /// A token that somebody has used.
    TokenUsed,
    /// A token whose time is over.
    TokenExpired,
    /// A token that was revoked.
    TokenRevoked,
    /// An id that belongs to another key.
    IdTaken,
}

impl Refused {
    pub(crate) const ALL: [Refused; 17] = [
        Refused::Plaintext,
        Refused::WrongSecret,
        Refused::Silent,
        Refused::Crowd,
        Refused::BadHandshake,
        Refused::Distrusted,
        Refused::OtherAuthority,
        Refused::BadCertificate,
        Refused::CertificateExpired,
        Refused::NoCertificate,
        Refused::WrongRole,
        Refused::WrongAgent,
        Refused::TokenUnknown,
        Refused::TokenUsed,
        Refused::TokenExpired,
        Refused::TokenRevoked,
        Refused::IdTaken,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Refused::Plaintext => "plaintext",
            Refused::WrongSecret => "wrong_secret",
            Refused::Silent => "silent",
            Refused::Crowd => "crowd",
            Refused::BadHandshake => "bad_handshake",
            Refused::Distrusted => "distrusted",
            Refused::OtherAuthority => "other_authority",
            Refused::BadCertificate => "bad_certificate",
            Refused::CertificateExpired => "certificate_expired",
            Refused::NoCertificate => "no_certificate",
            Refused::WrongRole => "wrong_role",
            Refused::WrongAgent => "wrong_agent",
            Refused::TokenUnknown => "token_unknown",
            Refused::TokenUsed => "token_used",
            Refused::TokenExpired => "token_expired",
            Refused::TokenRevoked => "token_revoked",
            Refused::IdTaken => "id_taken",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_counted_by_itself() {
        let counters = Counters::default();
        Refused::ALL
            .iter()
            .for_each(|refused| (0..=*refused as usize).for_each(|_| counters.refuse(*refused, &"test")));
        let counted: Vec<_> = counters.refused_joins().collect();
        let expected: Vec<_> = Refused::ALL.iter().zip(1..).map(|(refused, count)| (refused.as_str(), count)).collect();
        assert_eq!(counted, expected);
    }
}
