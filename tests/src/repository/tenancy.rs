//! Whose rows a statement touches: every one on a table that tenants own names the tenant, or is listed here with the
//! reason why it need not; and proofs of a tenant are made in one place.

use std::collections::{BTreeMap, BTreeSet};

use super::{Problem, TextFile};

/// Tables whose rows belong to a tenant.
const TABLES: [&str; 18] = [
    "run",
    "event",
    "snapshot",
    "idempotency",
    "graph",
    "workflow",
    "workflow_version",
    "api_key",
    "artifact",
    "artifact_reference",
    "upload",
    "batch",
    "batch_plan",
    "lineage",
    "review",
    "cached_result",
    "cached_artifact",
    "tombstone",
];
/// Where their statements are.
const STATEMENTS: [&str; 8] = [
    "coordinator/src/journal/",
    "coordinator/src/records/",
    "coordinator/src/artifacts/rows/",
    "coordinator/src/batches/rows/",
    "coordinator/src/cache/",
    "coordinator/src/retention/",
    "coordinator/src/reviews/rows/",
    "coordinator/src/stats/",
];

/// Functions whose statements name no tenant, by file and name, and why.
const WITHOUT_TENANT: &[(&str, &str, &str)] = &[
    ("journal/sqlite/copies.rs", "finished", "a run of a bench that is copied"),
    ("journal/postgres/copies.rs", "finished", "a run of a bench that is copied"),
    ("journal/postgres/copies.rs", "removed", "a bench counts what is removed of its runs"),
    ("journal/sqlite/query.rs", "asleep", "the engine looks after runs of all tenants"),
    ("journal/sqlite/query.rs", "left_behind", "the engine looks after runs of all tenants"),
    ("journal/sqlite/query.rs", "list_loadable", "the engine loads a partition's runs, of all tenants"),
    ("journal/sqlite/query.rs", "due", "timers of all tenants"),
    ("journal/sqlite/query.rs", "load", "the engine folds a run that it owns"),
    ("journal/sqlite/query.rs", "read_values", "inputs for an attempt, by references that the engine holds"),
    ("journal/sqlite/batch.rs", "append_events", "a batch is guarded by its partition's epoch, and so are its runs"),
    ("journal/sqlite/batch.rs", "update_run", "a batch is guarded by its partition's epoch, and so are its runs"),
    ("journal/sqlite/batch.rs", "quarantine", "the engine sets aside a run that it owns"),
    ("journal/postgres/partition.rs", "quarantine", "the engine sets aside a run that it owns"),
    ("journal/postgres/query.rs", "asleep", "the engine looks after runs of all tenants"),
    ("journal/postgres/query.rs", "left_behind", "the engine looks after runs of all tenants"),
    ("journal/postgres/query.rs", "list_loadable", "the engine loads a partition's runs, of all tenants"),
    ("journal/postgres/query.rs", "due", "timers of all tenants"),
    ("journal/postgres/query.rs", "load_as_of_one_commit", "the engine folds a run that it owns"),
    ("journal/postgres/query.rs", "read_values", "inputs for an attempt, by references that the engine holds"),
    (
        "journal/sqlite/beside.rs",
        "write_batch",
        "a batch is guarded by its partition's epoch, and so is what it writes",
    ),
    ("journal/sqlite/beside.rs", "update", "a batch is guarded by its partition's epoch, and so is what it writes"),
    (
        "journal/postgres/beside.rs",
        "write_batch",
        "a batch is guarded by its partition's epoch, and so is what it writes",
    ),
    ("journal/postgres/beside.rs", "update", "a batch is guarded by its partition's epoch, and so is what it writes"),
    ("cache/sqlite.rs", "expire_cached", "results that are too old, of all tenants"),
    ("cache/sqlite.rs", "crowded_caches", "which tenants have too many is for the engine"),
    ("cache/postgres.rs", "crowded_caches", "which tenants have too many is for the engine"),
    ("batches/rows/sqlite.rs", "expire_plans", "plans of no batch, of all tenants"),
    ("batches/rows/postgres.rs", "expire_plans", "plans of no batch, of all tenants"),
    ("batches/rows/sqlite.rs", "plan", "the engine starts runs of a batch that it owns"),
    ("batches/rows/sqlite.rs", "batch_row", "the engine starts runs of a batch that it owns"),
    ("batches/rows/sqlite.rs", "going_on", "the engine looks after a batch that it owns"),
    ("batches/rows/sqlite.rs", "loadable_batches", "the engine loads a partition's batches, of all tenants"),
    ("batches/rows/postgres.rs", "plan", "the engine starts runs of a batch that it owns"),
    ("batches/rows/postgres.rs", "batch_row", "the engine starts runs of a batch that it owns"),
    ("batches/rows/postgres.rs", "going_on", "the engine looks after a batch that it owns"),
    ("batches/rows/postgres.rs", "loadable_batches", "the engine loads a partition's batches, of all tenants"),
    (
        "journal/sqlite/reviews.rs",
        "update",
        "a batch is guarded by its partition's epoch, and so are its runs' reviews",
    ),
    ("journal/sqlite/reviews.rs", "withdraw", "the engine sets aside a run that it owns"),
    (
        "journal/postgres/reviews.rs",
        "update",
        "a batch is guarded by its partition's epoch, and so are its runs' reviews",
    ),
    ("reviews/rows/sqlite.rs", "open_by_kind", "a number of all tenants, which names none"),
    ("reviews/rows/postgres.rs", "open_by_kind", "a number of all tenants, which names none"),
    ("retention/sqlite.rs", "kept_days", "retention of all tenants"),
    ("retention/sqlite.rs", "old_runs", "retention of all tenants"),
    ("retention/sqlite.rs", "forget_batches", "retention of all tenants"),
    ("retention/sqlite.rs", "forget_tombstones", "retention of all tenants"),
    ("retention/sqlite.rs", "remove", "a run that retention removes, whoever has it"),
    ("retention/sqlite.rs", "first_rest", "a run that retention removes, whoever has it"),
    ("retention/sqlite.rs", "bury", "a run that retention removes, whoever has it"),
    ("retention/sqlite.rs", "clear", "a run that retention removes, whoever has it"),
    ("retention/postgres.rs", "kept_days", "retention of all tenants"),
    ("retention/postgres.rs", "old_runs", "retention of all tenants"),
    ("retention/postgres.rs", "forget_batches", "retention of all tenants"),
    ("retention/postgres.rs", "forget_tombstones", "retention of all tenants"),
    ("retention/postgres.rs", "closed", "runs that retention removes, whoever has them"),
    ("retention/postgres.rs", "bury", "runs that retention removes, whoever has them"),
    ("retention/postgres.rs", "first_rest", "a run that retention removes, whoever has it"),
    ("retention/postgres.rs", "clear_rest", "a run that retention removes, whoever has it"),
    ("records/sqlite.rs", "api_key", "the key is what says the tenant"),
    ("records/postgres.rs", "api_key", "the key is what says the tenant"),
];

/// Files that may name a tenant by its text: the proof itself, and rows on their way out of a database.
const NAMES_TENANTS: &[&str] = &[
    "coordinator/src/alerts/postgres.rs",
    "coordinator/src/alerts/sqlite.rs",
    "coordinator/src/artifacts/rows/postgres.rs",
    "coordinator/src/artifacts/rows/sqlite.rs",
    "coordinator/src/auth.rs",
    "coordinator/src/batches/rows/postgres.rs",
    "coordinator/src/batches/rows/sqlite.rs",
    "coordinator/src/cache/postgres.rs",
    "coordinator/src/cache/sqlite.rs",
    "coordinator/src/journal/codec/decode.rs",
    "coordinator/src/journal/postgres/rows.rs",
    "coordinator/src/journal/sqlite/rows.rs",
    "coordinator/src/records/postgres.rs",
    "coordinator/src/records/sqlite.rs",
    "coordinator/src/retention/postgres.rs",
    "coordinator/src/retention/sqlite.rs",
    "coordinator/src/reviews/rows/postgres.rs",
    "coordinator/src/reviews/rows/sqlite.rs",
];

/// What the engine may ask of the journal and requests may not, and the one reader that works for the engine.
const ENGINE_ONLY: [&str; 7] =
    [".read_row(", ".read_events(", ".read_values(", "journal.load(", ".batch_row(", ".going_on(", ".plan("];
/// Requests that need such a call all the same: the collector's, values by references out of a history that was read with
/// its tenant, and calls of hooks, which come without a key.
const READS_FOR_ENGINE: [(&str, &str); 3] = [
    ("coordinator/src/read/trace.rs", ".read_row("),
    ("coordinator/src/read/values.rs", ".read_values("),
    // The token of a hook, which nobody else can make, says of which run.
    ("coordinator/src/rpc/signal_requests.rs", ".read_row("),
];

/// Statements on tenants' tables that do not say whose rows they mean.
pub fn statements_without_tenant(files: &[TextFile]) -> Vec<Problem> {
    let mut unused: BTreeSet<(&str, &str)> = WITHOUT_TENANT.iter().map(|(file, name, _)| (*file, *name)).collect();
    let mut problems = Vec::new();
    let sources = files.iter().filter(|file| STATEMENTS.iter().any(|folder| file.path.starts_with(folder)));
    for file in sources.filter(|file| file.has_extension("rs") && !super::source::is_test_path(&file.path)) {
        for statement in statements(file).into_iter().filter(Statement::is_blind) {
            let listed =
                WITHOUT_TENANT.iter().find(|(path, name, _)| file.path.ends_with(path) && *name == statement.function);
            match listed {
                Some((path, name, _)) => drop(unused.remove(&(*path, *name))),
                None => problems.push(
                    file.problem(statement.line, format!("{} names no tenant: {}", statement.function, statement.text)),
                ),
            }
        }
    }
    let stale = unused.into_iter().map(|(path, name)| Problem {
        path: path.to_owned(),
        line: 1,
        what: format!("{name} is listed to name no tenant, and has no such statement"),
    });
    problems.extend(stale);
    problems
}

/// Code that makes a tenant of a text outside [`NAMES_TENANTS`], or that reads for a request what is for the engine.
pub fn tenants_out_of_place(files: &[TextFile]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let sources = files.iter().filter(|file| file.path.starts_with("coordinator/src/") && file.has_extension("rs"));
    for file in sources.filter(|file| !super::source::is_test_path(&file.path) && !file.path.contains("/differential/"))
    {
        let end = super::source::first_test_line(file);
        let is_reader = ["coordinator/src/read/", "coordinator/src/rpc/"].iter().any(|at| file.path.starts_with(at));
        for (number, line) in file.lines().take_while(|(number, _)| *number < end) {
            let makes = line.contains("TenantId::from(") || line.contains("TenantId(");
            if makes && !NAMES_TENANTS.contains(&file.path.as_str()) && !file.path.ends_with("/random.rs") {
                problems.push(file.problem(number, "take a proof from auth::tenant instead of naming a tenant"));
            }
            let engine = ENGINE_ONLY.iter().find(|call| line.contains(**call) && is_reader);
            if let Some(call) = engine.filter(|call| !READS_FOR_ENGINE.contains(&(file.path.as_str(), **call))) {
                problems.push(file.problem(number, format!("{call} is for the engine: ask with a tenant")));
            }
        }
    }
    problems
}

/// One statement of SQL, as far as literals in the code spell it.
#[derive(Debug)]
struct Statement {
    function: String,
    line: usize,
    text: String,
}

impl Statement {
    fn is_blind(&self) -> bool {
        let words: Vec<&str> =
            self.text.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty()).collect();
        let touches = words
            .windows(2)
            .any(|pair| matches!(pair[0], "FROM" | "JOIN" | "INTO" | "UPDATE") && TABLES.contains(&pair[1]));
        if !touches {
            return false;
        }
        let says = |part: &str| part.contains("tenant = ") || part.contains("(tenant, ");
        match self.text.find("INSERT ") {
            // Rows carry their tenant; events and snapshots carry their run, whose row does.
            Some(at) => {
                !self.text[at..].contains("tenant")
                    && !words.windows(2).any(|pair| pair[0] == "INTO" && matches!(pair[1], "event" | "snapshot"))
            }
            None => !self.text.find("WHERE").is_some_and(|at| says(&self.text[at..])),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Mark(char),
}

fn statements(file: &TextFile) -> Vec<Statement> {
    let end = super::source::first_test_line(file);
    let tokens: Vec<(usize, Token)> = tokens(&file.text).into_iter().take_while(|(line, _)| *line < end).collect();
    let (macros, bodies) = macros(&tokens);
    let constants = constants(&tokens);
    let (mut found, mut function, mut open): (Vec<Statement>, String, bool) = (Vec::new(), String::new(), false);
    for (at, (line, token)) in tokens.iter().enumerate() {
        if bodies.iter().any(|body| body.contains(&at)) {
            continue;
        }
        let text = match token {
            Token::Word(word) if word == "fn" => {
                if let Some((_, Token::Word(name))) = tokens.get(at + 1) {
                    (function, open) = (name.clone(), false);
                }
                continue;
            }
            Token::Word(word) if matches!(tokens.get(at + 1), Some((_, Token::Mark('!')))) => match macros.get(word) {
                Some(text) => text,
                None => continue,
            },
            Token::Text(text) => text,
            _ => continue,
        };
        let begins = ["SELECT", "INSERT", "UPDATE", "DELETE", "WITH"].iter().any(|verb| text.starts_with(verb));
        // A literal that goes on where a macro left off is part of the same statement.
        if begins && !(open && found.last().is_some_and(|last| last.text.trim_end() == "SELECT")) {
            found.push(Statement { function: function.clone(), line: *line, text: text.clone() });
            open = true;
        } else if let Some(last) = found.last_mut().filter(|_| open) {
            last.text.push_str(text);
        }
    }
    for statement in &mut found {
        constants.iter().for_each(|(name, text)| statement.text = statement.text.replace(name, text));
    }
    found
}

/// What constants of this file spell, each under its name in braces.
fn constants(tokens: &[(usize, Token)]) -> BTreeMap<String, String> {
    let named = tokens.windows(7).filter_map(|window| match window {
        [(_, Token::Word(word)), (_, Token::Word(name)), .., (_, Token::Text(text))] if word == "const" => {
            Some((format!("{{{name}}}"), text.clone()))
        }
        _ => None,
    });
    named.collect()
}

/// What macros of this file spell, and where their bodies are.
fn macros(tokens: &[(usize, Token)]) -> (BTreeMap<String, String>, Vec<std::ops::Range<usize>>) {
    let (mut macros, mut bodies) = (BTreeMap::<String, String>::new(), Vec::new());
    for at in 0..tokens.len() {
        let (Token::Word(word), Some((_, Token::Word(name)))) = (&tokens[at].1, tokens.get(at + 2)) else { continue };
        if word != "macro_rules" {
            continue;
        }
        let (mut depth, mut text, mut end) = (0, String::new(), at + 3);
        while let Some((_, token)) = tokens.get(end) {
            match token {
                Token::Mark('{') => depth += 1,
                Token::Mark('}') => depth -= 1,
                Token::Text(part) => text.push_str(part),
                Token::Word(other) => text.push_str(macros.get(other).map_or("", String::as_str)),
                Token::Mark(_) => {}
            }
            end += 1;
            if depth == 0 {
                break;
            }
        }
        macros.insert(name.clone(), text);
        bodies.push(at..end);
    }
    (macros, bodies)
}

/// Words, marks and literals of Rust, each with its line; comments are left out and white space in literals is one space.
fn tokens(source: &str) -> Vec<(usize, Token)> {
    let letters: Vec<char> = source.chars().collect();
    let (mut found, mut at, mut line) = (Vec::new(), 0, 1);
    while at < letters.len() {
        let (begin, first) = (at, letters[at]);
        let next = letters.get(at + 1).copied().unwrap_or(' ');
        if first == '/' && next == '/' {
            at += letters[at..].iter().take_while(|letter| **letter != '\n').count();
        } else if first == '"' {
            at += 1;
            let mut text = String::new();
            while at < letters.len() && letters[at] != '"' {
                if letters[at] == '\\' {
                    at += 1;
                }
                text.push(letters.get(at).copied().unwrap_or(' '));
                at += 1;
            }
            at += 1;
            let spaced = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
            let around = |is_space: bool| if is_space { " " } else { "" };
            let text = format!(
                "{}{}{}",
                around(text.starts_with(char::is_whitespace)),
                spaced(&text),
                around(text.len() > 1 && text.ends_with(char::is_whitespace))
            );
            found.push((line, Token::Text(text)));
        } else if first == '\'' && (next == '\\' || letters.get(at + 2) == Some(&'\'')) {
            at += 2;
            at += letters[at..].iter().take_while(|letter| **letter != '\'').count() + 1;
        } else if first.is_alphanumeric() || first == '_' {
            at += letters[at..].iter().take_while(|letter| letter.is_alphanumeric() || **letter == '_').count();
            found.push((line, Token::Word(letters[begin..at].iter().collect())));
        } else {
            at += 1;
            if !first.is_whitespace() {
                found.push((line, Token::Mark(first)));
            }
        }
        line += letters[begin..at.min(letters.len())].iter().filter(|letter| **letter == '\n').count();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blind(source: &str) -> Vec<String> {
        let file = TextFile::new("coordinator/src/records/x.rs", source);
        let found = statements(&file).into_iter().filter(Statement::is_blind);
        found.map(|statement| format!("{}:{}", statement.function, statement.line)).collect()
    }

    #[test]
    fn a_statement_without_its_tenant_is_named() {
        for (sql, is_blind) in [
            ("SELECT id FROM run WHERE id = ?1", true),
            ("SELECT tenant FROM run WHERE id = ?1", true),
            ("SELECT id FROM run WHERE tenant = ?1 AND id = ?2", false),
            ("DELETE FROM workflow WHERE id = ?1", true),
            ("DELETE FROM idempotency WHERE (tenant, route) IN (SELECT 1)", false),
            ("UPDATE api_key SET tenant = ?1 WHERE id = ?2", true),
            ("UPDATE api_key SET hint = ?1 WHERE tenant = ?3 AND id = ?2", false),
            ("INSERT INTO workflow (id) VALUES (?1)", true),
            ("INSERT INTO workflow (id, tenant) VALUES (?1, ?2)", false),
            ("SELECT run.id FROM partition_slot JOIN run ON true WHERE run.id > ?1", true),
            ("SELECT id FROM node_type", false),
            ("SELECT id FROM tenant WHERE id = ?1", false),
        ] {
            let expected = if is_blind { vec!["f:1".to_owned()] } else { Vec::new() };
            assert_eq!(blind(&format!("fn f() {{ let sql = \"{sql}\"; }}")), expected, "{sql}");
        }
    }

    #[test]
    fn a_statement_in_pieces_is_read_whole() {
        let source = "macro_rules! select {\n () => { \"SELECT id FROM run\" };\n}\n\
                      fn good() { concat!(select!(), \" WHERE tenant = $1\") }\n\
                      fn bad() { concat!(select!(), \" WHERE id = $1\") } // \"tenant = \"\n\
                      fn pushed() { let mut q = new(\"SELECT \"); q.push(\" FROM run WHERE id = \").push(' '); }\n\
                      fn scoped() { let mut q = new(\"SELECT \"); q.push(\" FROM run WHERE tenant = \"); }";
        assert_eq!(blind(source), ["bad:5", "pushed:6"]);
    }

    #[test]
    fn a_constant_is_spelled_out() {
        let insert = "fn put() { format!(\"INSERT INTO workflow ({COLUMNS}) VALUES (?1)\") }";
        assert_eq!(blind(&format!("const COLUMNS: &str = \"id, tenant\";\n{insert}")), [""; 0]);
        assert_eq!(blind(&format!("const COLUMNS: &str = \"id, name\";\n{insert}")), ["put:2"]);
    }

    #[test]
    fn a_tenant_out_of_place_is_named() {
        let file = |path: &str, line: &str| TextFile::new(path, line.to_owned());
        let problems = tenants_out_of_place(&[
            file("coordinator/src/rpc/a.rs", "let tenant = TenantId::from(request.tenant);"),
            file("coordinator/src/read/b.rs", "journal.read_events(run);"),
            file("coordinator/src/actor/c.rs", "journal.read_events(run);"),
            file(NAMES_TENANTS[0], "Self(TenantId::from(text))"),
        ]);
        let places: Vec<_> = problems.iter().map(|problem| problem.path.as_str()).collect();
        assert_eq!(places, ["coordinator/src/rpc/a.rs", "coordinator/src/read/b.rs"]);
    }
}
