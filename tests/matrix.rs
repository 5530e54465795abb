//! Any file of a replicated set, damaged in any way, here or in the replica, while the real program runs or before it starts.
//!
//! Hazard: a kind of file, a kind of damage or a place that nobody tried together is where the loss will be. Each cell of
//! the table must be healed byte for byte, kept aside, audited and counted; one by one where there is time for it.

mod common;

use std::path::{Path, PathBuf};

use common::{Daemon, Installation, audit, code, files, long, repository};
use serde_json::Value;

const SETTINGS: &str = "[backup]\nmax_backups = 2\n[recovery]\nintegrity_failures = 1000\n";
const SCRUB_EACH_SECOND: &str = "[scrub]\nwithin = \"1s\"\nrate_mib_per_second = 0\n";

/// What is done to a file.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Damage {
    Flip,
    Truncate,
    Delete,
    Swap,
    Empty,
    Grow,
}

const DAMAGES: [Damage; 6] =
    [Damage::Flip, Damage::Truncate, Damage::Delete, Damage::Swap, Damage::Empty, Damage::Grow];

/// So many of the targets are what backups consist of; documents follow.
const BACKUPS_CONSIST_OF: usize = 2;

/// A file that is damaged, and the one that it changes places with.
struct Target {
    path: String,
    other: String,
}

/// A backup of which something is damaged, and its files.
struct Kept {
    set: &'static str,
    id: String,
    content: Vec<(String, Vec<u8>)>,
}

/// A service with backups of every kind, and a replica that has all of them.
struct Site {
    installation: Installation,
    backups: Vec<Kept>,
}

impl Site {
    fn new(scrub: &str) -> (Self, Daemon) {
        let installation = Installation::with_settings(&format!("{SETTINGS}{scrub}"));
        let daemon = installation.start();
        daemon.settle();
        let mut made = Vec::new();
        for (set, file) in [("security", "security_config.json"), ("application", "app_config.json")] {
            for version in 0..4 {
                files::write(&installation.path("config").join(file), format!("{{\"version\": {version}}}"));
                let id = daemon.backup_when_free(set)["id"].as_str().unwrap().to_owned();
                made.push((set, id));
            }
        }
        let pinned = made[2].1.clone();
        assert!(installation.run(&["pin", &pinned]).status.success());
        let root = installation.path("backups");
        daemon.wait("what is kept to be in both places, and the rest in none", |daemon| {
            let status = daemon.status();
            let replica = &status["replicas"][0];
            let is_settled = |place: &Path| {
                let has = |set, name| repository::newest_generation(place, set, name).is_some();
                has("security", "pruned") && has("application", "pruned") && has("security", "pins")
            };
            (replica["lag"] == 0 && is_settled(&root) && is_settled(&root.join("replica"))).then_some(())
        });
        let (newest, other) = (made[3].1.clone(), made[7].1.clone());
        let kept = [("security", pinned), ("security", newest), ("application", other)];
        let backups = kept.map(|(set, id)| {
            let content = repository::content(&root, set, &id);
            Kept { set, id, content }
        });
        (Self { installation, backups: backups.into() }, daemon)
    }

    /// What is damaged in a place.
    fn targets(&self, place: &str) -> Vec<Target> {
        let root = self.place(place).0;
        let [pinned, newest, other] = [0, 1, 2].map(|at| self.backups[at].id.as_str());
        let manifest = |set: &str, id: &str| format!("manifests/{set}/{id}.json");
        let object = |set: &str, id: &str| {
            let document = repository::manifest(&root, set, id);
            let packs = repository::packs(&root, &document);
            let name = packs.keys().next().expect("small files are in a pack");
            format!("objects/{}/{name}", &name[..2])
        };
        let document = |set, name| repository::newest_generation(&root, set, name).unwrap();
        let target = |path: String, other: String| Target { path, other };
        vec![
            target(object("security", newest), object("application", other)),
            target(manifest("security", newest), manifest("security", pinned)),
            target(document("security", "pruned"), document("application", "pruned")),
            target(document("security", "pins"), String::new()),
            target("repository.json".into(), "RESTORE.txt".into()),
            target("RESTORE.txt".into(), String::new()),
        ]
    }

    /// Where one of the two places is, and how what is in it is named.
    fn place(&self, name: &str) -> (PathBuf, &'static str) {
        match name {
            "primary" => (self.installation.path("backups"), ""),
            _ => (self.installation.path("backups/replica"), "replica local: "),
        }
    }

    fn records(&self) -> Vec<Value> {
        audit::chained_records(&self.installation.path("logs/security_audit.log"))
    }

    /// Whether a record of this event, and of those after `from`, names this place.
    fn is_told(&self, from: usize, event: &str, place: &str) -> bool {
        let of_event = |record: &&Value| record["event"] == event;
        self.records()[from..].iter().filter(of_event).any(|record| record["details"].to_string().contains(place))
    }

    /// Waits until what was touched is what it was, and everybody was told.
    fn wait_for_healing(&self, daemon: &Daemon, place: &str, before: &Before) {
        let (root, prefix) = self.place(place);
        for (path, right, damaged) in &before.touched {
            let named = format!("{prefix}{path}");
            daemon.wait(&format!("{named} to be healed"), |_| {
                (std::fs::read(root.join(path)).ok().as_ref() == Some(right)).then_some(())
            });
            for event in ["IntegrityCheckFailed", "RepairCompleted"] {
                daemon.wait(&format!("{event} of {named}"), |_| {
                    self.is_told(before.records, event, &named).then_some(())
                });
            }
            if let Some(damaged) = damaged {
                let kept = root.join("quarantine").read_dir().unwrap().map(|entry| entry.unwrap().path());
                let kept = kept.filter(|path| path.is_file()).any(|path| files::read(&path) == *damaged);
                assert!(kept, "the damaged bytes of {named} were thrown away");
            }
        }
        daemon.wait("the metric to count it", |daemon| {
            (counted(daemon) >= before.counted + before.touched.len() as u64).then_some(())
        });
    }

    /// Every backup is whole in both places, read by other code, and the program says so, too.
    fn judge(&self, daemon: &Daemon) {
        for Kept { set, id, content } in &self.backups {
            for place in ["primary", "replica"] {
                assert!(repository::content(&self.place(place).0, set, id) == *content, "{id} in the {place}");
            }
            let to = tempfile::tempdir().unwrap();
            let restored =
                self.installation.run(&["restore", set, id, "--to", to.path().join("new").to_str().unwrap()]);
            assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
            assert_eq!(daemon.get(&format!("/api/backup/{id}")).json()["state"], "good", "{id}");
        }
        assert_eq!(code(self.installation.run(&["verify", "--all"]).status), 0);
    }
}

/// What was true before a file was damaged.
struct Before {
    records: usize,
    counted: u64,
    /// The path of each file, its bytes, and what there is in its place now.
    touched: Vec<(String, Vec<u8>, Option<Vec<u8>>)>,
}

fn counted(daemon: &Daemon) -> u64 {
    let metrics = daemon.get("/metrics").text;
    let line = metrics.lines().find_map(|line| line.strip_prefix("fiovana_integrity_failures_total "));
    line.unwrap_or_else(|| panic!("{metrics}")).parse().unwrap()
}

/// Damages a file; `None` if this way leaves it as it was.
fn damage(site: &Site, place: &str, target: &Target, damage: Damage, counted: u64) -> Option<Before> {
    let root = site.place(place).0;
    let path = root.join(&target.path);
    let right = files::read(&path);
    let wrong = match damage {
        Damage::Flip => right.iter().enumerate().map(|(at, byte)| byte ^ u8::from(at == right.len() / 2)).collect(),
        Damage::Truncate => right[..right.len().saturating_sub(1)].to_vec(),
        Damage::Empty => vec![],
        Damage::Grow => [&right[..], b"x"].concat(),
        Damage::Delete => vec![],
        Damage::Swap if target.other.is_empty() => return None,
        Damage::Swap => files::read(&root.join(&target.other)),
    };
    let is_deleted = damage == Damage::Delete;
    if wrong == right && !is_deleted {
        return None;
    }
    let records = site.records().len();
    let mut touched = Vec::new();
    if damage == Damage::Swap {
        files::write(&root.join(&target.other), &right);
        touched.push((target.other.clone(), wrong.clone(), Some(right.clone())));
    }
    match is_deleted {
        true => std::fs::remove_file(&path).unwrap(),
        false => files::write(&path, &wrong),
    }
    touched.push((target.path.clone(), right, (!is_deleted).then_some(wrong)));
    Some(Before { records, counted, touched })
}

fn while_it_runs(place: &str) {
    let (site, daemon) = Site::new(SCRUB_EACH_SECOND);
    let targets = site.targets(place);
    let at_once = if long() { 1 } else { targets.len() };
    let mut cells = 0;
    for kind in DAMAGES {
        for some in targets.chunks(at_once) {
            let counted = counted(&daemon);
            let damaged: Vec<Before> =
                some.iter().filter_map(|target| damage(&site, place, target, kind, counted)).collect();
            damaged.iter().for_each(|before| site.wait_for_healing(&daemon, place, before));
            cells += damaged.len();
        }
    }
    assert_eq!(cells, 34, "the pins change places with nothing, and the instructions are swapped already");
    site.judge(&daemon);
}

#[test]
fn any_damage_to_any_file_of_the_repository_is_healed_by_the_next_scrub() {
    while_it_runs("primary");
}

#[test]
fn any_damage_to_any_file_of_a_replica_is_healed_by_the_next_scrub() {
    while_it_runs("replica");
}

#[test]
fn a_document_that_was_damaged_while_nothing_ran_is_healed_by_a_normal_start() {
    let (site, mut daemon) = Site::new("");
    for place in ["primary", "replica"] {
        for kind in [Damage::Delete, Damage::Flip, Damage::Empty] {
            assert_eq!(code(daemon.terminate()), 0);
            let documents = &site.targets(place)[BACKUPS_CONSIST_OF..];
            let damaged: Vec<Before> =
                documents.iter().filter_map(|target| damage(&site, place, target, kind, 0)).collect();
            assert!(damaged.len() >= 3, "{kind:?}");
            daemon = site.installation.start();
            damaged.iter().for_each(|before| site.wait_for_healing(&daemon, place, before));
        }
    }
    site.judge(&daemon);
}
