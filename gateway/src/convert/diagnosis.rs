//! What the validator says.

use heddle_proto::control;
use serde_json::{Value, json};

use super::non_empty;
use crate::dto::diagnosis::{Counts, Diagnosis, Diagnostic, Diagnostics, Target, Violation};
use crate::dto::workflow::{Meta, Notes};
use crate::json::Slip;

pub(crate) fn diagnosis(diagnosis: &control::Diagnosis) -> Diagnosis<'_> {
    Diagnosis {
        ok: diagnosis.ok,
        violations: diagnosis.violations.iter().map(violation).collect(),
        warnings: diagnosis.warnings.iter().map(violation).collect(),
        migrations: &diagnosis.migrations,
    }
}

/// The same as members of an error's body.
pub(crate) fn details(said: &control::Diagnosis) -> [(&'static str, Value); 3] {
    let said = diagnosis(said);
    [("violations", json!(said.violations)), ("warnings", json!(said.warnings)), ("migrations", json!(said.migrations))]
}

pub(crate) fn diagnostics(diagnosis: &control::Diagnosis) -> Diagnostics<'_> {
    let errors = diagnosis.violations.iter().map(|problem| diagnostic(problem, "error"));
    let warnings = diagnosis.warnings.iter().map(|problem| diagnostic(problem, "warning"));
    let migrations = diagnosis.migrations.iter().map(|message| Diagnostic {
        code: "graph.migrated".to_owned(),
        severity: "info",
        message,
        target: Target::default(),
        hint: None,
    });
    Diagnostics {
        version: 1,
        counts: Counts {
            error: diagnosis.violations.len(),
            warning: diagnosis.warnings.len(),
            info: diagnosis.migrations.len(),
        },
        diagnostics: errors.chain(warnings).chain(migrations).collect(),
    }
}

pub(crate) fn meta(diagnosis: &control::Diagnosis) -> Meta<'_> {
    Meta {
        migrations: &diagnosis.migrations,
        warnings: diagnosis.warnings.iter().map(|warning| warning.message.as_str()).collect(),
    }
}

/// What stands beside the answer to a request of which some fields may have been meant otherwise.
pub(crate) fn slips(slips: &[Slip]) -> Notes<'_> {
    let diagnostics = slips.iter().map(|slip| Diagnostic {
        code: "request.unknown-field".to_owned(),
        severity: "warning",
        message: &slip.message,
        target: Target { path: Some(&slip.path), ..Target::default() },
        hint: Some(&slip.fix),
    });
    Notes {
        meta: Meta { migrations: &[], warnings: slips.iter().map(|slip| slip.message.as_str()).collect() },
        diagnostics: Diagnostics {
            version: 1,
            counts: Counts { error: 0, warning: slips.len(), info: 0 },
            diagnostics: diagnostics.collect(),
        },
    }
}

fn violation(violation: &control::Violation) -> Violation<'_> {
    Violation {
        rule: &violation.rule,
        message: &violation.message,
        fix: non_empty(&violation.fix),
        node_id: non_empty(&violation.node_id),
        edge_id: non_empty(&violation.edge_id),
        path: non_empty(&violation.path),
    }
}

fn diagnostic<'a>(violation: &'a control::Violation, severity: &'static str) -> Diagnostic<'a> {
    Diagnostic {
        code: format!("graph.{}", violation.rule),
        severity,
        message: &violation.message,
        target: Target {
            node_id: non_empty(&violation.node_id),
            edge_id: non_empty(&violation.edge_id),
            path: non_empty(&violation.path),
        },
        hint: non_empty(&violation.fix),
    }
}
