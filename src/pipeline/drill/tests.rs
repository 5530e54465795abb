//! Drills that pass, and drills that must not.
//!
//! Hazard: a self-proof that nobody has seen fail. The comparison is broken here on purpose, in every way it could be.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use tempfile::TempDir;

use super::*;
use crate::pipeline::archive::{self, Archived};
use crate::settings::{Settings, Sources};
use crate::storage::local::Local;

/// A repository with one backup of a set of two files.
struct Site {
    directory: TempDir,
    repository: Repository,
    set: SetSettings,
    backup: Backup,
}

fn write(path: &Path, content: &[u8]) {
    io::Write::write_all(&mut std::fs::File::create(path).unwrap(), content).unwrap();
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

impl Site {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let source = directory.path().join("config");
        std::fs::create_dir(&source).unwrap();
        std::fs::create_dir(directory.path().join("backups")).unwrap();
        write(&source.join("security_config.json"), b"{\"level\": 3}");
        write(&source.join("safe_mode_config.json"), b"[]");
        let sources = Sources { working_directory: directory.path().to_owned(), ..Sources::default() };
        let settings = Settings::load(&sources).unwrap();
        let set = settings.sets.into_iter().find(|set| set.name.as_str() == "security").unwrap();
        let storage = Arc::new(Local::open(&settings.backup.backup_directory).unwrap());
        Repository::create(storage.clone(), now()).unwrap();
        let (repository, _) = Repository::open(storage, false).unwrap();
        let request = archive::Request {
            set: &set,
            kind: crate::core::BackupKind::Manual,
            read_everything: true,
            read_sources_every_runs: 1,
            now: now(),
            clock_suspect: false,
            audit_head: None,
        };
        let Ok(Archived::Created(created)) = archive::archive(&repository, &request, &Progress::default()) else {
            panic!("no backup was made")
        };
        Self { directory, repository, set, backup: created.backup }
    }

    fn scratch(&self) -> PathBuf {
        scratch_directory(&self.directory.path().join("backups"))
    }

    fn rehearse(&self, compare: Compare) -> Result<Drilled, DrillError> {
        let scratch = self.scratch();
        let request = Request { set: &self.set, backup: &self.backup, scratch: &scratch, nonce: 7, now: now() };
        let result = super::rehearse(&self.repository, &request, &Progress::default(), compare);
        assert!(!scratch.exists(), "the scratch directory is still there after {result:?}");
        result
    }

    fn drill(&self) -> Result<Drilled, DrillError> {
        self.rehearse(compare::compare)
    }
}

#[test]
fn a_good_backup_passes_its_drill_and_nothing_is_left_or_changed() {
    let site = Site::new();
    let source = site.set.source.real().to_owned();
    let before = std::fs::metadata(&source).unwrap().modified().unwrap();
    assert_eq!(site.drill().unwrap(), Drilled { files: 2, size_bytes: 14, changed_unseen: vec![] });
    assert_eq!(std::fs::read_dir(&source).unwrap().count(), 2);
    assert_eq!(std::fs::metadata(&source).unwrap().modified().unwrap(), before, "something came and went");
}

#[test]
fn a_damaged_object_fails_the_drill_and_is_named() {
    let site = Site::new();
    let object = site.backup.content.as_ref().unwrap().manifest.envelope.objects[0].name;
    let path = site.directory.path().join("backups").join(layout::object(&object).as_str());
    let mut stored = std::fs::read(&path).unwrap();
    stored[0] ^= 1;
    write(&path, &stored);
    let error = site.drill().unwrap_err();
    assert!(error.is_damage(), "{error:?}");
    assert!(format!("{error:?}").contains(&object.to_string()), "{error:?}");
}

#[test]
fn a_comparison_that_finds_everything_right_fails_the_drill() {
    let error = Site::new().rehearse(|_, _, _, _| Ok(())).unwrap_err();
    assert!(matches!(error, DrillError::CannotFail("a damaged file was found to be right")), "{error:?}");
}

#[test]
fn a_comparison_that_looks_at_lengths_alone_fails_the_drill() {
    let error = Site::new().rehearse(|root, files, _, _| {
        let length = |file: &FileEntry| std::fs::metadata(root.join(file.path.to_path())).unwrap().len();
        let different = |file: &&FileEntry| length(file) != file.size_bytes;
        files.iter().find(different).map_or(Ok(()), |file| {
            Err(DrillError::Different { path: file.path.to_string(), what: "it has another length" })
        })
    });
    assert!(matches!(error, Err(DrillError::CannotFail(_))), "{error:?}");
}

#[test]
fn a_comparison_that_finds_everything_wrong_fails_the_drill() {
    let site = Site::new();
    let wrong: Compare = |_, _, _, _| Err(DrillError::Different { path: "x".into(), what: "it is not" });
    assert!(matches!(site.rehearse(wrong), Err(DrillError::Different { .. })));
}

#[test]
fn files_that_are_expected_to_parse_and_do_not_fail_the_drill() {
    let site = Site::new();
    let root = site.directory.path().join("restored");
    std::fs::create_dir(&root).unwrap();
    write(&root.join("a.json"), b"{");
    let content = site.backup.content.as_ref().unwrap();
    let entry = FileEntry {
        path: crate::core::EntryPath::from_text("a.json"),
        size_bytes: 1,
        sha256: crate::core::Digest::of(b"{"),
        ..content.manifest.files()[0].clone()
    };
    let compare = |validation| compare::compare(&root, std::slice::from_ref(&entry), validation, &Progress::default());
    assert!(matches!(compare(Validation::Json), Err(DrillError::Invalid { .. })));
    assert!(compare(Validation::None).is_ok());
    write(&root.join("a.json"), b"{ ");
    assert!(matches!(compare(Validation::None), Err(DrillError::Different { .. })));
}

#[test]
fn a_target_that_cannot_be_written_is_told() {
    let directory = TempDir::new().unwrap();
    let require = |path: &Path, bytes| require_writable(&SourcePath::find(path.to_owned(), false), bytes);
    assert!(require(&directory.path().join("not/there/yet"), 1).is_ok());
    assert!(matches!(require(Path::new("/proc/self"), 0), Err(DrillError::Target(..))));
    assert!(matches!(require(directory.path(), u64::MAX), Err(DrillError::NoSpace { .. })));
}

#[test]
fn the_scratch_directory_is_nobody_elses_and_what_was_left_in_it_goes() {
    let directory = TempDir::new().unwrap();
    let place = directory.path().join("drill");
    std::fs::create_dir_all(place.join("restored")).unwrap();
    write(&place.join("restored/secret.json"), b"{}");
    let scratch = Scratch::create(&place).unwrap();
    assert_eq!(std::fs::read_dir(&place).unwrap().count(), 0);
    assert_eq!(std::fs::metadata(&place).unwrap().permissions().mode() & 0o777, 0o700);
    drop(scratch);
    assert!(!place.exists());
    assert!(!clear(&place).unwrap());
}
