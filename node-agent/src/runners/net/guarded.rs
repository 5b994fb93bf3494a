//! The way to real servers: the public internet, and what the operator allows beside it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use heddle_address_guard::{GuardError, Inside, Policy, System, Vetted};
use reqwest::Url;
use reqwest::dns::{Name, Resolve, Resolving};

use super::{Denied, Egress};

/// Lets through what the address guard lets through: https on its ports to the public internet, and the addresses of its
/// policy. A credential that allows private servers opens its own hosts on any port, by http too.
#[derive(Clone)]
pub struct Guarded {
    policy: Arc<Policy>,
    names: Arc<dyn Resolve>,
}

impl Default for Guarded {
    /// The public internet alone.
    fn default() -> Self {
        Self::new(Policy::default())
    }
}

impl Guarded {
    /// With the resolver of this machine.
    pub fn new(policy: Policy) -> Self {
        Self::with_names(policy, Arc::new(System))
    }

    /// With another resolver.
    pub fn with_names(policy: Policy, names: Arc<dyn Resolve>) -> Self {
        Self { policy: Arc::new(policy), names }
    }
}

impl fmt::Debug for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guarded").field("policy", &self.policy).finish_non_exhaustive()
    }
}

impl Egress for Guarded {
    fn judge(&self, url: &Url, is_private_allowed: bool) -> Result<(), Denied> {
        // The operator has named the host, and the credential goes to it alone.
        if is_private_allowed && matches!(url.scheme(), "http" | "https") {
            return Ok(());
        }
        self.policy.judge(url).map_err(|error| denied(&error))
    }

    fn may_reach(&self, peer: SocketAddr, is_private_allowed: bool) -> bool {
        is_private_allowed || self.policy.may_reach(peer)
    }

    fn resolver(&self, is_private_allowed: bool) -> Arc<dyn Resolve> {
        let names = Arc::clone(&self.names);
        if is_private_allowed { names } else { Arc::new(Outside(Vetted::over(names))) }
    }
}

fn denied(error: &GuardError) -> Denied {
    Denied(format!("{error}; for a server of your own, name a credential that is set with --allow-private"))
}

/// Says no in the words of this crate.
struct Outside(Vetted);

impl Resolve for Outside {
    fn resolve(&self, name: Name) -> Resolving {
        let found = self.0.resolve(name);
        Box::pin(async move {
            found.await.map_err(|error| match error.is::<Inside>() {
                true => Box::new(denied(&GuardError::Denied)) as _,
                false => error,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use reqwest::dns::Addrs;

    use super::*;

    /// Answers with the next address each time, and with the last for ever.
    struct Turning(Vec<SocketAddr>, AtomicUsize);

    impl Resolve for Turning {
        fn resolve(&self, _: Name) -> Resolving {
            let turn = self.1.fetch_add(1, Ordering::Relaxed).min(self.0.len() - 1);
            let found = vec![self.0[turn]];
            Box::pin(async { Ok(Box::new(found.into_iter()) as Addrs) })
        }
    }

    #[tokio::test]
    async fn a_name_that_turns_inside_is_not_followed() {
        let turning = Turning(vec!["1.1.1.1:0".parse().unwrap(), "127.0.0.1:0".parse().unwrap()], AtomicUsize::new(0));
        let guarded = Guarded::with_names(Policy::default(), Arc::new(turning));
        let resolver = guarded.resolver(false);
        let name = || "turning.test".parse::<Name>().unwrap();
        let first: Vec<SocketAddr> = resolver.resolve(name()).await.unwrap().collect();
        assert_eq!(first, ["1.1.1.1:0".parse().unwrap()]);
        for _ in 0..2 {
            let error = resolver.resolve(name()).await.err().unwrap();
            assert!(error.downcast_ref::<Denied>().unwrap().0.contains("private network"), "{error}");
        }
        let allowed: Vec<SocketAddr> = guarded.resolver(true).resolve(name()).await.unwrap().collect();
        assert_eq!(allowed, ["127.0.0.1:0".parse().unwrap()], "the operator's own server may be inside");
    }

    #[test]
    fn only_a_credential_opens_the_inside() {
        let open = "127.0.0.1:11434".parse().unwrap();
        let guarded = Guarded::new(Policy { allowed: vec![open] });
        let judge = |url: &str, private| guarded.judge(&Url::parse(url).unwrap(), private).is_ok();
        for (url, alone, with_credential) in [
            ("https://example.com/", true, true),
            ("http://example.com/", false, true),
            ("https://example.com:9000/", false, true),
            ("https://127.0.0.1/", false, true),
            ("http://10.0.0.1:8000/", false, true),
            ("http://127.0.0.1:11434/v1", true, true),
            ("http://127.0.0.1:11435/v1", false, true),
            ("ftp://example.com/", false, false),
            ("https://a:b@example.com/", false, true),
        ] {
            assert_eq!((judge(url, false), judge(url, true)), (alone, with_credential), "{url}");
        }
        let inside = "127.0.0.1:1".parse().unwrap();
        assert!(guarded.may_reach(open, false) && !guarded.may_reach(inside, false) && guarded.may_reach(inside, true));
        assert!(guarded.may_reach("1.1.1.1:443".parse().unwrap(), false));
    }
}
