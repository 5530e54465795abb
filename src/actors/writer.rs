//! Who this service is to a repository: its writer.
//!
//! Hazard: a name that describes, such as that of the host, is the same in a clone and another after a move. The writer is a
//! random id that is kept with the repository.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::core::ReplicaName;
use crate::core::claim::{self, Claim, Claimant, Verdict};
use crate::core::timeline::Elsewhere;
use crate::pipeline::history;
use crate::repository::lock::host_name;
use crate::repository::timelines::Writer;
use crate::repository::{Repository, WriteError, WriterDocument, backup_time};
use crate::storage::{Durability, StorageError};

const WRITER: &str = "writer";

/// What is remembered of the writer. Lost, it is a new one, which goes on where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct WriterMemory {
    writer: String,
    /// The words of its last claims on replicas.
    #[serde(default)]
    claims: BTreeMap<ReplicaName, String>,
    /// The replicas that somebody said are this writer's, whatever stands there, and that were not claimed since.
    #[serde(default)]
    awarded: BTreeSet<ReplicaName>,
    /// Whose claim was come upon on the replicas that are in dispute.
    #[serde(default)]
    rivals: BTreeMap<ReplicaName, WriterDocument>,
}

/// The writer.
#[derive(Debug)]
pub struct Identity(Mutex<Kept>);

#[derive(Debug)]
struct Kept {
    memory: WriterMemory,
    is_saved: bool,
    /// The replicas that this process claimed.
    fresh: BTreeSet<ReplicaName>,
    /// What a replica knows on which a clone of this writer was found, until a new timeline began.
    cloned: Option<Elsewhere>,
}

/// Why a replica is not written to.
#[derive(Debug, thiserror::Error)]
pub enum Unclaimed {
    /// It is another's.
    #[error(
        "another copy of this repository writes there, {place} on {host}, since {since} UTC: a replica has one writer, and \
             nothing is written or deleted there from here. Take it from the settings of one of the two; on the one that keeps \
             it run `fiovana-app timeline accept --replica {replica}`"
    )]
    Another {
        /// The replica.
        replica: ReplicaName,
        /// The other's host.
        host: String,
        /// Where its repository is.
        place: String,
        /// Since when.
        since: String,
    },
    /// It cannot be claimed.
    #[error("claim it")]
    Write(#[from] WriteError),
}

impl From<StorageError> for Unclaimed {
    fn from(error: StorageError) -> Self {
        Self::Write(error.into())
    }
}

impl Identity {
    /// As the repository remembers it; a new one, if it does not.
    pub fn recall(repository: &Repository) -> Self {
        let known = repository.load_state::<WriterMemory>(WRITER).ok().and_then(|loaded| loaded.value());
        let is_saved = known.is_some();
        let memory = known.unwrap_or_else(|| WriterMemory {
            writer: new_word(),
            claims: BTreeMap::new(),
            awarded: BTreeSet::new(),
            rivals: BTreeMap::new(),
        });
        Self(Mutex::new(Kept { memory, is_saved, fresh: BTreeSet::new(), cloned: None }))
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The writer, which is remembered durably from now on.
    pub fn writer(&self, repository: &Repository) -> Result<Writer, StorageError> {
        let mut kept = self.kept();
        if !kept.is_saved {
            kept.save(repository)?;
        }
        Ok(Writer { id: kept.memory.writer.clone(), host: host_name() })
    }

    /// Whether a replica may be taken for this writer's, as far as its newest claim tells. Nothing is written.
    pub fn may_hold(&self, original: &Repository, name: &ReplicaName, replica: &Repository) -> bool {
        let kept = self.kept();
        let told = replica.told_writer().ok().flatten().map(claim_of);
        let verdict = claim::judge(&kept.claimant(original, name, replica), told.as_ref());
        kept.memory.awarded.contains(name) || matches!(verdict, Verdict::Keep | Verdict::Claim)
    }

    /// Makes sure that a replica is this writer's and no other's. A replica of format 1 says nothing of that yet.
    pub fn hold(
        &self,
        original: &Repository,
        name: &ReplicaName,
        replica: &Repository,
        now: DateTime<Utc>,
    ) -> Result<(), Unclaimed> {
        if !replica.has_rows() {
            return Ok(());
        }
        let mut kept = self.kept();
        let told = replica.told_writer()?;
        let verdict = claim::judge(&kept.claimant(original, name, replica), told.clone().map(claim_of).as_ref());
        let is_awarded = kept.memory.awarded.contains(name);
        match verdict {
            Verdict::Keep => return Ok(()),
            Verdict::Claim => {}
            Verdict::Dispute | Verdict::Refuse if is_awarded => {}
            Verdict::Dispute => {
                // Another one from now on: what it goes by is the other's, too.
                kept.memory.writer = new_word();
                kept.cloned = Some(history::known_to(replica));
                kept.memory.rivals.extend(told.clone().map(|told| (name.clone(), told)));
                kept.claim(original, name, replica, now, true)?;
                return Err(another(name, told));
            }
            Verdict::Refuse => {
                // One's own word there says no more than that there is another.
                let is_own = |told: &WriterDocument| kept.memory.claims.get(name) == Some(&told.claim);
                let rival = || kept.memory.rivals.get(name).cloned();
                let other = if told.as_ref().is_some_and(is_own) { rival() } else { told };
                return Err(another(name, other));
            }
        }
        kept.claim(original, name, replica, now, false)?;
        kept.fresh.insert(name.clone());

        Ok(())
    }

    /// Notes that somebody says that a replica is this writer's, whatever stands there.
    pub fn award(&self, original: &Repository, name: &ReplicaName) -> Result<(), StorageError> {
        let mut kept = self.kept();
        kept.memory.awarded.insert(name.clone());
        kept.save(original)
    }

    /// What a replica knows on which a clone of this writer was found, if no new timeline began since.
    pub fn cloned(&self) -> Option<Elsewhere> {
        self.kept().cloned.clone()
    }

    /// Notes that a new timeline began.
    pub fn departed(&self) {
        self.kept().cloned = None;
    }
}

impl Kept {
    fn save(&mut self, original: &Repository) -> Result<(), StorageError> {
        original.save_state(WRITER, &self.memory, Durability::Durable)?;
        self.is_saved = true;
        Ok(())
    }

    fn claimant(&self, original: &Repository, name: &ReplicaName, replica: &Repository) -> Claimant {
        let is_fresh = self.fresh.contains(name);
        Claimant {
            writer: self.memory.writer.clone(),
            place: (host_name(), original.location()),
            word: self.memory.claims.get(name).cloned(),
            is_fresh,
            is_behind: !is_fresh && history::is_behind(original, replica),
        }
    }

    /// Remembered before it is made: who dies in between knows it again.
    fn claim(
        &mut self,
        original: &Repository,
        name: &ReplicaName,
        replica: &Repository,
        now: DateTime<Utc>,
        disputed: bool,
    ) -> Result<(), Unclaimed> {
        let word = new_word();
        self.memory.claims.insert(name.clone(), word.clone());
        if !disputed {
            self.memory.awarded.remove(name);
        }
        self.save(original)?;
        let (host, place) = (host_name(), original.location());
        let (writer, timeline) = (self.memory.writer.clone(), original.catalogue().timeline());
        let document =
            WriterDocument { writer, host, place, timeline, claimed: backup_time(now), claim: word, disputed };
        Ok(replica.claim(&document)?)
    }
}

fn claim_of(told: WriterDocument) -> Claim {
    Claim { writer: told.writer, place: (told.host, told.place), word: told.claim, disputed: told.disputed }
}

fn another(name: &ReplicaName, told: Option<WriterDocument>) -> Unclaimed {
    let (host, place, since) = told.map_or_else(Default::default, |told| {
        (told.host, told.place, told.claimed.format("%Y-%m-%d %H:%M:%S").to_string())
    });
    Unclaimed::Another { replica: name.clone(), host, place, since }
}

fn new_word() -> String {
    format!("{:032x}", fastrand::u128(..))
}
