//! The one place that prints.
//!
//! Hazards: a reader that leaves early (`| head`) must not turn finished work into a crash; and a file name from a
//! damaged disk may hold bytes that drive the terminal. A closed pipe is not an error here, and control characters are
//! shown, never sent.

use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::os::fd::AsFd;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::exit::Exit;
use super::failure::Failure;
use super::fold::{fold, sentence};
use super::progress::Bars;
use crate::core::printable::{self, plain, plain_lines};

/// The longest reply to a question that is read.
const MAX_REPLY_BYTES: u64 = 64;

/// What there is to write on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Page {
    /// Whether it shows colours.
    pub colour: bool,
    /// How many columns there are; `None` if there is no terminal to fit.
    pub width: Option<usize>,
}

impl Page {
    /// A stream: colours only on a terminal that can show them, and only if `NO_COLOR` (no-color.org) is not set.
    pub fn of(stream: impl IsTerminal + AsFd) -> Self {
        if !stream.is_terminal() {
            return Self::default();
        }
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_none_or(|terminal| terminal == "dumb");
        let columns = rustix::termios::tcgetwinsize(stream).map_or(0, |size| usize::from(size.ws_col));
        Self { colour: !no_color && !is_dumb, width: (columns > 0).then_some(columns) }
    }
}

/// How text looks.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Whether states are coloured.
    pub colour: bool,
    /// How many columns there are; `None` if there is no terminal to fit.
    pub width: Option<usize>,
    /// The time now, for ages.
    pub now: DateTime<Utc>,
}

impl Look {
    /// What standard output can show.
    pub fn of_stdout(now: DateTime<Utc>) -> Self {
        let Page { colour, width } = Page::of(io::stdout());
        Self { colour, width, now }
    }
}

/// Where results and messages go.
pub struct Output<'a> {
    results: &'a mut dyn Write,
    messages: &'a mut dyn Write,
    look: Look,
    messages_on: Page,
    json: bool,
    closed: bool,
}

impl<'a> Output<'a> {
    /// Prints results as `json` or as text that looks so.
    pub fn new(results: &'a mut dyn Write, messages: &'a mut dyn Write, look: Look, json: bool) -> Self {
        Self { results, messages, look, messages_on: Page::default(), json, closed: false }
    }

    /// The same, with messages written on such a page.
    pub const fn with_messages_on(self, page: Page) -> Self {
        Self { messages_on: page, ..self }
    }

    /// Prints the one document that a command results in: as JSON on one line, or as the text that `render` makes.
    pub fn document<T: Serialize>(
        &mut self,
        document: &T,
        render: impl FnOnce(&T, &Look) -> String,
    ) -> Result<(), Failure> {
        if !self.json {
            let text = render(document, &self.look);
            return self.write(&sentence(&plain_lines(&text, self.look.colour), self.look.width));
        }
        let text = serde_json::to_string(document).map_err(|error| Failure::Output(error.into()))?;
        self.write(&format!("{}\n", printable::json(&text)))
    }

    /// Prints text that is for another program, which is the same with `--json` and without.
    pub fn text(&mut self, text: &str) -> Result<Exit, Failure> {
        self.write(text)?;
        Ok(Exit::Done)
    }

    /// Prints a part of a result as soon as it is there; as JSON it comes with the whole.
    pub fn part<T>(&mut self, part: &T, render: impl FnOnce(&T, &Look) -> String) -> Result<(), Failure> {
        if self.json {
            return Ok(());
        }
        let text = render(part, &self.look);
        self.write(&sentence(&plain_lines(&text, self.look.colour), self.look.width))
    }

    /// Prints what stands instead of a result, plain or in colours: on standard error if something is wrong.
    pub fn instead(&mut self, is_wrong: bool, text: impl FnOnce(bool) -> String) -> Result<(), Failure> {
        if is_wrong {
            let Page { colour, width } = self.messages_on;
            let text = fold(&plain_lines(&text(colour), colour), width, 0);
            // There is nobody left to tell that it could not be told.
            let _ = self.messages.write_all(text.as_bytes());
            return Ok(());
        }
        let Look { colour, width, .. } = self.look;
        self.write(&fold(&plain_lines(&text(colour), colour), width, 0))
    }

    /// Whether results are JSON.
    pub const fn is_json(&self) -> bool {
        self.json
    }

    /// Whether progress is shown: to a person, and never beside a document that a program reads.
    pub fn bars(&self) -> Bars {
        if self.json { Bars::NONE } else { Bars::on_a_terminal() }
    }

    /// The time now, as results are told.
    pub const fn now(&self) -> DateTime<Utc> {
        self.look.now
    }

    /// Asks a person a question on standard error; anything but yes is no.
    pub fn confirm(&mut self, question: &str) -> bool {
        let question = sentence(&format!("{} [y/N]", plain(question)), self.messages_on.width);
        let _ = write!(self.messages, "{question} ").and_then(|()| self.messages.flush());
        let mut answer = String::new();
        let read = io::stdin().lock().take(MAX_REPLY_BYTES).read_line(&mut answer);
        read.is_ok() && matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
    }

    /// Tells the operator something that is no result.
    pub fn message(&mut self, text: &str) {
        // There is nobody left to tell that it could not be told.
        let line = sentence(&format!("fiovana-app: {}", plain(text)), self.messages_on.width);
        let _ = writeln!(self.messages, "{line}");
    }

    /// Tells what is probably a mistake.
    pub fn warnings(&mut self, warnings: &[String]) {
        warnings.iter().for_each(|warning| self.message(&format!("warning: {warning}")));
    }

    /// Tells why a command was not done; as JSON that is also the document that it results in.
    pub fn failure(&mut self, failure: &Failure) {
        if self.json
            && let Err(unprinted) = self.document(&failure.problem(), |_, _| String::new())
        {
            unprinted.lines().iter().for_each(|line| self.message(line));
        }
        failure.lines().iter().for_each(|line| self.message(line));
    }

    /// Whether whoever read the results has left.
    pub const fn is_closed(&self) -> bool {
        self.closed
    }

    fn write(&mut self, text: &str) -> Result<(), Failure> {
        if self.closed {
            return Ok(());
        }
        match self.results.write_all(text.as_bytes()).and_then(|()| self.results.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            written => written.map_err(Failure::Output),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Problem, ProblemKind};
    use crate::cli::samples::look;

    /// Fails as told.
    struct Broken(io::ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_pipe_is_no_error() {
        let (mut pipe, mut messages) = (Broken(io::ErrorKind::BrokenPipe), Vec::new());
        let mut output = Output::new(&mut pipe, &mut messages, look(), true);
        output.document(&1, |_, _| String::new()).unwrap();
        output.document(&2, |_, _| String::new()).unwrap();
    }

    #[test]
    fn a_full_disk_is_an_error() {
        let (mut disk, mut messages) = (Broken(io::ErrorKind::StorageFull), Vec::new());
        let mut output = Output::new(&mut disk, &mut messages, look(), true);
        let failure = output.document(&1, |_, _| String::new()).unwrap_err();
        assert_eq!(failure.exit().code(), 1);
    }

    #[test]
    fn a_problem_is_a_message_and_in_json_also_the_document() {
        let (mut results, mut messages) = (Vec::new(), Vec::new());
        let problem = Problem::new(ProblemKind::NotFound, "there is no backup 2026");
        let mut output = Output::new(&mut results, &mut messages, look(), true);
        output.failure(&problem.clone().into());
        assert_eq!(serde_json::from_slice::<Problem>(&results).unwrap(), problem);
        assert_eq!(messages, b"fiovana-app: there is no backup 2026\n");
        let mut text = Vec::new();
        Output::new(&mut text, &mut messages, look(), false).failure(&problem.into());
        assert!(text.is_empty());
    }

    #[test]
    fn control_characters_never_reach_the_terminal() {
        let hostile = "a\u{1b}[2Jb\u{9b}c\u{202e}d";
        for json in [true, false] {
            let (mut results, mut messages) = (Vec::new(), Vec::new());
            let mut output = Output::new(&mut results, &mut messages, Look { colour: true, ..look() }, json);
            output.document(&hostile, |text, _| format!("\x1b[31m{text}\x1b[0m\n")).unwrap();
            output.message(hostile);
            output.instead(false, |_| hostile.into()).unwrap();
            let shown =
                String::from_utf8([results, messages].concat()).unwrap().replace("\x1b[31m", "").replace("\x1b[0m", "");
            assert!(shown.is_ascii() && !shown.contains('\x1b'), "{shown:?}");
            assert!(
                shown.contains(if json { "a\\u001b[2Jb\\u009bc\\u202ed" } else { "a\\u{1b}[2Jb\\u{9b}c\\u{202e}d" }),
                "{shown}"
            );
        }
    }
}
