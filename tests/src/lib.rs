//! What the suites share: a cluster of real processes, the rules of the repository as functions, and how to wait.

#![cfg_attr(test, allow(clippy::unwrap_used))]
#![allow(clippy::expect_used, clippy::panic, reason = "what a harness cannot do ends its test")]

pub mod cluster;
pub mod collector;
pub mod python;
pub mod repository;
pub mod s3;
pub mod sandbox;
pub mod wait;
