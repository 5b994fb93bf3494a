//! API keys against real processes: what a key may do, how it is replaced, and how fast it ends.

#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use cluster_tests::cluster::client::send;
use cluster_tests::cluster::{Cluster, Part};
use cluster_tests::wait;
use reqwest::Method;
use serde_json::{Value, json};

const KEYS: &str = "/api/v1/keys";
/// How long the suite waits for what should be there at once.
const HEALED_MAX: Duration = Duration::from_secs(30);

async fn status_of(cluster: &Cluster, key: &str, path: &str) -> u16 {
    send(cluster.client().anonymous(Method::GET, path).bearer_auth(key)).await.unwrap().status
}

async fn admin(cluster: &Cluster, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
    let request = cluster.client().request(method, path);
    let answer = send(match body {
        Some(body) => request.json(&body),
        None => request,
    });
    let answer = answer.await.unwrap();
    (answer.status, answer.json())
}

async fn create(cluster: &Cluster, body: Value) -> Value {
    let (status, made) = admin(cluster, Method::POST, KEYS, Some(body)).await;
    assert_eq!(status, 201, "{made}");
    made
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_does_what_its_scopes_say_until_it_is_revoked() {
    let mut cluster = Cluster::start(1, 1).await;
    let made = create(&cluster, json!({"subject": "reader", "scopes": ["workflows:read"]})).await;
    let (id, key) = (made["id"].as_str().unwrap().to_owned(), made["key"].as_str().unwrap().to_owned());
    assert_eq!(status_of(&cluster, &key, "/api/v1/workflows").await, 200);
    assert_eq!(status_of(&cluster, &key, KEYS).await, 403);

    // It outlives the processes.
    cluster.restart(Part::Coordinator);
    cluster.restart(Part::Gateway(0));
    cluster.serves().await;
    assert_eq!(status_of(&cluster, &key, "/api/v1/workflows").await, 200);
    let (_, keys) = admin(&cluster, Method::GET, KEYS, None).await;
    let shown = keys.as_array().unwrap().iter().find(|row| row["id"] == *id).unwrap();
    assert_eq!((&shown["subject"], shown.get("key")), (&json!("reader"), None));

    // Replaced: both work, then the new one alone.
    let (status, new) =
        admin(&cluster, Method::POST, &format!("{KEYS}/{id}/rotate"), Some(json!({"overlapSeconds": 2}))).await;
    assert_eq!((status, &new["scopes"]), (201, &json!(["workflows:read"])), "{new}");
    let new_key = new["key"].as_str().unwrap();
    for key in [&key, new_key] {
        assert_eq!(status_of(&cluster, key, "/api/v1/workflows").await, 200);
    }
    refused(&cluster, &key, "the end of the replaced key").await;
    assert_eq!(status_of(&cluster, new_key, "/api/v1/workflows").await, 200);

    let path = format!("{KEYS}/{}", new["id"].as_str().unwrap());
    let (status, ended) = admin(&cluster, Method::DELETE, &path, None).await;
    assert_eq!((status, ended["revokedAt"].is_string()), (200, true), "{ended}");
    let since = Instant::now();
    refused(&cluster, new_key, "the end of the revoked key").await;
    println!("keys: a revoked key was refused {:.2} s later", since.elapsed().as_secs_f64());
}

async fn refused(cluster: &Cluster, key: &str, what: &str) {
    wait::until(what, HEALED_MAX, || async {
        match status_of(cluster, key, "/api/v1/workflows").await {
            401 => Ok(()),
            status => Err(format!("it is answered {status}")),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_locks_everybody_out() {
    let cluster = Cluster::start(1, 1).await;
    let (_, keys) = admin(&cluster, Method::GET, KEYS, None).await;
    let first = format!("{KEYS}/{}", keys[0]["id"].as_str().unwrap());
    let (status, refused) = admin(&cluster, Method::DELETE, &first, None).await;
    assert_eq!((status, &refused["code"]), (409, &json!("last_admin_key")), "{refused}");
    for (body, status) in [
        (json!({"scopes": ["workflows:fly"]}), 400),
        (json!({"scopes": []}), 400),
        (json!({"scopes": ["admin"], "expiresAt": "2001-01-01T00:00:00Z"}), 400),
        (json!({"scopes": ["admin"], "subject": "x".repeat(257)}), 400),
    ] {
        let (answered, refused) = admin(&cluster, Method::POST, KEYS, Some(body)).await;
        assert_eq!(answered, status, "{refused}");
    }
    for (method, path) in [(Method::DELETE, "key_0"), (Method::DELETE, "wf_1"), (Method::POST, "key_0/rotate")] {
        let body = (method == Method::POST).then(|| json!({}));
        assert_eq!(admin(&cluster, method, &format!("{KEYS}/{path}"), body).await.0, 404);
    }
    // Another administrator alone is not enough: somebody must operate the cluster.
    create(&cluster, json!({"scopes": ["admin"]})).await;
    assert_eq!(admin(&cluster, Method::DELETE, &first, None).await.0, 409);
    let second = create(&cluster, json!({"scopes": ["admin", "operate"]})).await;
    assert_eq!(admin(&cluster, Method::DELETE, &first, None).await.0, 200);
    let path = format!("{KEYS}/{}", second["id"].as_str().unwrap());
    let request = cluster.client().anonymous(Method::DELETE, &path).bearer_auth(second["key"].as_str().unwrap());
    assert_eq!(send(request).await.unwrap().status, 409);
}

/// The answer to one request with this key.
async fn with_key(cluster: &Cluster, key: &str, method: Method, path: &str, body: &Value) -> (u16, Value) {
    let answer = send(cluster.client().anonymous(method, path).bearer_auth(key).json(body)).await.unwrap();
    (answer.status, answer.json())
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_makes_tenants_and_their_first_keys() {
    const TENANTS: &str = "/api/v1/tenants";
    let cluster = Cluster::start(1, 1).await;
    let (status, made) = admin(&cluster, Method::POST, TENANTS, Some(json!({"id": "acme", "name": "Acme"}))).await;
    assert_eq!((status, &made["name"], &made["closedAt"]), (201, &json!("Acme"), &Value::Null), "{made}");
    for (body, status, code) in [
        (json!({"id": "acme"}), 409, "tenant_exists"),
        (json!({"id": "Acme"}), 400, "invalid_tenant_request"),
        (json!({"id": ""}), 400, "invalid_tenant_request"),
        (json!({"id": "x".repeat(64)}), 400, "invalid_tenant_request"),
        (json!({"id": "new", "name": "x".repeat(257)}), 400, "invalid_tenant_request"),
        (json!({"id": "new", "owner": "me"}), 400, "unknown_field"),
        (json!({"id": 7}), 400, "invalid_field"),
    ] {
        let (answered, refused) = admin(&cluster, Method::POST, TENANTS, Some(body)).await;
        assert_eq!((answered, &refused["code"]), (status, &json!(code)), "{refused}");
    }
    let place = format!("{TENANTS}/acme");
    let first = json!({"scopes": ["admin", "workflows:read"], "subject": "ada"});
    let (status, made) = admin(&cluster, Method::POST, &format!("{place}/keys"), Some(first.clone())).await;
    assert_eq!(status, 201, "{made}");
    let key = text(&made["key"]);
    assert_eq!(made["hint"], format!("sk-…{}", &key[key.len() - 4..]));
    assert_eq!(admin(&cluster, Method::POST, &format!("{TENANTS}/nobody/keys"), Some(first)).await.0, 404);
    let (_, tenants) = admin(&cluster, Method::GET, TENANTS, None).await;
    assert_eq!(tenants.as_array().unwrap().iter().map(|row| text(&row["id"])).collect::<Vec<_>>(), ["acme", "default"]);

    // It works, which is noted; closed, it does not; opened, it does.
    assert_eq!(status_of(&cluster, &key, "/api/v1/workflows").await, 200);
    wait::until("word of the key's use", HEALED_MAX, || async {
        let (_, keys) = admin(&cluster, Method::GET, &format!("{place}/keys"), None).await;
        if keys[0]["lastUsedAt"].is_string() { Ok(()) } else { Err(keys.to_string()) }
    })
    .await;
    let (status, closed) = admin(&cluster, Method::PATCH, &place, Some(json!({"closed": true}))).await;
    assert_eq!((status, closed["closedAt"].is_string()), (200, true), "{closed}");
    refused(&cluster, &key, "the end of a closed tenant's key").await;
    assert_eq!(
        admin(&cluster, Method::PATCH, &place, Some(json!({"closed": false, "name": "A"}))).await.1["name"],
        "A"
    );
    assert_eq!(status_of(&cluster, &key, "/api/v1/workflows").await, 200);
    let (status, own) =
        admin(&cluster, Method::PATCH, &format!("{TENANTS}/default"), Some(json!({"closed": true}))).await;
    assert_eq!((status, &own["code"]), (409, &json!("first_tenant")));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_to_operate_by_administering() {
    let cluster = Cluster::start(1, 1).await;
    let (_, keys) = admin(&cluster, Method::GET, KEYS, None).await;
    let first = format!("{KEYS}/{}", text(&keys[0]["id"]));
    let administrator = text(&create(&cluster, json!({"scopes": ["admin"]})).await["key"]);
    let operate = json!({"scopes": ["operate"]});
    for (method, path, body) in [
        (Method::POST, KEYS.to_owned(), &operate),
        (Method::POST, format!("{first}/rotate"), &json!({})),
        (Method::DELETE, first, &json!({})),
        (Method::GET, "/api/v1/agents".to_owned(), &json!({})),
        (Method::GET, "/api/v1/tenants".to_owned(), &json!({})),
    ] {
        let (status, refused) = with_key(&cluster, &administrator, method, &path, body).await;
        assert_eq!((status, &refused["code"]), (403, &json!("missing_scope")), "{path}: {refused}");
    }
    // Nor does an operator make operators elsewhere.
    admin(&cluster, Method::POST, "/api/v1/tenants", Some(json!({"id": "acme"}))).await;
    let (status, refused) = admin(&cluster, Method::POST, "/api/v1/tenants/acme/keys", Some(operate.clone())).await;
    assert_eq!((status, &refused["code"]), (400, &json!("invalid_key_request")), "{refused}");
    assert_eq!(admin(&cluster, Method::POST, KEYS, Some(operate)).await.0, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_makes_tenants_and_keys() {
    let mut cluster = Cluster::start(1, 1).await;
    let origin = cluster.origin(0);
    let first = std::fs::read_to_string(cluster.folder().join("coordinator").join("key")).unwrap();
    let heddle = |line: &str| {
        let mut command = std::process::Command::new(cluster_tests::cluster::heddle());
        command.args(line.split_whitespace()).args(["--json", "--server", &origin]).env("HEDDLE_KEY", first.trim());
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), serde_json::from_slice::<Value>(&output.stdout).unwrap_or_default(), said)
    };
    let (is_done, tenant, said) = heddle("tenants create acme --name Acme");
    assert!(is_done && tenant["name"] == "Acme", "{tenant} {said}");
    let (is_done, key, said) =
        heddle("keys create --tenant acme --scope admin,workflows:read --subject ada --expires 1d");
    assert!(is_done && key["expiresAt"].is_string(), "{said}");
    assert_eq!(status_of(&cluster, &text(&key["key"]), "/api/v1/workflows").await, 200);
    let (_, keys, said) = heddle("keys list --tenant acme");
    assert_eq!((&keys[0]["hint"], keys[0].get("key")), (&key["hint"], None), "{said}");
    let (_, tenants, said) = heddle("tenants list");
    assert_eq!(tenants.as_array().map(Vec::len), Some(2), "{said}");
    let (_, closed, said) = heddle("tenants close acme");
    assert!(closed["closedAt"].is_string(), "{said}");
    let (is_done, _, said) = heddle("tenants get nobody");
    assert!(!is_done && said.contains("Tenant not found"), "{said}");
}
