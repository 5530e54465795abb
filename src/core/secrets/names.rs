//! Names that say that a value is a secret.

/// The longest text that is taken for a name.
const MAX_NAME_BYTES: usize = 100;

/// Words of a name that make its value a secret.
const WORDS: [&str; 43] = [
    "auth",
    "authorization",
    "bearer",
    "cert",
    "certificate",
    "cookie",
    "cred",
    "cvc",
    "cvv",
    "dsn",
    "hmac",
    "jwt",
    "kennwort",
    "key",
    "keypair",
    "keystore",
    "keytab",
    "license",
    "mnemonic",
    "nonce",
    "oauth",
    "otp",
    "pass",
    "passcode",
    "passwd",
    "pat",
    "pem",
    "pfx",
    "pin",
    "private",
    "psk",
    "pw",
    "pwd",
    "salt",
    "secret",
    "seed",
    "senha",
    "session",
    "sig",
    "signature",
    "token",
    "totp",
    "webhook",
];

/// Parts of a name that make its value a secret wherever they stand: `dbpassword`, `accesstokens`.
const PARTS: [&str; 21] = [
    "accountkey",
    "apikey",
    "authoriz",
    "backupcode",
    "connectionstring",
    "contraseña",
    "credential",
    "identifiedby",
    "motdepasse",
    "passphrase",
    "passwd",
    "passwort",
    "password",
    "privatekey",
    "recoverycode",
    "secret",
    "sharedkey",
    "sshkey",
    "token",
    "webhook",
    "wpakey",
];

/// How a word ends that makes its value a secret: `requirepass`, `masterauth`, `bindpw`.
const ENDINGS: [&str; 6] = ["auth", "cert", "key", "pass", "pw", "pwd"];

/// Words that end so and say nothing.
const HARMLESS: [&str; 12] = [
    "bypass",
    "compass",
    "concert",
    "donkey",
    "encompass",
    "hockey",
    "hotkey",
    "jockey",
    "monkey",
    "surpass",
    "turkey",
    "whiskey",
];

/// Words that are names of secrets where a line begins with one, and a space and a value follow.
const DIRECTIVES: [&str; 9] = ["cred", "jwt", "key", "mnemonic", "otp", "pass", "pin", "psk", "seed"];

/// Words that a name ends with whose value is itself the name of a secret: `{"name": "DB_PASSWORD", "value": …}`.
const NAMING: [&str; 18] = [
    "argument",
    "attribute",
    "env",
    "field",
    "header",
    "id",
    "key",
    "kind",
    "label",
    "name",
    "option",
    "param",
    "parameter",
    "property",
    "setting",
    "type",
    "var",
    "variable",
];

/// What the names of files that hold keys end with.
const SECRET_EXTENSIONS: [&str; 8] = ["jks", "kdbx", "key", "keystore", "p12", "pem", "pfx", "ppk"];

/// Parts of the names of files that hold secrets.
const SECRET_FILES: [&str; 7] = ["id_dsa", "id_ecdsa", "id_ed25519", "id_rsa", "netrc", "pgpass", "shadow"];

/// Words of names whose values are names of content, not secrets: a hash that stands there is shown.
const DIGESTS: [&str; 29] = [
    "base",
    "blob",
    "build",
    "checksum",
    "commit",
    "correlation",
    "digest",
    "etag",
    "fingerprint",
    "guid",
    "hash",
    "head",
    "id",
    "index",
    "integrity",
    "md",
    "object",
    "oid",
    "parent",
    "prev",
    "previous",
    "recipient",
    "ref",
    "rev",
    "revision",
    "sha",
    "tree",
    "uuid",
    "version",
];

/// Whether a key, or any other name, says that its value is a secret.
pub fn is_secret_name(name: &str) -> bool {
    let words = words(name);
    has_secret_part(&words) || words.iter().any(|word| is_one_of(word, &WORDS) || ends_secretly(word))
}

/// Whether a name says so even in running text, where `key` and `session` are words like others.
pub(super) fn is_plainly_secret_name(name: &str) -> bool {
    let words = words(name);
    has_secret_part(&words) || (is_secret_name(name) && (words.len() > 1 || !is_one_of(name, &WORDS)))
}

/// Whether a line that begins with this word goes on with a secret.
pub(super) fn is_directive(name: &str) -> bool {
    is_one_of(&name.to_lowercase(), &DIRECTIVES)
}

/// Whether a file of this name holds secrets and little else: `secrets/db_password`, `server.key`, `.pgpass`.
pub fn is_secret_file(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let (stem, extension) = name.trim_start_matches('.').rsplit_once('.').unwrap_or((name, ""));
    let is_kept_apart = path.rsplit('/').skip(1).any(|directory| matches!(directory, "secrets" | "private" | ".ssh"));
    let ends_with_a_secret = |name: &str| {
        words(name)
            .last()
            .is_some_and(|word| !word.starts_with("licen") && (is_one_of(word, &WORDS) || ends_secretly(word)))
    };
    is_kept_apart
        || is_one_of(&extension.to_lowercase(), &SECRET_EXTENSIONS)
        || SECRET_FILES.iter().any(|known| name.contains(known))
        || has_secret_part(&words(name))
        || ends_with_a_secret(stem)
}

/// Whether this argument of a command says that the next one is a secret: `--token`, or `-p` before what is no port.
pub fn takes_a_secret(flag: &str, argument: &str) -> bool {
    let is_port = || argument.bytes().all(|byte| byte.is_ascii_digit() || b":./-".contains(&byte));
    flag.starts_with('-') && (is_secret_name(flag) || (flag == "-p" && !is_port()))
}

/// Whether this member of an object is the name of a secret, which another member holds: `{"name": "DB_PASSWORD"}`.
pub fn names_a_secret(member: &str, value: Option<&str>) -> bool {
    is_naming(member) && value.is_some_and(|value| is_a_name(value) && is_secret_name(value))
}

/// Whether a value can be the name of something: it is short, and no sentence.
fn is_a_name(value: &str) -> bool {
    value.len() <= MAX_NAME_BYTES && value.split_whitespace().count() <= 2
}

/// Whether the value of this name is the name of what stands beside it.
pub(super) fn is_naming(name: &str) -> bool {
    words(name).last().is_some_and(|word| is_one_of(word, &NAMING))
}

/// Whether the value of this name is a hash or an identifier that may be seen.
pub(super) fn is_digest_name(name: &str) -> bool {
    words(name).iter().any(|word| is_one_of(word, &DIGESTS))
}

fn has_secret_part(words: &[String]) -> bool {
    let joined = words.concat();
    PARTS.iter().any(|part| joined.contains(part))
}

fn ends_secretly(word: &str) -> bool {
    let word = word.strip_suffix('s').filter(|stem| !stem.ends_with('s')).unwrap_or(word);
    ENDINGS.iter().any(|ending| word.ends_with(ending)) && !HARMLESS.contains(&word)
}

/// Whether a word, or what it is the plural of, is in the list.
fn is_one_of(word: &str, list: &[&str]) -> bool {
    list.contains(&word) || word.strip_suffix('s').is_some_and(|stem| list.contains(&stem))
}

/// The lower-case words of a name, without numbers: `dbPassword2`, `DB_PASSWORD` and `db.password` are `db` and
/// `password`.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut previous = ' ';
    for c in name.chars() {
        let begins = (c.is_uppercase() && previous.is_lowercase()) || !c.is_alphabetic();
        if begins {
            words.push(String::new());
        }
        if c.is_alphabetic()
            && let Some(word) = words.last_mut()
        {
            word.extend(c.to_lowercase());
        }
        previous = c;
    }
    words.retain(|word| !word.is_empty());
    words
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
            "DBPassword",
            "userPasswords",
            "password2",
            "passwd",
            "passphrase",
            "rootpw",
            "dbpass",
            "requirepass",
            "masterauth",
            "secret",
            "clientSecret",
            "token",
            "access_token",
            "accessTokens",
            "refreshtoken",
            "key",
            "key1",
            "api_key",
            "apiKey",
            "APIKEY",
            "keys",
            "SSLKey",
            "encryption_key",
            "ssl_certificate_key",
            "AccountKey",
            "SharedAccessSignature",
            "sig",
            "credential",
            "aws_credentials",
            "creds",
            "auth",
            "auth_basic",
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
        for name in [
            "name",
            "level",
            "pinned",
            "shipping",
            "keyboard",
            "author",
            "timeout",
            "max_size",
            "",
            "é",
            "ssl",
            "compass",
            "monkeys",
            "bypass",
            "process",
            "passenger",
            "pattern",
            "signal",
        ] {
            assert!(!is_secret_name(name), "{name}");
        }
    }

    #[test]
    fn files_of_secrets_are_told_by_their_names() {
        for path in [
            "secrets/db.txt",
            "db_password",
            "api-tokens",
            "ppp/chap-secrets",
            "server.key",
            "a/tls.pem",
            ".pgpass",
            ".netrc",
            "etc/shadow",
            ".ssh/config",
            "id_ed25519",
            "sasl_passwd",
            "credentials.json",
            "auth.json",
            "api_key",
        ] {
            assert!(is_secret_file(path), "{path}");
        }
        for path in ["security_config.json", "key_bindings.json", "LICENSE", "app.toml", "passenger.conf", "a.b/c", ""]
        {
            assert!(!is_secret_file(path), "{path}");
        }
    }

    #[test]
    fn in_running_text_a_plain_word_is_no_name() {
        for name in ["password", "DB_PASS", "X-Api-Key", "requirepass", "AccountKey", "token"] {
            assert!(is_plainly_secret_name(name), "{name}");
        }
        for name in ["key", "session", "auth", "license", "name"] {
            assert!(!is_plainly_secret_name(name), "{name}");
        }
    }

    #[test]
    fn a_name_that_names_another_is_told_by_its_last_word() {
        for name in ["name", "Key", "paramName", "env_var", "prop.1.name"] {
            assert!(is_naming(name), "{name}");
        }
        for name in ["value", "names_of", "username", ""] {
            assert!(!is_naming(name), "{name}");
        }
    }
}
