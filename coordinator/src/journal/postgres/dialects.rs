//! Both dialects' migrations have the same statements and differ in types only (E28).

use super::open::MIGRATIONS;

/// What SQLite's types are here. Keys are compared byte by byte on both, whatever language the server speaks.
const TYPES: &[(&str, &str)] = &[("INTEGER", "BIGINT"), ("BLOB", "BYTEA"), ("TEXT", "TEXT COLLATE \"C\"")];

#[test]
fn both_dialects_make_the_same_tables() {
    let steps = crate::journal::sqlite::MIGRATIONS;
    assert_eq!(steps.len(), MIGRATIONS.len(), "a step of one dialect only");
    for (sqlite, postgres) in steps.iter().zip(MIGRATIONS) {
        let translated = TYPES.iter().fold(statements(sqlite), |sql, (from, to)| {
            sql.iter().map(|line| line.replace(&format!(" {from}"), &format!(" {to}"))).collect()
        });
        assert_eq!(statements(postgres), translated);
    }
}

#[test]
fn no_statement_uses_what_only_one_database_has() {
    let text = MIGRATIONS.join("\n").to_uppercase();
    for word in ["JSON", "[]", "CREATE TYPE", "TRIGGER", "SERIAL", "TIMESTAMP"] {
        assert!(!text.contains(word), "{word}");
    }
}

/// The lines that count.
fn statements(sql: &str) -> Vec<String> {
    let lines = sql.lines().map(|line| line.split("--").next().unwrap_or_default().trim_end());
    lines.filter(|line| !line.is_empty()).map(str::to_owned).collect()
}
