//! What the repository and its replicas remember of the audit log: the key of its records, its rotations, what was
//! accepted of its breaks, and where its chain stood.
//!
//! Hazard: whoever may write one place must not be able to have it believed by all. A key is begun only where no place
//! knows of one; what a replica remembers is never overwritten by what contradicts it; and what is given to a replica
//! that others may read is encrypted where backups are.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, Utc};
use zeroize::Zeroizing;

use crate::audit::{
    Acceptance, AuditError, Authenticator, Finding, Head, Kept, Key, KeyDocument, Known, Marks, MaxBySeq, Trust, kept,
    verify_chain,
};
use crate::core::Digest;
use crate::repository::state::Loaded;
use crate::repository::wire::AuditHead;
use crate::repository::{AUDIT_KEY, AUDIT_MARKS, Repository, WriteError};
use crate::storage::{Durability, StorageError};

/// The same place in the chain.
pub fn head_of(head: AuditHead) -> Head {
    Head { seq: head.seq, hash: head.hash }
}

/// The records that are kept in the repository.
pub fn kept_in(repository: &Repository) -> Result<Vec<Kept>, StorageError> {
    let files = repository.kept_audit_records()?;
    Ok(files.into_iter().map(|(path, bytes)| Kept { path: path.into(), bytes }).collect())
}

/// The last record that the repository knows of.
pub fn remembered(repository: &Repository) -> Option<Head> {
    repository.audit_anchors().into_iter().map(head_of).fold(None, |last, head| last.max_by_seq(Some(head)))
}

/// What a place knows of the log.
pub fn known(repository: &Repository) -> Known {
    // The head first: what is marked later is news, and not missed.
    let followed = repository.audit_head().ok().and_then(Loaded::value);
    let anchors = repository.audit_anchors();
    Known {
        followed: followed.map(head_of),
        marks: repository.load_state(AUDIT_MARKS).ok().and_then(Loaded::value),
        key: key(repository).ok().and_then(Loaded::value),
        keys: anchors.iter().filter_map(|head| head.key).collect(),
        anchors: anchors.into_iter().map(head_of).collect(),
    }
}

/// What is remembered of the key, opened if it is encrypted and can be.
pub fn key(repository: &Repository) -> Result<Loaded<KeyDocument>, StorageError> {
    let loaded = repository.load_state::<KeyDocument>(AUDIT_KEY)?;
    let Loaded::Value(mut document) = loaded else { return Ok(loaded) };
    if let Some(sealed) = document.sealed.as_ref().filter(|_| document.key.is_none()) {
        let opened = BASE64.decode(sealed).ok().and_then(|sealed| repository.keys().open(&sealed).ok());
        let opened = opened.map(Zeroizing::new);
        document.key = opened.as_deref().and_then(|hex| std::str::from_utf8(hex).ok()).and_then(Key::from_hex);
    }
    Ok(Loaded::Value(document))
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// What is remembered of it cannot be read or written.
    #[error("use the key of the audit log")]
    Storage(#[from] StorageError),
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] AuditError),
    /// The operating system gave no random numbers.
    #[error("make a key for the audit log")]
    Random(#[from] io::Error),
}

/// The key that replicas remember, where there is no repository to remember one.
pub fn lent_key(replicas: &[Repository]) -> Option<KeyDocument> {
    replicas.iter().find_map(usable_key).map(|(document, _)| document)
}

/// A key that can be used, and where it is remembered.
fn usable_key(place: &Repository) -> Option<(KeyDocument, String)> {
    let document = key(place).ok()?.value()?;
    document.authenticator().is_some().then(|| (document, place.location()))
}

/// Makes sure that there is a key: the one that is remembered, or that a replica remembers, or else a new one. A new one
/// authenticates what follows the log as it is; where no place knows of an earlier one, the log is taken at its word for
/// what came before. Returns it, and what there is to tell of it. For the repository's only writer.
pub fn obtain_key(
    repository: &Repository,
    replicas: impl FnOnce() -> Vec<Repository>,
    log: &Path,
    now: DateTime<Utc>,
) -> Result<(KeyDocument, Option<Finding>), KeyError> {
    let own = key(repository)?.value();
    if let Some(document) =
        own.as_ref().filter(|document| document.authenticator().is_some() && document.sealed.is_none())
    {
        return Ok((document.clone(), None));
    }
    let replicas = replicas();
    let places = || std::iter::once(repository).chain(&replicas);
    if let Some((mut document, from)) = places().find_map(usable_key) {
        (document.sealed, document.sealed_for) = (None, Vec::new());
        mark(repository, Marks::default(), || places().filter_map(|place| known(place).marks).collect())?;
        repository.save_state(AUDIT_KEY, &document, Durability::Durable)?;
        let told = (from != repository.location()).then_some(Finding::KeyRecovered { key: document.id, from });
        return Ok((document, told));
    }
    begin_key(repository, &places().map(known).collect::<Vec<_>>(), log, now)
}

fn begin_key(
    repository: &Repository,
    places: &[Known],
    log: &Path,
    now: DateTime<Utc>,
) -> Result<(KeyDocument, Option<Finding>), KeyError> {
    let anchors: Vec<Head> = places.iter().flat_map(|known| known.anchors.iter().copied()).collect();
    let kept_lines = kept_in(repository)?;
    let report = verify_chain(log, &kept_lines, &Trust::credulous(anchors))?;
    if let Some(found) = report.obstacle {
        // What the log was is not known yet.
        return Err(AuditError::NotAFile { path: log.to_owned(), found }.into());
    }
    let mut lost: BTreeSet<Digest> = places.iter().flat_map(|known| known.keys.iter().copied()).collect();
    lost.extend(places.iter().filter_map(|known| known.key.as_ref()).map(|document| document.id));
    if lost.is_empty() && report.unproven > 0 {
        // The log alone remembers that there was one.
        lost.insert(Digest::from_bytes([0; 32]));
    }
    let after = remembered(repository).max_by_seq(kept::head(&kept_lines)).max_by_seq(report.head);
    let key = Key::generate()?;
    let document = KeyDocument::begin(key, after, lost.iter().copied().collect(), now);
    let said = |key: &String| Acceptance {
        key: key.clone(),
        what: "accepted before records were authenticated".to_owned(),
        by: "the log itself".to_owned(),
        when: now,
        at: after.map_or(0, |after| after.seq),
    };
    let marks = match lost.is_empty() {
        true => Marks {
            rotations: report.said.rotations,
            accepted: report.said.accepted.iter().map(said).collect(),
            pins: report.pins,
        },
        false => Marks::default(),
    };
    mark(repository, marks, || places.iter().filter_map(|known| known.marks.clone()).collect())?;
    repository.save_state(AUDIT_KEY, &document, Durability::Durable)?;
    let is_news = after.is_some() || !document.lost.is_empty();
    let told = Finding::KeyBegun { key: document.id, after, lost: document.lost.clone() };
    Ok((document, is_news.then_some(told)))
}

/// Remembers more of the log, durably. What was remembered and is lost comes from what replicas lend. One at a time.
pub fn mark(repository: &Repository, more: Marks, lent: impl FnOnce() -> Vec<Marks>) -> Result<(), StorageError> {
    let before: Option<Marks> = repository.load_state(AUDIT_MARKS)?.value();
    let mut marks = before.clone().unwrap_or_default();
    if before.is_none() {
        lent().into_iter().for_each(|lent| marks.add(lent));
    }
    marks.add(more);
    if before.as_ref() == Some(&marks) {
        return Ok(());
    }
    repository.save_state(AUDIT_MARKS, &marks, Durability::Durable)
}

/// What the repository remembers of the log at one moment.
pub struct Memory {
    key: Option<KeyDocument>,
    marks: Marks,
    head: Option<AuditHead>,
}

impl Memory {
    /// What `repository` remembers now. `head` is where the chain stood before this was called; nobody may mark anything
    /// meanwhile.
    pub fn of(repository: &Repository, head: Option<AuditHead>) -> Result<Self, StorageError> {
        let marks = repository.load_state(AUDIT_MARKS)?.value().unwrap_or_default();
        Ok(Self { key: key(repository)?.value(), marks, head })
    }

    /// The same, but for where the chain stood.
    #[must_use]
    pub fn without_head(self) -> Self {
        Self { head: None, ..self }
    }

    /// Tells which records are ours.
    pub fn authenticator(&self) -> Authenticator {
        self.key.as_ref().and_then(KeyDocument::authenticator).unwrap_or_default()
    }

    /// Gives it to a replica. What contradicts the replica is not given to it: `has` tells whether the log has a record, or
    /// may have it. Returns whether nothing did. `insists` says that a person has accepted what contradicts it.
    pub fn give(
        &self,
        original: &Repository,
        replica: &Repository,
        insists: bool,
        has: impl FnOnce(Head) -> bool,
    ) -> Result<bool, WriteError> {
        let followed = replica.audit_head()?.value();
        if let Some(own) = &self.key {
            let theirs = key(replica)?.value();
            let other = theirs.as_ref().map(|theirs| theirs.id).filter(|id| *id != own.id);
            let accepted = |other: Digest| self.marks.accepts(&format!("key_lost:{other}"));
            if !insists && other.is_some_and(|other| !accepted(other)) {
                return Ok(false);
            }
            let known: Option<Marks> = replica.load_state(AUDIT_MARKS)?.value().filter(|_| other.is_none());
            let mut given = known.clone().unwrap_or_default();
            given.add(match (&known, followed) {
                (Some(_), Some(followed)) if !insists => self.marks.since(Some(head_of(followed))),
                _ => self.marks.clone(),
            });
            if known.as_ref() != Some(&given) {
                replica.save_state(AUDIT_MARKS, &given, Durability::Durable)?;
            }
            give_key(original, replica, own.clone(), theirs)?;
        }
        let Some(head) = self.head else { return Ok(true) };
        // A place of the chain gives way to a later one only if the chain leads from it to that.
        let leads_on = insists
            || followed.is_none_or(|known| known.hash == head.hash || known.seq < head.seq && has(head_of(known)));
        if leads_on {
            replica.give_audit_head(head)?;
        }
        Ok(leads_on)
    }
}

/// Gives a replica the key: encrypted where backups are, and not where they should be and cannot.
fn give_key(
    original: &Repository,
    replica: &Repository,
    own: KeyDocument,
    theirs: Option<KeyDocument>,
) -> Result<(), StorageError> {
    let keys = original.keys();
    let sealed_for = keys.fingerprints();
    let has_key = |document: &KeyDocument| document.sealed.is_some() || document.key.is_some();
    let is_as_it_should_be = |theirs: &KeyDocument| {
        let is_plain = theirs.sealed.is_none();
        theirs.id == own.id && has_key(theirs) && theirs.sealed_for == sealed_for && is_plain != keys.is_secret()
    };
    if theirs.as_ref().is_some_and(is_as_it_should_be) {
        return Ok(());
    }
    let document = match (keys.recipients(), &own.key) {
        (Some(recipients), Some(key)) => {
            let failed = |error| StorageError::new("write", AUDIT_KEY, error);
            let sealed = recipients.seal(key.to_hex().as_bytes()).map_err(failed)?;
            KeyDocument { key: None, sealed: Some(BASE64.encode(sealed)), sealed_for, ..own }
        }
        (None, _) if keys.is_secret() => return Ok(()),
        _ => own,
    };
    replica.save_state(AUDIT_KEY, &document, Durability::Durable)
}
