//! What was deleted on purpose between the finding and the mending.
//!
//! Hazard: a cleanup that meets a check is taken for damage: counted towards recovery mode, told as lost, or undone.

use chrono::DateTime;

use super::tend::Tree;
use super::*;
use crate::actors::auditor::AuditFile;
use crate::actors::world::{ACTORS, ROOT};
use crate::clock::SystemClock;
use crate::repository::manifest::tests::manifest_of;
use crate::repository::{Repository, StoredFile};
use crate::settings::{Settings, Sources};
use crate::storage::local::Local;
use crate::telemetry::Metrics;

/// A repository with one backup, whose manifest is gone from the disk and is still expected there.
fn damaged(directory: &std::path::Path) -> (Tools, Backup, Vec<Damage>) {
    let sources = Sources { working_directory: directory.to_owned(), ..Sources::default() };
    let settings = Settings::load(&sources).unwrap();
    let place = directory.join("backups");
    std::fs::create_dir(&place).unwrap();
    let storage = Arc::new(Local::open(&place).unwrap());
    Repository::create(storage.clone(), DateTime::UNIX_EPOCH).unwrap();
    let repository = Repository::open(storage, false).unwrap().0;
    let set: SetName = "security".parse().unwrap();
    let backup = repository.publish_manifest(manifest_of(&set, "a.json"), &repository.keys()).unwrap();
    let file = StoredFile::Manifest(set, backup.id);
    std::fs::remove_file(place.join(file.path().as_str())).unwrap();
    let metrics = Metrics::new(&[], &ACTORS).unwrap();
    let world = Arc::new(World::new(settings, Role::Command, repository, Arc::new(SystemClock::start()), metrics));
    world.set_mode(Mode::Normal, true);
    let audit = AuditFile::at(directory.join("audit.log"));
    let herald = Herald::new(world.clone(), audit, "verifier");
    let supervisor = Post::new(Supervisor::new(world.clone()).start(), world.mail(ROOT));
    let damage = Damage { place: file.path().to_string(), fault: "absent".into() };
    (Tools { world, herald, supervisor }, backup, vec![damage])
}

/// What was told, and whether anything was counted.
async fn told(tools: &Tools, directory: &std::path::Path) -> (Vec<String>, bool) {
    // Whatever was counted is handled before this is answered.
    let _ = tools.supervisor.send(crate::actors::supervisor::AllWell).await;
    let log = std::fs::read_to_string(directory.join("audit.log")).unwrap_or_default();
    let events = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let events = events.map(|record| record["event"].as_str().unwrap().to_owned());
    let trouble = events.filter(|event| event.ends_with("Failed")).collect();
    (trouble, !tools.world.damage.list().is_empty() || directory.join("backups/state/mode.json").exists())
}

#[test]
fn damage_that_was_deleted_before_it_is_told_is_neither_told_nor_counted() {
    let directory = tempfile::tempdir().unwrap();
    System::new().block_on(async {
        let (tools, backup, found) = damaged(directory.path());
        tools.world.repository.delete_backups(&backup.set, &[backup.id]).unwrap();
        let about = About::caller(&Caller::component("verifier"));
        let tended = tools.report(Check::Scrub, &Tree::Primary, &found, None, &about).await;
        assert!(tended.lost.is_empty() && tended.healed.is_empty());
        let checked = tools.check(backup, Depth::Whole, Check::Startup, &Caller::component("verifier")).await;
        assert_eq!(checked.unwrap_err().kind, ProblemKind::NotFound);
        assert_eq!(told(&tools, directory.path()).await, (vec![], false));
    });
}

#[test]
fn damage_that_is_deleted_while_healing_waits_its_turn_is_no_loss_and_does_not_count() {
    let directory = tempfile::tempdir().unwrap();
    System::new().block_on(async {
        let (tools, backup, found) = damaged(directory.path());
        let sweep = tools.world.lane.enter().await.unwrap();
        let (waiting, about) = (tools.clone(), About::caller(&Caller::component("verifier")));
        let healing = actix_rt::spawn(async move { waiting.tend(&Tree::Primary, &found, &about).await });
        while tools.world.damage.list().is_empty() {
            actix_rt::task::yield_now().await;
        }
        tools.world.repository.delete_backups(&backup.set, &[backup.id]).unwrap();
        drop(sweep);
        let tended = healing.await.unwrap();
        assert!(tended.lost.is_empty() && tended.healed.is_empty() && tended.deleted.len() == 1);
        assert_eq!(told(&tools, directory.path()).await, (vec![], false));
        assert!(tools.world.repository.catalogue().get(backup.id).is_none(), "it is back");
    });
}
