//! Disks that refuse: an error at every operation, and a real filesystem filled to the last byte.
//!
//! Hazard: a backup that fails half way and leaves something that looks like one, or that cannot be made any more once
//! the cause is gone.

mod common;
#[path = "repository/mod.rs"]
mod repository;

use std::path::Path;

use common::{Daemon, Installation, audit, files};
use fiovana_app::core::BackupKind;
use fiovana_app::pipeline::archive::ArchiveError;
use fiovana_app::pipeline::verify::Verdict;
use fiovana_app::repository::Repository;
use repository::site::{self, back_up, back_up_now, hour};
use repository::small_disk::{fill, on_a_small_disk};
use repository::source::{Source, files_in};
use repository::sweep::Story;
use repository::{Files, stories};
use rustix::io::Errno;

fn check(story: &Story) {
    story.fail_everywhere(Errno::IO);
    story.fail_everywhere(Errno::NOSPC);
}

#[test]
fn a_first_backup_that_fails_anywhere_says_so_and_leaves_nothing() {
    stories::first_backup(check);
}

#[test]
fn a_later_backup_that_fails_anywhere_says_so_and_leaves_nothing() {
    stories::later_backup(check);
}

#[test]
fn a_deletion_that_fails_anywhere_says_so_and_loses_nothing_else() {
    stories::deletion(check);
}

#[test]
fn a_state_file_that_cannot_be_replaced_stays_as_it_was() {
    stories::state(check);
}

#[test]
fn a_pin_that_cannot_be_set_says_so() {
    stories::pin(check);
}

/// A repository on a small disk with two backups, and the source that they are of.
struct Small {
    repository: Repository,
    source: Source,
    versions: Vec<Files>,
}

impl Small {
    fn new(disk: &Path) -> Self {
        let directory = disk.join("backups");
        std::fs::create_dir(&directory).expect("create");
        let repository = site::create_in(&directory);
        repository.restock_reserve();
        let source = Source::rich("security");
        let mut versions = Vec::new();
        for round in 1..3 {
            versions.push(source.files());
            back_up_now(&repository, &source.set, round);
            source.change(round as u64);
        }
        Self { repository, source, versions }
    }

    /// A backup must fail, clearly, and leave everything as it was.
    fn refuse_a_backup(&self, disk: &Path, at_hour: i64) {
        let before = files_in(&disk.join("backups"));
        match back_up(&self.repository, &self.source.set, BackupKind::Scheduled, hour(at_hour)) {
            Err(site::Refused::Archive(error @ ArchiveError::NoSpace { .. })) => {
                let message = error.to_string();
                assert!(message.contains("no space left in") && message.contains("backups"), "{message}");
            }
            other => panic!("{other:?}"),
        }
        let after = files_in(&disk.join("backups"));
        let stray = after
            .keys()
            .find(|path| path.contains(".tmp-") || path.starts_with("manifests") && !before.contains_key(*path));
        assert_eq!(stray, None);
        assert!(before.iter().all(|(path, content)| after.get(path) == Some(content)), "something was lost");
        assert_eq!(site::backups(&self.repository).len(), self.versions.len());
        self.restore_all();
    }

    fn restore_all(&self) {
        for (backup, files) in site::backups(&self.repository).iter().zip(&self.versions) {
            assert_eq!(site::verdict(&self.repository, backup), Verdict::Intact);
            assert!(site::restored(&self.repository, backup) == *files, "{}", backup.id);
        }
    }

    fn succeed(&mut self, at_hour: i64) {
        self.versions.push(self.source.files());
        let backup =
            back_up(&self.repository, &self.source.set, BackupKind::Scheduled, hour(at_hour)).expect("a backup");
        assert!(site::restored(&self.repository, &backup) == self.source.files());
        self.restore_all();
    }
}

#[test]
fn a_disk_filled_to_the_last_byte_costs_the_backup_and_nothing_else() {
    on_a_small_disk("a_disk_filled_to_the_last_byte_costs_the_backup_and_nothing_else", 24, |disk| {
        let mut small = Small::new(disk);
        let filler = disk.join("somebody else's");
        fill(&filler);
        assert_eq!(small.repository.free_bytes().expect("free"), 0);
        small.refuse_a_backup(disk, 10);
        let oldest = site::backups(&small.repository)[0].id;
        small.repository.delete_backups(&small.source.set.name, &[oldest]).expect("the reserve is for this");
        small.versions.remove(0);
        assert!(site::collect_all(&small.repository) > 0);
        small.restore_all();
        std::fs::remove_file(&filler).expect("remove");
        small.succeed(11);
    });
}

#[test]
fn a_disk_that_runs_full_in_the_middle_of_a_backup_keeps_nothing_of_it() {
    on_a_small_disk("a_disk_that_runs_full_in_the_middle_of_a_backup_keeps_nothing_of_it", 24, |disk| {
        let mut small = Small::new(disk);
        let mut random = fastrand::Rng::with_seed(repository::seed());
        let large: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(12 << 20).collect();
        small.source.write("large.bin", &large);
        let filler = disk.join("somebody else's");
        let free = small.repository.free_bytes().expect("free");
        // Enough to begin, and not to end.
        let bytes = vec![1; usize::try_from(free).expect("it is small") - (6 << 20)];
        repository::source::write(&filler, &bytes);
        small.refuse_a_backup(disk, 10);
        std::fs::remove_file(&filler).expect("remove");
        small.succeed(11);
    });
}

/// Gives the set `data` this many MiB of content that cannot be compressed, another each time.
fn renew(installation: &Installation, mib: usize) {
    let mut random = fastrand::Rng::new();
    let content: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(mib << 20).collect();
    files::write(&installation.path("data/data.bin"), content);
}

fn wait_for_two(daemon: &Daemon) {
    daemon.wait("retention to leave two", |daemon| (daemon.list("data").len() == 2).then_some(()));
}

#[test]
fn on_a_full_disk_what_is_due_goes_the_backup_is_tried_again_and_then_it_says_what_would_free_how_much() {
    const NAME: &str =
        "on_a_full_disk_what_is_due_goes_the_backup_is_tried_again_and_then_it_says_what_would_free_how_much";
    on_a_small_disk(NAME, 32, |disk| {
        let installation = Installation::with_settings(
            "replicas = []\n[sets.data]\nsource = \"data\"\nfiles = [\"data.bin\"]\npriority = \"low\"\nmax_backups = 2\n",
        );
        std::fs::create_dir(installation.path("data")).expect("create");
        renew(&installation, 6);
        let daemon = installation.start_with(&[("FIOVANA_BACKUP_DIRECTORY", disk.join("backups"))]);
        daemon.settle();
        for _ in 0..2 {
            renew(&installation, 1);
            daemon.backup("data");
        }
        wait_for_two(&daemon);

        // The first one is gone; its content would be kept for an hour yet.
        let filler = disk.join("somebody else's");
        fill(&filler);
        renew(&installation, 1);
        daemon.backup("data");
        wait_for_two(&daemon);

        fill(&disk.join("and more of it"));
        renew(&installation, 12);
        let kept = daemon.list("data");
        let answer = daemon.post("/api/backup/data");
        assert_eq!(answer.problem(507), "no-space");
        let said = answer.json()["detail"].as_str().expect("a detail").to_owned();
        let (_, relief) = said.split_once("half of max_backups would free ").unwrap_or_else(|| panic!("{said}"));
        let bytes: u64 = relief.split(' ').next().and_then(|bytes| bytes.parse().ok()).expect("bytes");
        assert!((1 << 20..1 << 21).contains(&bytes), "one of two versions of a MiB each: {said}");
        assert_eq!(daemon.list("data"), kept, "a full disk deletes no history");
        std::fs::remove_file(&filler).expect("remove");
        daemon.backup("data");
        daemon.terminate();

        let records = audit::chained_records(&installation.path("logs/security_audit.log"));
        let freed =
            records.iter().filter(|record| record["event"] == "CleanupCompleted" && record["details"]["objects"] != 0);
        assert!(freed.filter_map(|record| record["details"]["freed_bytes"].as_u64()).sum::<u64>() > 6 << 20);
        let failed = records.iter().find(|record| record["event"] == "BackupFailed").expect("a failure");
        assert_eq!(failed["details"]["error"], said.as_str());
    });
}
