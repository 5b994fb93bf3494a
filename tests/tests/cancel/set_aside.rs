//! A run that is set aside, since its history cannot be read, and its job at a provider.

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
