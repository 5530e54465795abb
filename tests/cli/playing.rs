//! What each command prints, in each situation.
//!
//! Hazard: a snapshot that depends on what ran before it. Each command finds its situation as it was made.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use serde_json::Value;

use super::alike::alike;
use super::common::code;
use super::scenes::{SCENES, Scene};
use super::stages::Stage;
use super::terminal;

/// The terminals: a common one, and a narrow one.
pub const WIDTHS: [u16; 2] = [100, 40];
pub const NARROW: u16 = 40;

/// More at a time than there are processors: they wait for one another.
const THREADS: usize = 4;

/// What a command printed.
#[derive(Default)]
pub struct Played {
    /// On the terminals, each with its width.
    pub shown: Vec<(u16, String)>,
    /// The document, if there is one.
    pub json: Option<String>,
}

/// What every scene prints, in the order of the table.
pub fn all() -> Vec<(&'static Scene, Played)> {
    let mut of_situation: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    SCENES.iter().enumerate().for_each(|(at, scene)| of_situation.entry(scene.situation.name).or_default().push(at));
    let todo = Mutex::new(of_situation.into_values().collect::<Vec<_>>());
    let done = Mutex::new(BTreeMap::new());
    let play_some = || {
        let next = || todo.lock().unwrap().pop();
        while let Some(scenes) = next() {
            let stage = SCENES[scenes[0]].situation.stage();
            for at in scenes {
                let played = play(&SCENES[at], &stage);
                done.lock().unwrap().insert(at, played);
            }
        }
    };
    std::thread::scope(|scope| (0..THREADS).for_each(|_| drop(scope.spawn(play_some))));
    done.into_inner().unwrap().into_iter().map(|(at, played)| (&SCENES[at], played)).collect()
}

fn play(scene: &Scene, stage: &Stage) -> Played {
    let mut typed = stage.typed(scene.line);
    let shown = WIDTHS.map(|columns| {
        stage.set();
        (columns, on_a_terminal(stage, &typed, columns, scene.reply))
    });
    typed.push("--json".to_owned());
    let json = scene.has_json.then(|| {
        stage.set();
        document(scene, stage, &typed)
    });
    Played { shown: shown.into(), json }
}

/// What a terminal shows, and the exit code if it is not 0.
pub fn on_a_terminal(stage: &Stage, typed: &[String], columns: u16, reply: &str) -> String {
    let words: Vec<&str> = typed.iter().map(String::as_str).collect();
    let mut command = stage.installation.command::<&str>(&words, &[]);
    command.env_remove("NO_COLOR").env("TERM", "xterm");
    let shown = terminal::show(command, columns, reply);
    assert!(!shown.text.contains("panicked"), "{}", shown.text);
    let code = if shown.code == 0 { String::new() } else { format!("[exit {}]\n", shown.code) };
    alike(&shown.text, stage.installation.root()) + &code
}

/// The fields of the one document that is printed, or of each record.
fn document(scene: &Scene, stage: &Stage, typed: &[String]) -> String {
    let words: Vec<&str> = typed.iter().map(String::as_str).collect();
    let output = stage.installation.run(&words);
    let text = String::from_utf8(output.stdout).unwrap();
    let mut found = BTreeSet::new();
    let documents = text.lines().map(serde_json::from_str::<Value>);
    for document in documents {
        let document = document.unwrap_or_else(|error| panic!("{}: {error}: {text}", scene.line));
        fields("", &document, &mut found);
    }
    let is_one = text.lines().count() == 1 || scene.line.starts_with("audit tail") && !text.is_empty();
    assert!(is_one, "{} --json: {text:?}, {:?}", scene.line, String::from_utf8_lossy(&output.stderr));
    let code = code(output.status);
    if code != 0 {
        found.insert(format!("[exit {code}]\n"));
    }
    found.into_iter().collect()
}

/// The fields of a document, `.` between their names and `[]` for what is in a list, and their types; of a problem its
/// type.
fn fields(prefix: &str, value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            map.iter().for_each(|(name, value)| fields(&format!("{prefix}.{name}"), value, into));
        }
        Value::Array(list) if !list.is_empty() => {
            list.iter().for_each(|value| fields(&format!("{prefix}[]"), value, into))
        }
        other => {
            let kind = match other {
                Value::Null => "null",
                Value::Bool(_) => "boolean",
                Value::Number(_) => "number",
                Value::String(urn) if prefix.ends_with(".type") => urn,
                Value::String(_) => "string",
                Value::Array(_) => "empty list",
                Value::Object(_) => "empty object",
            };
            into.insert(format!("{prefix}: {kind}\n"));
        }
    }
}
