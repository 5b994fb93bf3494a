//! Every code that an answer can carry: what it means and what to do. A test compares this list with the code.

/// One code.
#[derive(Debug, Clone, Copy)]
pub struct Code {
    /// As it stands in answers.
    pub code: &'static str,
    /// What it means.
    pub meaning: &'static str,
    /// What the caller does now.
    pub next: &'static str,
}

const fn code(code: &'static str, meaning: &'static str, next: &'static str) -> Code {
    Code { code, meaning, next }
}

/// Refusals of requests, by code.
pub const REFUSALS: &[Code] = &[
    code("agent_not_found", "No agent of this id is connected.", "List the agents."),
    code("ambiguous_authorization", "There are several Authorization headers.", "Send one."),
    code("ambiguous_host", "There are several Host headers.", "Send one."),
    code("api_key_expired", "The key's time is over.", "Make a new key, or rotate before it ends."),
    code("bad_cursor", "The cursor is not one that a list gave.", "Begin without a cursor."),
    code("bad_request", "The request is not well formed.", "Read the message."),
    code("body_timeout", "The body did not come in time.", "Send it without long pauses."),
    code("body_too_large", "The body is larger than this route takes.", "`bytesMax` says how large it may be."),
    code("broken_body", "The body ended before it was whole.", "Send it again."),
    code("coordinator_timeout", "The coordinator did not answer in time.", "Ask whether it was done, then repeat."),
    code("coordinator_unavailable", "The coordinator cannot be reached.", "Try again after `Retry-After`."),
    code(
        "database_unavailable",
        "The database takes no commits now.",
        "Try again after `Retry-After`; nothing was done.",
    ),
    code("duplicate_key", "The JSON body has a key twice.", "`path` says where."),
    code("empty_graph", "The graph has no node.", "Add a node."),
    code("execution_not_found", "There is no such run, or it is another tenant's.", "Check the id."),
    code("execution_over", "The run is over already.", "Nothing; the message says how it ended."),
    code("first_tenant", "The first tenant cannot be closed.", "Close another one."),
    code("graph_missing", "The workflow's graph is not kept any more.", "Save the workflow again."),
    code("headers_too_large", "The headers are too long together.", "Send fewer or shorter headers."),
    code("history_corrupt", "The run's history is damaged.", "Report it; its data is kept."),
    code("idempotency_in_progress", "The first request with this key is not answered yet.", "Repeat in a second."),
    code("idempotency_mismatch", "This Idempotency-Key came with another body.", "Use a new key for a new request."),
    code("internal", "A fault of the server.", "Report it with the request id."),
    code("invalid_api_key", "There is no such key, or it was revoked.", "Use another key."),
    code("invalid_field", "A field of the body has a value that it cannot have.", "`path` says which."),
    code("invalid_graph", "The graph has problems.", "`violations` lists all of them, with what to do."),
    code(
        "invalid_idempotency_key",
        "The Idempotency-Key has other than 1 to 255 printable characters.",
        "Choose another.",
    ),
    code("invalid_inputs", "The inputs do not fit the workflow.", "`violations` says which and why."),
    code(
        "invalid_json",
        "The body is not JSON, or not of the kind that the route takes.",
        "`line` and `column` say where.",
    ),
    code("invalid_key_format", "This is not what a key looks like.", "Send `Authorization: Bearer sk-…`."),
    code("invalid_key_request", "A key of this kind cannot be made.", "The message says why."),
    code("invalid_last_event_id", "Last-Event-ID is no number.", "Send the id of an event."),
    code("invalid_parameter", "A parameter of the query has a value that it cannot have.", "The message says which."),
    code("invalid_path", "The path is not UTF-8.", "Encode it."),
    code("invalid_tenant_request", "A tenant of this kind cannot be made.", "The message says why."),
    code("invalid_token_request", "A join token of this kind cannot be made.", "The message says why."),
    code("json_too_deep", "The body nests too deeply.", "Make it flatter."),
    code("key_ended", "The key has ended.", "Make a new one."),
    code("key_not_found", "There is no such key in your tenant.", "List the keys."),
    code("last_admin_key", "It is the last key that can make others.", "Make another one first."),
    code("method_not_allowed", "The route does not take this method.", "`Allow` lists those that it takes."),
    code("missing_authorization", "There is no Authorization header.", "Send `Authorization: Bearer sk-…`."),
    code("missing_fields", "Fields that the route needs are missing.", "The message names them."),
    code("missing_host", "A request of HTTP/1.1 has no Host header.", "Send one."),
    code("missing_scope", "The key may not do this.", "Use a key with the scope that the message names."),
    code("no_certificates", "The coordinator speaks plaintext: nobody needs a token.", "Start it with --tls."),
    code("no_randomness", "The system gives no random bytes.", "Try again."),
    code("node_type_not_found", "There is no node type of this name.", "`GET /api/v1/nodes` lists them."),
    code("node_type_unavailable", "No agent offers a type that the run needs.", "Start an agent that does."),
    code("not_implemented", "The coordinator is older than the gateway.", "Update the coordinator."),
    code("not_supported_yet", "Heddle cannot do this yet.", "Leave it out."),
    code("overloaded", "Too much is under way.", "Try again after `Retry-After`; nothing was started."),
    code(
        "protocol_mismatch",
        "Gateway and coordinator do not speak the same protocol.",
        "Update the older of the two.",
    ),
    code("quarantined", "The database could not keep the run's data.", "Look at the run; nothing of it will run."),
    code("stale_write", "Somebody changed the workflow since you read it.", "Read it again and repeat."),
    code("tenant_exists", "There is a tenant of this id.", "Choose another id."),
    code("tenant_not_found", "There is no such tenant.", "List the tenants."),
    code("token_not_found", "There is no such join token.", "List the tokens."),
    code("token_used", "Somebody has joined with this token already.", "Its certificate ends by itself."),
    code("too_many_followers", "The gateway follows as many runs as it can.", "Poll, or try again."),
    code("too_many_keys", "The tenant has as many keys as it may.", "Revoke those that nobody needs."),
    code("too_many_tenants", "There are as many tenants as there may be.", "Use one that is there."),
    code("too_many_tokens", "As many tokens wait to be used as may.", "Revoke those that nobody needs."),
    code("try_again", "It is not known whether this was done.", "Ask again with the same Idempotency-Key."),
    code("unauthenticated", "The gateway named nobody.", "Update the gateway."),
    code("unknown_field", "The body has a field that the route does not know.", "`path` says which."),
    code("unknown_route", "There is no such route.", "See the list of routes."),
    code("unsupported_media_type", "The body is not declared as JSON.", "Send `Content-Type: application/json`."),
    code("value_too_large", "A value is larger than it may be.", "The message says how large it may be."),
    code("workflow_inactive", "The workflow is switched off.", "Set `isActive` first."),
    code("workflow_not_found", "There is no such workflow, or it is another tenant's.", "Check the id."),
];

/// Why a run or a node failed, by the `code` of its `error`.
pub const FAILURES: &[Code] = &[
    code("bad_config", "A node's config cannot be evaluated.", "Correct the node."),
    code("config_invalid", "A node's config does not fit its type.", "Correct the node."),
    code("input_invalid", "A node got a value that it cannot use.", "Correct what comes before it."),
    code("inputs_too_large", "A node got more than fits into one attempt.", "Pass on less."),
    code("node_type_unavailable", "The agent does not run this type any more.", "Start an agent that does."),
    code("panic", "The node's own code failed.", "Report it with the run's id."),
    code("quarantined", "The database could not keep the run's data.", "Look at the coordinator's log."),
    code("run_timeout", "The run worked for longer than it may.", "Split the work, or raise the deadline."),
    code("timeout", "An attempt took longer than `policy.timeoutMs`.", "Raise it, or find out what is slow."),
    code("value_too_large", "A node gave more than a value may have.", "Give less."),
];
