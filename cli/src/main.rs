//! The binary; everything is in the library beside it.

use std::process::ExitCode;

/// Most of what the parts do is to build messages and take them apart: the system's allocator took a sixth of the time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    heddle::main()
}
