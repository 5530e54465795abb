//! Calls that meet at one set, in virtual time. Whoever holds the write lane makes a backup as slow as a test needs it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use actix::System;
use chrono::DateTime;
use futures_util::future::join_all;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::*;
use crate::actors::lane::LanePass;
use crate::actors::world::ACTORS;
use crate::actors::{Role, Running, start};
use crate::clock::SystemClock;
use crate::settings::{Settings, Sources};
use crate::storage::local::Local;
use crate::telemetry::Metrics;

const FILE: &str = "config/security_config.json";

/// Runs a story of a service whose write lane is held, and of the live file at this path, in virtual time.
fn with_held_lane<F: Future<Output = ()>>(story: impl FnOnce(Running, LanePass, PathBuf) -> F) {
    let directory = tempfile::tempdir().unwrap();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    System::with_tokio_rt(runtime).block_on(async {
        let running = start(world(directory.path())).await;
        let pass = running.service.world.lane.enter().await.unwrap();
        story(running, pass, directory.path().join(FILE)).await;
    });
}

fn world(directory: &Path) -> World {
    for name in ["backups", "config", "logs"] {
        std::fs::create_dir(directory.join(name)).unwrap();
    }
    write(&directory.join(FILE), "{}");
    let sources = Sources { working_directory: directory.to_owned(), ..Sources::default() };
    let settings = Settings::load(&sources).unwrap();
    let storage = Arc::new(Local::open(&directory.join("backups")).unwrap());
    Repository::create(storage.clone(), DateTime::UNIX_EPOCH).unwrap();
    let (repository, _) = Repository::open(storage, false).unwrap();
    let metrics = Metrics::new(&[], &ACTORS).unwrap();
    World::new(settings, Role::Command, repository, Arc::new(SystemClock::start()), metrics)
}

#[expect(clippy::disallowed_methods, reason = "a live file of a test")]
fn write(file: &Path, content: &str) {
    std::fs::write(file, content).unwrap();
}

/// Until everybody who can has come as far as they get: virtual time passes only then.
async fn settle() {
    sleep(Duration::from_secs(1)).await;
}

fn caller() -> Caller {
    Caller::new("test")
}

type Asked = JoinHandle<Result<BackupDetails, Problem>>;

/// A backup that was asked for.
fn backup_of(set: &'static str, service: &Service, caller: Caller) -> Asked {
    let service = service.clone();
    actix_rt::spawn(async move { service.backup(set, &caller).await })
}

fn backup(service: &Service) -> Asked {
    backup_of("security", service, caller())
}

#[test]
fn twenty_calls_at_once_are_two_backups_and_each_has_what_was_written_before_its_call() {
    with_held_lane(|running, pass, file| async move {
        let first = backup(&running.service);
        settle().await;
        write(&file, "{\"written\": \"meanwhile\"}");
        let others: Vec<_> = (0..19).map(|_| backup(&running.service)).collect();
        settle().await;
        drop(pass);
        let first = first.await.unwrap().unwrap().summary;
        let ids: Vec<BackupId> =
            join_all(others).await.into_iter().map(|other| other.unwrap().unwrap().summary.id).collect();
        assert!(ids.iter().all(|id| *id == ids[0] && *id != first.id), "{ids:?}");
        let catalogue = running.service.world.repository.catalogue();
        assert_eq!(catalogue.backups().count(), 2);
        let shared = catalogue.get(ids[0]).unwrap();
        let content = shared
            .content
            .as_ref()
            .unwrap()
            .manifest
            .files()
            .iter()
            .find(|file| FILE.ends_with(file.path.as_str()))
            .unwrap();
        assert_eq!(content.size_bytes, "{\"written\": \"meanwhile\"}".len() as u64);
    });
}

#[test]
fn a_call_waits_for_half_a_minute_and_is_told_then_that_the_set_is_busy() {
    with_held_lane(|running, pass, _| async move {
        let first = backup(&running.service);
        settle().await;
        let begun = Instant::now();
        let problem = backup(&running.service).await.unwrap().unwrap_err();
        assert_eq!((problem.kind, begun.elapsed()), (ProblemKind::Busy, PATIENCE), "{problem}");
        assert!(problem.detail.contains("30 s"), "{problem}");
        drop(pass);
        first.await.unwrap().unwrap();
        backup(&running.service).await.unwrap().unwrap();
    });
}

#[test]
fn a_restore_waits_for_the_backup_under_way_and_a_backup_for_the_restore() {
    with_held_lane(|running, pass, file| async move {
        let service = running.service.clone();
        drop(pass);
        let good = service.backup("security", &caller()).await.unwrap().summary.id;
        write(&file, "{\"mistaken\": true}");
        let pass = service.world.lane.enter().await.unwrap();
        let before = backup(&running.service);
        settle().await;
        let restore = actix_rt::spawn(async move {
            service.restore("security", &good.to_string(), &RestoreOptions::default(), &caller()).await
        });
        settle().await;
        let after = backup(&running.service);
        settle().await;
        assert!(!restore.is_finished() && !after.is_finished());
        drop(pass);
        let outcome = restore.await.unwrap().unwrap();
        let (before, after) = (before.await.unwrap().unwrap(), after.await.unwrap().unwrap());
        assert_eq!(outcome.restored.len(), 1);
        assert!(before.summary.size_bytes > after.summary.size_bytes, "what was restored is in the backup after it");
    });
}

#[test]
fn what_waits_when_the_service_stops_is_told_so_at_once() {
    with_held_lane(|running, pass, _| async move {
        let first = backup(&running.service);
        settle().await;
        let others: Vec<_> = (0..5).map(|_| backup(&running.service)).collect();
        settle().await;
        let begun = Instant::now();
        let stop = actix_rt::spawn(running.stop());
        for other in others {
            let problem = other.await.unwrap().unwrap_err();
            assert_eq!((problem.kind, begun.elapsed()), (ProblemKind::Unavailable, Duration::ZERO), "{problem}");
        }
        assert_eq!(first.await.unwrap().unwrap_err().kind, ProblemKind::Unavailable);
        stop.await.unwrap();
        drop(pass);
    });
}

#[test]
fn a_caller_that_leaves_before_its_turn_leaves_no_backup_behind() {
    with_held_lane(|running, pass, _| async move {
        let first = backup(&running.service);
        settle().await;
        let (present, presence) = Presence::guarded();
        let leaving = backup_of("security", &running.service, Caller { presence, ..caller() });
        settle().await;
        drop(present);
        assert_eq!(leaving.await.unwrap().unwrap_err().kind, ProblemKind::Busy);
        let service = running.service.clone();
        drop(pass);
        first.await.unwrap().unwrap();
        let (present, presence) = Presence::guarded();
        drop(present);
        let gone = backup_of("security", &service, Caller { presence, ..caller() });
        assert_eq!(gone.await.unwrap().unwrap_err().kind, ProblemKind::Busy);
        assert_eq!(service.world.repository.catalogue().backups().count(), 1);
    });
}

#[test]
fn a_caller_that_leaves_once_its_backup_has_begun_changes_nothing() {
    with_held_lane(|running, pass, _| async move {
        let (present, presence) = Presence::guarded();
        let begun = backup_of("security", &running.service, Caller { presence, ..caller() });
        settle().await;
        drop(present);
        settle().await;
        drop(pass);
        begun.await.unwrap().unwrap();
    });
}

#[test]
fn a_call_that_comes_while_the_service_starts_waits_until_it_is_up() {
    with_held_lane(|running, pass, _| async move {
        let world = running.service.world.clone();
        let up = world.mode().mode;
        world.set_mode(Mode::Starting, true);
        let early = backup(&running.service);
        settle().await;
        assert!(!early.is_finished());
        world.set_mode(up, true);
        drop(pass);
        early.await.unwrap().unwrap();

        world.set_mode(Mode::Starting, true);
        let begun = Instant::now();
        let problem = running.service.backup("security", &caller()).await.unwrap_err();
        assert_eq!((problem.kind, begun.elapsed()), (ProblemKind::Unavailable, PATIENCE), "{problem}");
    });
}
