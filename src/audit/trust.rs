//! What is believed of the log, and on whose word.
//!
//! Hazard: a log that says of itself that it was rotated, or that its breaks were accepted, is believed by nobody who
//! fears that it was rewritten. Such statements count where they are kept with the repository, and only as far as no
//! replica contradicts them: whoever rewrites log and repository has to have reached the replicas, too.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::key::{Authenticator, Key};
use super::record::Head;
use crate::core::Digest;

/// The most of each kind of statement that is remembered. The oldest give way: what they covered is told again.
pub const MAX_MARKS: usize = 1000;

/// What is remembered of the key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeyDocument {
    /// Names the key.
    pub id: Digest,
    /// The key itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Key>,
    /// Instead of it, where others may read this: an age file in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<String>,
    /// The fingerprints of those who can open that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sealed_for: Vec<String>,
    /// The last record before the first that this key authenticates: the log up to it was taken as it was found.
    pub after: Option<Head>,
    /// Keys that authenticated records before, and are lost.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<Digest>,
    /// When it was begun.
    pub begun: DateTime<Utc>,
}

impl KeyDocument {
    /// A key that authenticates what follows `after`.
    pub fn begin(key: Key, after: Option<Head>, lost: Vec<Digest>, begun: DateTime<Utc>) -> Self {
        Self { id: key.id(), key: Some(key), sealed: None, sealed_for: Vec::new(), after, lost, begun }
    }

    /// What it authenticates; `None` where the key is not in it.
    pub fn authenticator(&self) -> Option<Authenticator> {
        let key = self.key.as_ref().filter(|key| key.id() == self.id)?;
        Some(Authenticator::new(key.clone(), self.after))
    }
}

/// A break of the chain that a person accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acceptance {
    /// What tells the break from any other.
    pub key: String,
    /// What it was.
    pub what: String,
    /// Who accepted it.
    pub by: String,
    /// When.
    pub when: DateTime<Utc>,
    /// The number of the record that tells of it.
    pub at: u64,
}

/// What the log says of itself, where whoever writes only the log does not reach.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marks {
    /// The records behind which a file began after a rotation, oldest first.
    pub rotations: Vec<Head>,
    /// The breaks that were accepted, oldest first.
    pub accepted: Vec<Acceptance>,
    /// Records before accepted breaks: what is in front of a gap is held by nothing that is behind it.
    pub pins: Vec<Head>,
}

impl Marks {
    /// Whether a file may begin behind this record.
    pub fn has_rotation(&self, after: Head) -> bool {
        self.rotations.contains(&after)
    }

    /// Whether this break is accepted.
    pub fn accepts(&self, key: &str) -> bool {
        self.accepted.iter().any(|accepted| accepted.key == key)
    }

    /// Remembers more; what is there already is remembered once.
    pub fn add(&mut self, more: Self) {
        let Self { rotations, accepted, pins } = more;
        for (list, more) in [(&mut self.rotations, rotations), (&mut self.pins, pins)] {
            list.extend(more);
            list.sort_by_key(|head| (head.seq, *head.hash.as_bytes()));
            list.dedup();
            list.drain(..list.len().saturating_sub(MAX_MARKS));
        }
        for accepted in accepted {
            self.accepted.retain(|known| known.key != accepted.key);
            self.accepted.push(accepted);
        }
        self.accepted.drain(..self.accepted.len().saturating_sub(MAX_MARKS));
    }

    /// What is news to whoever remembers the log up to `head`: what was marked since.
    pub fn since(&self, head: Option<Head>) -> Self {
        let is_new = |at: u64| head.is_none_or(|head| at > head.seq);
        Self {
            rotations: self.rotations.iter().filter(|after| is_new(first_behind(**after))).copied().collect(),
            accepted: self.accepted.iter().filter(|accepted| is_new(accepted.at)).cloned().collect(),
            pins: self.pins.clone(),
        }
    }
}

/// The number of the first record behind a rotation.
const fn first_behind(after: Head) -> u64 {
    after.seq.saturating_add(1)
}

/// What one place knows of the log.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The key.
    pub key: Option<KeyDocument>,
    /// What is marked.
    pub marks: Option<Marks>,
    /// How far it had followed the log when that was marked: whatever was to be marked up to here is.
    pub followed: Option<Head>,
    /// Records that were there once.
    pub anchors: Vec<Head>,
    /// The keys that authenticated them.
    pub keys: BTreeSet<Digest>,
}

impl Known {
    /// Whether it knows that there was a key.
    pub fn knows_a_key(&self) -> bool {
        self.key.is_some() || !self.keys.is_empty()
    }

    /// Whether this should know of what the repository that has `key` marked at the record `at`, and does not.
    fn denies(&self, key: &KeyDocument, at: u64, has: impl Fn(&Marks) -> bool) -> bool {
        let same_key = self.key.as_ref().is_some_and(|own| own.id == key.id);
        let was_told = self.followed.is_some_and(|head| head.seq >= at);
        same_key && was_told && self.marks.as_ref().is_some_and(|marks| !has(marks))
    }
}

/// What a chain is held against.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    pub(super) authenticator: Authenticator,
    pub(super) anchors: Vec<Head>,
    /// The records behind which a file may begin, by number.
    pub(super) rotations: BTreeMap<u64, Head>,
    /// The keys of accepted breaks.
    pub(super) accepted: BTreeSet<String>,
    /// Keys that authenticated records once and are not the one at hand.
    pub(super) other_keys: BTreeSet<Digest>,
    /// Whether the log is taken at its word: nothing else is known of it.
    pub(super) credulous: bool,
}

impl Trust {
    /// What follows from what the repository and its replicas know.
    ///
    /// The repository's word counts where it has a key; else that of the first replica that has one; else, if none has,
    /// the log's own.
    pub fn of(own: Known, replicas: &[Known]) -> Self {
        let everybody = || std::iter::once(&own).chain(replicas);
        let has_key = |known: &&Known| known.key.as_ref().is_some_and(|key| key.authenticator().is_some());
        let mut anchors: Vec<Head> = everybody().flat_map(|known| known.anchors.iter().copied()).collect();
        let Some(main) = everybody().find(has_key) else { return Self::credulous(anchors) };
        let Some(key) = main.key.as_ref() else { return Self::credulous(anchors) };
        let same = everybody().filter_map(|known| known.key.as_ref()).filter(|other| other.id == key.id);
        // A key has one beginning: of several that are told the first is the strictest.
        let after = same.map(|same| same.after).min_by_key(|after| after.map_or(0, |after| after.seq)).flatten();
        anchors.extend(after);
        let lenders = if main.marks.is_some() { &[] } else { replicas };
        let mut marks = main.marks.clone().unwrap_or_default();
        lenders.iter().filter_map(|known| known.marks.clone()).for_each(|lent| marks.add(lent));
        marks.rotations.retain(|after| {
            !replicas.iter().any(|known| known.denies(key, first_behind(*after), |marks| marks.has_rotation(*after)))
        });
        marks.accepted.retain(|accepted| {
            !replicas.iter().any(|known| known.denies(key, accepted.at, |marks| marks.accepts(&accepted.key)))
        });
        anchors.extend(&marks.pins);
        let known_keys = everybody().flat_map(|known| known.keys.iter().chain(known.key.as_ref().map(|key| &key.id)));
        let other_keys = known_keys.chain(&key.lost).filter(|other| **other != key.id).copied().collect();
        let authenticator = key.authenticator().map(|own| own.begun_after(after)).unwrap_or_default();
        Self {
            authenticator,
            anchors,
            rotations: marks.rotations.into_iter().map(|after| (after.seq, after)).collect(),
            accepted: marks.accepted.into_iter().map(|accepted| accepted.key).collect(),
            other_keys,
            credulous: false,
        }
    }

    /// The log's own word, held against these anchors.
    pub fn credulous(anchors: Vec<Head>) -> Self {
        Self { anchors, credulous: true, ..Self::default() }
    }

    /// Tells which records are ours.
    pub const fn authenticator(&self) -> &Authenticator {
        &self.authenticator
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(seq: u64) -> Head {
        Head { seq, hash: Digest::of(&seq.to_be_bytes()) }
    }

    fn acceptance(key: &str, at: u64) -> Acceptance {
        let (key, what, by) = (key.to_owned(), String::new(), String::new());
        Acceptance { key, what, by, when: DateTime::UNIX_EPOCH, at }
    }

    fn marks(rotations: &[u64], accepted: &[(&str, u64)]) -> Marks {
        Marks {
            rotations: rotations.iter().map(|seq| head(*seq)).collect(),
            accepted: accepted.iter().map(|(key, at)| acceptance(key, *at)).collect(),
            pins: vec![],
        }
    }

    fn document(key: &Key, after: Option<u64>) -> KeyDocument {
        KeyDocument::begin(key.clone(), after.map(head), vec![], DateTime::UNIX_EPOCH)
    }

    fn known(key: &KeyDocument, marks: Marks, followed: u64) -> Known {
        Known { key: Some(key.clone()), marks: Some(marks), followed: Some(head(followed)), ..Known::default() }
    }

    #[test]
    fn what_a_replica_should_know_and_does_not_is_not_believed() {
        let key = document(&Key::generate().unwrap(), None);
        let own = known(&key, marks(&[10, 20], &[("old", 12), ("new", 25)]), 30);
        let trust = |replica: Known| {
            let trust = Trust::of(own.clone(), &[replica]);
            (trust.rotations.into_keys().collect::<Vec<_>>(), trust.accepted.into_iter().collect::<Vec<_>>())
        };
        let everything = (vec![10, 20], vec!["new".to_owned(), "old".to_owned()]);
        assert_eq!(trust(known(&key, marks(&[10], &[("old", 12)]), 20)), everything, "it is only behind");
        assert_eq!(trust(Known::default()), everything, "it knows nothing");
        let behind = Known { marks: None, ..known(&key, Marks::default(), 30) };
        assert_eq!(trust(behind), everything, "it never knew");
        let (rotations, accepted) = trust(known(&key, marks(&[20], &[("new", 25)]), 30));
        assert_eq!((rotations, accepted), (vec![20], vec!["new".to_owned()]));
        let forged = trust(known(&key, marks(&[10, 20, 29], &[("old", 12), ("new", 25), ("other", 13)]), 30));
        assert_eq!(forged, everything, "what only a replica says is not believed either");
    }

    #[test]
    fn where_the_repository_knows_nothing_a_replica_is_believed() {
        let key = document(&Key::generate().unwrap(), Some(3));
        let trust = Trust::of(Known::default(), &[Known::default(), known(&key, marks(&[10], &[("old", 12)]), 20)]);
        assert_eq!(trust.authenticator.key().map(Key::id), Some(key.id));
        assert_eq!((trust.rotations.len(), trust.accepted.len(), trust.credulous), (1, 1, false));
        let lost_marks = Known { marks: None, ..known(&key, Marks::default(), 30) };
        let trust = Trust::of(lost_marks, &[known(&key, marks(&[10], &[("old", 12)]), 20)]);
        assert_eq!((trust.rotations.len(), trust.accepted.len()), (1, 1));
        assert!(Trust::of(Known::default(), &[]).credulous);
    }

    #[test]
    fn a_second_beginning_and_a_second_key_do_not_pass() {
        let (one, other) = (Key::generate().unwrap(), Key::generate().unwrap());
        let first = known(&document(&one, Some(3)), Marks::default(), 20);
        let later = known(&document(&one, Some(15)), Marks::default(), 20);
        let trust = Trust::of(later, std::slice::from_ref(&first));
        assert_eq!(trust.authenticator.after(), Some(head(3)));
        let second = known(&document(&other, Some(15)), Marks::default(), 20);
        let trust = Trust::of(second.clone(), &[first]);
        assert_eq!(trust.other_keys.into_iter().collect::<Vec<_>>(), [one.id()]);
        let manifests = Known { keys: [one.id(), other.id()].into(), ..second };
        assert_eq!(Trust::of(manifests, &[]).other_keys.into_iter().collect::<Vec<_>>(), [one.id()]);
    }

    #[test]
    fn marks_are_bounded_and_kept_once() {
        let mut all = Marks::default();
        for seq in 0..MAX_MARKS as u64 + 10 {
            all.add(marks(&[seq, seq], &[(&seq.to_string(), seq), ("same", seq)]));
        }
        assert_eq!((all.rotations.len(), all.accepted.len()), (MAX_MARKS, MAX_MARKS));
        assert!(!all.has_rotation(head(0)) && all.has_rotation(head(MAX_MARKS as u64)));
        assert!(all.accepts("same") && !all.accepts("0"));
        assert_eq!(all.since(Some(head(MAX_MARKS as u64 + 5))).rotations.len(), 5);
    }
}
