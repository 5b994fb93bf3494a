//! Every bound of a guarded request.

use std::time::Duration;

/// Redirects that one request follows.
pub const REDIRECTS_MAX: usize = 5;
/// How long a connection may take to open.
pub const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
/// How long a DNS server may take to answer, if one is chosen.
pub const NAME_TIME_MAX: Duration = Duration::from_secs(3);
/// How often it is asked again.
pub const NAME_TRIES_MAX: usize = 2;
/// How long a server may take from one piece of its answer to the next.
pub const SILENCE_MAX: Duration = Duration::from_secs(15);
/// How long one request may take, its answer included.
pub const REQUEST_TIME_MAX: Duration = Duration::from_secs(120);
/// Bytes of an address.
pub const URL_BYTES_MAX: usize = 8 * 1024;
/// Ports that may be asked.
pub const PORTS: [u16; 2] = [443, 8443];
