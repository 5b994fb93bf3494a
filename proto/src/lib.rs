//! Heddle's formats on the wire and in the journal.
//!
//! Four packages, each with a reader of its own:
//! - [`agent`]: the stream between a node-agent and a coordinator;
//! - [`control`]: what a gateway asks of a coordinator;
//! - [`enrol`]: how agents and gateways get their certificates;
//! - [`journal`]: the rows of a run's history. Numbers are never reused and the meaning of an old row never changes.
//!
//! Generated types stay at the edge: each component converts them by hand, and refuses what it does not know.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod join_token;
pub mod key;
pub mod limits;
pub mod pace;
pub mod stream_place;
pub mod value_window;

/// The stream between a node-agent and a coordinator (`heddle.agent.v1`).
pub mod agent {
    #![allow(missing_docs, unreachable_pub, clippy::all)]
    tonic::include_proto!("heddle.agent.v1");
}

/// What a gateway asks of a coordinator (`heddle.control.v1`).
pub mod control {
    #![allow(missing_docs, unreachable_pub, clippy::all)]
    tonic::include_proto!("heddle.control.v1");
}

/// How agents and gateways get their certificates (`heddle.enrol.v1`).
pub mod enrol {
    #![allow(missing_docs, unreachable_pub, clippy::all)]
    tonic::include_proto!("heddle.enrol.v1");
}

/// Rows of a run's history (`heddle.journal.v1`).
pub mod journal {
    #![allow(missing_docs, unreachable_pub, clippy::all)]
    tonic::include_proto!("heddle.journal.v1");
}
