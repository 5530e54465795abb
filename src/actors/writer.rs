//! Who this service is to a repository: its writer.
//!
//! Hazard: a name that describes, such as that of the host, is the same in a clone and another after a move. The writer is a
//! random id that is kept with the repository.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use rustix::rand::{GetRandomFlags, getrandom};
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct WriterMemory {
    /// Its random id; empty until it is needed.
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
        let memory = known.unwrap_or_default();
        Self(Mutex::new(Kept { memory, is_saved, fresh: BTreeSet::new(), cloned: None }))
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The writer, which is remembered durably from now on.
    pub fn writer(&self, repository: &Repository) -> Result<Writer, StorageError> {
        let mut kept = self.kept();
        kept.be_named()?;
        if !kept.is_saved {
            kept.save(repository)?;
        }
        Ok(Writer { id: kept.memory.writer.clone(), host: host_name() })
    }

    /// Whether a replica may be taken for this writer's, as far as its newest claim tells. Nothing is written.
    pub fn may_hold(&self, original: &Repository, name: &ReplicaName, replica: &Repository) -> bool {
        // One that cannot be read now is asked when it is opened.
        let Ok(sight) = self.look(original, name, replica) else { return false };
        let kept = self.kept();
        let verdict = kept.judge(original, name, &sight);
        kept.memory.awarded.contains(name) || matches!(verdict, Verdict::Keep | Verdict::Claim)
    }

    /// Reads what stands in a replica. Nothing is locked meanwhile: a replica may hang.
    fn look(&self, original: &Repository, name: &ReplicaName, replica: &Repository) -> Result<Sight, StorageError> {
        let is_fresh = {
            let mut kept = self.kept();
            kept.be_named()?;
            kept.fresh.contains(name)
        };
        let is_behind = !is_fresh && history::is_behind(original, replica);
        Ok(Sight { told: replica.told_writer()?, is_behind })
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
        let sight = self.look(original, name, replica)?;
        let mut kept = self.kept();
        let verdict = kept.judge(original, name, &sight);
        let told = sight.told;
        let is_awarded = kept.memory.awarded.contains(name);
        match verdict {
            Verdict::Keep => return Ok(()),
            Verdict::Claim => {}
            Verdict::Dispute | Verdict::Refuse if is_awarded => {}
            Verdict::Dispute => {
                // Another one from now on: what it goes by is the other's, too.
                kept.memory.writer = new_word()?;
                kept.cloned = Some(history::known_to(replica));
                kept.memory.rivals.extend(told.clone().map(|told| (name.clone(), told)));
                let disputed = WriterDocument { disputed: true, ..kept.next_claim(original, name, now)? };
                drop(kept);
                replica.claim(&disputed)?;
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
        let claim = kept.next_claim(original, name, now)?;
        drop(kept);
        replica.claim(&claim)?;
        let mut kept = self.kept();
        kept.fresh.insert(name.clone());
        if kept.memory.awarded.remove(name) {
            kept.save(original)?;
        }
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

    /// Makes sure that the writer has an id.
    fn be_named(&mut self) -> Result<(), StorageError> {
        if self.memory.writer.is_empty() {
            self.memory.writer = new_word()?;
        }
        Ok(())
    }

    fn judge(&self, original: &Repository, name: &ReplicaName, sight: &Sight) -> Verdict {
        let claimant = Claimant {
            writer: self.memory.writer.clone(),
            place: (host_name(), original.location()),
            word: self.memory.claims.get(name).cloned(),
            is_fresh: self.fresh.contains(name),
            is_behind: sight.is_behind,
        };
        claim::judge(&claimant, sight.told.clone().map(claim_of).as_ref())
    }

    /// The next claim on a replica, remembered before it is made: who dies in between knows it again.
    fn next_claim(
        &mut self,
        original: &Repository,
        name: &ReplicaName,
        now: DateTime<Utc>,
    ) -> Result<WriterDocument, StorageError> {
        let claim = new_word()?;
        self.memory.claims.insert(name.clone(), claim.clone());
        self.save(original)?;
        Ok(WriterDocument {
            writer: self.memory.writer.clone(),
            host: host_name(),
            place: original.location(),
            timeline: original.catalogue().timeline(),
            claimed: backup_time(now),
            claim,
            disputed: false,
        })
    }
}

/// What stands in a replica.
struct Sight {
    /// Its newest claim.
    told: Option<WriterDocument>,
    /// Whether it has backups that are newer than all that the original has; not looked at while this process holds it.
    is_behind: bool,
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

/// 32 hexadecimal digits that nobody else has, from the operating system: a generator of this process would go on alike in
/// a clone of the running machine.
fn new_word() -> Result<String, StorageError> {
    let mut bytes = [0; 16];
    // At most 256 bytes are always given whole, getrandom(2) says.
    let given = getrandom(&mut bytes[..], GetRandomFlags::empty());
    given.map_err(|error| StorageError::new("make a random id for", WRITER, error.into()))?;
    Ok(base16ct::lower::encode_string(&bytes))
}
