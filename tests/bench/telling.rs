//! What it costs to tell: a scrape of many sets, and records of the audit log.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use chrono::Utc;
use fiovana_app::actors::view::facts;
use fiovana_app::actors::{ACTORS, Role, World};
use fiovana_app::audit::{AuditLog, Authenticator, Entry, Key, Outcome};
use fiovana_app::clock::SystemClock;
use fiovana_app::core::{BackupKind, SetName};
use fiovana_app::pipeline::Progress;
use fiovana_app::pipeline::archive::{self, Archived};
use fiovana_app::repository::encryption::Keys;
use fiovana_app::repository::{Repository, layout, manifest};
use fiovana_app::settings::{Settings, Sources};
use fiovana_app::storage::local::Local;
use fiovana_app::storage::{Durability, Storage};
use fiovana_app::telemetry::Metrics;

use super::measure::{Table, median, timed};

const SETS: usize = 50;
const BACKUPS_PER_SET: u64 = 200;

/// A scrape of fifty sets with ten thousand backups, beside what it takes to write the same text once all is known.
pub fn scrape(root: &Path, table: &mut Table) {
    let (settings, repository) = crowd(root);
    let names: Vec<SetName> = settings.sets.iter().map(|set| set.name.clone()).collect();
    let metrics = Metrics::new(&names, &ACTORS).expect("metrics");
    let world = World::new(settings, Role::Daemon, repository, Arc::new(SystemClock::start()), metrics);
    let known = facts(&world);
    let backups: u64 = known.sets.iter().flat_map(|set| set.backups.values()).sum();
    assert_eq!(backups, SETS as u64 * BACKUPS_PER_SET);
    let times = |scrape: &dyn Fn() -> String| median((0..100).map(|_| timed(scrape).0).collect());
    let ours = times(&|| world.metrics.render(&facts(&world)).expect("render"));
    let alone = times(&|| world.metrics.render(&known).expect("render"));
    table.row("scrape 50 sets, 10,000 backups", ours, "the text alone", alone);
    table.note("a scrape", format!("{:.2} ms", ours * 1000.0));
}

fn crowd(root: &Path) -> (Settings, Repository) {
    let (source, backups, file) = (root.join("data"), root.join("backups"), root.join("settings.toml"));
    std::fs::create_dir_all(&source).expect("create");
    std::fs::create_dir_all(&backups).expect("create");
    let mut text = format!("[backup]\nbackup_directory = {backups:?}\n");
    for set in 0..SETS {
        std::fs::write(source.join(format!("{set}.json")), "{}").expect("write");
        text += &format!("[sets.crowd{set}]\nsource = {source:?}\nfiles = [\"{set}.json\"]\n");
    }
    std::fs::write(&file, text).expect("write settings");
    let sources = Sources { config_argument: Some(file), working_directory: root.to_owned(), ..Sources::default() };
    let settings = Settings::load(&sources).expect("settings");
    let storage = Arc::new(Local::open(&backups).expect("open"));
    Repository::create(storage.clone(), Utc::now()).expect("create a repository");
    let (repository, _) = Repository::open(storage.clone(), false).expect("open the repository");
    for set in settings.sets.iter().filter(|set| set.name.as_str().starts_with("crowd")) {
        let request = archive::Request {
            set,
            kind: BackupKind::Scheduled,
            read_everything: false,
            read_sources_every_runs: 24,
            now: Utc::now(),
            clock_suspect: false,
            audit_head: None,
        };
        let Ok(Archived::Created(first)) = archive::archive(&repository, &request, &Progress::default()) else {
            panic!("no backup of {}", set.name)
        };
        let content = first.backup.content.expect("a manifest");
        for sequence in 2..=BACKUPS_PER_SET {
            let mut next = content.manifest.clone();
            next.envelope.sequence.0 = sequence;
            let (id, _, bytes) = manifest::encode(&next, &Keys::default()).expect("encode");
            storage.replace(&layout::manifest(&set.name, id), &bytes, Durability::Lazy).expect("write");
        }
    }
    (settings, Repository::open(storage, false).expect("open").0)
}

/// Records in groups, each group durable before the next, beside a plain file that gets the same bytes in the same
/// groups.
pub fn audit(root: &Path, table: &mut Table) {
    const GROUPS: usize = 100;
    const GROUP: usize = 100;
    std::fs::create_dir_all(root).expect("create");
    let path = root.join("security_audit.log");
    let authenticator = Authenticator::new(Key::generate().expect("a key"), None);
    let (mut log, _) = AuditLog::open(&path, None, Arc::new(authenticator)).expect("open the log");
    let entries = vec![entry(); GROUP];
    let (ours, ()) = timed(|| (0..GROUPS).for_each(|_| drop(log.append(&entries).expect("append"))));
    let bytes = std::fs::read(&path).expect("read");
    let mut plain = OpenOptions::new().create(true).append(true).open(root.join("plain")).expect("open");
    let (limit, ()) = timed(|| {
        for group in bytes.chunks(bytes.len().div_ceil(GROUPS)) {
            plain.write_all(group).expect("write");
            plain.sync_data().expect("sync");
        }
    });
    table.row("10,000 audit records, in groups of 100", ours, "the same bytes, synced alike", limit);
    table.note("audit records", format!("{:.0} a second", (GROUPS * GROUP) as f64 / ours));
}

fn entry() -> Entry {
    Entry {
        timestamp: Utc::now(),
        event: "BackupCompleted",
        actor: "archiver",
        principal: "scheduler".to_owned(),
        set: Some("security".parse().expect("a name")),
        backup_id: None,
        outcome: Outcome::Success,
        details: serde_json::Map::new(),
        correlation_id: "c0ffee00c0ffee00c0ffee00c0ffee00".to_owned(),
    }
}
