//! What the words of the core look like in documents.
//!
//! Hazard: a client that is told only "a string" sends anything. Each word has the pattern that its parser has.

use std::borrow::Cow;

use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use super::{JobId, ProblemKind};
use crate::core::{BackupId, BackupRef, Digest, ReplicaName, SetName};

/// The forms of the words, as regular expressions.
pub mod patterns {
    /// A set's name, and a replica's.
    pub const NAME: &str = "^[a-z][a-z0-9_-]{0,31}$";
    /// A backup's id.
    pub const ID: &str = "^[0-9]{8}T[0-9]{6}Z-([0-9a-f]{8}|[0-9a-f]{32})$";
    /// A file's path: a text without controls.
    pub const FILE: &str = r"^[^\u0000-\u001f\u007f-\u009f]+$";
    /// A job's name.
    pub const JOB: &str = "^[0-9a-f]{16}$";
    /// What a backup is referred to by: the beginning of an id.
    pub const REFERENCE: &str = "^([0-9]{1,8}|[0-9]{8}T[0-9]{0,6}|[0-9]{8}T[0-9]{6}Z(-[0-9a-f]{0,32})?)$";
    /// The same where the set is known.
    pub const RESTORABLE: &str = "^([0-9]{1,8}|[0-9]{8}T[0-9]{0,6}|[0-9]{8}T[0-9]{6}Z(-[0-9a-f]{0,32})?|latest)$";
    /// The same, or the place of a lost backup.
    pub const FORGETTABLE: &str =
        "^([0-9]{1,8}|[0-9]{8}T[0-9]{0,6}|[0-9]{8}T[0-9]{6}Z(-[0-9a-f]{0,32})?|[a-z][a-z0-9_-]{0,31}:[0-9]{1,18})$";
}

fn word(pattern: &str, example: &str, description: &str) -> RefOr<Schema> {
    let text = ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern));
    text.description(Some(description)).examples([example]).into()
}

macro_rules! words {
    ($($type:ident: $pattern:expr, $example:literal, $description:literal;)+) => {
        $(impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                word($pattern, $example, $description)
            }
        }

        impl ToSchema for $type {})+
    };
}

words! {
    BackupId: patterns::ID, "20261123T101500Z-3f9c2ab1",
        "A backup's id: the UTC second it was made in, and the beginning of its manifest's SHA-256.";
    Digest: "^[0-9a-f]{64}$", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "A SHA-256, in hexadecimal.";
    SetName: patterns::NAME, "security", "A backup set's name.";
    BackupRef: patterns::REFERENCE, "20261123T101500Z-3f9c2ab1", "A backup's id, or a unique beginning of it.";
    JobId: patterns::JOB, "6f1d92ab00c4e377", "A job's name.";
    ReplicaName: patterns::NAME, "local", "A replica's name.";
}

impl PartialSchema for ProblemKind {
    fn schema() -> RefOr<Schema> {
        let kinds: Vec<String> =
            Self::ALL.iter().map(|kind| format!("- `{}`: {}: {}.", kind.urn(), kind.title(), kind.advice())).collect();
        let description = format!("What went wrong, and what to do:\n\n{}", kinds.join("\n"));
        let urns = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(Self::ALL.iter().map(|k| k.urn())));
        urns.description(Some(description)).into()
    }
}

impl ToSchema for ProblemKind {
    fn name() -> Cow<'static, str> {
        "ProblemType".into()
    }
}
