//! Names of members: `spiffe://CLUSTER/ROLE/ID`.

use std::fmt;
use std::str::FromStr;

use crate::limits::ID_BYTES_MAX;

const SCHEME: &str = "spiffe://";

/// What a member does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Does the work.
    Agent,
    /// Speaks REST.
    Gateway,
    /// Decides.
    Coordinator,
}

impl Role {
    /// As it stands in names.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Agent => "agent",
            Role::Gateway => "gateway",
            Role::Coordinator => "coordinator",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is none of the roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a role: expected agent or gateway")]
pub struct UnknownRole;

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        [Role::Agent, Role::Gateway, Role::Coordinator]
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or(UnknownRole)
    }
}

/// Who a certificate says its holder is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The cluster.
    pub cluster: String,
    /// What the member does.
    pub role: Role,
    /// Which of them it is.
    pub id: String,
}

impl Member {
    /// As certificates say it.
    pub fn uri(&self) -> String {
        format!("{SCHEME}{}/{}/{}", self.cluster, self.role, self.id)
    }

    /// The member that a URI names; nothing if it is no name of ours.
    pub fn from_uri(uri: &str) -> Option<Self> {
        let mut parts = uri.strip_prefix(SCHEME)?.split('/');
        let (cluster, role, id) = (parts.next()?, parts.next()?, parts.next()?);
        let is_whole = parts.next().is_none() && is_id(cluster) && is_id(id);
        is_whole.then_some(())?;
        Some(Self { cluster: cluster.to_owned(), role: role.parse().ok()?, id: id.to_owned() })
    }
}

/// The name of a cluster, as the certificate of its authority says it.
pub(crate) fn cluster_of_uri(uri: &str) -> Option<&str> {
    uri.strip_prefix(SCHEME).filter(|cluster| is_id(cluster))
}

/// Whether a text can be an id inside a name.
pub fn is_id(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !text.is_empty() && text.len() <= ID_BYTES_MAX && text.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for role in [Role::Agent, Role::Gateway, Role::Coordinator] {
            let member = Member { cluster: "c1".into(), role, id: "agt_01".into() };
            assert_eq!(Member::from_uri(&member.uri()), Some(member));
        }
    }

    #[test]
    fn what_is_no_name_is_none() {
        for uri in [
            "",
            "spiffe://",
            "spiffe://c",
            "spiffe://c/agent",
            "spiffe://c/agent/",
            "spiffe://c/agent/a/b",
            "spiffe://c/root/a",
            "spiffe:///agent/a",
            "https://c/agent/a",
            "spiffe://c/agent/a b",
            "spiffe://c/Agent/a",
        ] {
            assert_eq!(Member::from_uri(uri), None, "{uri}");
        }
        assert!(!is_id(&"a".repeat(ID_BYTES_MAX + 1)));
    }
}
