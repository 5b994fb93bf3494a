//! Names, resolved to addresses of the public internet only.

use std::net::SocketAddr;
use std::sync::Arc;

use hickory_resolver::Resolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use thiserror::Error;

use crate::address::is_public;
use crate::limits::{NAME_TIME_MAX, NAME_TRIES_MAX};

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

/// Asks one DNS server, anew for each connection: nothing of its answers is kept, and no file of this machine is read.
#[derive(Debug, Clone, Copy)]
pub struct NameServer {
    address: SocketAddr,
}

impl NameServer {
    /// The one at this address.
    pub fn at(address: SocketAddr) -> Self {
        Self { address }
    }

    fn config(self) -> ResolverConfig {
        let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
            connection.port = self.address.port();
            connection
        });
        let server = NameServerConfig::new(self.address.ip(), true, connections.into());
        ResolverConfig::from_name_servers(vec![server])
    }
}

fn options() -> ResolverOpts {
    let mut options = ResolverOpts::default();
    options.timeout = NAME_TIME_MAX;
    options.attempts = NAME_TRIES_MAX;
    options.cache_size = 0;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.use_hosts_file = ResolveHosts::Never;
    options
}

impl Resolve for NameServer {
    fn resolve(&self, name: Name) -> Resolving {
        let builder = Resolver::builder_with_config(self.config(), TokioRuntimeProvider::default());
        Box::pin(async move {
            let found = builder.with_options(options()).build()?.lookup_ip(name.as_str()).await?;
            let found: Vec<SocketAddr> = found.iter().map(|address| SocketAddr::new(address, 0)).collect();
            Ok(Box::new(found.into_iter()) as Addrs)
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
