//! The tokens that open the API, in a file that only its owner can read.
//!
//! Hazard: a token that can be guessed, timed out of the comparison, or read by another user is none. Tokens are 256
//! random bits from the operating system, compared as hashes and in constant time, and a file that others can read is
//! refused, not quietly used.
//!
//! ```text
//! # right  name      token
//! operate  cli       6f1d…
//! read     monitor   92ab…
//! ```

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::rand::{GetRandomFlags, getrandom};
use subtle::ConstantTimeEq;

use crate::core::Digest;
use crate::private_file::{PrivateFileError, open_private};

/// The most that a file of tokens may measure, and the shortest token that is worth its name.
const MAX_FILE_BYTES: u64 = 64 * 1024;
const MIN_TOKEN_BYTES: usize = 32;

const HEAD: &str = "\
# Tokens for the API of fiovana-app, one to a line: right, name, token. `read` may look at everything but the content of
# files; `operate` may do everything. Names appear in the audit log. Changes hold from the next request on.
";

/// What a token may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// To look: lists, status, metrics; never the content of a file.
    Read,
    /// For everything.
    Operate,
}

impl Right {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
        }
    }
}

/// Whose token was presented.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bearer {
    /// The name in the file.
    pub name: String,
    /// What it may do.
    pub right: Right,
}

/// A file of tokens. It is read each time a token is presented, so that one that was taken out is worthless at once.
#[derive(Clone, Debug)]
pub struct Tokens {
    path: PathBuf,
}

impl Tokens {
    /// The file at `path`.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the file, with a fresh token of each right, unless there is one; and reads it, so that one that cannot be
    /// used is found out now.
    pub fn prepare(&self) -> Result<(), PrivateFileError> {
        let text = format!("{HEAD}operate  cli      {}\nread     monitor  {}\n", self.fresh()?, self.fresh()?);
        let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.path);
        match created {
            Ok(mut file) => {
                let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
                if let Err(error) = written {
                    // Half a file would be refused at the next start.
                    let _ = std::fs::remove_file(&self.path);
                    return Err(self.failed("write", error));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(self.failed("create", error)),
        }
        self.read().map(drop)
    }

    /// Whose `token` this is; `None` if it is nobody's.
    pub fn bearer(&self, token: &str) -> Result<Option<Bearer>, PrivateFileError> {
        let presented = Digest::of(token.as_bytes());
        let entries = self.read()?;
        // Every entry is looked at, so that the time tells nothing of which was nearest.
        let mut found = None;
        for (bearer, known) in entries {
            if Digest::of(known.as_bytes()).as_bytes().ct_eq(presented.as_bytes()).into() {
                found = Some(bearer);
            }
        }
        Ok(found)
    }

    /// A token that may do everything, for commands of the file's owner; `None` for anybody else, and if
    /// there is no such token.
    pub fn own(&self) -> Result<Option<String>, PrivateFileError> {
        match self.read() {
            Ok(entries) => {
                let mut operate = entries.into_iter().filter(|(bearer, _)| bearer.right == Right::Operate);
                Ok(operate.next().map(|(_, token)| token))
            }
            Err(PrivateFileError::Io { source, .. })
                if matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The token in a file that was made for a client: the last word of its first line, so that a line of the service's
    /// own file will do.
    pub fn given(&self) -> Result<String, PrivateFileError> {
        let text = self.text()?;
        let (line, words) = lines(&text).next().unwrap_or((1, ""));
        match words.split_whitespace().last() {
            Some(token) if token.len() >= MIN_TOKEN_BYTES && token.bytes().all(|byte| byte.is_ascii_graphic()) => {
                Ok(token.to_owned())
            }
            _ => Err(PrivateFileError::Line {
                path: self.path.clone(),
                line,
                fault: "there is no token of 32 characters or more",
            }),
        }
    }

    fn read(&self) -> Result<Vec<(Bearer, String)>, PrivateFileError> {
        let text = self.text()?;
        lines(&text)
            .map(|(line, words)| {
                entry(words).map_err(|fault| PrivateFileError::Line { path: self.path.clone(), line, fault })
            })
            .collect()
    }

    fn text(&self) -> Result<String, PrivateFileError> {
        let file = open_private(&self.path)?;
        let mut text = String::new();
        file.take(MAX_FILE_BYTES).read_to_string(&mut text).map_err(|error| self.failed("read", error))?;
        Ok(text)
    }

    fn fresh(&self) -> Result<String, PrivateFileError> {
        let mut bytes = [0u8; 32];
        // At most 256 bytes are always given whole, getrandom(2) says.
        getrandom(&mut bytes, GetRandomFlags::empty())
            .map_err(|error| self.failed("get random bytes for", error.into()))?;
        Ok(base16ct::lower::encode_string(&bytes))
    }

    fn failed(&self, action: &'static str, source: io::Error) -> PrivateFileError {
        PrivateFileError::Io { action, path: self.path.clone(), source }
    }
}

/// The lines that say something, each with its number, from 1.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let numbered = text.lines().enumerate().map(|(index, line)| (index + 1, line));
    numbered.filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'))
}

fn entry(line: &str) -> Result<(Bearer, String), &'static str> {
    let mut words = line.split_whitespace();
    let (Some(right), Some(name), Some(token), None) = (words.next(), words.next(), words.next(), words.next()) else {
        return Err("a line is a right, a name and a token");
    };
    let right = [Right::Read, Right::Operate]
        .into_iter()
        .find(|known| known.as_str() == right)
        .ok_or("the right is `read` or `operate`")?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.len() > 64 || !name.bytes().all(plain) {
        return Err("a name is at most 64 letters, digits and -_.");
    }
    if token.len() < MIN_TOKEN_BYTES {
        return Err("a token has at least 32 characters: `openssl rand -hex 32` makes a good one");
    }
    Ok((Bearer { name: name.to_owned(), right }, token.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn tokens() -> (tempfile::TempDir, Tokens) {
        let directory = tempfile::tempdir().unwrap();
        let tokens = Tokens::at(directory.path().join("api-tokens"));
        (directory, tokens)
    }

    fn with(text: &str) -> (tempfile::TempDir, Tokens) {
        let (directory, tokens) = tokens();
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&tokens.path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        (directory, tokens)
    }

    #[test]
    fn a_first_start_makes_two_tokens_that_only_the_owner_can_read() {
        let (_directory, tokens) = tokens();
        assert_eq!(tokens.own().unwrap(), None);
        tokens.prepare().unwrap();
        let mode = std::fs::metadata(&tokens.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        let own = tokens.own().unwrap().unwrap();
        assert_eq!(own.len(), 64);
        assert_eq!(tokens.bearer(&own).unwrap(), Some(Bearer { name: "cli".into(), right: Right::Operate }));
        let rights: Vec<Right> = tokens.read().unwrap().iter().map(|(bearer, _)| bearer.right).collect();
        assert_eq!(rights, [Right::Operate, Right::Read]);
    }

    #[test]
    fn a_file_that_is_there_is_never_written_over() {
        let (_directory, tokens) = with("read watcher 00000000000000000000000000000000\n");
        tokens.prepare().unwrap();
        assert_eq!(tokens.own().unwrap(), None);
        let watcher = Bearer { name: "watcher".into(), right: Right::Read };
        assert_eq!(tokens.bearer(&"0".repeat(32)).unwrap(), Some(watcher));
    }

    #[test]
    fn what_is_nearly_a_token_is_nobodys() {
        let (_directory, tokens) = tokens();
        tokens.prepare().unwrap();
        let own = tokens.own().unwrap().unwrap();
        for near in ["", &own[1..], &own[..63], &format!("{own}0"), &own.to_uppercase().replace('0', "O"), "cli"] {
            assert_eq!(tokens.bearer(near).unwrap(), None, "{near:?}");
        }
    }

    #[test]
    fn a_token_that_is_taken_out_is_worthless_at_once() {
        let (_directory, tokens) = tokens();
        tokens.prepare().unwrap();
        let own = tokens.own().unwrap().unwrap();
        OpenOptions::new().write(true).truncate(true).open(&tokens.path).unwrap();
        assert_eq!(tokens.bearer(&own).unwrap(), None);
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let (_directory, tokens) = tokens();
        tokens.prepare().unwrap();
        for mode in [0o640, 0o604, 0o660] {
            std::fs::set_permissions(&tokens.path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert!(matches!(tokens.bearer("x"), Err(PrivateFileError::TooOpen { .. })), "{mode:o}");
        }
    }

    #[test]
    fn a_client_may_have_a_token_alone_or_a_line_of_the_service() {
        let token = "0123456789abcdef0123456789abcdef";
        for text in [format!("{token}\n"), format!("# mine\n\noperate cli {token}\nread other {}\n", "1".repeat(32))] {
            let (_directory, tokens) = with(&text);
            assert_eq!(tokens.given().unwrap(), token);
        }
        for (text, at) in [("", 1), ("# nothing\n", 1), ("\nshort-s3cr3t\n", 2)] {
            let (_directory, tokens) = with(text);
            let error = tokens.given().unwrap_err();
            assert!(matches!(error, PrivateFileError::Line { line, .. } if line == at), "{text:?}: {error}");
            assert!(!error.to_string().contains("s3cr3t"), "{error}");
        }
    }

    #[test]
    fn a_bad_line_is_named_and_not_shown() {
        let secret = "s3cr3t-s3cr3t-s3cr3t-s3cr3t-s3cr3t";
        for text in [
            "operate cli\n".to_owned(),
            format!("write cli {secret}\n"),
            format!("operate c/li {secret}\n"),
            format!("operate cli {secret} more\n"),
            "operate cli short-s3cr3t\n".to_owned(),
        ] {
            let (_directory, tokens) = with(&format!("# fine\n\n{text}"));
            let error = tokens.bearer("x").unwrap_err();
            assert!(matches!(error, PrivateFileError::Line { line: 3, .. }), "{text:?}");
            assert!(!error.to_string().contains("s3cr3t"), "{error}");
        }
    }
}
