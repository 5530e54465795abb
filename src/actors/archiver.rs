//! The Archiver: backs up and restores.
//!
//! Hazard: a backup that was acknowledged and cannot be read. Each is handed to the Verifier, and answered only after
//! it was read back.

mod in_turn;
mod restoring;

use std::collections::HashSet;
use std::sync::Arc;

use actix::prelude::*;

use super::herald::{About, Herald};
use super::janitor::{Janitor, MakeRoom, Sweep};
use super::keyring;
use super::post::Post;
use super::problems::{self, chain};
use super::replication::Replicate;
use super::service::Caller;
use super::supervision::Child;
use super::turns::{SharedRun, Turn, Turns};
use super::verifier::{CheckDoubtful, ReadBack, Verifier};
use super::world::{Occupied, Role, World};
use crate::api::{Problem, ProblemKind};
use crate::core::{BackupKind, BackupState, Digest};
use crate::pipeline::archive::{self, ArchiveError, Archived, Created};
use crate::pipeline::lineage::rewritten;
use crate::pipeline::relief;
use crate::pipeline::restore::{Pick, Restored, Rules};
use crate::pipeline::verify::Verdict;
use crate::repository::Repository;
use crate::repository::catalogue::{Backup, Catalogue};
use crate::repository::layout;
use crate::repository::wire::Body;
use crate::repository::wire::FORMAT;
use crate::settings::SetSettings;
use crate::telemetry::Event;

/// How often a backup is made anew because its shared objects turned out damaged.
const ATTEMPTS: u32 = 2;

/// Back up a set.
#[derive(Message)]
#[rtype(result = "Result<BackedUp, Problem>")]
pub struct BackUp {
    /// The set.
    pub set: SetSettings,
    /// Why.
    pub kind: BackupKind,
    /// Who asked.
    pub caller: Caller,
}

/// What came of it.
#[derive(Clone, Debug)]
pub enum BackedUp {
    /// This backup, read back.
    Created(Backup),
    /// Nothing changed since this one.
    Unchanged(Backup),
}

/// Restore in place.
#[derive(Message)]
#[rtype(result = "Result<Restored, Problem>")]
pub struct Restore {
    /// The set.
    pub set: SetSettings,
    /// What, and which backup it comes from; never empty.
    pub picks: Vec<Pick>,
    /// What is allowed.
    pub rules: Rules,
    /// Who asked.
    pub caller: Caller,
}

/// The actor.
pub struct Archiver(Tools);

/// What its work needs.
#[derive(Clone)]
struct Tools {
    world: Arc<World>,
    herald: Herald,
    verifier: Post<Verifier>,
    janitor: Post<Janitor>,
    turns: Turns<Backed>,
}

/// What a backup results in.
type Backed = Result<BackedUp, Problem>;

impl Archiver {
    /// An archiver that works with these.
    pub fn new(
        world: Arc<World>,
        herald: Herald,
        verifier: Post<Verifier>,
        janitor: Post<Janitor>,
        turns: Turns<Backed>,
    ) -> Self {
        Self(Tools { world, herald, verifier, janitor, turns })
    }
}

impl Actor for Archiver {
    type Context = Context<Self>;
}

impl Supervised for Archiver {}

impl Child for Archiver {}

impl Handler<BackUp> for Archiver {
    type Result = ResponseActFuture<Self, Backed>;

    fn handle(&mut self, message: BackUp, _ctx: &mut Self::Context) -> Self::Result {
        let tools = self.0.clone();
        Box::pin(async move { tools.back_up_in_turn(message).await }.into_actor(self))
    }
}

impl Handler<Restore> for Archiver {
    type Result = ResponseActFuture<Self, Result<Restored, Problem>>;

    fn handle(&mut self, message: Restore, _ctx: &mut Self::Context) -> Self::Result {
        let tools = self.0.clone();
        Box::pin(async move { tools.restore_in_turn(message).await }.into_actor(self))
    }
}

impl Tools {
    /// Backs up, hands the result to the calls that share it once it is on record, and frees the set.
    async fn back_up(&self, BackUp { set, kind, caller }: BackUp, turn: Turn, shared: Option<SharedRun>) -> Backed {
        let _operation = self.world.begin_operation();
        let occupied = Arc::new(self.world.occupy(&set.name, turn));
        let result = self.run(&set, kind, &caller, &occupied).await;
        shared.into_iter().for_each(|run| self.turns.end(run, &result));
        drop(occupied);
        if matches!(result, Ok(BackedUp::Created(_))) {
            self.replicate().await;
            self.janitor.do_send(Sweep { set: set.name });
        }
        self.world.reassess();
        result
    }

    /// One run, from its first record to its last.
    async fn run(&self, set: &SetSettings, kind: BackupKind, caller: &Caller, occupied: &Arc<Occupied>) -> Backed {
        let about = About::caller(caller).set(&set.name);
        let (started, begun) = (self.world.clock.now(), self.world.clock.uptime());
        let before = self.world.run(&set.name).history;
        self.world.register_work(&caller.progress);
        keyring::take_up(&self.world, &self.herald, caller).await;
        self.herald.mention(Event::BackupStarted { kind }, &about);
        let result = self.archive_and_read_back(set, kind, caller, occupied, started).await;
        let duration_seconds = (self.world.clock.uptime() - begun).as_secs_f64();
        if let Err(problem) = &result
            && self.world.is_abandoned(problem)
        {
            let (world, name) = (self.world.clone(), set.name.clone());
            let noted = tokio::task::spawn_blocking(move || world.abandon_run(&name, before)).await;
            if let Ok(Err(error)) = noted {
                tracing::warn!(set = %set.name, "the run history was not saved: {}", chain(&error));
            }
            tracing::info!(set = %set.name, "the backup was abandoned, as the service stops: it is taken up at the next start");
            return result;
        }
        let (event, about) = match &result {
            Ok(BackedUp::Created(backup)) => {
                (completed(&self.world.repository, kind, backup, duration_seconds), about.backup(backup.id))
            }
            Ok(BackedUp::Unchanged(backup)) => (Event::BackupUnchanged { duration_seconds }, about.backup(backup.id)),
            Err(problem) => (Event::BackupFailed { kind, error: problem.detail.clone() }, about),
        };
        let error = result.as_ref().err().map(|problem| problem.detail.clone());
        let world = self.world.clone();
        let name = set.name.clone();
        let recorded = tokio::task::spawn_blocking(move || match error {
            None => world.record_run(&name, |history| history.succeeded(started), None),
            Some(error) => world.record_run(&name, |history| history.failed(started), Some(error)),
        });
        if let Ok(Err(error)) = recorded.await {
            tracing::warn!(set = %set.name, "the run history was not saved: {}", chain(&error));
        }
        if let Ok(BackedUp::Created(backup)) = &result {
            self.tell_of_rewritten(backup, caller);
        }
        // Unrecorded: the auditor keeps the record and says so; the backup is there all the same.
        let _ = self.herald.tell(event, &about).await;
        result
    }

    /// Until it is on record, each start says it again.
    async fn tell_of_upgrade(&self, caller: &Caller) {
        let event = Event::RepositoryUpgraded { format: FORMAT };
        if self.herald.tell(event, &About::caller(caller)).await.is_ok()
            && let Err(error) = self.world.repository.upgrade_was_told()
        {
            tracing::warn!("the upgrade will be told of again: {}", chain(&error));
        }
    }

    async fn archive_and_read_back(
        &self,
        set: &SetSettings,
        kind: BackupKind,
        caller: &Caller,
        occupied: &Arc<Occupied>,
        started: chrono::DateTime<chrono::Utc>,
    ) -> Backed {
        for attempt in 1..=ATTEMPTS {
            let archived = self.archive(set, kind, caller, occupied, started, attempt > 1).await;
            if self.world.repository.take_upgrade() {
                self.tell_of_upgrade(caller).await;
            }
            let archived = archived?;
            let Created { backup, proven, repaired, changed_unseen } = match archived {
                Archived::Unchanged { backup, repaired } => {
                    self.tell_of_repairs(&backup, repaired, caller);
                    return Ok(BackedUp::Unchanged(backup));
                }
                Archived::Created(created) => created,
            };
            self.tell_of_repairs(&backup, repaired, caller);
            for path in changed_unseen {
                let about = About::caller(caller).set(&set.name).backup(backup.id);
                self.herald.mention(Event::SourceChangedUnseen { path }, &about);
            }
            let read_back = ReadBack { backup: backup.clone(), proven, caller: caller.clone() };
            let verification = self.verifier.send(read_back).await.map_err(|_| {
                let detail = format!("backup {} was written but not read back: run verify {}", backup.id, backup.id);
                Problem::new(ProblemKind::Unavailable, detail)
            })??;
            match verification.verdict {
                Verdict::Intact => {
                    let backup = self.world.repository.catalogue().get(backup.id).cloned().unwrap_or(backup);
                    return Ok(BackedUp::Created(backup));
                }
                Verdict::Unreadable(why) => {
                    let detail = format!("backup {} was written but could not be read back: {why}", backup.id);
                    return Err(Problem::new(ProblemKind::Internal, detail));
                }
                Verdict::Damaged(damages) if attempt == ATTEMPTS => {
                    let first = damages.first().map(|damage| format!("{}: {}", damage.place, damage.fault));
                    let detail = format!(
                        "backup {} did not read back as written ({}): check the disk of the backup directory",
                        backup.id,
                        first.unwrap_or_default()
                    );
                    return Err(Problem::new(ProblemKind::Integrity, detail));
                }
                // Its damaged objects are no longer shared: the next attempt writes them anew.
                Verdict::Damaged(_) => {}
            }
        }
        Err(Problem::new(ProblemKind::Internal, "no backup was made"))
    }

    /// Has the backup copied to the replicas. The service does not wait for it; a single command, which ends after it, does.
    async fn replicate(&self) {
        match self.world.role {
            Role::Daemon => self.janitor.do_send(Replicate),
            // Nobody there: the next command, or the service, will do it.
            Role::Command => drop(self.janitor.send(Replicate).await),
        }
    }

    /// Logs that are not what they were with more behind it: no damage of ours, and kept as they were.
    fn tell_of_rewritten(&self, backup: &Backup, caller: &Caller) {
        let files = backup.content.as_ref().map_or(&[][..], |content| content.manifest.files());
        let about = About::caller(caller).set(&backup.set);
        for (path, previous) in rewritten(files) {
            let event = Event::SourceRewritten { path: path.to_owned(), previous };
            self.herald.mention(event, &about.clone().backup(backup.id));
            self.herald.mention(Event::Pinned, &about.clone().backup(previous));
        }
    }

    /// Backups that were damaged may be whole again: because objects were rewritten, or because the new backup brought
    /// back one that was absent.
    fn tell_of_repairs(&self, backup: &Backup, repaired: Vec<Digest>, caller: &Caller) {
        if !repaired.is_empty() {
            let about = About::caller(caller).set(&backup.set).backup(backup.id);
            let places = repaired.iter().map(|name| layout::object(name).to_string()).collect();
            self.herald.mention(Event::RepairCompleted { source: "source", places }, &about);
            self.verifier.do_send(CheckDoubtful);
        } else if shares_with_damaged(&self.world.repository.catalogue(), backup) {
            self.verifier.do_send(CheckDoubtful);
        }
    }

    /// Archives; on a full disk once more after everything that is due was deleted, and then says what would free how much.
    async fn archive(
        &self,
        set: &SetSettings,
        kind: BackupKind,
        caller: &Caller,
        occupied: &Arc<Occupied>,
        started: chrono::DateTime<chrono::Utc>,
        read_everything: bool,
    ) -> Result<Archived, Problem> {
        let mut archived = self.archive_once(set, kind, caller, occupied, started, read_everything).await?;
        if let Err(ArchiveError::NoSpace { .. }) = &archived {
            // No answer: nothing was freed, and the second attempt says so.
            let _ = self.janitor.send(MakeRoom).await;
            archived = self.archive_once(set, kind, caller, occupied, started, read_everything).await?;
        }
        match archived {
            Ok(archived) => Ok(archived),
            Err(error @ ArchiveError::NoSpace { .. }) => {
                let mut problem = problems::of_archive(&set.name, &error);
                let world = self.world.clone();
                let look = tokio::task::spawn_blocking(move || {
                    relief::relief(&world.repository, &world.settings().sets, &world.guards(), world.clock.now())
                });
                let relief = look.await.unwrap_or_default();
                problem.detail = format!("{}; {}", problem.detail, relief::sentence(&relief));
                Err(problem)
            }
            Err(error) => Err(problems::of_archive(&set.name, &error)),
        }
    }

    async fn archive_once(
        &self,
        set: &SetSettings,
        kind: BackupKind,
        caller: &Caller,
        occupied: &Arc<Occupied>,
        started: chrono::DateTime<chrono::Utc>,
        read_everything: bool,
    ) -> Result<Result<Archived, ArchiveError>, Problem> {
        let pass = self.world.lane.enter().await.map_err(|_| problems::stopping())?;
        let world = self.world.clone();
        let (set, progress, occupied) = (set.clone(), caller.progress.clone(), Arc::clone(occupied));
        let name = set.name.clone();
        let work = tokio::task::spawn_blocking(move || {
            let _held = (pass, occupied);
            // An attempt that takes the process down must not be repeated at once. If it cannot be noted, the end of the
            // run says so; a backup is not refused for it.
            let _ = world.record_run(&set.name, |history| history.started(started), None);
            let request = archive::Request {
                set: &set,
                kind,
                // Whoever asks for a backup does so because something changed, whatever it looks like.
                read_everything: read_everything || kind == BackupKind::Manual,
                read_sources_every_runs: world.settings().scrub.read_sources_every_runs,
                now: world.clock.now(),
                clock_suspect: world.look_at_clock().is_some(),
                audit_head: world.audit().anchor(),
            };
            archive::archive(&world.repository, &request, &progress)
        });
        work.await.map_err(|panic| Problem::new(ProblemKind::Internal, format!("back up {name}: {panic}")))
    }
}

/// Whether a damaged backup needs an object that this one has.
fn shares_with_damaged(catalogue: &Catalogue, backup: &Backup) -> bool {
    let objects = |backup: &Backup| -> HashSet<Digest> {
        let content = backup.content.iter();
        content.flat_map(|content| &content.manifest.envelope.objects).map(|object| object.name).collect()
    };
    let mut damaged = catalogue.backups().filter(|other| other.state() == BackupState::Damaged).peekable();
    damaged.peek().is_some() && {
        let ours = objects(backup);
        damaged.any(|other| !ours.is_disjoint(&objects(other)))
    }
}

fn completed(repository: &Repository, kind: BackupKind, backup: &Backup, duration_seconds: f64) -> Event {
    let Some(content) = &backup.content else { return Event::BackupUnchanged { duration_seconds } };
    // The backup was made just now, so its body is at hand.
    let nothing = Body::default();
    let (envelope, body) = (&content.manifest.envelope, content.manifest.body.as_ref().unwrap_or(&nothing));
    Event::BackupCompleted {
        kind,
        repository_id: repository.id().to_owned(),
        position: envelope.position(),
        manifest_sha256: content.digest,
        files: body.files.len(),
        missing: body.missing.iter().map(ToString::to_string).collect(),
        unreadable: body.unreadable.iter().map(|file| format!("{}: {}", file.path, file.reason)).collect(),
        size_bytes: envelope.size_bytes,
        stored_bytes: envelope.stored_bytes,
        valid: envelope.valid,
        duration_seconds,
    }
}

/// How many messages may wait for this actor.
pub const MAILBOX: usize = 64;
