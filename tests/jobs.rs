//! Long work of the real service: it is done to its end, whoever waits for it, and told of afterwards.
//!
//! Hazard: a restore that stops half way because somebody closed a laptop.

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;

use common::audit::{chained_records, count};
use common::{Daemon, Installation, code, files};
use serde_json::Value;

/// A restore that is under way until the test says otherwise: its health check waits for a file.
const HEALTH: &str = "\
[recovery]
health_timeout = \"10m\"
health_command = [\"/bin/sh\", \"-c\", \"touch ../under-way; until [ -e ../go ]; do sleep 0.01; done\"]
";

const RESTORE: &str = "POST /api/recovery/security/latest HTTP/1.1\r\nHost: localhost\r\n";

/// Sends these bytes to the service.
fn connect_and_send(daemon: &Daemon, bytes: &str) -> TcpStream {
    let mut stream = TcpStream::connect(daemon.authority()).unwrap();
    stream.write_all(bytes.as_bytes()).unwrap();
    stream
}

/// The job as it is once it ended.
fn ended(daemon: &Daemon, id: &str) -> Value {
    daemon.wait("the job to end", |daemon| {
        let job = daemon.get(&format!("/api/jobs/{id}")).json();
        (job["state"] != "running").then_some(job)
    })
}

#[test]
fn a_restore_goes_on_to_its_end_when_its_client_is_gone_and_its_job_tells_what_came_of_it() {
    let installation = Installation::with_settings(HEALTH);
    let daemon = installation.start();
    daemon.settle();
    daemon.backup("security");
    let live = installation.path("config/security_config.json");
    for headers in ["", "Prefer: respond-async\r\n"] {
        let good = files::read(&live);
        std::fs::remove_file(&live).unwrap();
        let client = connect_and_send(&daemon, &format!("{RESTORE}{headers}Content-Length: 0\r\n\r\n"));
        daemon.wait("the restore to be under way", |_| installation.path("under-way").exists().then_some(()));
        drop(client);
        let job = daemon.get("/api/jobs").json()["jobs"][0].clone();
        assert_eq!((&job["operation"], &job["state"]), (&"restore".into(), &"running".into()), "{job}");
        files::write(&installation.path("go"), "");

        let job = ended(&daemon, job["id"].as_str().unwrap());
        assert_eq!(job["state"], "succeeded", "{job}");
        assert_eq!(job["result"]["restored"].as_array().unwrap().len(), 4, "{job}");
        let progress = &job["progress"];
        assert!(
            progress["done_bytes"].as_u64() > Some(0) && progress["done_bytes"] == progress["total_bytes"],
            "{job}"
        );
        assert_eq!(files::read(&live), good);
        for marker in ["under-way", "go"] {
            std::fs::remove_file(installation.path(marker)).unwrap();
        }
    }
    assert_eq!(code(daemon.terminate()), 0);
    let records = chained_records(&installation.path("logs/security_audit.log"));
    assert_eq!(count(&records, "RestoreCompleted", "security"), 2);
}

#[test]
fn a_stop_lets_work_that_nobody_waits_for_come_to_its_end() {
    let installation = Installation::with_settings(HEALTH);
    let daemon = installation.start();
    daemon.settle();
    daemon.backup("security");
    let mut client = connect_and_send(&daemon, &format!("{RESTORE}Prefer: respond-async\r\nContent-Length: 0\r\n\r\n"));
    // Whoever leaves before it was looked who they are is known to nobody.
    assert!(client.read(&mut [0; 1024]).unwrap() > 0);
    drop(client);
    daemon.wait("the restore to be under way", |_| installation.path("under-way").exists().then_some(()));
    daemon.signal_to_end();
    files::write(&installation.path("go"), "");
    assert_eq!(code(daemon.end()), 0);
    let records = chained_records(&installation.path("logs/security_audit.log"));
    assert_eq!(count(&records, "RestoreCompleted", "security"), 1);
}
