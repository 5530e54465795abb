//! Speed and memory at a gigabyte of logs, beside what the machine itself can do.
//!
//! `cargo bench` generates JSON-lines audit logs, then times the service's own functions and, in the same run, the
//! plainest tools that must do at least as much: `zstd` for a first backup, `cp` for a restore, `openssl dgst` for a
//! verification, two synced files for a small backup. What counts is the ratio. `cargo bench -- --mib 256` for less.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock, and its files need not last")]

mod janitor;
mod limits;
mod logs;
mod measure;
mod serving;
mod small_files;
mod telling;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use fiovana_app::core::BackupKind;
use fiovana_app::core::scrub::Pace;
use fiovana_app::pipeline::Progress;
use fiovana_app::pipeline::archive::{self, Archived, Created};
use fiovana_app::pipeline::replicate::{self, Next, Run};
use fiovana_app::pipeline::restore::{self, Pick};
use fiovana_app::pipeline::scrub::{self, Rotation};
use fiovana_app::pipeline::verify::{self, Verdict};
use fiovana_app::repository::Repository;
use fiovana_app::repository::catalogue::{Backup, Finding};
use fiovana_app::repository::encryption::{Keys, Recipients, Sealing};
use fiovana_app::repository::{layout, manifest};
use fiovana_app::settings::{SetSettings, Settings, Sources};
use fiovana_app::storage::local::Local;
use fiovana_app::storage::{Durability, Storage};
use measure::{Table, timed};

fn main() {
    let mib = mib_asked_for();
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a scratch directory");
    let root = directory.path();
    println!("{mib} MiB of JSON-lines logs in three files, {} cores", measure::cores());
    let mut table = Table::new();
    large(root, mib, &mut table);
    small(root, &mut table);
    many(root, &mut table);
    small_files::back_up_and_restore(&root.join("small-files"), &mut table);
    janitor::planning(&mut table);
    janitor::collection(root, &mut table);
    telling::scrape(&root.join("scrape"), &mut table);
    telling::audit(&root.join("audit"), &mut table);
    serving::answers(&root.join("serving"), mib, &mut table);
    table.print();
}

fn mib_asked_for() -> u64 {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--mib").skip(1);
    arguments.next().and_then(|mib| mib.parse().ok()).unwrap_or(1024)
}

/// A repository and a set in it.
struct Site {
    repository: Repository,
    set: SetSettings,
}

impl Site {
    fn new(root: &Path, source: &Path, files: &str) -> Self {
        let backups = root.join("backups");
        std::fs::create_dir_all(&backups).expect("create");
        let storage = Arc::new(Local::open(&backups).expect("open"));
        Repository::create(storage.clone(), Utc::now()).expect("create a repository");
        let (repository, _) = Repository::open(storage, false).expect("open the repository");
        let settings = root.join("settings.toml");
        let text =
            format!("[backup]\nbackup_directory = {backups:?}\n[sets.bench]\nsource = {source:?}\nfiles = {files}\n",);
        std::fs::write(&settings, text).expect("write settings");
        let sources =
            Sources { config_argument: Some(settings), working_directory: root.to_owned(), ..Sources::default() };
        let settings = Settings::load(&sources).expect("settings");
        let set = settings.sets.into_iter().find(|set| set.name.as_str() == "bench").expect("the set");
        Self { repository, set }
    }

    fn archive(&self, kind: BackupKind) -> Archived {
        let request = archive::Request {
            set: &self.set,
            kind,
            read_everything: false,
            read_sources_every_runs: 24,
            now: Utc::now(),
            clock_suspect: false,
            audit_head: None,
        };
        archive::archive(&self.repository, &request, &Progress::default()).expect("archive")
    }

    fn archive_new(&self, kind: BackupKind) -> Created {
        match self.archive(kind) {
            Archived::Created(created) => created,
            Archived::Unchanged { .. } => panic!("nothing changed"),
        }
    }

    fn read_back(&self, created: &Created) {
        let read = verify::read_back(&self.repository, &created.backup, &created.proven, &Progress::default());
        assert_eq!(read.expect("read back").verdict, Verdict::Intact);
        let finding = Finding::Intact { checked: Utc::now() };
        self.repository.record_finding(created.backup.id, finding).expect("record");
    }

    fn restore(&self, backup: &Backup, to: &Path) {
        let picks = [Pick::whole(backup.clone())];
        restore::restore_to(&self.repository, &picks, to, restore::Rules::default(), &Progress::default())
            .expect("restore");
    }
}

fn large(root: &Path, mib: u64, table: &mut Table) {
    let source = root.join("data");
    logs::generate(&source, mib);
    let files: Vec<PathBuf> = logs::NAMES.iter().map(|name| source.join(name)).collect();
    measure::warm(&files);
    let zstd = limits::zstd(&files, &root.join("zstd"));
    let cp = limits::cp(&files, &root.join("cp"));
    let openssl = limits::openssl(&files);
    let site = Site::new(root, &source, "[\"*.log\"]");

    measure::reset_peak();
    let (first, created) = timed(|| site.archive_new(BackupKind::Scheduled));
    let (back, ()) = timed(|| site.read_back(&created));
    table.row("first backup", first, "zstd -1 -T2", zstd.seconds);
    table.row("first backup, read back", first + back, "zstd -1 -T2", zstd.seconds);
    table.bytes("stored", site.repository.catalogue().object_totals().1, "zstd -1 -T2", zstd.bytes);

    let (unchanged, same) = timed(|| site.archive(BackupKind::Scheduled));
    assert!(matches!(same, Archived::Unchanged { .. }), "it was made again though nothing changed");
    table.row("unchanged", unchanged, "openssl dgst -sha256", openssl);

    let (verification, verdict) =
        timed(|| verify::verify(&site.repository, &created.backup, &Progress::default()).expect("verify").verdict);
    assert_eq!(verdict, Verdict::Intact);
    table.row("verify everything", verification, "openssl dgst -sha256", openssl);

    let hashed = limits::hash_stored(&root.join("backups/objects"));
    let pace = Pace { within: Duration::from_secs(1), bytes_per_second: None };
    let mut rotation = Rotation::default();
    let (scrubbing, ()) = timed(|| while scrub(&site.repository, &mut rotation, &pace) {});
    table.row("read everything stored again", scrubbing, "read cold and hashed on all cores", hashed);
    table.row("the reading back alone", back, "read cold and hashed on all cores", hashed);

    let stored = limits::files_below(&root.join("backups/objects"));
    let copied = limits::cp(&stored, &root.join("copied"));
    let (replicating, ()) = timed(|| replicate(&site, &root.join("replica")));
    table.row("replicate everything", replicating, "cp of what is stored, synced", copied);

    encrypted(root, &source, (first, back), table);

    let to = root.join("restored");
    let (restoring, ()) = timed(|| site.restore(&created.backup, &to));
    assert!(limits::same(&files, &to), "what came back is not what was backed up");
    table.row("restore", restoring, "cp, synced", cp);

    logs::append(&source, mib);
    let (appended, created) = timed(|| {
        let created = site.archive_new(BackupKind::Scheduled);
        site.read_back(&created);
        created
    });
    table.row("1 % appended, read back", appended, "openssl dgst -sha256", openssl);
    assert!(created.proven.len() as u64 >= mib * 9 / 10, "little was shared: {}", created.proven.len());
    table.note("peak memory", format!("{:.0} MiB", measure::peak_mib()));
}

/// A first backup of the same files with encryption on, beside the same without.
fn encrypted(root: &Path, source: &Path, (plain, plain_back): (f64, f64), table: &mut Table) {
    let root = root.join("encrypted");
    let site = Site::new(&root, source, "[\"*.log\"]");
    let identity = age::x25519::Identity::generate();
    let recipients = Recipients::new([identity.to_public()]).expect("a recipient");
    site.repository.set_keys(Keys::new(Sealing::For(recipients), [identity]));
    let (first, created) = timed(|| site.archive_new(BackupKind::Scheduled));
    let (back, ()) = timed(|| site.read_back(&created));
    table.row("first backup, encrypted", first, "first backup", plain);
    table.row("first backup, encrypted, read back", first + back, "first backup, read back", plain + plain_back);
}

/// Begins a replica and gives it all that there is, read again after it was written.
fn replicate(site: &Site, to: &Path) {
    std::fs::create_dir(to).expect("create");
    let storage = Arc::new(Local::open(to).expect("open"));
    site.repository.create_replica(storage.clone()).expect("begin a replica");
    let (replica, _) = Repository::open(storage, false).expect("open the replica");
    let (sets, mut run, progress) = ([site.set.name.clone()], Run::default(), Progress::default());
    let mut step = || replicate::step(&site.repository, &replica, &sets, &mut run, Utc::now(), &progress);
    while step().expect("replicate") == Next::Step {}
    replicate::settle(&site.repository, &replica, &sets).expect("replicate");
    assert_eq!(replicate::lag(&site.repository, &replica, &sets), 0);
}

/// Reads a batch as a scrub does; whether there is more.
fn scrub(repository: &Repository, rotation: &mut Rotation, pace: &Pace) -> bool {
    let batch = scrub::batch(repository, rotation, pace, chrono::DateTime::UNIX_EPOCH, &|| false);
    assert!(batch.damages.is_empty() && batch.unreadable.is_empty(), "{batch:?}");
    batch.rest_until.is_none()
}

fn small(root: &Path, table: &mut Table) {
    let root = root.join("small");
    let source = root.join("data");
    std::fs::create_dir_all(&source).expect("create");
    for index in 0..4 {
        std::fs::write(source.join(format!("{index}.json")), format!("{{\"n\": {index}}}")).expect("write");
    }
    let site = Site::new(&root, &source, "[\"0.json\", \"1.json\", \"2.json\", \"3.json\"]");
    site.read_back(&site.archive_new(BackupKind::Scheduled));
    let mut ours = Vec::new();
    let mut limit = Vec::new();
    for round in 0..40 {
        std::fs::write(source.join("2.json"), format!("{{\"n\": \"round {round}\"}}")).expect("write");
        // So that the file is not as fresh as the kernel's clock is coarse: that wait is not work.
        std::thread::sleep(Duration::from_millis(20));
        ours.push(
            timed(|| {
                let created = site.archive_new(BackupKind::Scheduled);
                site.read_back(&created);
            })
            .0,
        );
        limit.push(limits::two_synced_files(&root, round));
    }
    table.row("4 small files, 1 changed, read back", measure::median(ours), "2 synced files", measure::median(limit));
}

/// Opening a repository that holds ten thousand backups: what a start waits for.
fn many(root: &Path, table: &mut Table) {
    const BACKUPS: u64 = 10_000;
    let root = root.join("many");
    let source = root.join("data");
    std::fs::create_dir_all(&source).expect("create");
    for index in 0..4 {
        std::fs::write(source.join(format!("{index}.json")), format!("{{\"n\": {index}}}")).expect("write");
    }
    let site = Site::new(&root, &source, "[\"0.json\", \"1.json\", \"2.json\", \"3.json\"]");
    let first = site.archive_new(BackupKind::Scheduled).backup;
    let content = first.content.expect("a manifest");
    let storage = Arc::new(Local::open(&root.join("backups")).expect("open"));
    let mut bytes_in_all = 0;
    for sequence in 2..=BACKUPS {
        let mut next = content.manifest.clone();
        next.envelope.sequence.0 = sequence;
        let (id, _, bytes) = manifest::encode(&next, &Keys::default()).expect("encode");
        bytes_in_all += bytes.len();
        let path = layout::manifest(&next.envelope.set, id);
        storage.replace(&path, &bytes, Durability::Lazy).expect("write");
    }
    let (opening, opened) = timed(|| Repository::open(storage, false).expect("open").0);
    assert_eq!(opened.catalogue().backups().count() as u64, BACKUPS);
    let cat = limits::cat(&root.join("backups/manifests/bench"));
    table.row("open 10,000 backups", opening, "cat of the manifests", cat);
    table.note("their manifests", format!("{:.1} MiB", bytes_in_all as f64 / f64::from(1 << 20)));
}
