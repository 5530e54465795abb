//! What a command finds.
//!
//! Hazard: output that was only ever seen when all was well. Each situation is made by the program itself, and by whatever
//! strikes it; each command finds it as it was made, whatever another did to it.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use super::common::{Installation, SECURITY, code, files, repository};

/// In memory: thousands of files are made durable here for nobody. And paths are as long wherever this runs, so that
/// lines break where they did.
const PLACE: &str = "/dev/shm";

/// A situation.
#[derive(Clone, Copy)]
pub struct Situation {
    /// In a few words.
    pub name: &'static str,
    /// How it comes about.
    pub make: fn() -> Stage,
}

const fn situation(name: &'static str, make: fn() -> Stage) -> Situation {
    Situation { name, make }
}

pub const FRESH: Situation = situation("no repository", fresh);
pub const EMPTY: Situation = situation("no backups", empty);
pub const BACKED_UP: Situation = situation("one good backup", backed_up);
pub const TWO_VERSIONS: Situation = situation("two versions", two_versions);
pub const ALL_BACKED_UP: Situation = situation("every set backed up", all_backed_up);
pub const SUSPECT: Situation = situation("a backup of an invalid file", suspect);
pub const ACKNOWLEDGEABLE: Situation = situation("recovery mode, and a loss", acknowledgeable);
pub const STRUCK: Situation = situation("one live file gone, one torn, one changed", struck);
pub const BAD_SOURCES: Situation = situation("one live file gone, one invalid", bad_sources);
pub const NO_SOURCES: Situation = situation("no source directory", no_sources);
pub const NO_REPLICA: Situation = situation("the replica gone", no_replica);
pub const DAMAGED: Situation = situation("a torn manifest", damaged);
pub const LOST: Situation = situation("a lost backup", lost);
pub const BIT_ROT: Situation = situation("a flipped bit", bit_rot);
pub const QUARANTINED: Situation = situation("a healed object", quarantined);
pub const INCURABLE: Situation = situation("a lost object", incurable);
pub const LOST_FOR_GOOD: Situation = situation("a live file and its last copy gone", lost_for_good);
pub const PINNED: Situation = situation("a pinned backup", pinned);
pub const TOO_MANY: Situation = situation("far too many versions", too_many);
pub const ONE_TOO_MANY: Situation = situation("one version too many", one_too_many);
pub const PUT_BACK: Situation = situation("an older copy put back", put_back);
pub const FORGED: Situation = situation("a rewritten audit record", forged);
pub const IN_RECOVERY: Situation = situation("recovery mode, and a live file gone", in_recovery);
pub const MISCONFIGURED: Situation = situation("wrong settings", misconfigured);
pub const WITH_A_KEY: Situation = situation("encryption", with_a_key);
pub const TWO_KEYS: Situation = situation("encryption for two", two_keys);
pub const NO_KEY: Situation = situation("encryption, and the key gone", no_key);

/// An installation, and what the scenes call by name.
pub struct Stage {
    /// The installation.
    pub installation: Installation,
    /// What `{name}` stands for.
    pub words: Vec<(&'static str, String)>,
    /// All of it, as it was made.
    copy: Option<TempDir>,
}

const RECIPIENT: &str = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";

impl Situation {
    /// The situation, to be had again and again.
    pub fn stage(&self) -> Stage {
        let stage = (self.make)();
        let copy = tempfile::tempdir_in(PLACE).unwrap();
        copy_all(stage.installation.root(), copy.path());
        Stage { copy: Some(copy), ..stage }
    }
}

fn copy_all(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status().unwrap();
    assert!(copied.success());
}

impl Stage {
    /// Makes it what it was.
    pub fn set(&self) {
        let root = self.installation.root();
        for entry in root.read_dir().unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                std::fs::remove_dir_all(entry.path()).unwrap();
            } else {
                std::fs::remove_file(entry.path()).unwrap();
            }
        }
        copy_all(self.copy.as_ref().unwrap().path(), root);
    }

    /// What is typed for this line.
    pub fn typed(&self, line: &str) -> Vec<String> {
        let said =
            self.words.iter().fold(line.to_owned(), |line, (name, word)| line.replace(&format!("{{{name}}}"), word));
        said.split(' ').map(str::to_owned).collect()
    }

    fn word(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.words.push((name, value.into()));
        self
    }

    /// The backup that the scene is about.
    fn id(&self) -> &str {
        &self.words.iter().find(|(name, _)| *name == "id").unwrap().1
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.installation.run(&[arguments, &["--json"]].concat());
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {output:?}"))
    }

    fn done(self, arguments: &[&str]) -> Self {
        let output = self.installation.run(arguments);
        assert_eq!(code(output.status), 0, "{arguments:?}: {output:?}");
        self
    }

    fn change(self, path: &str, content: &str) -> Self {
        files::write(&self.installation.path(path), content);
        self
    }

    fn remove(self, path: &str) -> Self {
        let path = self.installation.path(path);
        if path.is_dir() {
            std::fs::remove_dir_all(path).unwrap()
        } else {
            std::fs::remove_file(path).unwrap()
        }
        self
    }

    /// One object that the backup needs.
    fn object(&self) -> PathBuf {
        let backups = self.installation.path("backups");
        let manifest = repository::manifest(&backups, "security", self.id());
        repository::object_path(&backups, repository::objects(&manifest)[0])
    }

    fn manifest(&self) -> PathBuf {
        repository::manifest_path(&self.installation.path("backups"), "security", self.id())
    }
}

fn fresh() -> Stage {
    Stage { installation: Installation::within(PLACE.as_ref()), words: vec![], copy: None }
}

/// No backups.
fn empty() -> Stage {
    fresh().done(&["init"])
}

/// One good backup.
fn backed_up() -> Stage {
    back_up(empty())
}

fn back_up(stage: Stage) -> Stage {
    let id = stage.json(&["backup", "security"])["id"].as_str().unwrap().to_owned();
    stage.word("id", id)
}

/// A file was changed, and backed up again; the id is the newer one's.
fn two_versions() -> Stage {
    let mut stage = backed_up();
    stage.words[0].0 = "older";
    stage = back_up(stage.change("config/security_config.json", "{\"level\": 2}"));
    // The day: enough of a beginning for both.
    let beginning = stage.id()[..2].to_owned();
    stage.word("beginning", beginning)
}

/// Every set has a backup; logs are missing, as they mostly are.
fn all_backed_up() -> Stage {
    let stage = empty();
    stage.json(&["backup", "all"]);
    stage
}

/// A backup that is kept, and never counted as good.
fn suspect() -> Stage {
    let stage = bad_sources();
    let id = stage.json(&["backup", "application"])["id"].as_str().unwrap().to_owned();
    stage.word("id", id)
}

/// What could be brought back is back; one file cannot.
fn acknowledgeable() -> Stage {
    let stage = lost_for_good().done(&["recovery", "enter"]);
    stage.json(&["recover", "--yes"]);
    stage
}

/// One file is gone, one is torn, one was changed since.
fn struck() -> Stage {
    backed_up()
        .remove("config/circuit_breaker_config.json")
        .change("config/security_config.json", "{\"level\": ")
        .change("config/safe_mode_config.json", "{\"enabled\": true}")
}

/// One file does not parse, and one is not there.
fn bad_sources() -> Stage {
    empty().change("config/app_config.json", "{").remove("config/user_preferences.json")
}

/// Nothing is there to be backed up.
fn no_sources() -> Stage {
    empty().change("config/fiovana.toml", "[sets.security]\nsource = \"./nowhere\"\n")
}

/// The replica's disk was replaced.
fn no_replica() -> Stage {
    backed_up().remove("backups/replica")
}

/// A manifest is torn, and there is no replica.
fn damaged() -> Stage {
    let stage = no_replica();
    let manifest = stage.manifest();
    let bytes = files::read(&manifest);
    files::write(&manifest, &bytes[..bytes.len() / 2]);
    let digest = stage.json(&["forget", stage.id()])["digest"].as_str().unwrap().to_owned();
    stage.word("digest", digest)
}

/// A manifest is gone, and there is no replica.
fn lost() -> Stage {
    let mut stage = two_versions().remove("backups/replica");
    stage.words.iter_mut().for_each(|(name, _)| {
        if *name == "id" {
            *name = "newer"
        } else if *name == "older" {
            *name = "id"
        }
    });
    std::fs::remove_file(stage.manifest()).unwrap();
    stage
}

/// A bit of an object flipped.
fn bit_rot() -> Stage {
    let stage = backed_up();
    let object = stage.object();
    let mut bytes = files::read(&object);
    bytes[5] ^= 1;
    files::write(&object, bytes);
    stage
}

/// What damaged bytes were healed is kept in quarantine.
fn quarantined() -> Stage {
    let stage = bit_rot();
    stage.json(&["verify", stage.id()]);
    let digest = stage.json(&["prune", "--dry-run"])["quarantine"]["digest"].as_str().unwrap().to_owned();
    stage.word("digest", digest)
}

/// An object is gone, there is no replica, and no live file has its content any more.
fn incurable() -> Stage {
    let stage = no_replica();
    std::fs::remove_file(stage.object()).unwrap();
    SECURITY.iter().fold(stage, |stage, name| stage.change(&format!("config/{name}"), "{}"))
}

/// A file is gone, and so is every copy of it.
fn lost_for_good() -> Stage {
    let stage = no_replica().remove("config/circuit_breaker_config.json");
    let backups = stage.installation.path("backups");
    let manifest = repository::manifest(&backups, "security", stage.id());
    let entry = &repository::files(&backups, &manifest)[0];
    assert_eq!(entry["path"], "circuit_breaker_config.json");
    std::fs::remove_file(repository::object_path(&backups, entry["chunks"][0]["object"].as_str().unwrap())).unwrap();
    stage
}

/// One that retention leaves alone.
fn pinned() -> Stage {
    let stage = backed_up();
    stage.json(&["pin", stage.id()]);
    stage
}

fn versions(number: usize) -> Stage {
    (0..number).fold(empty(), |stage, version| {
        let stage = stage.change("config/security_config.json", &format!("{{\"level\": {version}}}"));
        stage.done(&["backup", "security"])
    })
}

/// Far more versions than are wanted now.
fn too_many() -> Stage {
    let stage = versions(6).change("config/fiovana.toml", "[backup]\nmax_backups = 1\n");
    let plan = stage.json(&["prune", "--dry-run"]);
    let digest = plan["sets"][0]["held"]["digest"].as_str().unwrap_or_else(|| panic!("{plan}")).to_owned();
    stage.word("digest", digest)
}

/// One more version than is wanted now.
fn one_too_many() -> Stage {
    versions(3).change("config/fiovana.toml", "[backup]\nmax_backups = 2\n")
}

/// The backups are as they were before the last one was made.
fn put_back() -> Stage {
    let stage = versions(1);
    let (backups, copy) = (stage.installation.path("backups"), stage.installation.path("copy"));
    let copied = std::process::Command::new("cp").arg("-a").args([&backups, &copy]).status().unwrap();
    assert!(copied.success());
    let stage = stage.change("config/security_config.json", "{\"level\": 7}").done(&["backup", "security"]);
    std::fs::remove_dir_all(&backups).unwrap();
    std::fs::rename(&copy, &backups).unwrap();
    stage
}

/// Somebody rewrote a record.
fn forged() -> Stage {
    let stage = backed_up();
    let log = stage.installation.path("logs/security_audit.log");
    let text = String::from_utf8(files::read(&log)).unwrap();
    files::write(&log, text.replacen("BackupStarted", "BackupSkipped", 1));
    stage
}

/// Recovery mode, and a file to bring back.
fn in_recovery() -> Stage {
    backed_up().done(&["recovery", "enter"]).remove("config/circuit_breaker_config.json")
}

/// Settings that cannot hold.
fn misconfigured() -> Stage {
    backed_up().change("config/fiovana.toml", "[backup]\nmax_backup = 3\nretention_days = 0\n")
}

/// Encrypted, with a key.
fn with_a_key() -> Stage {
    let stage = empty().change("config/fiovana.toml", "[backup]\nencryption_enabled = true\n");
    back_up(stage.done(&["key", "init"])).word("recipient", RECIPIENT)
}

/// Encrypted for somebody else, too.
fn two_keys() -> Stage {
    with_a_key().done(&["key", "add-recipient", RECIPIENT])
}

/// Encrypted, and the key is elsewhere.
fn no_key() -> Stage {
    two_keys().remove("fiovana-app.key")
}
