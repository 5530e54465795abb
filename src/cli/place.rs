//! Where a command works: on this machine, or at a service elsewhere.
//!
//! Hazard: a command that was meant for another machine, and quietly works on this one. Once an address is given, by
//! argument or variable, nothing is done here any more: what needs the files of a machine says so.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use super::arguments::Global;
use super::failure::Failure;
use super::output::Output;
use super::remote::{PATIENCE, Remote};
use super::url::ServiceUrl;
use crate::api::{Problem, ProblemKind};
use crate::daemon::owner;
use crate::settings::{LogFormat, Settings, Sources};
use crate::tokens::Tokens;

/// Whether a command only looks, or does something with the repository.
const LOOKS: bool = true;
const DOES: bool = false;

const URL: &str = "FIOVANA_URL";
const TOKEN_FILE: &str = "FIOVANA_TOKEN_FILE";

/// Where a command works.
#[derive(Clone)]
pub enum Place {
    /// On this machine, with these settings.
    Here(Box<Settings>),
    /// At this service, which answers.
    There(Remote),
}

/// What was said about where and with what.
pub struct Setup {
    sources: Sources,
    log_format: Option<LogFormat>,
    url: Option<ServiceUrl>,
    /// Whether the address is an argument, not a variable of the environment.
    is_argument: bool,
    token_file: Option<PathBuf>,
}

impl Setup {
    /// What the arguments, and where they are silent the environment, say.
    pub fn of(global: Global) -> Result<Self, Failure> {
        let Global { config, json: _, url, token_file, log_format } = global;
        let sources = Sources {
            config_argument: config,
            environment: std::env::vars_os().collect(),
            working_directory: std::env::current_dir().map_err(Failure::WorkingDirectory)?,
        };
        let said = |name: &str| sources.environment.get(OsStr::new(name)).filter(|value| !value.is_empty());
        let is_argument = url.is_some();
        let url = match (url, said(URL)) {
            (None, Some(value)) => Some(address(value)?),
            (url, _) => url,
        };
        if url.is_none() && token_file.is_some() {
            return Err(usage(
                "--token-file is for the service at --url: give both, or none for the one on this machine",
            ));
        }
        let is_socket = url.as_ref().is_some_and(|url| url.socket().is_some());
        if is_socket && token_file.is_some() {
            return Err(usage("--token-file is for an address: at its socket the service asks the system who you are"));
        }
        let token_file = token_file.or_else(|| said(TOKEN_FILE).filter(|_| !is_socket).map(PathBuf::from));
        Ok(Self { sources, log_format, url, is_argument, token_file })
    }

    /// What the service itself runs with. A variable of the environment may be for other commands.
    pub fn service(self) -> Result<(Sources, Option<LogFormat>), Failure> {
        if self.is_argument {
            return Err(usage("without a command the service is run, here: give a command to ask the one at --url"));
        }
        Ok((self.sources, self.log_format))
    }

    /// What settings of this machine are made from, for a command that needs them.
    fn sources_here(&self, command: &str) -> Result<&Sources, Failure> {
        match &self.url {
            None => Ok(&self.sources),
            Some(url) => Err(usage(format!(
                "{command} needs the files of the machine, and {url} is asked through its API: run it on that machine, \
                 without --url and {URL}"
            ))),
        }
    }

    /// The same, where root has become whoever could have written the settings.
    pub fn sources_as_author(&self, command: &str) -> Result<&Sources, Failure> {
        let sources = self.sources_here(command)?;
        owner::become_author(sources)?;
        Ok(sources)
    }

    /// Settings of this machine, for a command that needs its files.
    pub fn here(&self, command: &str, output: &mut Output<'_>) -> Result<Settings, Failure> {
        self.sources_here(command)?;
        self.load(output, DOES)
    }

    /// The same for one that only looks, and works at the worst of times, too.
    pub fn here_to_look(&self, command: &str, output: &mut Output<'_>) -> Result<Settings, Failure> {
        self.sources_here(command)?;
        self.make_out(output)
    }

    /// Where a command works that does something.
    pub fn place(&self, output: &mut Output<'_>) -> Result<Place, Failure> {
        self.there_or(output, |setup, output| setup.load(output, DOES))
    }

    /// Where one works that only looks.
    pub fn place_to_look(&self, output: &mut Output<'_>) -> Result<Place, Failure> {
        self.there_or(output, Self::make_out)
    }

    /// Where one works that must: the settings themselves may be among what is broken or gone.
    pub fn place_whatever_happened(&self, output: &mut Output<'_>) -> Result<Place, Failure> {
        self.there_or(output, |setup, output| setup.salvage(output, DOES))
    }

    fn there_or(
        &self,
        output: &mut Output<'_>,
        settings: impl FnOnce(&Self, &mut Output<'_>) -> Result<Settings, Failure>,
    ) -> Result<Place, Failure> {
        let Some(url) = &self.url else { return Ok(Place::Here(Box::new(settings(self, output)?))) };
        let token = self.token_file.as_ref().map(|path| Tokens::at(path).given()).transpose();
        let token = token.map_err(|error| Failure::Remote(error.into()))?;
        if token.is_some() && url.is_exposed() {
            output.message(&format!("warning: the token is sent to {url} in the clear: https keeps it secret"));
        }
        Ok(Place::There(Remote::at(url, PATIENCE)?.with_token(token)))
    }

    fn load(&self, output: &mut Output<'_>, looks: bool) -> Result<Settings, Failure> {
        let mut settings = owner::settings(&self.sources, looks)?;
        settings.logging.format = self.log_format.unwrap_or(settings.logging.format);
        output.warnings(&settings.warnings);
        Ok(settings)
    }

    fn salvage(&self, output: &mut Output<'_>, looks: bool) -> Result<Settings, Failure> {
        let salvaged = owner::salvage(&self.sources, looks)?;
        salvaged.findings().iter().for_each(|finding| output.message(&format!("found: {finding}")));
        Ok(salvaged.settings)
    }

    fn make_out(&self, output: &mut Output<'_>) -> Result<Settings, Failure> {
        match self.load(output, LOOKS) {
            Err(Failure::Settings(errors)) if !errors.is_of_a_stranger() => self.salvage(output, LOOKS),
            loaded => loaded,
        }
    }
}

fn address(value: &OsString) -> Result<ServiceUrl, Failure> {
    let why = match value.to_str().map(str::parse::<ServiceUrl>) {
        Some(Ok(url)) => return Ok(url),
        Some(Err(why)) => why,
        None => "it is not UTF-8",
    };
    Err(usage(format!("variable {URL}: {why}")))
}

fn usage(detail: impl Into<String>) -> Failure {
    Problem::new(ProblemKind::BadRequest, detail).into()
}
