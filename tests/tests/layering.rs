//! Dependencies point inward only (I1, I10).

use cluster_tests::repository::{assert_none, layering};

#[test]
fn crates_know_only_what_they_may() {
    assert_none(&layering::problems(&layering::metadata()));
}
