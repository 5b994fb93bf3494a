//! Compiles the `.proto` files with a compiler written in Rust, so that no `protoc` is needed on the machine.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let files = [
        "agent/v1/agent.proto",
        "control/v1/artifact.proto",
        "control/v1/control.proto",
        "control/v1/history.proto",
        "control/v1/explain.proto",
        "control/v1/join.proto",
        "control/v1/operate.proto",
        "control/v1/resume.proto",
        "control/v1/review.proto",
        "control/v1/signal.proto",
        "control/v1/stats.proto",
        "control/v1/stream.proto",
        "control/v1/tenants.proto",
        "control/v1/trace.proto",
        "control/v1/workflow.proto",
        "enrol/v1/enrol.proto",
        "journal/v1/beside.proto",
        "journal/v1/journal.proto",
    ];
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(files, ["proto"])?;
    tonic_prost_build::configure()
        // Payloads are shared, not copied, on their way from the wire to the journal.
        .bytes(".")
        .compile_fds(descriptors)?;
    Ok(())
}
