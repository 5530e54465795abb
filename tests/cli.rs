//! What each command prints: on a terminal, narrow or wide, and as JSON.
//!
//! Hazard: output that changes by accident breaks whoever reads it, a person or a script. It is held against files in
//! `tests/snapshots`, with whatever differs from run to run made equal; FIOVANA_TEST_ACCEPT=1 writes them anew. A command
//! without a scene fails a test.

#[path = "cli/alike.rs"]
mod alike;
mod common;
#[path = "cli/manners.rs"]
mod manners;
#[path = "cli/playing.rs"]
mod playing;
#[path = "cli/scenes.rs"]
mod scenes;
#[path = "cli/stages.rs"]
mod stages;
#[path = "cli/terminal.rs"]
mod terminal;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use clap::{Command, CommandFactory};
use common::files;
use playing::{NARROW, WIDTHS, on_a_terminal};
use scenes::{SCENES, Scene};

/// What is for another program, and the same with `--json` and without.
const WITHOUT_JSON: [&str; 2] = ["completions", "man"];

/// What does not end by itself.
const ENDLESS: [&str; 1] = ["audit tail --follow"];

/// Every command that does something, by all its words.
fn commands() -> Vec<(String, Command)> {
    let mut found = vec![];
    let mut todo = vec![(String::new(), fiovana_app::cli::Arguments::command())];
    while let Some((words, command)) = todo.pop() {
        if !command.has_subcommands() {
            found.push((words, command));
            continue;
        }
        todo.extend(command.get_subcommands().map(|below| (format!("{words} {}", below.get_name()), below.clone())));
    }
    found.iter_mut().for_each(|(words, _)| *words = words.trim_start().to_owned());
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
    found
}

fn is_of(line: &str, words: &str) -> bool {
    line.strip_prefix(words).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
}

#[test]
fn every_command_and_every_option_has_a_scene_on_a_terminal_and_as_json() {
    let mut without = Vec::new();
    for (words, command) in commands() {
        let scenes: Vec<&Scene> = SCENES.iter().filter(|scene| is_of(scene.line, &words)).collect();
        if scenes.is_empty() {
            without.push(words.clone());
        }
        if scenes.iter().any(|scene| scene.has_json) == WITHOUT_JSON.contains(&words.as_str()) {
            without.push(format!("{words} --json"));
        }
        let options = command.get_opts().filter_map(|option| Some(format!("--{}", option.get_long()?)));
        let is_typed = |option: &str| scenes.iter().any(|scene| scene.line.split(' ').any(|word| word == option));
        without.extend(options.filter(|option| !is_typed(option)).map(|option| format!("{words} {option}")));
    }
    without.retain(|missing| !ENDLESS.contains(&missing.as_str()));
    assert!(without.is_empty(), "no scene shows {without:#?}");
}

/// Holds what was printed against what was printed before.
fn hold(name: &str, text: &str, changed: &mut Vec<String>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots").join(name);
    if std::env::var_os("FIOVANA_TEST_ACCEPT").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        files::write(&path, text);
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    if expected != text {
        let (line, was) = text
            .lines()
            .zip(expected.lines())
            .enumerate()
            .find(|(_, (now, was))| now != was)
            .map_or((text.lines().count().min(expected.lines().count()), ""), |(line, (_, was))| (line, was));
        let from = line.saturating_sub(20);
        let now: Vec<&str> = text.lines().skip(from).take(40).collect();
        changed.push(format!(
            "{name} changed in line {}, which was:\n{was}\nnow, from line {}:\n{}",
            line + 1,
            from + 1,
            now.join("\n")
        ));
    }
}

#[test]
fn every_command_prints_what_it_printed_before() {
    let mut terminal: BTreeMap<String, String> = BTreeMap::new();
    let (mut json, mut wide) = (String::new(), Vec::new());
    let known: BTreeSet<String> =
        commands().iter().map(|(words, _)| words.split(' ').next().unwrap().to_owned()).collect();
    for (scene, played) in playing::all() {
        let Scene { line, situation, .. } = scene;
        let first = line.split(' ').next().unwrap();
        let file = if known.contains(first) { first } else { "usage" };
        let text = terminal.entry(file.to_owned()).or_default();
        let title = format!("fiovana-app {line}    # {}", situation.name);
        let mut last = "";
        for (columns, shown) in &played.shown {
            // What is for another program is the same for any terminal.
            *text += &match last == shown {
                true => format!("$ {title}, {columns} columns: the same\n\n"),
                false => format!("$ {title}, {columns} columns\n{shown}\n"),
            };
            last = shown;
            if *columns == NARROW && !WITHOUT_JSON.contains(&first) {
                wide.extend(wide_lines(shown).map(|found| format!("{title}: {found}")));
            }
        }
        if let Some(document) = &played.json {
            json += &format!("$ fiovana-app {line} --json    # {}\n{document}\n", situation.name);
        }
    }
    let mut changed = Vec::new();
    terminal.iter().for_each(|(name, text)| hold(&format!("terminal/{name}.txt"), text, &mut changed));
    hold("json.txt", &json, &mut changed);
    assert!(changed.is_empty(), "{}", changed.join("\n\n"));
    assert!(wide.is_empty(), "these lines could be broken: {wide:#?}");
}

#[test]
fn every_help_page_is_what_it_was_before() {
    let stage = stages::FRESH.stage();
    let (mut text, mut wide) = (String::new(), Vec::new());
    let pages = commands().into_iter().map(|(words, _)| words).chain(["".into(), "audit".into(), "-h".into()]);
    for words in pages {
        for columns in WIDTHS {
            let line = format!("{words} --help").trim_start().to_owned();
            let shown = on_a_terminal(&stage, &stage.typed(&line), columns, "");
            text += &format!("$ fiovana-app {line}    # {columns} columns\n{shown}\n");
            if columns == NARROW {
                wide.extend(wide_lines(&shown).map(|found| format!("{line}: {found}")));
            }
        }
    }
    let mut changed = Vec::new();
    hold("terminal/help.txt", &text, &mut changed);
    assert!(changed.is_empty(), "{}", changed.join("\n\n"));
    assert!(wide.is_empty(), "these lines could be broken: {wide:#?}");
}

/// The lines that are too long for a narrow terminal, and have a place where they could be broken: between two words of
/// which neither is a command's.
fn wide_lines(shown: &str) -> impl Iterator<Item = String> {
    let bare = |line: &str| {
        line.split("<ESC>[")
            .enumerate()
            .map(|(at, part)| if at == 0 { part } else { part.split_once('m').unwrap().1 })
            .collect::<String>()
    };
    let lines: Vec<String> = shown.lines().map(bare).collect();
    lines.into_iter().filter(|line| {
        let is_typed = ["fiovana-app ", "tar "].iter().any(|program| line.trim_start().starts_with(program));
        // The service's own lines are a log's.
        let is_logged = line.starts_with("found: ");
        // A command in backquotes is one word.
        let quoted = line
            .split('`')
            .enumerate()
            .map(|(at, part)| if at % 2 == 1 { part.replace(' ', "_") } else { part.to_owned() });
        let words = quoted.collect::<String>();
        // Of columns, the last one is broken.
        let last = words.trim_start().rsplit("  ").next().unwrap_or_default();
        line.chars().count() > usize::from(NARROW) && !is_typed && !is_logged && last.contains(' ')
    })
}
