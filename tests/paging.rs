//! Lists, page by page.
//!
//! Hazard: a page that repeats or leaves out what lies on its edge, and a page without an end.

mod common;

use common::Installation;
use serde_json::Value;

#[test]
fn a_list_walked_in_pages_is_the_whole_list_and_so_is_the_audit_log() {
    let installation = Installation::new();
    let daemon = installation.start();
    daemon.settle();
    (0..3).for_each(|_| drop(daemon.backup("security")));

    let whole = daemon.get("/api/backup/list").json()["backups"].as_array().unwrap().clone();
    let (mut walked, mut after): (Vec<Value>, _) = (vec![], String::new());
    loop {
        let page = daemon.get(&format!("/api/backup/list?limit=2{after}")).json();
        walked.extend(page["backups"].as_array().unwrap().clone());
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert!(walked.len() >= 7 && walked == whole, "{walked:?}");

    let (mut numbers, mut after) = (vec![], 0);
    loop {
        let page = daemon.get(&format!("/api/audit?limit=3&after={after}")).json();
        let records = page["records"].as_array().unwrap().clone();
        if records.is_empty() {
            break;
        }
        assert!(records.len() <= 3);
        numbers.extend(records.iter().map(|record| record["seq"].as_u64().unwrap()));
        after = page["next"].as_u64().unwrap();
    }
    assert!(numbers.len() > 10 && numbers.iter().copied().eq(1..=numbers.len() as u64), "{numbers:?}");

    for path in ["/api/backup/list", "/api/audit"] {
        for limit in ["0", "1001", "-1", "99999999999999999999"] {
            assert_eq!(daemon.get(&format!("{path}?limit={limit}")).problem(400), "bad-request", "{path} {limit}");
        }
    }
}
