//! Reading a real repository with nothing running.

use super::*;
use crate::api::ProblemKind;
use crate::cli::samples::now;
use crate::core::BackupId;
use crate::core::BackupKind;
use crate::pipeline::archive::{self, Archived};
use crate::repository::catalogue::Finding;
use crate::settings::Sources;

struct Place {
    root: tempfile::TempDir,
    settings: Settings,
}

impl Place {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for directory in ["config", "logs", "backups"] {
            std::fs::create_dir(root.path().join(directory)).unwrap();
        }
        let sources = Sources { working_directory: root.path().to_owned(), ..Sources::default() };
        let settings = Settings::load(&sources).unwrap();
        daemon::init(&settings).unwrap();
        Self { root, settings }
    }

    fn reader(&self) -> Reader<'_> {
        Reader::open(&self.settings).unwrap()
    }

    #[expect(clippy::disallowed_methods, reason = "a source, not a repository")]
    fn write(&self, path: &str, content: &str) {
        std::fs::write(self.root.path().join(path), content).unwrap();
    }

    /// A good backup of the set, dated so many minutes from now.
    fn back_up(&self, set: &str, minutes: i64) -> BackupId {
        let set = self.settings.sets.iter().find(|known| known.name.as_str() == set).unwrap();
        let now = now() + chrono::TimeDelta::minutes(minutes);
        let kind = BackupKind::Manual;
        let request = archive::Request {
            set,
            kind,
            read_everything: true,
            read_sources_every_runs: 1,
            now,
            clock_suspect: false,
            audit_head: None,
        };
        let Reader { repository, .. } = self.reader();
        let made = archive::archive(&repository, &request, &Progress::default()).unwrap();
        let Archived::Created(created) = made else { panic!("nothing made") };
        repository.record_finding(created.backup.id, Finding::Intact { checked: now }).unwrap();
        created.backup.id
    }

    fn restore(&self, set: &str, id: BackupId, file: Option<&str>, to: &Path) -> Result<RestoreOutcome, Problem> {
        let options = RestoreOptions { file: file.map(str::to_owned), ..RestoreOptions::default() };
        self.reader().restore_to(&set.parse().unwrap(), &id.into(), &options, to)
    }
}

#[test]
fn within_a_set_the_sequence_orders_and_not_the_clock() {
    let place = Place::new();
    place.write("config/app_config.json", "{}");
    place.write("config/security_config.json", "{}");
    let first = place.back_up("security", 60);
    let second = place.back_up("security", -60);
    let other = place.back_up("application", 0);
    let listed = place.reader().list(&ListQuery::default()).unwrap().backups;
    assert_eq!(listed.iter().map(|backup| backup.id).collect::<Vec<_>>(), [other, second, first]);
}

#[test]
fn pages_follow_each_other_without_a_gap() {
    let place = Place::new();
    place.write("config/security_config.json", "{}");
    let ids: Vec<BackupId> = (0..5).map(|minute| place.back_up("security", minute)).collect();
    let mut query = ListQuery { limit: Some(2), ..ListQuery::default() };
    let mut seen = Vec::new();
    loop {
        let page = place.reader().list(&query).unwrap();
        assert!(page.backups.len() <= 2);
        seen.extend(page.backups.iter().map(|backup| backup.id));
        let Some(next) = page.next else { break };
        query.after = Some(next.to_string());
    }
    seen.reverse();
    assert_eq!(seen, ids);
}

#[test]
fn a_backup_is_restored_elsewhere_with_nothing_running() {
    let place = Place::new();
    place.write("config/security_config.json", r#"{"a":1}"#);
    let id = place.back_up("security", 0);
    let to = place.root.path().join("look/here");
    let outcome = place.restore("security", id, None, &to).unwrap();
    assert_eq!((outcome.restored.len(), outcome.target.as_str()), (1, to.to_str().unwrap()));
    assert_eq!(std::fs::read_to_string(to.join("security_config.json")).unwrap(), r#"{"a":1}"#);
    assert_eq!(place.restore("security", id, None, &to).unwrap_err().kind, ProblemKind::Target);
}

#[test]
fn a_backup_that_lacks_the_file_names_one_that_has_it() {
    let place = Place::new();
    place.write("config/security_config.json", "{}");
    place.write("config/safe_mode_config.json", "{}");
    let with_both = place.back_up("security", 0);
    std::fs::remove_file(place.root.path().join("config/safe_mode_config.json")).unwrap();
    place.back_up("security", 1);
    let newest = place.back_up("security", 2);
    let to = place.root.path().join("look");
    let problem = place.restore("security", newest, Some("safe_mode_config.json"), &to).unwrap_err();
    assert_eq!((problem.kind, problem.good_backups), (ProblemKind::NotFound, vec![with_both]));
}

#[test]
fn a_damaged_backup_is_refused_with_good_ones_named() {
    let place = Place::new();
    place.write("config/security_config.json", r#"{"a":1}"#);
    let good = place.back_up("security", 0);
    place.write("config/security_config.json", r#"{"a":2}"#);
    let bad = place.back_up("security", 1);
    let manifest = format!("backups/manifests/security/{bad}.json");
    place.write(&manifest, "torn");
    let problem = place.restore("security", bad, None, &place.root.path().join("look")).unwrap_err();
    assert_eq!((problem.kind, problem.good_backups), (ProblemKind::Integrity, vec![good]));
}

#[test]
fn what_is_not_there_is_said_to_be_unknown() {
    let place = Place::new();
    place.write("config/security_config.json", "{}");
    let id = place.back_up("security", 0);
    let unknown = place.reader().list(&ListQuery { set: Some("nothing".into()), ..ListQuery::default() }).unwrap_err();
    assert_eq!(unknown.kind, ProblemKind::NotFound);
    assert!(unknown.detail.contains("security"), "{unknown}");
    let elsewhere = place.restore("logs", id, None, place.root.path()).unwrap_err();
    assert_eq!(elsewhere.kind, ProblemKind::SetMismatch);
    assert_eq!(place.reader().show(&BackupRef::Latest).unwrap_err().kind, ProblemKind::BadRequest);
    assert_eq!(place.reader().show(&id.into()).unwrap().files[0].path, "security_config.json");
}
