"""What schemathesis is told beside the document: what no document can foresee, and what must be left alone.

HEDDLE_ORIGIN is the server, HEDDLE_KEY and HEDDLE_KEY_ID are the key that it is asked with. HEDDLE_CALLS names a file that gets
a line for each call: operation and status.
"""

import json
import os
import time
import urllib.request

import schemathesis

# Valid data is accepted: that check stands for every operation, and only these answers to it are not held against one. Each
# says something of the state or of a value that no schema can say beforehand.
BEYOND_SCHEMAS = {
    "bad_cursor": "a cursor is the server's own: only one that a list gave is right",
    "empty_graph": "a saved graph may have no node, and cannot run",
    "idempotency_mismatch": "the key came with another body before",
    "invalid_alert": "a rule stays of its kind",
    "invalid_form": "the name of a form's field stands in a header, which not every text fits into",
    "invalid_graph": "what a graph means is checked by rules, not by a schema",
    "invalid_index": "how many numbers an index has depends on the node",
    "invalid_inputs": "what a workflow takes is its own matter",
    "invalid_last_event_id": "how many events a run has, only the run says",
    "invalid_key_request": "scopes are words that the coordinator knows",
    "invalid_signature": "an address has to be one that the server has signed",
    "invalid_span": "a span ends after it begins, and is not too long",
    "invalid_tenant_request": "a name is counted in bytes",
    "link_expired": "an address that was signed ends",
    "range_not_satisfiable": "how long a file is, only the file says",
    "url_denied": "addresses within this machine are not fetched from",
    "decision_not_allowed": "what a review takes is its own matter",
    "invalid_decision": "what an edit may be depends on what is asked about, and a config on its node",
    "review_decided": "another call was first",
    "stale_review": "which revision is the present one, only the review says",
    "execution_not_terminal": "whether a run is over, only the run says",
    "nothing_to_resume": "what there is to do depends on how the run ended",
    "invalid_indices": "which items a node has, only the run says",
    "invalid_outputs": "what a node gives is its own matter",
    "only_needs_target": "a node that runs alone has to be named",
    "only_needs_results": "what can be reused depends on what has run",
    "review_not_decided": "on which nodes people decide is a graph's own matter",
    "plan_changed": "a token is the server's own: only one that a plan gave is right",
    "too_many_alerts": "how many rules a workflow has, only the workflow says",
    "unknown_node": "which nodes a run has is its own matter",
    "execution_over": "whether a run is over, only the run says",
    "invalid_signal_name": "a name stands in the path, and is made of few characters",
    "hook_not_found": "a hook's token is the server's own: only one that a run gave is right",
    "hook_used": "another call was first",
    "invalid_body": "what a node takes is its own matter",
    "unknown_signal": "which signals a run's nodes take is their own matter",
    "too_many_signals": "how many a run keeps, only the run says",
    "workflow_inactive": "another call switched the workflow off",
}
# A run that goes on until somebody stops it, and not much longer: whoever follows it must not wait for ever.
WAITING = {
    "name": "waiting",
    "nodes": [
        {"id": "topic", "data": {"nodeType": "input:text", "config": {"text": "tides"}}},
        {"id": "wait", "data": {"nodeType": "logic:wait", "config": {"forMs": 10_000}}},
    ],
    "edges": [],
}
# A run that goes on when somebody has decided.
ASKING = {
    "name": "asking",
    "nodes": [
        {"id": "topic", "data": {"nodeType": "input:text", "config": {"text": "tides"}}},
        {"id": "check", "data": {"nodeType": "logic:review"}},
    ],
    "edges": [{"source": "topic", "sourceHandle": "out-text", "target": "check", "targetHandle": "in-value"}],
}
# A run that goes on when somebody has called it, or sent a signal.
LISTENING = {
    "name": "listening",
    "nodes": [
        {"id": "go", "data": {"nodeType": "logic:signal", "config": {"name": "go", "timeoutMs": 10_000}}},
        {"id": "call", "data": {"nodeType": "logic:wait_webhook", "config": {"timeoutMs": 10_000}}},
    ],
    "edges": [],
}
# How often it is looked whether a review is open, and how long it is waited between two looks, in seconds.
LOOKS_MAX = 200
LOOKS_PAUSE = 0.05
OVER = []
# Nobody outside this machine is asked.
INSIDE = "http://127.0.0.1:9/cat.png"


@schemathesis.hook
def filter_failure(context, failure, case, response):
    if failure.code == "ST201" and case.media_type == "multipart/form-data":
        # A form carries text alone: a value of another type arrives as text, which is right.
        return "violates `type`" not in failure.message
    if failure.code == "ST202":
        return refusal(response) not in BEYOND_SCHEMAS
    return True


def refusal(response):
    try:
        return response.json().get("code")
    except ValueError:
        return None


@schemathesis.hook
def before_call(context, case, kwargs):
    name = case.operation.label
    if name.startswith(("DELETE /api/v1/keys/", "POST /api/v1/keys/")) and own(case):
        # Without its key, nothing more would be tested.
        case.path_parameters["id"] = "key_elsewhere"
    if name == "POST /api/v1/media/upload" and isinstance(case.body, dict) and isinstance(case.body.get("url"), str):
        case.body["url"] = INSIDE
    if name in THERE:
        parameter, there = THERE[name]
        value = (case.path_parameters or {}).get(parameter)
        # Nobody guesses what is there: every other call gets it.
        if isinstance(value, str) and value and len(value) % 2 == 0:
            there = there()
            case.path_parameters.update(there if isinstance(there, dict) else {parameter: there})


def waiting():
    workflow = asked("/api/v1/workflows", WAITING)["id"]
    return asked(f"/api/v1/workflows/{workflow}/run", {})["executionId"]


def over():
    """A run that has ended; it is the same one each time, and stays as it is."""
    if not OVER:
        run = asked("/api/v1/workflows", WAITING | {"name": "over"})["id"]
        run = asked(f"/api/v1/workflows/{run}/run", {})["executionId"]
        asked(f"/api/v1/workflows/executions/{run}/cancel", {})
        OVER.append(run)
    return OVER[0]


def a_batch():
    workflow = asked("/api/v1/workflows", WAITING | {"name": "waiting runs"})["id"]
    body = {"iteratorConfigs": [{"nodeId": "topic", "values": ["one", "two"]}]}
    return asked(f"/api/v1/workflows/{workflow}/execute", body)["batchId"]


def a_node():
    return {"id": waiting(), "nodeId": "topic"}


def a_version():
    """A workflow with two versions, and a node."""
    saved = asked("/api/v1/workflows", WAITING | {"name": "of two versions"})["id"]
    asked("/api/v1/workflows", WAITING | {"id": saved, "nodes": WAITING["nodes"][:1]})
    return {"id": saved, "version": "1", "nodeId": "topic"}


def a_review():
    workflow = asked("/api/v1/workflows", ASKING)["id"]
    run = asked(f"/api/v1/workflows/{workflow}/run", {})["executionId"]
    for _ in range(LOOKS_MAX):
        open_now = asked(f"/api/v1/reviews?executionId={run}")
        if open_now:
            return open_now[0]["id"]
        time.sleep(LOOKS_PAUSE)
    raise TimeoutError(f"{run} asks nobody")


def listening():
    workflow = asked("/api/v1/workflows", LISTENING)["id"]
    return asked(f"/api/v1/workflows/{workflow}/run", {})["executionId"]


def a_hook():
    run = listening()
    for _ in range(LOOKS_MAX):
        for waiting in asked(f"/api/v1/workflows/executions/{run}")["waitingOn"]:
            if "url" in waiting:
                return waiting["url"].rsplit("/", 1)[1]
        time.sleep(LOOKS_PAUSE)
    raise TimeoutError(f"{run} waits for no call")


def an_alert():
    workflow = a_version()["id"]
    rule = {"kind": "error_rate", "windowMs": 60_000, "threshold": 0.5, "minRuns": 1}
    return {"id": workflow, "alertId": asked(f"/api/v1/workflows/{workflow}/alerts", rule)["id"]}


def part_of_a_version(*names):
    return lambda: {name: value for name, value in a_version().items() if name in names}


def a_file():
    boundary = "a-boundary"
    head = f'--{boundary}\r\ncontent-disposition: form-data; name="file"; filename="a.txt"\r\n\r\n'
    body = f"{head}a file\r\n--{boundary}--\r\n".encode()
    return asked("/api/v1/media/upload", body, f"multipart/form-data; boundary={boundary}")["digest"]


# What stands in the path of an operation for something that is there.
THERE = {
    "POST /api/v1/workflows/executions/{id}/cancel": ("id", waiting),
    "POST /api/v1/workflows/executions/{id}/resume": ("id", over),
    "POST /api/v1/workflows/executions/{id}/rerun": ("id", over),
    "GET /api/v1/workflows/executions/{id}/nodes/{nodeId}": ("nodeId", a_node),
    "GET /api/v1/workflows/{id}/versions/{version}": ("version", part_of_a_version("id", "version")),
    "POST /api/v1/workflows/{id}/versions/{version}/restore": ("version", part_of_a_version("id", "version")),
    "GET /api/v1/workflows/{id}/diff": ("id", part_of_a_version("id")),
    "PATCH /api/v1/workflows/{id}/nodes/{nodeId}": ("nodeId", part_of_a_version("id", "nodeId")),
    "GET /api/v1/workflows/{id}/stats": ("id", part_of_a_version("id")),
    "GET /api/v1/workflows/{id}/alerts": ("id", part_of_a_version("id")),
    "POST /api/v1/workflows/{id}/alerts": ("id", part_of_a_version("id")),
    "GET /api/v1/workflows/{id}/alerts/{alertId}": ("alertId", an_alert),
    "PUT /api/v1/workflows/{id}/alerts/{alertId}": ("alertId", an_alert),
    "DELETE /api/v1/workflows/{id}/alerts/{alertId}": ("alertId", an_alert),
    "GET /api/v1/batches/{id}": ("id", a_batch),
    "POST /api/v1/batches/{id}/cancel": ("id", a_batch),
    "GET /api/v1/artifacts/{id}": ("id", a_file),
    "GET /api/v1/reviews/{id}": ("id", a_review),
    "POST /api/v1/reviews/{id}/decision": ("id", a_review),
    "POST /api/v1/workflows/executions/{id}/signals/{name}": ("id", lambda: {"id": listening(), "name": "go"}),
    "POST /api/v1/hooks/{token}": ("token", a_hook),
    "PUT /api/v1/hooks/{token}": ("token", a_hook),
    "GET /api/v1/nodes/{type}": ("type", lambda: "input:text"),
    "POST /api/v1/workflows/executions/{id}/pause": ("id", waiting),
    "POST /api/v1/workflows/executions/{id}/unpause": ("id", waiting),
    "POST /api/v1/nodes/{type}/pause": ("type", lambda: "utility:prompt_concat"),
    "POST /api/v1/nodes/{type}/unpause": ("type", lambda: "utility:prompt_concat"),
}


def asked(path, body=None, kind="application/json"):
    """The answer to a post of this body, or to a read without one."""
    data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    headers = {"authorization": f"Bearer {os.environ['HEDDLE_KEY']}", "content-type": kind}
    request = urllib.request.Request(f"{os.environ['HEDDLE_ORIGIN']}{path}", data, headers)
    with urllib.request.urlopen(request) as response:
        return json.load(response)


def own(case):
    return (case.path_parameters or {}).get("id") == os.environ["HEDDLE_KEY_ID"]


@schemathesis.hook
def after_call(context, case, response):
    name = case.operation.label
    with open(os.environ["HEDDLE_CALLS"], "a", encoding="utf-8") as calls:
        calls.write(f"{name} {response.status_code}\n")
    if name.endswith("/drain") and response.status_code == 200:
        # Runs would wait for ever.
        asked(f"/api/v1/agents/{case.path_parameters['id']}/resume", {})
    if name == "POST /api/v1/workflows/executions/{id}/pause" and response.status_code == 200:
        asked(f"/api/v1/workflows/executions/{case.path_parameters['id']}/unpause", {})
    if name == "POST /api/v1/nodes/{type}/pause" and response.status_code == 200:
        asked(f"/api/v1/nodes/{case.path_parameters['type']}/unpause", {})
