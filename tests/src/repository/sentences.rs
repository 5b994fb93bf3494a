//! Tables in sources that say which test holds which sentence of the design.

use std::collections::BTreeSet;

use super::{Problem, TextFile};

/// How such a table begins, in any case.
const HEADER: &str = "//! | sentence | test |";
const ROW: &str = "//! |";

/// Rows that name no test, or one that does not exist.
pub fn without_test(files: &[TextFile]) -> Vec<Problem> {
    let tests: BTreeSet<&str> = rust(files).flat_map(|file| tests(&file.text)).collect();
    let mut problems = Vec::new();
    for file in rust(files) {
        for (line, names) in rows(file) {
            if names.is_empty() {
                problems.push(file.problem(line, "name a test that holds the sentence"));
            }
            let missing =
                names.into_iter().filter(|name| !tests.contains(name.rsplit("::").next().unwrap_or_default()));
            problems.extend(missing.map(|name| file.problem(line, format!("there is no test {name:?}"))));
        }
    }
    problems
}

/// How many rows there are: a rule over none of them holds nothing.
pub fn count(files: &[TextFile]) -> usize {
    rust(files).map(|file| rows(file).count()).sum()
}

fn rust(files: &[TextFile]) -> impl Iterator<Item = &TextFile> {
    files.iter().filter(|file| file.has_extension("rs"))
}

/// The lines of a file's tables, each with the names in its last cell.
fn rows(file: &TextFile) -> impl Iterator<Item = (usize, Vec<&str>)> {
    let mut is_inside = false;
    let lines = file.lines().filter_map(move |(number, line)| {
        if line.to_lowercase().starts_with(HEADER) {
            is_inside = true;
            return None;
        }
        is_inside = is_inside && line.starts_with(ROW);
        (is_inside && !line.starts_with("//! |---")).then_some((number, line))
    });
    lines.map(|(number, line)| {
        let cell = line.trim_end().trim_end_matches('|').rsplit(" | ").next().unwrap_or_default();
        (number, cell.split('`').skip(1).step_by(2).collect())
    })
}

/// The functions of a source that are tests.
fn tests(source: &str) -> impl Iterator<Item = &str> {
    let mut is_marked = false;
    source.lines().map(str::trim).filter_map(move |line| {
        if line.starts_with("#[") || line.starts_with("//") || line.is_empty() {
            is_marked |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
            return None;
        }
        let name = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ").filter(|_| is_marked);
        is_marked = false;
        name.and_then(|rest| rest.split(['(', '<']).next())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(table: &str) -> Vec<String> {
        let tests =
            "#[test]\nfn one() {}\n#[tokio::test(flavor = \"x\")]\n// Why.\nasync fn two() {}\nfn helper() {}\n";
        let files = [TextFile::new("a.rs", format!("//! | sentence | test |\n//! |---|---|\n{table}\n{tests}"))];
        without_test(&files).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_row_names_tests_that_exist() {
        assert_eq!(said("//! | It is so, `always` | `one`, `deep::two` (by hand) |"), [""; 0]);
        assert_eq!(said("//! | It is so | `three` |"), ["a.rs:3: there is no test \"three\""]);
        assert_eq!(said("//! | It is so | `one`, `helper` |"), ["a.rs:3: there is no test \"helper\""]);
        assert_eq!(said("//! | `one` | and elsewhere |"), ["a.rs:3: name a test that holds the sentence"]);
        assert_eq!(said("//!\n//! | another table | `three` |"), [""; 0]);
    }

    #[test]
    fn rows_are_counted() {
        let file = TextFile::new("a.rs", "//! | Sentence | Test |\n//! |---|---|\n//! | a | `b` |\n//! | c | `d` |\n");
        assert_eq!(count(&[file]), 2);
    }
}
