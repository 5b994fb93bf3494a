//! A run that is set aside, since its history cannot be read, and its job at a provider.

use cluster_tests::cluster::client::send;
use reqwest::Method;
use tempfile::TempDir;

use super::*;

/// Of a run whose history cannot be read only the agent knows the job.
#[tokio::test(flavor = "multi_thread")]
async fn the_job_of_a_run_that_is_set_aside_is_cancelled_by_its_agent() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("heddle.db");
    let sandbox = Sandbox::start().await;
    let arguments = sandbox.arguments([Part::Agent(0)]);
    let database = Some(format!("sqlite:{}", file.display()));
    let setting = Setting { arguments, database, ..Setting::default() };
    let mut cluster = Cluster::set_up(Shape::new(1, 1, 1), setting).await;
    let client = cluster.client().clone();
    let workflow = client.save("job", &job()).await;
    let run = client.run(&workflow, "job").await;
    has_job(&client, &run).await;
    cluster.kill(Part::Coordinator);
    {
        let id: heddle_core::id::RunId = run.parse().unwrap();
        let database = rusqlite::Connection::open(&file).unwrap();
        assert!(database.execute("UPDATE event SET crc = ~crc WHERE run = ?1", [id.to_bytes()]).unwrap() > 0);
    }
    cluster.start_part(Part::Coordinator, None);
    cluster.serves().await;
    assert_eq!(client.ended(&run, RUN_TIME_MAX).await["error"]["code"], "quarantined");
    wait::until("the end of the job", RUN_TIME_MAX, || async {
        let jobs = sandbox.jobs().await;
        let is_over = jobs.len() == 1 && jobs.iter().all(|job| job.state == "cancelled" && !job.charged);
        if is_over { Ok(()) } else { Err(format!("{jobs:?}")) }
    })
    .await;
    // Its place is free again.
    idle(&client).await;
    let next = Graph::default().node("n", "debug:sleep", json!({ "ms": 1 }));
    let next = client.save("next", &next).await;
    let next = client.run(&next, "next").await;
    assert_eq!(client.ended(&next, RUN_TIME_MAX).await["status"], "COMPLETED");
}

/// The database refuses what follows of it, so it is set aside while it is at work.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_set_aside_says_so_wherever_it_is_asked() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("heddle.db");
    let cluster = Cluster::on(Shape::new(1, 1, 2), &format!("sqlite:{}", file.display())).await;
    let client = cluster.client();
    let graph = Graph::default()
        .node("at-work", "debug:sleep", json!({ "ms": 120_000 }))
        .node("hear", "logic:signal", json!({ "name": "go" }))
        .node("hook", "logic:wait_webhook", json!({}));
    let workflow = client.save("aside", &graph).await;
    let run = client.run(&workflow, "aside").await;
    let path = |rest: &str| format!("/api/v1/workflows/executions/{run}{rest}");
    let hook = wait::until("the address of the hook", RUN_TIME_MAX, || async {
        let shown = client.get_json(&path("/nodes/hook")).await;
        shown["output"]["url"].as_str().map(ToOwned::to_owned).ok_or_else(|| shown.to_string())
    })
    .await;
    let stream = || async {
        let request = client.request(Method::GET, &path("/events")).header("accept", "text/event-stream");
        String::from_utf8(send(request).await.unwrap().body.to_vec()).unwrap()
    };
    let act = || async {
        wait::until("both to wait", RUN_TIME_MAX, || async {
            let agents = client.get_json("/api/v1/agents").await.to_string();
            if agents.contains("\"busy\":1") { Ok(()) } else { Err(agents) }
        })
        .await;
        let id: heddle_core::id::RunId = run.parse().unwrap();
        let hex: String = id.to_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let database = rusqlite::Connection::open(&file).unwrap();
        database.busy_timeout(RUN_TIME_MAX).unwrap();
        let poison = format!(
            "CREATE TRIGGER poison BEFORE INSERT ON event WHEN NEW.run = x'{hex}' BEGIN SELECT RAISE(ABORT, 'no more'); END"
        );
        database.execute_batch(&poison).unwrap();
        client.post(&path("/pause"), &json!({}), "pause").await
    };
    let polled = || async {
        let begun = std::time::Instant::now();
        (client.get_json(&path("/poll?wait=30")).await, begun.elapsed())
    };
    let ((poll, waited), told, refused) = tokio::join!(polled(), stream(), act());
    assert_eq!((refused.status, &refused.json()["code"]), (409, &json!("execution_set_aside")), "{refused}");
    assert_eq!((&poll["status"], &poll["error"]["code"]), (&json!("FAILED"), &json!("quarantined")), "{poll}");
    assert!(waited < Duration::from_secs(20), "nobody woke the poll: {waited:?}");
    for told in [told, stream().await] {
        let kinds: Vec<&str> = told.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
        assert_eq!(kinds[kinds.len() - 2..], ["run.set_aside", "stream.end"], "{told}");
        assert!(told.contains(r#""code":"quarantined""#), "{told}");
    }
    for (place, (rest, body)) in [
        ("/cancel", json!({})),
        ("/pause", json!({})),
        ("/unpause", json!({})),
        ("/signals/go", json!({})),
        ("/resume", json!({ "fromNodeId": "hear" })),
        ("/resume", json!({ "fromNodeId": "hear", "plan": true })),
        ("/rerun", json!({})),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = client.post(&path(rest), &body, &format!("key {place}")).await;
        assert_eq!((answer.status, &answer.json()["code"]), (409, &json!("execution_set_aside")), "{rest}: {answer}");
    }
    let called = send(client.anonymous(Method::POST, &hook).json(&json!({}))).await.unwrap();
    assert_eq!((called.status, &called.json()["code"]), (409, &json!("execution_set_aside")), "{called}");
    assert_eq!(client.execution(&run).await["error"]["code"], "quarantined");
}
