//! OpenAI's wire format, between this project's two ends of it and those of others: the official client asks the sandbox,
//! and the node type asks a server that others have written.

#![allow(clippy::unwrap_used)]

mod package;
mod server;

/// The official client, and a server that speaks as OpenAI's does, breaks off on demand, and judges whoever asked it.
const PACKAGES: [&str; 2] = ["openai>=3,<4", "llmock>=0.2.2,<0.3"];
