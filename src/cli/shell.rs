//! What a shell and `man` want to know of the command line.
//!
//! Hazard: a page or a completion that was written by hand tells of last year's options. Both are made from the command
//! line itself.

use std::io::{self, Write};

use clap::{Command, CommandFactory};
use clap_complete::generate;
use clap_mangen::Man;

use super::arguments::{Arguments, CompletedShell};

const NAME: &str = "fiovana-app";

/// What this shell is to read, to complete commands.
pub fn completions(shell: CompletedShell) -> String {
    let mut script = Vec::new();
    generate(clap_complete::Shell::from(shell), &mut Arguments::command(), NAME, &mut script);
    // clap_complete names a program with a hyphen in two ways, and then finds none of its commands.
    String::from_utf8_lossy(&script).replace("fiovana__subcmd__app", "fiovana__app")
}

/// The manual page: the program and each of its commands, one after the other.
pub fn manual() -> io::Result<String> {
    let program = Arguments::command();
    let mut page = Vec::new();
    let man = Man::new(program.clone()).manual("Commands").source(program.render_version().trim());
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    verbatim(&mut page, &program)?;
    for (words, command) in commands(&program, NAME) {
        writeln!(page, ".SH {}", words.to_uppercase())?;
        let man = Man::new(command.clone().bin_name(&words));
        let mut section = Vec::new();
        man.render_synopsis_section(&mut section)?;
        man.render_description_section(&mut section)?;
        if command.get_arguments().next().is_some() {
            man.render_options_section(&mut section)?;
        }
        page.extend(String::from_utf8_lossy(&section).replace(".SH ", ".SS ").into_bytes());
        verbatim(&mut page, &command)?;
    }
    let page = String::from_utf8_lossy(&page);
    // Not every troff takes more than ASCII.
    Ok(page.chars().map(escaped).collect())
}

fn escaped(character: char) -> String {
    if character.is_ascii() { character.to_string() } else { format!("\\[u{:04X}]", u32::from(character)) }
}

/// The commands that do something, each by all its words.
fn commands(of: &Command, words: &str) -> Vec<(String, Command)> {
    let subcommands = of.get_subcommands().map(|command| (format!("{words} {}", command.get_name()), command));
    subcommands
        .flat_map(|(words, command)| match command.has_subcommands() {
            true => commands(command, &words),
            false => vec![(words, command.clone())],
        })
        .collect()
}

/// Examples keep their lines.
fn verbatim(page: &mut Vec<u8>, command: &Command) -> io::Result<()> {
    let Some(text) = command.get_after_help() else { return Ok(()) };
    writeln!(page, ".PP\n.nf")?;
    for line in text.to_string().lines() {
        // A line that begins with a dot or a quote would be a request.
        writeln!(page, "\\&{}", line.replace('\\', "\\e").replace('-', "\\-"))?;
    }
    writeln!(page, ".fi")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[test]
    fn the_page_has_every_command_and_its_examples_line_by_line() {
        let page = manual().unwrap();
        for words in ["BACKUP", "AUDIT TAIL", "RECOVERY EXIT", "RESTORE"] {
            assert!(page.contains(&format!("\n.SH FIOVANA-APP {words}\n")), "{words}");
        }
        assert!(page.contains("\n\\&  fiovana\\-app restore security latest\n"), "{page}");
        assert!(page.contains("\n.TH fiovana-app 1") && page.is_ascii(), "{page}");
    }

    #[test]
    fn every_command_shows_an_example_of_itself_that_is_understood() {
        for (words, mut command) in commands(&Arguments::command(), NAME) {
            let help = command.render_long_help().to_string();
            let (_, examples) = help.split_once("Example").unwrap_or_else(|| panic!("{words} has no example"));
            let examples: Vec<&str> = examples.lines().filter_map(|line| Some(&line[line.find(&words)?..])).collect();
            assert!(!examples.is_empty(), "{words}: {help}");
            for example in examples {
                // What stands far to the right tells what it does.
                let typed = example.split("   ").next().unwrap_or_default();
                let typed = typed.split(['>', '|']).next().unwrap_or_default().replace("'2h ago'", "2h");
                let parsed = Arguments::try_parse_from(typed.split_whitespace());
                assert!(parsed.is_ok(), "{example}: {}", parsed.unwrap_err());
            }
        }
    }
}
