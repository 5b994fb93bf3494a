//! Settings that contradict each other. They are refused by what they say, whether an option, a variable or the file says it:
//! the parser knows of options and variables only, and takes a variable that says `false` for one that asks for something.

use std::net::SocketAddr;

use crate::error::{Failure, Result};

/// Refuses what `is_so`: `what` names the settings, as options, and why they cannot both be meant; `next` says what to do.
pub fn refuse(is_so: bool, what: impl Into<String>, next: &str) -> Result<()> {
    if is_so { Err(Failure::usage(what).with_next(next)) } else { Ok(()) }
}

/// Refuses a setting that needs another one, which is missing.
pub fn needs(is_set: bool, setting: &str, is_other_set: bool, other: &str) -> Result<()> {
    let next = format!("add {other}, or leave {setting} out");
    refuse(is_set && !is_other_set, format!("{setting} says nothing without {other}"), &next)
}

/// Whether two servers could not both listen there.
pub fn is_same_place(one: SocketAddr, other: SocketAddr) -> bool {
    let is_any = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && (is_any || one.ip() == other.ip())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Exit;

    #[test]
    fn a_port_is_one_servers() {
        let is_same = |one: &str, other: &str| is_same_place(one.parse().unwrap(), other.parse().unwrap());
        assert!(is_same("127.0.0.1:80", "127.0.0.1:80"));
        assert!(is_same("0.0.0.0:80", "127.0.0.1:80"));
        assert!(!is_same("127.0.0.1:80", "127.0.0.2:80"));
        assert!(!is_same("127.0.0.1:80", "127.0.0.1:81"));
        assert!(!is_same("127.0.0.1:0", "127.0.0.1:0"), "each gets another one");
    }

    #[test]
    fn what_is_needed_is_named() {
        assert!(needs(false, "--a", false, "--b").is_ok() && needs(true, "--a", true, "--b").is_ok());
        let failure = needs(true, "--a", false, "--b").unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.message.contains("--a") && failure.next.unwrap().contains("--b"));
    }
}
