//! The example whose nodes run another workflow.

use tempfile::TempDir;

use super::{example, heddle, said, shown};

#[test]
fn each_letter_is_a_run_of_its_own() {
    let folder = TempDir::new().unwrap();
    let output = heddle(&folder.path().join("data")).arg("run").args(shown("sub-workflow")).output().unwrap();
    let expected = std::fs::read_to_string(example("sub-workflow/expected.txt")).unwrap();
    assert_eq!(said(&output), expected);
}
