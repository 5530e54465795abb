//! Whole settings, loaded as the service loads them.
//!
//! Hazard: a precedence or a default that is right in the code's mind and wrong in the procedures' costs history.

mod defaults;
mod lookup;
mod precedence;
mod refusals;
mod replicas;

use std::path::Path;

use super::*;
use crate::core::SetName;

/// A scratch working directory with, perhaps, a settings file in its default place.
struct House {
    directory: tempfile::TempDir,
    sources: Sources,
}

impl House {
    fn empty() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let sources = Sources { working_directory: directory.path().to_owned(), ..Sources::default() };
        Self { directory, sources }
    }

    fn with(toml: &str) -> Self {
        let house = Self::empty();
        house.put("config/fiovana.toml", toml);
        house
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.sources.environment.insert(name.into(), value.into());
        self
    }

    #[expect(clippy::disallowed_methods, reason = "scratch files of a test need not survive a crash")]
    fn put(&self, path: &str, text: &str) {
        let path = self.at(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn at(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    fn load(&self) -> Settings {
        Settings::load(&self.sources).unwrap_or_else(|errors| panic!("{errors}"))
    }

    /// The messages, with the scratch directory written as `/home`.
    fn refusals(&self) -> Vec<String> {
        let errors = Settings::load(&self.sources).expect_err("these settings should be refused");
        let shown = errors.to_string().replace(self.directory.path().to_str().unwrap(), "/home");
        let lines: Vec<String> = shown.lines().map(str::to_owned).collect();
        assert_eq!(lines.len(), errors.lines().len(), "one line per problem: {shown}");
        lines
    }
}

fn set<'a>(settings: &'a Settings, name: &str) -> &'a SetSettings {
    let name: SetName = name.parse().unwrap();
    settings.sets.iter().find(|set| set.name == name).unwrap()
}

fn origin(settings: &Settings, key: &str) -> String {
    settings.explained().into_iter().find(|explained| explained.key == key).unwrap().origin.to_string()
}
