//! An installation with a set of its own, whose files are what the tests make.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

use crate::common::files::{read, write};
use crate::common::{Installation, UNPRIVILEGED, code};

pub const DONE: i32 = 0;
pub const PROBLEMS: i32 = 3;

/// An installation with a set `t` of its own, whose source is `src`.
pub struct Place(pub Installation);

impl Place {
    /// With these file patterns, and these further lines in the set's section.
    pub fn new(files: &str, more: &str) -> Self {
        let settings = format!("replicas = []\n[sets.t]\nsource = \"./src\"\nfiles = [{files}]\n{more}\n");
        let place = Self(Installation::with_settings(&settings));
        fs::create_dir(place.0.path("src")).unwrap();
        assert_eq!(code(place.0.run(&["init"]).status), DONE);
        place
    }

    /// The same of an ordinary user, if root runs the tests.
    pub fn unprivileged(files: &str) -> Self {
        let settings = format!("replicas = []\n[sets.t]\nsource = \"./src\"\nfiles = [{files}]\n");
        let installation = Installation::with_settings(&settings);
        fs::create_dir(installation.path("src")).unwrap();
        let place = Self(if is_root() { installation.given_to(UNPRIVILEGED) } else { installation });
        place.give_away();
        assert_eq!(code(place.0.run(&["init"]).status), DONE);
        place
    }

    /// Gives what is in the source to the user that owns it.
    pub fn give_away(&self) {
        if is_root() {
            let owner = format!("{UNPRIVILEGED}:{UNPRIVILEGED}");
            let done = Command::new("chown").args(["-hR", &owner]).arg(self.source("")).status().unwrap();
            assert!(done.success());
        }
    }

    /// A symlink in the source.
    pub fn link(&self, path: &str, target: &str) {
        fs::create_dir_all(self.source(path).parent().unwrap()).unwrap();
        symlink(target, self.source(path)).unwrap();
    }

    /// Where a symlink in the source leads.
    pub fn target(&self, path: &str) -> PathBuf {
        fs::read_link(self.source(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// The undo of a restore that answered this.
    pub fn undo(&self, restored: &Value) {
        let undo = restored["undo"].as_str().unwrap().strip_prefix("fiovana-app ").unwrap().to_owned();
        self.run(&undo.split(' ').collect::<Vec<_>>(), DONE);
    }

    pub fn source(&self, file: &str) -> PathBuf {
        self.0.path("src").join(file)
    }

    pub fn write(&self, file: &str, content: impl AsRef<[u8]>) {
        fs::create_dir_all(self.source(file).parent().unwrap()).unwrap();
        write(&self.source(file), content);
    }

    /// Runs a command that must end with this exit code; what it printed.
    pub fn run(&self, arguments: &[&str], exit: i32) -> String {
        let output = self.0.run(arguments);
        assert_eq!(code(output.status), exit, "{arguments:?}: {}", both(&output));
        both(&output)
    }

    pub fn document(&self, arguments: &[&str], exit: i32) -> Value {
        let output = self.0.run(&[arguments, &["--json"]].concat());
        assert_eq!(code(output.status), exit, "{arguments:?}: {}", both(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    pub fn back_up(&self, exit: i32) -> Value {
        self.document(&["backup", "t"], exit)
    }

    /// What the newest backup has of a file.
    pub fn restored(&self, file: &str) -> Vec<u8> {
        let out = tempfile::tempdir().unwrap();
        let target = out.path().join("out");
        self.run(&["restore", "t", "latest", "--to", target.to_str().unwrap()], DONE);
        read(&target.join(file))
    }
}

pub fn both(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
