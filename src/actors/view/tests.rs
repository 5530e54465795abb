//! What is seen while a disk hangs.
//!
//! Hazard: the one moment in which everybody looks is the one in which whoever tells waits for the disk that hangs.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use chrono::DateTime;

use super::*;
use crate::actors::reasons;
use crate::actors::replicas::Fault;
use crate::actors::world::Role;
use crate::clock::SystemClock;
use crate::settings::Sources;
use crate::storage::faulty::Simulated;
use crate::storage::local::Local;
use crate::telemetry::Metrics;

/// A way to wait for a disk, with whatever is held meanwhile.
type Wait = fn(&World);

const WAITS: [Wait; 6] = [
    |world| drop(world.record_run(&"logs".parse().unwrap(), |history| history, None)),
    |world| drop(world.drills.save(&world.repository)),
    |world| drop(world.accept_clock()),
    |world| drop(world.damage.save(&world.repository)),
    |world| drop(reasons::look(world)),
    |world| {
        let (settings, fault) = (world.settings(), Fault { code: "absent", message: "no disk".into() });
        let (now, uptime) = (DateTime::UNIX_EPOCH, Duration::ZERO);
        drop(world.replicas.conclude(&settings.replicas[0], &world.repository, Err(fault), now, uptime));
    },
];

#[test]
fn prometheus_is_answered_while_the_disk_hangs_under_everybody_else() {
    let directory = tempfile::tempdir().unwrap();
    let sources = Sources { working_directory: directory.path().to_owned(), ..Sources::default() };
    let settings = Settings::load(&sources).unwrap();
    let disk = Simulated::new();
    let storage = Arc::new(Local::on(Arc::new(disk.clone()), "simulated".into()));
    Repository::create(storage.clone(), DateTime::UNIX_EPOCH).unwrap();
    let (repository, _) = Repository::open(storage, false).unwrap();
    let metrics = Metrics::new(&[], &ACTORS).unwrap();
    let world = Arc::new(World::new(settings, Role::Daemon, repository, Arc::new(SystemClock::start()), metrics));
    let hangs = disk.hang();
    for wait in WAITS {
        let world = world.clone();
        std::thread::spawn(move || wait(&world));
    }
    // Everybody has come as far as the disk, or to somebody who has.
    let mut patience = 20_000;
    while disk.waiting() < WAITS.len() && patience > 0 {
        std::thread::sleep(Duration::from_millis(1));
        patience -= 1;
    }
    assert_eq!(disk.waiting(), WAITS.len(), "who waits for the disk");
    let (told, hear) = channel();
    std::thread::spawn(move || told.send(world.metrics.render(&facts(&world)).unwrap()));
    let text = hear.recv_timeout(Duration::from_secs(20)).expect("it waits for the disk, or for somebody who does");
    assert!(text.contains("fiovana_repository_free_bytes "), "{text}");
    drop(hangs);
}
