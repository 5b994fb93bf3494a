//! Names, resolved to addresses of the public internet only.

use std::net::SocketAddr;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use thiserror::Error;

use crate::address::is_public;

/// A name leads nowhere outside.
#[derive(Debug, Error)]
#[error("the name leads into a private network only")]
pub struct Inside;

/// Asks the resolver of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct System;

impl Resolve for System {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            Ok(Box::new(found.collect::<Vec<_>>().into_iter()) as Addrs)
        })
    }
}

/// Gives of what another resolver finds the addresses of the public internet only, and fails with [`Inside`] where there is
/// none. The connector asks it for every connection and connects to what it gives: nothing is resolved a second time.
#[derive(Clone)]
pub struct Vetted(Arc<dyn Resolve>);

impl Vetted {
    /// Over this resolver.
    pub fn over(names: Arc<dyn Resolve>) -> Self {
        Self(names)
    }
}

impl Default for Vetted {
    fn default() -> Self {
        Self(Arc::new(System))
    }
}

impl Resolve for Vetted {
    fn resolve(&self, name: Name) -> Resolving {
        let found = self.0.resolve(name);
        Box::pin(async move {
            let public: Vec<SocketAddr> = found.await?.filter(|address| is_public(address.ip())).collect();
            match public.is_empty() {
                true => Err(Inside.into()),
                false => Ok(Box::new(public.into_iter()) as Addrs),
            }
        })
    }
}
