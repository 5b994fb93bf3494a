//! The example `wait-for-callback`: what is handed on carries the address, and the call that fits it, and no other, ends the wait.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::{heddle, said, shown};

const NAME: &str = "wait-for-callback";

/// As people would type it.
fn shell(line: &str) -> String {
    let output = Command::new("sh").args(["-c", line]).env("NO_PROXY", "*").output().unwrap();
    said(&output)
}

#[test]
fn one_command_waits_for_the_call_that_fits() {
    let data = TempDir::new().unwrap();
    let mut run = heddle(data.path());
    run.arg("run").args(shown(NAME)).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut run = run.spawn().unwrap();
    let mut told = BufReader::new(run.stderr.take().unwrap()).lines();
    let next = told.find_map(|line| Some(line.unwrap().split_once("next: ")?.1.to_owned())).unwrap();
    assert!(next.contains("/api/v1/hooks/"), "{next}");
    let refused = shell(&next);
    assert!(refused.contains("invalid_body") && refused.contains("parcel"), "{refused}");
    let call = next.replace("'{}'", "'{\"parcel\": \"1Z-7\"}'");
    assert_eq!(shell(&call), "{\"accepted\":true}");
    // It is read to its end, so that the run can say everything.
    told.for_each(drop);
    let printed = said(&run.wait_with_output().unwrap());
    assert!(
        printed.contains("Taken. We will call.") && printed.contains("On its way: oars, as parcel 1Z-7."),
        "{printed}"
    );
}
