//! The rows that a replica is told: damaged, lost, forged, and read by who has nothing else.
//!
//! Hazard: a file that anybody can write who can write to a replica, and that is believed. No row may have anything
//! deleted, hidden or called good; and none may grow for ever where nothing changes.

#[path = "repository/mod.rs"]
mod repository;

use std::path::Path;
use std::process::Command;

use fiovana_app::core::{BackupState, Digest};
use fiovana_app::pipeline::Progress;
use fiovana_app::pipeline::replicate::{self, Next, Run, ServiceStatus};
use fiovana_app::pipeline::verify::Verdict;
use fiovana_app::repository::Repository;
use fiovana_app::repository::catalogue::Finding;
use fiovana_app::repository::state::Loaded;
use fiovana_app::repository::wire::AuditHead;
use fiovana_app::storage::Durability;
use fiovana_app::storage::faulty::Simulated;
use repository::Place;
use repository::damage::{Kind, bytes, damages, paths};
use repository::site::{self, backups, hour};
use repository::source::{Source, write};
use repository::stories;
use serde_json::{Value, json};

const ROWS: [&str; 3] = ["audit_head", "verification", "status"];

fn head(seq: u64) -> AuditHead {
    AuditHead { seq, hash: Digest::of(&seq.to_be_bytes()), key: None }
}

fn pass(original: &Repository, replica: &Repository, source: &Source, seq: u64) {
    let sets = [source.set.name.clone()];
    let mut run = Run::default();
    while replicate::step(original, replica, &sets, &mut run, hour(50), &Progress::default()).unwrap() != Next::Nothing
    {
    }
    replicate::settle(original, replica, &sets).unwrap();
    replica.give_audit_head(head(seq)).unwrap();
    let [host, program, mode] = ["host", "1.2.3", "normal"].map(str::to_owned);
    let audit_head = Some(head(seq));
    replicate::tell(original, replica, &sets, ServiceStatus { host, program, mode, audit_head }).unwrap();
}

/// An original of two backups, and a replica that has both.
fn replicated() -> (Source, Repository, Simulated) {
    let source = Source::rich("security");
    let original = site::open(&stories::disk_with(&source, 2).0).0;
    let disk = Simulated::new();
    original.create_replica(site::storage_on(&disk)).unwrap();
    pass(&original, &site::open(&disk).0, &source, 7);
    (source, original, disk)
}

fn rows_of(disk: &Simulated) -> Vec<String> {
    paths(disk).into_iter().filter(|path| ROWS.iter().any(|row| path.starts_with(&format!("{row}.")))).collect()
}

fn told(disk: &Simulated, row: &str) -> Value {
    serde_json::from_slice(&bytes(disk, row).unwrap()).unwrap()
}

/// A document with its seal, as anybody can make it.
fn sealed(document: &Value) -> Vec<u8> {
    let text = document.to_string();
    let lines = format!("{},\n", text.strip_suffix('}').unwrap());
    format!("{lines}  \"sha256\": \"{}\" }}\n", Digest::of(lines.as_bytes())).into_bytes()
}

fn forget_state(disk: &Simulated) {
    paths(disk).iter().filter(|path| path.starts_with("state/")).for_each(|path| disk.remove_raw(path).unwrap());
}

#[test]
fn what_did_not_change_is_not_written_again_and_no_generation_is_overwritten() {
    let (source, original, disk) = replicated();
    assert_eq!(rows_of(&disk), ["audit_head.1.json", "status.1.json", "verification.1.json"]);
    let status = told(&disk, "status.1.json");
    let newest = backups(&original).last().unwrap().id.to_string();
    assert_eq!(status["sets"]["security"]["newest_good"]["id"], newest, "{status}");
    assert_eq!(
        [&status["format"], &status["host"], &status["program"], &status["mode"], &status["lag_backups"]],
        [&json!(2), &json!("host"), &json!("1.2.3"), &json!("normal"), &json!(0)]
    );
    let replica = site::open(&disk).0;
    let before = disk.files();
    pass(&original, &replica, &source, 7);
    // A scrub reads one backup after another.
    for backup in backups(&replica) {
        replica
            .record_finding(backup.id, Finding::Intact { checked: hour(50) + chrono::TimeDelta::minutes(59) })
            .unwrap();
        pass(&original, &replica, &source, 7);
    }
    let rows = |files: Vec<(std::path::PathBuf, Vec<u8>)>| -> Vec<_> {
        files.into_iter().filter(|(path, _)| !path.starts_with("state")).collect()
    };
    assert_eq!(rows(disk.files()), rows(before), "nothing was news");
    let first = bytes(&disk, "audit_head.1.json").unwrap();
    pass(&original, &replica, &source, 8);
    assert_eq!(bytes(&disk, "audit_head.1.json").unwrap(), first, "it was overwritten");
    replica.record_finding(backups(&replica)[0].id, Finding::Intact { checked: hour(51) }).unwrap();
    (9..12).for_each(|seq| pass(&original, &replica, &source, seq));
    let expected = ["audit_head.4.json", "audit_head.5.json", "status.4.json", "status.5.json"];
    assert_eq!(rows_of(&disk)[..4], expected, "the highest two stay");
    assert_eq!(rows_of(&disk)[4..], ["verification.1.json", "verification.2.json"]);
}

#[test]
fn any_damage_to_any_row_costs_no_backup_is_told_of_nothing_and_the_next_pass_writes_it_anew() {
    let (source, original, disk) = replicated();
    pass(&original, &site::open(&disk).0, &source, 8);
    for row in rows_of(&disk) {
        assert_eq!(Kind::of(&row), Kind::Row);
        for damage in damages(&disk, &row) {
            let _place = Place::new(format!("{damage:?} of {row}"));
            for lost_state in [false, true] {
                let disk = disk.after_kill();
                damage.apply(&disk, &row);
                if lost_state {
                    forget_state(&disk);
                }
                let (replica, report) = site::open(&disk);
                assert!(report.faults.is_empty(), "{:?}", report.faults);
                for backup in backups(&replica) {
                    let known = if lost_state { BackupState::Unverified } else { BackupState::Good };
                    assert_eq!(backup.state(), known);
                    assert_eq!(site::verdict(&replica, &backup), Verdict::Intact);
                }
                assert_eq!(backups(&replica).len(), 2);
                pass(&original, &replica, &source, 9);
                assert_eq!(site::open(&disk).0.audit_head().unwrap(), Loaded::Value(head(9)));
                let highest = |name: &str| {
                    let of_row = |path: &String| {
                        Some(path.strip_prefix(name)?.strip_prefix('.')?.split_once('.')?.0.parse::<u32>().unwrap())
                    };
                    let highest = rows_of(&disk).iter().filter_map(of_row).max().unwrap();
                    told(&disk, &format!("{name}.{highest}.json"))
                };
                assert_eq!(highest("status")["audit_head"]["seq"], 9);
                assert_eq!(highest("verification")["sets"]["security"]["highest"], 2);
            }
        }
    }
}

#[test]
fn with_the_state_of_a_replica_lost_its_row_tells_which_backups_there_were() {
    let (_, original, disk) = replicated();
    let newest = backups(&original).last().unwrap().id;
    disk.remove_raw(format!("manifests/security/{newest}.json")).unwrap();
    forget_state(&disk);
    let replica = site::open(&disk).0;
    assert_eq!(replica.catalogue().get(newest).map(|backup| backup.state()), Some(BackupState::Damaged));
    assert_eq!(replica.catalogue().set(&"security".parse().unwrap()).unwrap().next_sequence().0, 3);
    // What this shows of the row: without it nobody misses it.
    disk.remove_raw("verification.1.json").unwrap();
    assert!(site::open(&disk).0.catalogue().get(newest).is_none());
}

#[test]
fn no_forged_row_has_anything_called_good_unpinned_or_hidden() {
    let (source, original, disk) = replicated();
    let [first, second] = [0, 1].map(|at| backups(&original)[at].id);
    original.set_pinned(&source.set.name, first, true).unwrap();
    pass(&original, &site::open(&disk).0, &source, 8);
    let object = paths(&disk).into_iter().find(|path| path.starts_with("objects/")).unwrap();
    let mut forged = told(&disk, "verification.1.json");
    forged.as_object_mut().unwrap().remove("sha256");
    let set = &mut forged["sets"]["security"];
    set["unpinned"] = json!([first.to_string()]);
    set["pins_generation"] = json!(1);
    set["backups"].as_object_mut().unwrap().values_mut().for_each(|record| record["pinned"] = json!(false));
    set["backups"].as_object_mut().unwrap().remove(&second.to_string());
    for lost_pins in [false, true] {
        let disk = disk.after_kill();
        disk.flip_bit(&object, 9, 1).unwrap();
        disk.write_raw("verification.90.json", &sealed(&forged)).unwrap();
        forget_state(&disk);
        if lost_pins {
            disk.write_raw("manifests/security/pins.1.json", b"lost").unwrap();
        }
        let replica = site::open(&disk).0;
        let backups = backups(&replica);
        assert_eq!(backups.iter().map(|backup| backup.id).collect::<Vec<_>>(), [first, second]);
        assert!(backups.iter().all(|backup| backup.state() == BackupState::Unverified), "a row calls them good");
        assert_eq!(backups.iter().map(|backup| backup.pinned).collect::<Vec<_>>(), [true, lost_pins]);
        assert!(backups.iter().any(|backup| site::verdict(&replica, backup) != Verdict::Intact));
    }
}

#[test]
fn a_replica_of_before_keeps_its_head_until_it_is_told_in_a_row_and_one_of_format_1_gets_none() {
    let (source, original, disk) = replicated();
    rows_of(&disk).iter().for_each(|row| disk.remove_raw(row).unwrap());
    let replica = site::open(&disk).0;
    replica.remember_audit_head(head(5), Durability::Durable).unwrap();
    assert_eq!(replica.audit_head().unwrap(), Loaded::Value(head(5)));
    assert_eq!(replica.audit_anchors().iter().filter(|anchor| **anchor == head(5)).count(), 1);
    pass(&original, &replica, &source, 6);
    assert_eq!(replica.audit_head().unwrap(), Loaded::Value(head(6)));
    assert!(bytes(&disk, "state/audit_head.json").is_none() && bytes(&disk, "audit_head.1.json").is_some());
    let old = Simulated::new();
    original.create_replica(site::storage_on(&old)).unwrap();
    let document = json!({ "format": 1, "id": original.id(), "created": "2026-01-01T00:00:00Z" });
    old.write_raw("repository.json", &sealed(&document)).unwrap();
    let old_replica = site::open(&old).0;
    old_replica.give_audit_head(head(6)).unwrap();
    replicate::tell(
        &original,
        &old_replica,
        &[],
        ServiceStatus { host: String::new(), program: String::new(), mode: String::new(), audit_head: None },
    )
    .unwrap();
    assert_eq!(rows_of(&old), Vec::<String>::new());
    assert_eq!(site::open(&old).0.audit_head().unwrap(), Loaded::Value(head(6)));
}

#[test]
fn the_independent_reader_reads_them_as_the_program_does() {
    let (_, original, disk) = replicated();
    let directory = tempfile::tempdir().unwrap();
    for (path, content) in disk.files() {
        write(&directory.path().join(path), &content);
    }
    write(&directory.path().join("status.2.json"), b"damaged");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/independent_reader.py");
    let output = Command::new("python3").arg(script).arg(directory.path()).arg("rows").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let row = |name: &str| -> Value {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{text}"));
        serde_json::from_str(line).unwrap()
    };
    assert_eq!(row("audit_head ")["seq"], 7);
    assert_eq!(row("status ")["sets"]["security"]["backups"], 2);
    let checked = &row("verification ")["sets"]["security"]["backups"][backups(&original)[0].id.to_string()];
    assert_eq!(checked["outcome"], "intact", "{text}");
    assert_eq!(row("writer "), Value::Null);
}
