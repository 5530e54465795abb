//! The forms that secrets have, whatever stands before them.
//!
//! What the tokens of a vendor begin with is as the rules of gitleaks and detect-secrets, and the vendors' own pages,
//! have it. Every pattern takes time linear in the length of the line, as all of the `regex` crate do.

use std::iter;
use std::ops::Range;
use std::sync::LazyLock;

use regex::{Regex, RegexSet};

/// What the tokens of vendors begin with.
#[rustfmt::skip]
const PREFIXES: [&str; 113] = [
    // Amazon
    "ABIA", "ABSK", "ACCA", "AKIA", "ASIA",
    // GitHub, GitLab, Bitbucket
    "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_",
    "glpat-", "glptt-", "gldt-", "glrt-", "glcbt-", "glft-", "glffct-", "glimt-", "glagent-", "glsoat-", "gloas-",
    "GR1348941", "ATBB", "ATCTT3",
    // Google, Alibaba, Tencent
    "AIza", "ya29.", "GOCSPX-", "1//0", "LTAI", "AKID",
    // Slack
    "xoxa-", "xoxb-", "xoxe-", "xoxe.", "xoxo-", "xoxp-", "xoxr-", "xoxs-", "xapp-", "xwfp-",
    // payments and shops
    "sk_live_", "sk_test_", "sk_prod_", "rk_live_", "rk_test_", "rk_prod_", "whsec_", "sq0atp-", "sq0csp-", "EZAK",
    "EZTK", "shippo_live_", "shippo_test_", "FLWSECK_TEST-", "shpat_", "shpca_", "shppa_", "shpss_",
    // mail
    "SG.", "xkeysib-", "xsmtpsib-",
    // packages and images
    "npm_", "pypi-", "rubygems_", "dckr_pat_", "dckr_oat_", "CLOJARS_", "AKCp", "cmVmd",
    // hosting
    "dop_v1_", "doo_v1_", "dor_v1_", "HRKU-", "fo1_", "fm1_", "fm2_", "nfp_", "sbp_", "sb_secret_", "pscale_tkn_",
    "pscale_pw_", "pscale_oauth_", "tk-us-", "tskey-",
    // models
    "sk-", "hf_", "api_org_", "gsk_", "xai-", "pplx-",
    // infrastructure and observation
    "hvs.", "hvb.", "dp.pt.", "dp.st.", "dapi", "glsa_", "glc_", "NRAK-", "NRII-", "NRJS-", "dt0c01.", "sntrys_",
    "sntryu_", "pul-", "pnu_", "sgp_", "rdme_",
    // work
    "ATATT3", "lin_api_", "ntn_", "figd_", "PMAK-",
];

/// A form: the pattern, whose first group is the secret. Some are only secrets if more is true of what was found and of
/// what follows it.
struct Form {
    pattern: &'static str,
    is_secret: fn(found: &str, behind: &str) -> bool,
}

const fn form(pattern: &'static str) -> Form {
    Form { pattern, is_secret: |_, _| true }
}

const FORMS: [Form; 24] = [
    // the user of a URL
    Form {
        pattern: r#"[A-Za-z][A-Za-z0-9+.\-]*://([^"'<>`]*)@"#,
        // A password may have a slash, so in doubt it has.
        is_secret: |found, _| !found.contains(['/', '?', '#']) || found.contains(':'),
    },
    // user:password@host
    Form {
        pattern: r#"(?:^|[\s"'=,(\[<])[\w.+%\-]+:([^\s"'<>]+)@[A-Za-z0-9\[]"#,
        is_secret: |found, behind| !found.starts_with("//") && !behind.starts_with("@sha256:"),
    },
    // crypt(3), as in shadow and htpasswd
    form(r#"(\$[0-9a-zA-Z\-]{1,15}\$[^\s:"']{8,})"#),
    // a line of htpasswd by DES, or of an old passwd
    form(r"^[#;\s]*[\w.\-]+:([./0-9A-Za-z]{13})(?::.*)?$"),
    // a password of LDAP
    form(r#"(?i)\{(?:s?sha(?:256|384|512)?|s?md5|smd5|crypt|pbkdf2[\w\-]*|argon2|bcrypt|cleartext|plain)\}([^\s"']+)"#),
    // Django
    form(r#"\b((?:pbkdf2|bcrypt|scrypt|argon2)\w*\$[^\s"']+)"#),
    // a line of .pgpass
    form(r"^[#;\s]*(?:\\.|[^:\\\s])+:(?:\d+|\*):(?:\\.|[^:\\\s])+:(?:\\.|[^:\\\s])+:(.+)$"),
    // a user of Redis
    form(r"(?i)^\s*(?:user|acl\s+setuser)\s+\S+\s(?:.*?\s)?([>#<!]\S.*)$"),
    // AUTH of Redis
    form(r"^\s*AUTH\s+(\S.*)$"),
    // SQL
    form(r"(?i)\bidentified\s+(?:with\s+\S+\s+)?(?:by|as)\s+(\S.*)$"),
    // ipsec.secrets
    form(r"(?:^|\s):\s+(?:PSK|RSA|ECDSA|EAP|XAUTH|PKCS8|NTLM|PIN)\s+(\S.*)$"),
    // SNMP
    form(r"(?i)^\s*(?:snmp-server\s+community|r[ow]community6?|createUser\s+\S+)\s+(\S.*)$"),
    // a password on the standard input of a program
    form(r"\becho\s+(\S.*?)\s*\|.*\b(?:chpasswd|passwd|sudo\s+-S|\S*-stdin)\b"),
    // a header
    form(r"(?i)\b(?:bearer|negotiate|apikey)\s+([A-Za-z0-9+/_.~:=\-]{3,})"),
    // Basic authentication
    Form {
        pattern: r"(?i)\bbasic\s+([A-Za-z0-9+/]{4,}={0,2})",
        is_secret: |found, _| !found.bytes().skip(1).all(|byte| byte.is_ascii_lowercase()),
    },
    // a secret key of age
    form(r"(?i)(AGE-(?:SECRET-KEY|PLUGIN)-[0-9A-Z\-]+)"),
    // a JSON web token, or JSON in base64
    form(r"(?:^|[^A-Za-z0-9])(eyJ[\w\-]{5,}(?:\.[\w\-]*)*)"),
    // PEM in base64
    form(r"(LS0tLS1CRUdJTi[A-Za-z0-9+/=]*)"),
    // a bot of Telegram
    form(r"\b(\d{6,12}:AA[\w\-]{20,})"),
    // a webhook
    form(r#"(?i)https?://(?:[^\s/"'<>]*hook[^\s/"'<>]*/|[^\s"'<>]+/[^\s/"'<>]*hook[^\s/"'<>]*/)([^\s"'<>]+)"#),
    // the user of curl and the like
    form(
        r#"(?:^|[\s"'])(?:-u|-U|--user|--proxy-user|--http-user)(?:[\s=]+["']?|["']?,?\s+["']?)?[^\s:%"']+[:%]([^\s"']+)"#,
    ),
    // -p PASSWORD
    Form {
        pattern: r#"(?:^|[\s"'\[,])-p(?:["']?[\s,=]+["']?)([^\s"',]+)"#,
        // A port, several of them, or a directory that is to be made.
        is_secret: |found, _| !found.bytes().all(|byte| byte.is_ascii_digit() || b":./-".contains(&byte)),
    },
    // a password right after the flag of a program
    form(r#"\b(?:mysql\w*|mariadb[\w\-]*|sshpass|7z[ar]?|plink|pscp|xtrabackup|mydumper)\b.*?\s-p([^\s"']+)"#),
    // a password after the flag of a program
    form(
        r#"\b(?:(?:redis|keydb|valkey)-cli\b.*?\s-a|ldap\w+\b.*?\s-w|(?:un)?zip\b.*?\s-P|htpasswd\b.*?\s-\w*b\w*(?:\s+\S+){2})\s+([^\s"']+)"#,
    ),
];

/// All patterns; the first is that of the prefixes.
struct Patterns {
    set: RegexSet,
    each: Vec<Regex>,
}

static PATTERNS: LazyLock<Option<Patterns>> = LazyLock::new(|| {
    let prefixes: Vec<String> = PREFIXES.iter().map(|prefix| regex::escape(prefix)).collect();
    let prefixed = format!(r"(?:^|[^A-Za-z0-9])((?:{})[A-Za-z0-9+/_.~=\-]{{8,}})", prefixes.join("|"));
    let patterns: Vec<&str> = [prefixed.as_str()].into_iter().chain(FORMS.iter().map(|form| form.pattern)).collect();
    let each = patterns.iter().map(|pattern| Regex::new(pattern)).collect::<Result<_, _>>().ok()?;
    Some(Patterns { set: RegexSet::new(patterns).ok()?, each })
});

/// Where the secrets of these forms are in a line.
pub(super) fn spans(line: &str) -> Vec<Range<usize>> {
    // Without a pattern nothing could be told, so nothing is shown.
    let Some(patterns) = PATTERNS.as_ref() else { return iter::once(0..line.len()).collect() };
    let mut spans = Vec::new();
    for at in patterns.set.matches(line) {
        for found in patterns.each[at].captures_iter(line).filter_map(|captures| captures.get(1)) {
            let behind = &line[found.end()..];
            let is_secret = match at.checked_sub(1).and_then(|at| FORMS.get(at)) {
                Some(form) => (form.is_secret)(found.as_str(), behind),
                None => is_token(found.as_str()),
            };
            if is_secret {
                spans.push(found.range());
            }
        }
    }
    spans
}

/// Whether what begins like a token goes on like one, and not like a name.
fn is_token(found: &str) -> bool {
    let prefix = PREFIXES.iter().filter(|prefix| found.starts_with(**prefix)).map(|prefix| prefix.len()).max();
    let tail = &found[prefix.unwrap_or(0)..];
    let is_telling = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_uppercase();
    tail.bytes().any(is_telling) || tail.split(['_', '-', '.', '/']).any(|piece| piece.len() >= 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_is_understood() {
        assert_eq!(PATTERNS.as_ref().map(|patterns| patterns.each.len()), Some(1 + FORMS.len()));
    }

    /// What is shown of a line.
    fn shown(line: &str) -> String {
        let mut spans = spans(line);
        spans.sort_by_key(|span| span.start);
        let mut shown = line.to_owned();
        for span in spans.into_iter().rev().filter(|span| shown_at(line, span)) {
            shown.replace_range(span, "*");
        }
        shown
    }

    fn shown_at(line: &str, span: &Range<usize>) -> bool {
        span.end <= line.len()
    }

    #[test]
    fn tokens_of_vendors_are_told_by_what_they_begin_with() {
        for prefix in PREFIXES {
            for line in [format!("x = {prefix}0hunter2hunter2"), format!("\"{prefix}Ahunterhunter\",")] {
                assert!(!shown(&line).contains("hunter"), "{line}: {}", shown(&line));
            }
        }
        for line in ["npm_config_registry", "task-sk-overview", "hf_home_directory", "pypi-server-name", "AIzaX"] {
            assert_eq!(shown(line), line);
        }
    }

    #[test]
    fn what_is_around_a_secret_is_shown() {
        for (line, expected) in [
            ("url = postgres://u:hunter2@db/app", "url = postgres://*@db/app"),
            ("postgres://u:correct horse@db/app", "postgres://*@db/app"),
            ("postgres://u:a/b#c@db", "postgres://*@db"),
            ("https://abc@example.org/x", "https://*@example.org/x"),
            ("proxy: bob:hunter2@proxy.example.org:3128", "proxy: bob:*@proxy.example.org:3128"),
            ("dsn bob:p@ss/word@tcp(db:3306)/x", "dsn bob:*@tcp(db:3306)/x"),
            ("bob:$6$salt$hunter2hunter2:19000:0:99999:7:::", "bob:*:19000:0:99999:7:::"),
            ("bob:$apr1$abcdefgh$hunter2hunter2", "bob:*"),
            ("bob:{SHA}hunter2=", "bob:{SHA}*"),
            ("bob:rqXexS6ZhobKA", "bob:*"),
            ("db.example.org:5432:*:bob:hunter2", "db.example.org:5432:*:bob:*"),
            ("user bob on >hunter2 ~* +@all", "user bob on *"),
            ("Authorization: Bearer hunter2", "Authorization: Bearer *"),
            ("curl -u bob:hunter2 https://example.org", "curl -u bob:* https://example.org"),
            ("[\"mysql\", \"-p\", \"hunter2\"]", "[\"mysql\", \"-p\", \"*\"]"),
            ("mysql -u bob -phunter2 app", "mysql -u bob -p* app"),
            ("redis-cli -h cache -a hunter2 ping", "redis-cli -h cache -a * ping"),
            ("url: https://hooks.slack.com/services/T0/B0/hunter2", "url: https://hooks.slack.com/*"),
            ("https://discord.com/api/webhooks/1/hunter2", "https://discord.com/api/webhooks/*"),
            ("a AGE-SECRET-KEY-1HUNTER2 b", "a * b"),
        ] {
            assert_eq!(shown(line), expected);
        }
    }

    #[test]
    fn what_only_resembles_a_secret_is_shown() {
        for line in [
            "see https://example.org/a@b",
            "image: registry.example.org/app:1.2@sha256:abc",
            "10:15:00 bob@example.org",
            "git@github.com:fiovana/app.git",
            "ssh -p 2222 host",
            "docker run -p 8080:80 app",
            "root:x:0:0:root:/root:/bin/bash",
            "the basic settings of bearers",
            "listen 127.0.0.1:8080;",
            "price: $5 and $6",
        ] {
            assert_eq!(shown(line), line);
        }
    }
}
