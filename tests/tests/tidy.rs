//! What a machine can check of the repository's style.

#![allow(clippy::unwrap_used)]

use cluster_tests::repository::{
    TextFile, assert_none, codes, documents, root, sentences, source, tenancy, text_files, words,
};

#[test]
fn members_take_the_workspace_lints() {
    assert_none(&source::members_take_the_workspace_lints(&files()));
}

#[test]
fn crate_bans_repeat_the_root_bans() {
    assert_none(&source::crate_bans_repeat_the_root_bans(&files()));
}

#[test]
fn rust_files_are_short() {
    assert_none(&source::rust_files_are_short(&files()));
}

#[test]
fn tests_do_not_sleep() {
    assert_none(&source::tests_do_not_sleep(&files()));
}

#[test]
fn no_work_is_unfinished() {
    assert_none(&words::unfinished_work(&files()));
}

#[test]
fn no_path_belongs_to_one_machine() {
    assert_none(&words::machine_paths(&files()));
}

#[test]
fn the_repository_speaks_of_itself() {
    assert_none(&words::forbidden_phrases(&files()));
}

#[test]
fn every_statement_says_whose_rows_it_means() {
    assert_none(&tenancy::statements_without_tenant(&files()));
}

#[test]
fn only_authentication_names_a_tenant() {
    assert_none(&tenancy::tenants_out_of_place(&files()));
}

#[test]
fn every_code_is_explained() {
    let listed = heddle_gateway::REFUSALS.iter().map(|code| code.code).collect();
    assert_none(&codes::unlisted(&files(), &listed));
    let listed = heddle_gateway::FAILURES.iter().map(|code| code.code).collect();
    assert_none(&codes::unlisted_failures(&files(), &listed));
    assert_none(&codes::unlisted_engine_failures(&files(), &listed));
}

#[test]
fn links_lead_somewhere() {
    assert_none(&documents::broken_links(&files(), exists));
}

#[test]
fn documents_show_commands_that_exist() {
    assert_none(&documents::untrue_commands(&files()));
    assert_none(&documents::missing_examples(&files(), exists));
}

#[test]
fn every_sentence_in_a_table_has_its_test() {
    let files = files();
    assert!(sentences::count(&files) > 100, "the tables are not found");
    assert_none(&sentences::without_test(&files));
}

fn files() -> Vec<TextFile> {
    let files = text_files(&root()).unwrap();
    assert!(files.iter().any(|file| file.path == "Cargo.toml"), "the walk did not begin at the root");
    files
}

fn exists(path: &str) -> bool {
    root().join(path).exists()
}
