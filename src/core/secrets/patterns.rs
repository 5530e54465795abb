//! The patterns of names and values, common to many formats.

use std::sync::LazyLock;

use regex::Regex;

/// What names and values look like.
pub(super) struct Patterns {
    /// A name.
    pub name: Regex,
    /// What stands between a name and its value: quotes and brackets that end, then signs; or spaces.
    pub separator: Regex,
    /// How a line begins that assigns something.
    pub assignment: Regex,
    /// A value that says nothing.
    pub harmless: Regex,
    /// A value of YAML that is below it.
    pub block: Regex,
    /// A document of the shell that is below it.
    pub heredoc: Regex,
    /// A value in quotes, of one kind or another.
    pub quoted: Regex,
    /// The name of what stands beside it.
    pub named: Regex,
}

/// Those that are used; `None` if one of them makes no sense.
pub(super) static PATTERNS: LazyLock<Option<Patterns>> = LazyLock::new(|| Patterns::new().ok());

impl Patterns {
    fn new() -> Result<Self, regex::Error> {
        Ok(Self {
            name: Regex::new(r"[\p{L}_][\p{L}\p{N}_.\-]*")?,
            separator: Regex::new(
                r#"(?i)^(?:\\*["'`)\]}]|&quot;|&\#34;|%22)*(?:\s*(?:[：＝]|[:=?+]*=[=>~]*|:+|->|%3[ad])|\(|["'`]\s*,|\s*\||(\s))\s*"#,
            )?,
            assignment: Regex::new(r#"^[\s\-\[{(<]*["']?[\p{L}_][\p{L}\p{N}_.\-]*["']?(?:\s*[=>]|:(?:\s|$))"#)?,
            harmless: Regex::new(
                r#"(?i)^(?:["']?(?:true|false|yes|no|on|off|null|nil|none|enabled|disabled)?["']?|\$\{[a-z_][a-z0-9_.]*\}|[\s\[\]{}(),;:<>/|\-]*)[,;]?\s*[\])}]*[,;]?$"#,
            )?,
            block: Regex::new(r"^(?:[!&]\S*\s+)*[|>][+\-0-9]*\s*(?:#.*)?$")?,
            heredoc: Regex::new(r#"<<[\-~]?\s*\\?["']?(\w+)"#)?,
            quoted: Regex::new(r#"^(?:[A-Za-z]{1,2}|[$@])?("""|'''|["'`])"#)?,
            named: Regex::new(r#"^\\?["']?([\p{L}\p{N}_.\- ]+)"#)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_is_understood() {
        assert!(PATTERNS.is_some());
    }
}
