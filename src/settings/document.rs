//! The layers that speak: the settings file under the variables.
//!
//! Hazard: a key that is accepted and ignored is a promise broken in silence. A [`Section`] knows exactly the keys
//! that were asked of it; whatever else stands in the file is refused, with the key that was probably meant.
//!
//! The `config` crate parses. The layers are put together here and not by its builder, because that reads top-level
//! keys as paths (`"a[9999999999]"` makes room for as many values) and forgets a malformed section that a variable
//! overrides in part.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;

use config::{ConfigError, File, FileFormat, Source, Value, ValueKind};

use crate::core::SetName;
use crate::core::secrets::shown_value;

use super::error::{Place, SettingsError};
use super::origin::{Origin, Said};
use super::sources::{SettingsText, Sources, not_text};
use super::values::{Raw, Read, one_line};
use super::variables;

/// The values of one table, by key.
pub(super) type Table = HashMap<String, Value>;

/// Where sections take their values from.
pub(super) struct Layers<'a> {
    pub sources: &'a Sources,
    /// The settings file, if one is in use.
    pub file: Option<&'a Path>,
    /// Every key asked for so far, with its section: a key that stands outside its section is sent there.
    asked: RefCell<Vec<(String, &'static str)>>,
}

/// The table of a settings file.
pub(super) fn parse(file: &SettingsText) -> Result<Table, SettingsError> {
    File::from_str(&file.text, FileFormat::Toml).collect().map_err(|error| {
        let cause = match error {
            ConfigError::FileParse { cause, .. } => cause.to_string(),
            other => other.to_string(),
        };
        let (place, message) = place_and_message(&cause, &file.text);
        SettingsError::Syntax { path: file.path.clone(), place, message }
    })
}

/// Takes apart the parser's drawing of the fault: a headline with the place, an excerpt, the message.
fn place_and_message(drawing: &str, text: &str) -> (Option<Place>, String) {
    let number_after = |word: &str| {
        let headline = drawing.lines().next()?;
        let digits = headline.split_once(word)?.1;
        digits.split(|c: char| !c.is_ascii_digit()).next()?.parse::<usize>().ok()
    };
    if let Some(line) = number_after("at line ") {
        let is_message = |line: &&str| !line.contains('|') && !line.trim().is_empty();
        let message = drawing.lines().skip(1).filter(is_message).collect::<Vec<_>>().join(", ");
        return (Some(Place { line, column: number_after("column ") }), one_line(&message));
    }
    // Numbers are converted after parsing, and the place is lost.
    let oversized = text.lines().position(holds_an_oversized_number);
    (oversized.map(|index| Place { line: index + 1, column: None }), one_line(drawing))
}

fn holds_an_oversized_number(line: &str) -> bool {
    let mut words = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.any(|word| {
        let digits = word.replace('_', "");
        !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<i64>().is_err()
    })
}

/// One section of the settings: what the file says in it, under what variables say.
pub(super) struct Section<'a> {
    layers: &'a Layers<'a>,
    /// `backup.priority_levels.high`; empty at the top.
    name: String,
    table: Table,
    known: Vec<&'static str>,
    errors: Vec<SettingsError>,
}

impl<'a> Section<'a> {
    /// The top of the document.
    pub fn top(layers: &'a Layers<'a>, table: Table) -> Self {
        Self::new(layers, String::new(), table)
    }

    fn new(layers: &'a Layers<'a>, name: String, table: Table) -> Self {
        Self { layers, name, table, known: Vec::new(), errors: Vec::new() }
    }

    /// The section `key` in this one; empty if the file has none.
    pub fn section(&mut self, key: &'static str) -> Section<'a> {
        self.known.push(key);
        let value = self.table.remove(key);
        self.child(key, value)
    }

    /// All that is left in this section, each as a set's section.
    pub fn sets(mut self, errors: &mut Vec<SettingsError>) -> Vec<(SetName, Section<'a>)> {
        let mut entries: Vec<_> = std::mem::take(&mut self.table).into_iter().collect();
        entries.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut sets = Vec::new();
        for (key, value) in entries {
            match key.parse::<SetName>() {
                Ok(name) => {
                    let section = self.child(&key, Some(value));
                    sets.push((name, section));
                }
                Err(error) => self.errors.push(SettingsError::Value {
                    key: one_line(&self.dotted(&key)),
                    value: "a set".to_owned(),
                    origin: self.origin_of_section(&key),
                    allowed: error.to_string(),
                }),
            }
        }
        errors.append(&mut self.errors);
        sets
    }

    /// The tables of the array `key`, each a section; `None` if the file says nothing of it.
    pub fn tables(&mut self, key: &'static str) -> Option<Vec<Section<'a>>> {
        self.known.push(key);
        let value = self.table.remove(key)?;
        let ValueKind::Array(items) = value.kind else {
            self.refuse(key, Raw::Toml(&value).shown(), format!("give each as a section [[{}]]", self.dotted(key)));
            return Some(Vec::new());
        };
        let named = |item: &Value, number: usize| {
            match &item.kind {
                ValueKind::Table(table) => table.get("name").and_then(|name| Some(Raw::Toml(name).text()?.to_owned())),
                _ => None,
            }
            .unwrap_or_else(|| number.to_string())
        };
        let sections = items.into_iter().enumerate().map(|(index, item)| {
            let name = one_line(&named(&item, index + 1));
            self.child(&format!("{key}.{name}"), Some(item))
        });
        Some(sections.collect())
    }

    /// Its name: `backup.priority_levels.high`.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn child(&mut self, key: &str, value: Option<Value>) -> Section<'a> {
        let table = match value {
            None => Table::new(),
            Some(Value { kind: ValueKind::Table(table), .. }) => table,
            Some(other) => {
                self.refuse(key, Raw::Toml(&other).shown(), format!("give a section [{}]", self.dotted(key)));
                Table::new()
            }
        };
        Section::new(self.layers, self.dotted(key), table)
    }

    /// What is said of `key`, by a variable before the file; what either says is checked.
    pub fn take<T>(&mut self, key: &'static str, read: impl Fn(&Raw) -> Read<T>) -> Option<Said<T>> {
        self.known.push(key);
        self.layers.asked.borrow_mut().push((self.name.clone(), key));
        let in_file = self.table.remove(key).and_then(|value| match read(&Raw::Toml(&value)) {
            Ok(value) => Some(Said { value, origin: self.origin_of(key) }),
            Err(allowed) => {
                self.refuse(key, Raw::Toml(&value).shown(), allowed);
                None
            }
        });
        let dotted = self.dotted(key);
        self.layers.variable(&dotted, read, &mut self.errors).or(in_file)
    }

    /// Refuses this section if the file does not say `key` in it.
    pub fn require(&mut self, key: &str, allowed: &str) {
        if !self.table.contains_key(key) {
            let (origin, key) = (self.in_file(format!("[{}]", self.name)), short(&self.dotted(key)));
            let (value, allowed) = ("nothing".to_owned(), allowed.to_owned());
            self.errors.push(SettingsError::Value { key, value, origin, allowed });
        }
    }

    fn refuse(&mut self, key: &str, value: String, allowed: String) {
        let (origin, key) = (self.origin_of(key), short(&self.dotted(key)));
        self.errors.push(SettingsError::Value { key, value, origin, allowed });
    }

    /// The end of this section: what was not asked for is unknown.
    pub fn finish(mut self, errors: &mut Vec<SettingsError>) {
        let mut rest: Vec<_> = std::mem::take(&mut self.table).into_iter().collect();
        rest.sort_by(|(a, _), (b, _)| a.cmp(b));
        for (key, value) in rest {
            self.errors.push(SettingsError::UnknownKey {
                key: one_line(&short(&self.dotted(&key))),
                value: shown_value(&key, &Raw::Toml(&value).shown()),
                origin: match value.kind {
                    ValueKind::Table(_) => self.origin_of_section(&key),
                    _ => self.origin_of(&key),
                },
                hint: self.hint(&key),
            });
        }
        errors.append(&mut self.errors);
    }

    /// What may have been meant by an unknown `key`.
    fn hint(&self, key: &str) -> String {
        const LONGEST_KEY: usize = 64;
        let distance = |candidate: &&'static str| strsim::damerau_levenshtein(key, candidate);
        let is_near = |candidate: &&'static str| key.len() <= LONGEST_KEY && distance(candidate) <= 1 + key.len() / 5;
        if let Some(nearest) = self.known.iter().copied().filter(is_near).min_by_key(distance) {
            return format!("did you mean {nearest}?");
        }
        let asked = self.layers.asked.borrow();
        match asked.iter().find(|(_, known)| self.name.is_empty() && *known == key) {
            Some((section, known)) => format!("give it as [{section}].{known}"),
            None => format!("known here are {}", self.known.join(", ")),
        }
    }

    /// Where the file says `key`: `/etc/fiovana.toml [backup].max_backups`.
    fn origin_of(&self, key: &str) -> Origin {
        let section = if self.name.is_empty() { String::new() } else { format!("[{}].", self.name) };
        self.in_file(section + &one_line(key))
    }

    /// Where the file opens the section `key` of this one: `/etc/fiovana.toml [sets.docs]`.
    fn origin_of_section(&self, key: &str) -> Origin {
        self.in_file(format!("[{}]", one_line(&self.dotted(key))))
    }

    fn in_file(&self, key: String) -> Origin {
        Origin::File { path: self.layers.file.map(Path::to_owned).unwrap_or_default(), key }
    }

    fn dotted(&self, key: &str) -> String {
        match (self.name.as_str(), key) {
            ("", key) => key.to_owned(),
            (name, key) => format!("{name}.{key}"),
        }
    }
}

impl<'a> Layers<'a> {
    /// The layers of `sources` with this settings file.
    pub fn new(sources: &'a Sources, file: Option<&'a Path>) -> Self {
        Self { sources, file, asked: RefCell::default() }
    }

    /// What the variable that overrides `key` says, if there is one and it is set.
    pub fn variable<T>(
        &self,
        key: &str,
        read: impl Fn(&Raw) -> Read<T>,
        errors: &mut Vec<SettingsError>,
    ) -> Option<Said<T>> {
        let (name, value) = variables::overriding(&self.sources.environment, key)?;
        let Some(text) = value.to_str() else {
            errors.push(not_text(&short(key), name, value));
            return None;
        };
        let raw = Raw::Variable(text);
        match read(&raw) {
            Ok(value) => Some(Said { value, origin: Origin::Variable(name) }),
            Err(allowed) => {
                let origin = Origin::Variable(name);
                errors.push(SettingsError::Value { key: short(key), value: raw.shown(), origin, allowed });
                None
            }
        }
    }
}

/// The key as messages name it: fields of `BackupConfig` by their bare names.
pub(super) fn short(dotted: &str) -> String {
    dotted.strip_prefix("backup.").unwrap_or(dotted).to_owned()
}
