//! A source directory, real, and the set that it is.
//!
//! Hazard: content that compresses to nothing, or is the same in every chunk, hides what a mixture of chunks would show.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fiovana_app::core::BackupPriority;
use fiovana_app::core::content::{SetKind, Validation};
use fiovana_app::core::retention::Policy;
use fiovana_app::settings::{FilePatterns, KeepAtLeast, SetSettings};
use fiovana_app::source_path::SourcePath;
use tempfile::TempDir;

use super::Files;

/// A chunk, as FORMAT.md has it; said again here on purpose.
pub const CHUNK_BYTES: usize = 1 << 20;

/// A directory of files, and the set that holds all of them.
pub struct Source {
    directory: TempDir,
    /// The set.
    pub set: SetSettings,
}

impl Source {
    /// An empty one.
    pub fn new(name: &str) -> Self {
        let directory = tempfile::tempdir().expect("a scratch directory");
        let source = directory.path().canonicalize().expect("its path");
        let set = SetSettings {
            name: name.parse().expect("a set name"),
            source: SourcePath::find(source, false),
            files: FilePatterns::new(["**"]).expect("patterns"),
            kind: SetKind::Files,
            priority: BackupPriority::Critical,
            interval: Duration::from_secs(3600),
            retention_days: 30,
            max_backups: 10,
            keep_at_least: KeepAtLeast { versions: 1, is_said: true },
            policy: Policy::Newest,
            validate: Validation::Json,
            max_size_mb: Some(100),
            enabled: true,
            pre_restore_days: 7,
            refused: None,
        };
        Self { directory, set }
    }

    /// Where a file is.
    pub fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }

    /// Writes a file anew, and the directories above it.
    pub fn write(&self, file: &str, content: &[u8]) {
        write(&self.path(file), content);
    }

    /// Appends to a file.
    pub fn append(&self, file: &str, content: &[u8]) {
        let mut file = fs::OpenOptions::new().append(true).open(self.path(file)).expect("open to append");
        file.write_all(content).expect("append");
    }

    /// Removes a file.
    pub fn remove(&self, file: &str) {
        fs::remove_file(self.path(file)).expect("remove");
    }

    /// What is there now.
    pub fn files(&self) -> Files {
        files_in(self.directory.path())
    }

    /// A source of each kind of file that matters: empty, small and enough of those for a pack, invalid never, shared, of
    /// one and of several chunks.
    pub fn rich(name: &str) -> Self {
        let source = Self::new(name);
        source.write("security.json", br#"{"require_2fa": true}"#);
        source.write("nested/deeper/copy.json", br#"{"require_2fa": true}"#);
        source.write("empty.txt", b"");
        for number in 0..6 {
            source.write(&format!("small/{number}.txt"), &lines(10 + number, 400));
        }
        source.write("audit.log", &lines(1, 2 * CHUNK_BYTES + 70_000));
        source.write("audit.log.1", &lines(1, CHUNK_BYTES));
        source
    }

    /// Changes a rich source in every way: grown, replaced, gone, new, and moved.
    pub fn change(&self, round: u64) {
        self.append("audit.log", &lines(100 + round, 5_000));
        self.write("small/3.txt", &lines(50 + round, 300));
        self.write("security.json", format!(r#"{{"require_2fa": true, "round": {round}}}"#).as_bytes());
        self.write(&format!("new-{round}.txt"), format!("new in round {round}").as_bytes());
        if round == 1 {
            self.remove("nested/deeper/copy.json");
            fs::rename(self.path("audit.log.1"), self.path("audit.log.2")).expect("rename");
        }
    }
}

/// Log lines of about so many bytes, different in every line, and in every line of another seed.
pub fn lines(seed: u64, bytes: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut lines = Vec::with_capacity(bytes + 100);
    while lines.len() < bytes {
        let number = lines.len();
        writeln!(lines, r#"{{"at":{number},"seed":{seed},"token":"{:016x}"}}"#, random.u64(..)).expect("to memory");
    }
    lines
}

/// Writes a file anew, and the directories above it.
pub fn write(path: &Path, content: &[u8]) {
    fs::create_dir_all(path.parent().expect("a directory")).expect("create directories");
    fs::File::create(path).and_then(|mut file| file.write_all(content)).expect("write");
}

/// Every plain file below a directory; nothing where there is no directory.
pub fn files_in(root: &Path) -> Files {
    let mut files = Files::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        for entry in entries {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                directories.push(path);
            } else {
                let name = path.strip_prefix(root).expect("below the root").to_string_lossy().into_owned();
                files.insert(name, fs::read(&path).expect("read"));
            }
        }
    }
    files
}
