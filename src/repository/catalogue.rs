//! What the repository holds, in memory.
//!
//! Hazard: an index on disk can disagree with what it indexes. This one is rebuilt from manifests at every start, and
//! changed only after the disk was.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::encryption::Fingerprint;
use super::pack::{self, Place};
use super::pruned::Pruned;
pub use super::set_index::SetIndex;
use super::timelines::KnownTimelines;
use super::wire::{Chunk, Manifest};
use crate::core::garbage::CollectionBlock;
use crate::core::{BackupId, BackupKind, BackupRef, BackupState, ChunkKey, Digest, Position, SetName, Timeline};

/// A backup, as far as it is known.
#[derive(Clone, Debug)]
pub struct Backup {
    /// Its id.
    pub id: BackupId,
    /// Its set.
    pub set: SetName,
    /// Whether retention must leave it alone.
    pub pinned: bool,
    /// What its manifest says; `None` if the manifest is damaged or unreadable.
    pub content: Option<Arc<Content>>,
    /// What the last look at its bytes found.
    pub finding: Finding,
    /// What is remembered of a manifest that cannot be read now.
    pub remembered: Option<Remembered>,
}

/// What is remembered of a manifest that cannot be read now, so that its loss is not a backup less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// The SHA-256 of its file.
    pub digest: Digest,
    /// Its place in the order of its set.
    pub position: Position,
}

/// A manifest and the hash of its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// The document.
    pub manifest: Manifest,
    /// The SHA-256 of its file.
    pub digest: Digest,
}

/// What the last look at a backup's bytes found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Nobody has looked yet.
    Unverified,
    /// Everything was as its hash says.
    Intact {
        /// When that was seen.
        checked: DateTime<Utc>,
    },
    /// Something is absent or wrong: what.
    Damaged(String),
    /// Something could not be read, which proves nothing: why.
    Unreadable(String),
}

impl Backup {
    /// Its state, as DESIGN's words have it.
    pub fn state(&self) -> BackupState {
        match (&self.finding, &self.content) {
            (Finding::Damaged(_), _) => BackupState::Damaged,
            (Finding::Intact { .. }, Some(content)) if content.manifest.envelope.valid => BackupState::Good,
            (Finding::Intact { .. }, Some(_)) => BackupState::Suspect,
            _ => BackupState::Unverified,
        }
    }

    /// Its place in the order of its set; none known sorts first.
    pub fn position(&self) -> Option<Position> {
        let content = self.content.as_ref().map(|content| content.manifest.envelope.position());
        content.or(self.remembered.map(|remembered| remembered.position))
    }

    /// The SHA-256 of its manifest, as it is or was.
    pub fn digest(&self) -> Option<Digest> {
        self.content.as_ref().map(|content| content.digest).or(self.remembered.map(|remembered| remembered.digest))
    }

    /// Why it was made, if its manifest can be read.
    pub fn kind(&self) -> Option<BackupKind> {
        self.content.as_ref().map(|content| content.manifest.envelope.kind)
    }

    /// When it was made, as the clock then told it; to the second only if its manifest cannot be read.
    pub fn created(&self) -> DateTime<Utc> {
        self.content.as_ref().map_or(self.id.created(), |content| content.manifest.envelope.created)
    }

    /// Whether it can be `latest`, and count as a version: good, and made on schedule or by hand.
    pub fn is_good_version(&self) -> bool {
        self.state() == BackupState::Good && self.kind() != Some(BackupKind::PreRestore)
    }

    /// When it was last found intact.
    pub fn verified(&self) -> Option<DateTime<Utc>> {
        match self.finding {
            Finding::Intact { checked } => Some(checked),
            _ => None,
        }
    }
}

/// The second files for an object: how many bytes each has, by number.
pub type SecondFiles = BTreeMap<u32, u64>;

/// The objects that a backup needs, each once.
fn object_names(content: &Content) -> impl Iterator<Item = Digest> {
    content.manifest.envelope.objects.iter().map(|object| object.name)
}

/// Why a reference names no backup.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unresolved {
    /// No backup of that id, or none good where `latest` was asked for.
    #[error("there is no backup {0}: `fiovana-app list` shows those there are")]
    Unknown(String),
    /// `latest` of a set without a good backup.
    #[error("{0} has no good backup: `fiovana-app list` shows what there is")]
    NoneGood(SetName),
    /// `latest` without a set.
    #[error("`latest` needs a set: give the id of a backup")]
    LatestOfWhat,
    /// More than one backup's id begins so.
    #[error("{beginning} could be any of {}: give more of the id", list(.candidates))]
    Ambiguous {
        /// What was given.
        beginning: String,
        /// Some of the backups it could mean.
        candidates: Vec<BackupId>,
    },
    /// The backup is of another set.
    #[error("{id} is a backup of {actual}, not of {asked}: name its own set, or another backup")]
    OtherSet {
        /// The backup.
        id: BackupId,
        /// Its set.
        actual: SetName,
        /// The set that was asked for.
        asked: SetName,
    },
}

fn list(ids: &[BackupId]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Everything the repository holds.
#[derive(Debug, Default)]
pub struct Catalogue {
    sets: BTreeMap<SetName, SetIndex>,
    /// Where content is stored, for each list of recipients: an object is shared only among backups for the same ones; and
    /// what is in packs for each set.
    chunks: HashMap<(Vec<Fingerprint>, Option<SetName>), HashMap<ChunkKey, Place>>,
    objects: HashMap<Digest, u64>,
    second_files: HashMap<Digest, SecondFiles>,
    /// How many objects went since the places of what they held were forgotten.
    gone: usize,
    /// How many manifests refer to each object.
    references: HashMap<Digest, u32>,
    /// Backups that are deleted, though perhaps not durably yet: until then their objects must stay.
    condemned: BTreeSet<(SetName, BackupId)>,
    /// The timelines, as far as they are known.
    timelines: KnownTimelines,
}

impl Catalogue {
    /// A catalogue of a repository that holds these objects (name and stored bytes), and no backup yet.
    pub fn of_objects(objects: HashMap<Digest, u64>, second_files: HashMap<Digest, SecondFiles>) -> Self {
        Self { objects, second_files, ..Self::default() }
    }

    /// The second files for an object: their numbers and stored bytes.
    pub fn second_files(&self, name: &Digest) -> impl Iterator<Item = (u32, u64)> {
        self.second_files.get(name).into_iter().flatten().map(|(number, bytes)| (*number, *bytes))
    }

    /// The sets that have backups, or had.
    pub fn sets(&self) -> impl Iterator<Item = (&SetName, &SetIndex)> {
        self.sets.iter()
    }

    /// The timelines that there are.
    pub const fn timelines(&self) -> &KnownTimelines {
        &self.timelines
    }

    /// Believes these timelines.
    pub(super) fn adopt_timelines(&mut self, timelines: KnownTimelines) {
        for (set, index) in &mut self.sets {
            index.begins = timelines.first_sequences(set);
        }
        self.timelines = timelines;
    }

    /// Takes note that there is a timeline that the list here lacks.
    pub(super) fn miss_timelines(&mut self, theirs: &KnownTimelines) {
        if theirs.newest() > self.timelines.newest() {
            self.timelines.miss();
        }
    }

    /// The timeline that backups are made on: the newest that is known, be it by a backup alone.
    pub fn timeline(&self) -> Timeline {
        let positions = self.backups().filter_map(Backup::position).map(|position| position.timeline);
        positions.max().unwrap_or_default().max(self.timelines.newest())
    }

    /// One set; `None` if it never had a backup.
    pub fn set(&self, set: &SetName) -> Option<&SetIndex> {
        self.sets.get(set)
    }

    /// One set, to be changed; created if it is new.
    pub fn set_mut(&mut self, set: &SetName) -> &mut SetIndex {
        self.sets.entry(set.clone()).or_insert_with(|| SetIndex::beginning(self.timelines.first_sequences(set)))
    }

    /// Every backup, set by set, oldest first.
    pub fn backups(&self) -> impl Iterator<Item = &Backup> {
        self.sets.values().flat_map(|set| set.backups().iter())
    }

    /// The backup with this id.
    pub fn get(&self, id: BackupId) -> Option<&Backup> {
        self.backups().find(|backup| backup.id == id)
    }

    /// The backup that a reference means, within `set` where one is given.
    pub fn resolve(&self, set: Option<&SetName>, reference: &BackupRef) -> Result<&Backup, Unresolved> {
        if *reference == BackupRef::Latest {
            let set = set.ok_or(Unresolved::LatestOfWhat)?;
            return self.set(set).and_then(SetIndex::latest).ok_or_else(|| Unresolved::NoneGood(set.clone()));
        }
        let found: Vec<&Backup> = self.backups().filter(|backup| reference.matches(&backup.id)).collect();
        let of_set: Vec<&Backup> = found.iter().copied().filter(|b| set.is_none_or(|set| b.set == *set)).collect();
        match (of_set.as_slice(), found.first(), set) {
            ([one], _, _) => Ok(one),
            ([], Some(other), Some(set)) => {
                Err(Unresolved::OtherSet { id: other.id, actual: other.set.clone(), asked: set.clone() })
            }
            ([], _, _) => Err(Unresolved::Unknown(reference.to_string())),
            (several, _, _) => {
                let candidates = several.iter().take(5).map(|backup| backup.id).collect();
                Err(Unresolved::Ambiguous { beginning: reference.to_string(), candidates })
            }
        }
    }

    /// Where content with this key is stored for exactly these recipients, in an object of its own or, where a set is given,
    /// in a pack of that set; if it is.
    pub fn chunk(&self, recipients: &[Fingerprint], packs_of: Option<&SetName>, key: &ChunkKey) -> Option<Place> {
        let place = self.chunks.get(&(recipients.to_vec(), packs_of.cloned()))?.get(key).copied();
        place.filter(|place| self.objects.contains_key(&place.object))
    }

    /// The packs of a set that its newest version uses at least half of: those whose chunks are shared.
    pub fn well_used_packs(&self, set: &SetName) -> HashSet<Digest> {
        let backups = self.set(set).map_or(&[][..], SetIndex::backups).iter().rev();
        let versions = backups.filter(|backup| backup.kind().is_some_and(BackupKind::is_version));
        let newest = versions.into_iter().find_map(|backup| backup.content.as_ref());
        newest.map_or_else(HashSet::new, |newest| pack::well_used(&newest.manifest.envelope, newest.manifest.files()))
    }

    /// How many objects there are, and their stored bytes.
    pub fn object_totals(&self) -> (usize, u64) {
        (self.objects.len(), self.objects.values().sum())
    }

    /// The stored bytes of an object, if it is there.
    pub fn object(&self, name: &Digest) -> Option<u64> {
        self.objects.get(name).copied()
    }

    /// Why it cannot be told which objects are needed: a manifest that cannot be read, or was lost, or was removed but not
    /// durably, may refer to any.
    pub fn collection_block(&self) -> Option<CollectionBlock> {
        if let Some((_, id)) = self.condemned.first() {
            return Some(CollectionBlock::DeletionUnfinished(*id));
        }
        let lost = |(set, index): (&SetName, &SetIndex)| Some((set.clone(), *index.lost(1).first()?));
        if let Some((set, position)) = self.sets().find_map(lost) {
            return Some(CollectionBlock::BackupLost(set, position));
        }
        if let Some(backup) = self.backups().find(|backup| backup.content.is_none()) {
            return Some(CollectionBlock::ManifestUnreadable(backup.id));
        }
        let is_known = |(_, index): (&SetName, &SetIndex)| !index.backups().is_empty() || index.pruned.last().is_some();
        (!self.sets().any(is_known)).then_some(CollectionBlock::NoBackups)
    }

    /// Whether a manifest that can be read refers to this object.
    pub fn is_referenced(&self, name: &Digest) -> bool {
        self.references.contains_key(name)
    }

    /// Objects that no manifest refers to, as far as manifests can be read.
    pub fn unreferenced(&self) -> impl Iterator<Item = (Digest, u64)> {
        let unreferenced = self.objects.iter().filter(|(name, _)| !self.is_referenced(name));
        unreferenced.map(|(name, stored_bytes)| (*name, *stored_bytes))
    }

    /// Stored bytes of the objects that only these backups refer to.
    pub fn exclusive_bytes(&self, ids: &HashSet<BackupId>) -> u64 {
        let mut uses: HashMap<Digest, u32> = HashMap::new();
        let leaving = self.backups().filter(|backup| ids.contains(&backup.id));
        for object in leaving.filter_map(|backup| backup.content.as_ref()).flat_map(|content| object_names(content)) {
            *uses.entry(object).or_default() += 1;
        }
        let exclusive = uses.iter().filter(|(name, count)| self.references.get(*name) == Some(*count));
        exclusive.filter_map(|(name, _)| self.object(name)).sum()
    }

    fn refer(&mut self, content: Option<&Content>) {
        for object in content.into_iter().flat_map(object_names) {
            *self.references.entry(object).or_default() += 1;
        }
    }

    fn unrefer(&mut self, content: Option<&Content>) {
        for object in content.into_iter().flat_map(object_names) {
            if let Entry::Occupied(mut count) = self.references.entry(object) {
                *count.get_mut() -= 1;
                if *count.get() == 0 {
                    count.remove();
                }
            }
        }
    }

    /// Objects that these backups refer to and that are not there.
    pub fn absent<'c>(&self, backups: impl Iterator<Item = &'c Backup>) -> HashSet<Digest> {
        let damaged = backups.filter(|backup| backup.state() == BackupState::Damaged);
        let objects = damaged.filter_map(|backup| Some(&backup.content.as_ref()?.manifest.envelope.objects)).flatten();
        objects.map(|object| object.name).filter(|name| !self.objects.contains_key(name)).collect()
    }

    /// Every object that is there, with its stored bytes.
    pub fn objects(&self) -> impl Iterator<Item = (&Digest, u64)> {
        self.objects.iter().map(|(name, stored_bytes)| (name, *stored_bytes))
    }

    /// The backups that need one of these objects.
    pub fn needing<'c>(&'c self, objects: &'c HashSet<Digest>) -> impl Iterator<Item = &'c Backup> {
        self.backups().filter(|backup| {
            let content = backup.content.iter();
            let mut needed = content.flat_map(|content| &content.manifest.envelope.objects);
            needed.any(|object| objects.contains(&object.name))
        })
    }

    /// Adds an object that is there now.
    pub fn add_object(&mut self, name: Digest, stored_bytes: u64) {
        self.objects.insert(name, stored_bytes);
    }

    /// Forgets that content is stored in these objects.
    pub fn forget_content(&mut self, names: &HashSet<Digest>) {
        let chunks = self.chunks.values_mut();
        chunks.for_each(|chunks| chunks.retain(|_, place| !names.contains(&place.object)));
    }

    /// Forgets objects that are gone, and that their content is stored. What it costs goes by their number, and not by how
    /// many there are in all.
    pub fn remove_objects(&mut self, names: &[Digest]) {
        names.iter().for_each(|name| drop(self.second_files.remove(name)));
        self.gone += names.iter().filter(|name| self.objects.remove(name).is_some()).count();
        // Content whose object is gone is not found any more; it is cleared out once as many went as are left.
        if self.gone > self.objects.len() {
            let chunks = self.chunks.values_mut();
            chunks.for_each(|chunks| chunks.retain(|_, place| self.objects.contains_key(&place.object)));
            self.gone = 0;
        }
    }

    /// Adds a backup. Its content is shared with later ones as far as its objects are there.
    pub fn add_backup(&mut self, backup: Backup) {
        if let Some(content) = &backup.content {
            let chunks = content.manifest.chunks();
            let (packed, whole): (Vec<&Chunk>, Vec<&Chunk>) = chunks
                .filter(|chunk| self.objects.contains_key(&chunk.object))
                .partition(|chunk| chunk.frame.is_some());
            for (packs_of, chunks) in [(None, whole), (Some(backup.set.clone()), packed)] {
                let known = self.chunks.entry((content.manifest.envelope.recipients.clone(), packs_of)).or_default();
                let places = chunks.into_iter().map(|chunk| (chunk.blake3, Place::of(chunk)));
                known.extend(places);
            }
        }
        self.refer(backup.content.as_deref());
        self.set_mut(&backup.set.clone()).insert(backup);
    }

    /// Puts a manifest that is right again in its place. Its backup is unverified: of its objects nothing is known.
    pub(super) fn adopt_manifest(&mut self, set: &SetName, id: BackupId, content: Content) {
        let known = self.get(id).cloned();
        if known.as_ref().is_some_and(|backup| backup.content.is_some()) {
            return;
        }
        let pinned = known.is_some_and(|backup| backup.pinned);
        self.set_mut(set).remove(id);
        let (content, finding) = (Some(Arc::new(content)), Finding::Unverified);
        self.add_backup(Backup { id, set: set.clone(), pinned, content, finding, remembered: None });
    }

    /// Believes a list of pruned sequences; backups that are only remembered and listed there were no loss.
    pub(super) fn adopt_pruned(&mut self, set: &SetName, pruned: Pruned) {
        let index = self.set_mut(set);
        let is_no_loss = |backup: &Backup| {
            backup.content.is_none() && backup.position().is_some_and(|position| pruned.contains(position))
        };
        index.backups_mut().retain(|backup| !is_no_loss(backup));
        (index.pruned, index.pruned_in_doubt) = (pruned, false);
    }

    /// Puts the opened manifest of a backup in the place of the closed one. Its content is shared from now on.
    pub(super) fn open_body(&mut self, id: BackupId, content: Arc<Content>) {
        let backup = self.get(id).cloned();
        if let Some(mut backup) = backup.filter(|known| known.digest() == Some(content.digest)) {
            self.unrefer(backup.content.as_deref());
            self.set_mut(&backup.set.clone()).remove(id);
            backup.content = Some(content);
            self.add_backup(backup);
        }
    }

    /// Removes backups from sight; they stay condemned until [`Catalogue::executed`] says that they are gone.
    pub fn condemn(&mut self, set: &SetName, ids: &HashSet<BackupId>) {
        let gone: Vec<Backup> =
            self.set_mut(set).backups_mut().extract_if(.., |backup| ids.contains(&backup.id)).collect();
        gone.iter().for_each(|backup| self.unrefer(backup.content.as_deref()));
        self.condemned.extend(ids.iter().map(|id| (set.clone(), *id)));
    }

    /// The condemned backups.
    pub const fn condemned(&self) -> &BTreeSet<(SetName, BackupId)> {
        &self.condemned
    }

    /// Forgets condemned backups, which are durably gone.
    pub fn executed(&mut self, gone: &BTreeSet<(SetName, BackupId)>) {
        self.condemned.retain(|backup| !gone.contains(backup));
    }

    /// Changes a backup in place; nothing if it is not there.
    pub fn update(&mut self, id: BackupId, change: impl FnOnce(&mut Backup)) {
        let mut backups = self.sets.values_mut().flat_map(|set| set.backups_mut().iter_mut());
        if let Some(backup) = backups.find(|backup| backup.id == id) {
            let before = backup.content.clone();
            change(backup);
            let after = backup.content.clone();
            if before.as_ref().map(Arc::as_ptr) != after.as_ref().map(Arc::as_ptr) {
                self.refer(after.as_deref());
                self.unrefer(before.as_deref());
            }
        }
    }
}
