//! What is logged, and how.
//!
//! Hazard: a log that says too little hides the fault, and one in the wrong format is lost on who reads it. The words
//! for both are closed lists.

use std::fmt;
use std::str::FromStr;

use super::origin::Shown;

/// What is logged, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoggingSettings {
    /// The least important messages that are logged.
    pub level: LogLevel,
    /// How log lines look.
    pub format: LogFormat,
}

/// Why a word is not in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {0}")]
pub struct WordSyntax(&'static str);

macro_rules! words {
    ($(#[$about:meta])* $name:ident: $list:literal { $($(#[$doc:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$doc])* $variant),* }

        impl $name {
            /// The word used in settings.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }
        }

        impl FromStr for $name {
            type Err = WordSyntax;

            fn from_str(text: &str) -> Result<Self, WordSyntax> {
                match text { $($word => Ok(Self::$variant),)* _ => Err(WordSyntax($list)) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl Shown for $name {
            fn shown(&self) -> String {
                self.to_string()
            }
        }
    };
}

words! {
    /// How important a message is.
    LogLevel: "error, warn, info, debug or trace" {
        /// Something failed.
        Error = "error",
        /// Something needs attention.
        Warn = "warn",
        /// What is done.
        Info = "info",
        /// How it is done.
        Debug = "debug",
        /// Every step.
        Trace = "trace",
    }
}

words! {
    /// How log lines look.
    LogFormat: "human or json" {
        /// For people.
        Human = "human",
        /// One JSON document a line.
        Json = "json",
    }
}
