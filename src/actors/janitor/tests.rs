//! How long a backup waits for what is being deleted.
//!
//! Hazard: a cleanup of years that keeps the write lane until it is done, while what is due is not backed up.

use super::*;
use crate::actors::auditor::AuditFile;
use crate::actors::world::ACTORS;
use crate::clock::SystemClock;
use crate::core::Position;
use crate::pipeline::sweep::BATCH;
use crate::repository::Repository;
use crate::repository::object::Encoder;
use crate::settings::{Settings, Sources};
use crate::storage::local::Local;
use crate::telemetry::Metrics;

const OBJECTS: usize = 5 * BATCH;

/// A repository of nothing but objects that nobody needs.
fn garbage(directory: &std::path::Path) -> Repository {
    std::fs::create_dir(directory).unwrap();
    let storage = Arc::new(Local::open(directory).unwrap());
    Repository::create(storage.clone(), chrono::DateTime::UNIX_EPOCH).unwrap();
    let repository = Repository::open(storage, false).unwrap().0;
    let mut encoder = Encoder::new(None).unwrap();
    let mut staged = |number: usize| {
        let object = encoder.encode(&number.to_be_bytes()).unwrap();
        (object.name, (repository.stage(&object).unwrap(), object.stored.len() as u64))
    };
    let objects = (0..OBJECTS).map(&mut staged).collect();
    repository.publish_objects(objects).unwrap();
    // What needed them was deleted.
    repository.list_as_pruned(&"security".parse().unwrap(), &[Position::first(1)]).unwrap();
    repository
}

#[test]
fn a_backup_waits_for_at_most_one_batch_of_deletions() {
    let directory = tempfile::tempdir().unwrap();
    let sources = Sources { working_directory: directory.path().to_owned(), ..Sources::default() };
    let settings = Settings::load(&sources).unwrap();
    let repository = garbage(&directory.path().join("backups"));
    System::new().block_on(async {
        let metrics = Metrics::new(&[], &ACTORS).unwrap();
        let world = Arc::new(World::new(settings, Role::Command, repository, Arc::new(SystemClock::start()), metrics));
        world.set_mode(Mode::Normal, true);
        let audit = AuditFile::at(directory.path().join("security_audit.log"));
        let tools = Tools { world: world.clone(), herald: Herald::new(world.clone(), audit, "janitor") };
        let cleanup =
            actix_rt::spawn(async move { tools.collect_garbage(Duration::ZERO, &Caller::component("janitor")).await });
        let left = || world.repository.catalogue().object_totals().0;
        let mut most_waited_for = 0;
        while !cleanup.is_finished() {
            let before = left();
            let pass = world.lane.enter().await.unwrap();
            most_waited_for = most_waited_for.max(before - left());
            drop(pass);
            actix_rt::task::yield_now().await;
        }
        let outcome = cleanup.await.unwrap();
        assert_eq!((outcome.objects, left()), (OBJECTS as u64, 0), "{outcome:?}");
        assert!(most_waited_for <= BATCH, "waited for {most_waited_for} deletions");
    });
}
