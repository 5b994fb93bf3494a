//! What the long-running commands share: their word that they are ready, and how they end.

use std::future::Future;
use std::net::{SocketAddr, TcpListener};

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

use crate::error::{Context, Exit, Failure, Result};
use crate::limits::DRAIN_WAIT_MAX;
use crate::ui::{note, print};

const LISTENING: &str = " is ready on ";
const CONNECTED: &str = " is connected to ";

/// Says on stdout that a part is ready. The line's form is stable: programs that start parts wait for it.
pub fn announce(part: &str, address: SocketAddr) -> Result<()> {
    print(&format!("heddle {part}{LISTENING}{address}"))
}

/// Says on stdout that an agent is registered at a coordinator; as stable as [`announce`].
pub fn announce_agent(coordinator: &str) -> Result<()> {
    print(&format!("heddle agent{CONNECTED}{coordinator}"))
}

/// The address in a line that [`announce`] or [`announce_agent`] wrote.
pub fn address_in(line: &str) -> Option<SocketAddr> {
    let (_, address) = line.split_once(LISTENING).or_else(|| line.split_once(CONNECTED))?;
    address.trim().parse().ok()
}

/// The next SIGTERM or SIGINT, and the one after that.
#[derive(Debug)]
pub struct Stop {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Stop {
    /// From now on signals no longer end the process by themselves.
    pub fn listen() -> Result<Self> {
        let on = |kind| signal(kind).context(Exit::Failed, "cannot listen for signals");
        Ok(Stop { terminate: on(SignalKind::terminate())?, interrupt: on(SignalKind::interrupt())? })
    }

    /// Waits for a signal.
    pub async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Lets the parts finish what they have. Gives up after [`DRAIN_WAIT_MAX`], or at the next signal: everything that
    /// was promised is durable anyway.
    pub async fn drain(&mut self, shutdown: impl Future<Output = ()>) -> Result<()> {
        tokio::select! {
            drained = timeout(DRAIN_WAIT_MAX, shutdown) => {
                heddle_telemetry::stop().await;
                if drained.is_err() {
                    note("not everything finished in time; the next start takes it up");
                }
                Ok(())
            }
            () = self.asked() => Err(Failure::new(Exit::Interrupted, "interrupted while finishing")),
        }
    }
}

/// Refuses the debug node types where others than this machine could reach them: they end processes and write files. A build
/// whose processes are there to be ended may be reached by members with a certificate, on networks that a test has made.
pub fn check_debug_nodes(debug_nodes: bool, listen: SocketAddr, is_tls: bool) -> Result<()> {
    let is_among_members = is_tls && cfg!(feature = "crash-points");
    if debug_nodes && !is_among_members && !listen.ip().is_loopback() {
        return Err(Failure::usage(format!("--debug-nodes is refused on {listen}, which others can reach"))
            .with_next("listen on 127.0.0.1, or leave --debug-nodes out"));
    }
    Ok(())
}

/// Binds an address, or says what to do about it. The standard library sets `SO_REUSEADDR`: connections that a killed
/// server left behind do not count.
pub fn bind(listen: SocketAddr) -> Result<TcpListener> {
    bind_for("--listen", listen)
}

/// Binds the address that an option names.
pub fn bind_for(option: &str, listen: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(listen).map_err(|error| {
        Failure::usage(format!("cannot listen on {listen}: {error}"))
            .with_next(format!("stop what listens there, or choose another address with {option}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_is_read_back() {
        let address: SocketAddr = "127.0.0.1:4321".parse().unwrap();
        assert_eq!(address_in(&format!("heddle coordinator{LISTENING}{address}")), Some(address));
        assert_eq!(address_in(&format!("heddle agent{CONNECTED}{address}")), Some(address));
        assert_eq!(address_in("key: sk-1"), None);
    }

    #[test]
    fn debug_nodes_stay_on_this_machine() {
        for (listen, fine) in [("127.0.0.1:1", true), ("[::1]:1", true), ("0.0.0.0:1", false), ("192.0.2.1:1", false)] {
            let listen = listen.parse().unwrap();
            assert_eq!(check_debug_nodes(true, listen, false).is_ok(), fine, "{listen}");
            let is_for_tests = cfg!(feature = "crash-points");
            assert_eq!(check_debug_nodes(true, listen, true).is_ok(), fine || is_for_tests, "{listen}");
            assert!(check_debug_nodes(false, listen, false).is_ok());
        }
    }

    #[test]
    fn a_taken_port_is_a_usage_error() {
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let failure = bind(address).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.next.is_some());
        drop(listener);
        assert!(bind(address).is_ok());
    }

    #[tokio::test]
    async fn draining_ends_when_all_is_done() {
        assert!(Stop::listen().unwrap().drain(async {}).await.is_ok());
    }
}
