//! Recognising what must not be shown.
//!
//! Hazard: a diff that is pasted into a ticket with a password in it. What looks secret by its name, or by itself, is
//! hidden together with everything below it; better too much than too little.

use std::collections::HashMap;

/// Words of a name that make its value a secret, as whole words.
const SECRET_WORDS: [&str; 27] = [
    "auth",
    "authorization",
    "bearer",
    "cert",
    "certificate",
    "cookie",
    "cred",
    "creds",
    "cvv",
    "dsn",
    "jwt",
    "key",
    "keys",
    "license",
    "mnemonic",
    "nonce",
    "oauth",
    "otp",
    "pass",
    "pin",
    "pins",
    "private",
    "pwd",
    "salt",
    "seed",
    "session",
    "signature",
];

/// Parts of a name that make its value a secret wherever they stand: `dbpassword`, `accesstokens`.
const SECRET_PARTS: [&str; 13] = [
    "apikey",
    "authoriz",
    "connectionstring",
    "credential",
    "passphrase",
    "passwd",
    "passwort",
    "password",
    "privatekey",
    "secret",
    "sshkey",
    "token",
    "webhook",
];

/// How values begin that are secret under any name.
const SECRET_BEGINNINGS: [&str; 10] =
    ["-----BEGIN", "AKIA", "Basic ", "Bearer ", "eyJ", "ghp_", "github_pat_", "glpat-", "sk-", "xox"];

/// Whether a key, or any other name, says that its value is a secret.
pub fn is_secret_name(name: &str) -> bool {
    let words = words(name);
    let joined = words.concat();
    words.iter().any(|word| SECRET_WORDS.contains(&word.as_str()))
        || SECRET_PARTS.iter().any(|part| joined.contains(part))
}

/// Whether a text is a secret whatever its name, or contains one.
pub fn is_secret_value(value: &str) -> bool {
    let begins = |piece: &str| SECRET_BEGINNINGS.iter().any(|beginning| piece.starts_with(beginning));
    begins(value)
        || value.split([' ', '=', '"', '\'', ',', ';', '(']).any(begins)
        || has_user_info(value)
        || assignment(value).is_some_and(|(name, assigned)| is_secret_name(name) && !assigned.trim().is_empty())
}

/// Whether a text has a URL with a user in it. A password may have a slash, so in doubt it has.
fn has_user_info(text: &str) -> bool {
    let Some((_, rest)) = text.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    authority.contains('@') || rest.split_once('@').is_some_and(|(before, _)| before.contains(':'))
}

/// Whether the next argument of a command is a secret: `--token`.
pub fn is_secret_flag(argument: &str) -> bool {
    argument.starts_with('-') && is_secret_name(argument)
}

/// The lower-case words of a name: `dbPassword`, `DB_PASSWORD` and `db.password` are `db` and `password`.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut previous = ' ';
    for c in name.chars() {
        let begins = (c.is_uppercase() && previous.is_lowercase()) || !c.is_alphanumeric();
        if begins {
            words.push(String::new());
        }
        if c.is_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.extend(c.to_lowercase());
        }
        previous = c;
    }
    words.retain(|word| !word.is_empty());
    words
}

/// The last name of a line before something is assigned to a secret-looking one, and what is: `a = b`, `"a": b`,
/// `--a=b`. If several are, the first that looks secret.
fn assignment(line: &str) -> Option<(&str, &str)> {
    let mut first = None;
    for (at, _) in line.match_indices([':', '=']) {
        let name = line[..at].trim_end().trim_end_matches(['"', '\'']);
        let begins = name
            .rfind(|c: char| !(c.is_alphanumeric() || "_-.".contains(c)))
            .map_or(0, |before| before + name[before..].chars().next().map_or(0, char::len_utf8));
        let found = (&name[begins..], &line[at + 1..]);
        if is_secret_name(found.0) {
            return Some(found);
        }
        first = first.or(Some(found));
    }
    first
}

/// Hides secrets in texts that are to be compared: equal ones stay equal, different ones different.
#[derive(Debug, Default)]
pub struct Redactor {
    seen: HashMap<String, usize>,
}

impl Redactor {
    /// What is shown in the place of a secret: a number that tells it from others, and nothing else of it.
    pub fn hide(&mut self, secret: &str) -> String {
        let next = self.seen.len() + 1;
        format!("(redacted #{})", self.seen.entry(secret.to_owned()).or_insert(next))
    }

    /// The text, line by line: what follows a secret-looking name is hidden to the end of its line, and, where its value
    /// goes on below, as far as the lines are indented more; PEM blocks are hidden whole.
    pub fn text(&mut self, text: &str) -> String {
        let mut shown = String::with_capacity(text.len());
        let mut below: Option<usize> = None;
        let mut in_pem = false;
        for line in text.lines() {
            let indent = line.len() - line.trim_start().len();
            in_pem |= line.contains("-----BEGIN");
            if in_pem || below.is_some_and(|of| indent > of && !line.trim().is_empty()) {
                in_pem &= !line.contains("-----END");
                shown += &line[..indent];
                shown += &self.hide(line.trim());
            } else {
                below = None;
                shown += &self.line(line, &mut below, indent);
            }
            shown.push('\n');
        }
        shown
    }

    fn line(&mut self, line: &str, below: &mut Option<usize>, indent: usize) -> String {
        let has = |text: &str, what: fn(&str) -> bool| text.split_whitespace().any(what);
        if has(line, is_secret_flag) {
            return self.hide(line.trim());
        }
        let Some((_, value)) = assignment(line).filter(|(name, _)| is_secret_name(name)) else {
            return if is_secret_value(line) { self.hide(line.trim()) } else { line.to_owned() };
        };
        let kept = &line[..line.len() - value.len()];
        let value = value.trim();
        if is_secret_value(kept) {
            return self.hide(line.trim());
        }
        if matches!(value, "" | "{" | "[" | "|" | ">" | "|-" | ">-") {
            *below = Some(indent);
            return line.to_owned();
        }
        format!("{kept} {}", self.hide(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_look_secret_are_told_in_every_spelling() {
        for name in [
            "password",
            "db_password",
            "dbPassword",
            "DB-PASSWORD",
            "userPasswords",
            "passwd",
            "passphrase",
            "secret",
            "clientSecret",
            "token",
            "access_token",
            "accessTokens",
            "refreshtoken",
            "key",
            "api_key",
            "apiKey",
            "APIKEY",
            "keys",
            "encryption_key",
            "credential",
            "aws_credentials",
            "creds",
            "auth",
            "oauth",
            "basic_auth",
            "authorization",
            "private",
            "private_key",
            "pin",
            "user.pin",
            "PIN",
            "session",
            "cookie",
            "jwt",
            "salt",
            "webhook_url",
            "connectionString",
            "signature",
            "certificate",
            "otp",
            "pwd",
        ] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in ["name", "level", "pinned", "shipping", "keyboard", "author", "timeout", "max_size", "", "é", "ssl"]
        {
            assert!(!is_secret_name(name), "{name}");
        }
    }

    #[test]
    fn values_that_are_secret_by_themselves_are_told() {
        for value in [
            "postgres://user:hunter2@db/app",
            "https://abc@example.org",
            "postgres://u:correct horse@db",
            "postgres://u:a/b#c@db",
            "x=ghp_0123456789",
            "-----BEGIN PRIVATE KEY-----",
            "eyJhbGciOiJIUzI1NiJ9.e30.x",
            "Bearer abc",
            "ghp_0123456789",
            "--password=hunter2",
            "PASSWORD=hunter2",
        ] {
            assert!(is_secret_value(value), "{value}");
        }
        for value in ["https://example.org/a@b", "plain", "a=b", "10:15:00", ""] {
            assert!(!is_secret_value(value), "{value}");
        }
    }

    #[test]
    fn equal_secrets_stay_equal_and_different_ones_different() {
        let mut redactor = Redactor::default();
        let shown = ["one", "two", "one"].map(|secret| redactor.hide(secret));
        assert_eq!(shown, ["(redacted #1)", "(redacted #2)", "(redacted #1)"]);
    }

    #[test]
    fn a_text_shows_no_secret_on_the_line_or_below_it() {
        let text = "level = 3\npassword = hunter2\n\"apiKey\": \"hunter3\", \"x\": 1\ntokens:\n  - hunter4\n  - hunter5\nname: x\n\
                    {\"a\": 1, \"secret\": \"hunter6\"}\n\
                    {\"u\": \"amqp://x:hunter11@h\", \"token\": 1}\nurl = postgres://u:hunter7@h/\n-----BEGIN KEY-----\nhunter8\n\
                    -----END KEY-----\nlast\nrun --token hunter9 --token=hunter10\n";
        let shown = Redactor::default().text(text);
        for number in 2..=11 {
            assert!(!shown.contains(&format!("hunter{number}")), "{number}: {shown}");
        }
        for kept in ["level = 3\n", "name: x\n", "\nlast\n", "password = (redacted #1)\n", "tokens:\n  (redacted"] {
            assert!(shown.contains(kept), "{kept}: {shown}");
        }
    }
}
