//! Reading backups, one at a time.
//!
//! Hazard: a verdict that is older than the repair. What was damaged is healed and read again, and the second verdict is
//! the one that is recorded and answered.

use super::tend::{Tended, Tree, miss_what_they_have, reach_replicas};
use super::*;
use crate::repository::StoredFile;

impl Tools {
    /// Reads a backup; heals what is damaged, and reads it again.
    pub(super) async fn check(
        &self,
        backup: Backup,
        depth: Depth,
        check: Check,
        caller: &Caller,
    ) -> Result<Verification, Problem> {
        let _operation = self.world.begin_operation();
        let (id, about) = (backup.id, About::caller(caller).set(&backup.set).backup(backup.id));
        self.world.register_work(&caller.progress);
        let first = self.look(&backup, depth, check, caller).await?;
        let Verdict::Damaged(damages) = &first.verdict else {
            self.note_found(&backup, &first).await;
            return Ok(first);
        };
        let Tended { healed, .. } = self.tend(&Tree::Primary, damages, &about).await;
        let last = if healed.is_empty() {
            first
        } else {
            let healed = self.world.repository.catalogue().get(id).cloned();
            let backup = healed.unwrap_or_else(|| backup.clone());
            self.look(&backup, Depth::Whole, check, caller).await?
        };
        self.note_found(&backup, &last).await;
        if last.verdict != Verdict::Intact {
            self.demand_recovery_if_hopeless();
        }
        self.look_again(&healed, Some(id), caller).await;
        Ok(Verification { healed, ..last })
    }

    /// Reads the damaged backups that need what was healed.
    pub(super) async fn look_again(&self, healed: &[Damage], except: Option<BackupId>, caller: &Caller) {
        let files: HashSet<StoredFile> = healed.iter().filter_map(|damage| StoredFile::at(&damage.place)).collect();
        let objects = files.iter().filter_map(StoredFile::object).collect();
        let affected: Vec<Backup> = {
            let catalogue = self.world.repository.catalogue();
            let is_healed = |b: &&Backup| files.contains(&StoredFile::Manifest(b.set.clone(), b.id));
            let of_manifests = catalogue.backups().filter(is_healed);
            let of_objects = catalogue.needing(&objects).filter(|b| b.state() == BackupState::Damaged);
            of_manifests.chain(of_objects).filter(|backup| Some(backup.id) != except).cloned().collect()
        };
        for backup in affected {
            match self.look(&backup, Depth::Whole, Check::Repair, caller).await {
                Ok(found) => self.note_found(&backup, &found).await,
                Err(problem) if problem.kind == ProblemKind::NotFound => {}
                Err(_) => return,
            }
        }
    }

    /// Reads a backup, and tells what was found.
    async fn look(
        &self,
        backup: &Backup,
        depth: Depth,
        check: Check,
        caller: &Caller,
    ) -> Result<Verification, Problem> {
        let (id, about) = (backup.id, About::caller(caller).set(&backup.set).backup(backup.id));
        let manifest = StoredFile::Manifest(backup.set.clone(), id);
        let (world, backup, progress) = (self.world.clone(), backup.clone(), caller.progress.clone());
        let work = tokio::task::spawn_blocking(move || match depth {
            Depth::Fresh(proven) => verify::read_back(&world.repository, &backup, &proven, &progress),
            Depth::Whole => verify::verify(&world.repository, &backup, &progress),
        });
        let verification = match work.await {
            Ok(Ok(found)) => found,
            Ok(Err(Cancelled)) => {
                return Err(Problem::new(ProblemKind::Unavailable, format!("verify {id}: {Cancelled}")));
            }
            Err(panic) => return Err(Problem::new(ProblemKind::Internal, format!("verify {id}: {panic}"))),
        };
        if verification.verdict != Verdict::Intact && !self.world.repository.expects(&manifest) {
            let detail = format!("verify {id}: it was deleted on purpose meanwhile");
            return Err(Problem::new(ProblemKind::NotFound, detail));
        }
        let event = match &verification.verdict {
            Verdict::Intact => Event::IntegrityCheckPassed { check, content_bytes: verification.content_bytes },
            Verdict::Damaged(damages) => {
                let damages = damages.iter().map(ToString::to_string).collect();
                Event::IntegrityCheckFailed { check, damages, unreadable: None }
            }
            Verdict::Unreadable(why) => {
                Event::IntegrityCheckFailed { check, damages: vec![], unreadable: Some(why.clone()) }
            }
        };
        if verification.verdict == Verdict::Intact && check == Check::ReadBack {
            // The record of the backup itself comes next, and is waited for.
            self.herald.mention(event, &about);
        } else {
            let _ = self.herald.tell(event, &about).await;
        }
        Ok(verification)
    }

    /// Remembers what was found of a backup.
    async fn note_found(&self, backup: &Backup, found: &Verification) {
        let (world, id, verdict) = (self.world.clone(), backup.id, found.verdict.clone());
        let backup = backup.clone();
        let work = tokio::task::spawn_blocking(move || {
            if verdict == Verdict::Intact {
                world.is_right(&backup);
            }
            verify::record(&world.repository, &backup, &verdict, world.clock.now())
        });
        if let Ok(Err(error)) = work.await {
            tracing::warn!(backup = %id, "what was found was not remembered: {}", chain(&error));
        }
    }

    /// Marks the backups that need what is lost.
    pub(super) async fn mark(&self, lost: &[Damage]) {
        for damage in lost {
            let backups: Vec<Backup> = {
                let catalogue = self.world.repository.catalogue();
                match StoredFile::at(&damage.place) {
                    Some(StoredFile::Object(name)) => catalogue.needing(&[name].into()).cloned().collect(),
                    Some(StoredFile::Manifest(_, id)) => catalogue.get(id).into_iter().cloned().collect(),
                    _ => vec![],
                }
            };
            let found = Verification::of(Verdict::Damaged(vec![damage.clone()]), 0);
            for backup in backups.iter().take(1) {
                self.note_found(backup, &found).await;
            }
        }
    }

    /// Reads all backups that are not known to be intact, and the documents beside them.
    pub(super) async fn check_doubtful(&self) {
        if self.world.repository.is_vacant() {
            return;
        }
        let caller = Caller::component("verifier");
        self.check_documents(&caller).await;
        let doubtful: Vec<BackupId> = {
            let catalogue = self.world.repository.catalogue();
            let intact = |backup: &&Backup| !matches!(backup.state(), BackupState::Good | BackupState::Suspect);
            catalogue.backups().filter(intact).map(|backup| backup.id).collect()
        };
        // Newest first: those are the ones that somebody may need.
        for id in doubtful.into_iter().rev() {
            let backup = self.world.repository.catalogue().get(id).cloned();
            let Some(backup) = backup else { continue };
            match self.check(backup, Depth::Whole, Check::Startup, &caller).await {
                Err(problem) if problem.kind != ProblemKind::NotFound => return,
                _ => {}
            }
        }
        self.demand_recovery_if_hopeless();
    }

    /// Reads the small documents that no backup depends on: a lost pin, or a list of pruned sequences.
    async fn check_documents(&self, caller: &Caller) {
        let world = self.world.clone();
        let work = tokio::task::spawn_blocking(move || {
            let replicas = reach_replicas(&world);
            miss_what_they_have(&world, &replicas);
            verify::documents(&world.repository)
        });
        let Ok(damages) = work.await else { return };
        if damages.is_empty() {
            return;
        }
        let about = About::caller(caller);
        let Tended { healed, .. } = self.report(Check::Startup, &Tree::Primary, &damages, None, &about).await;
        self.look_again(&healed, None, caller).await;
    }

    /// A critical set whose backups were damaged or lost until no good one is left cannot wait for the next failure.
    pub(super) fn demand_recovery_if_hopeless(&self) {
        let catalogue = self.world.repository.catalogue();
        let settings = self.world.settings();
        let critical = settings.sets.iter().filter(|set| set.priority == BackupPriority::Critical);
        let hopeless = critical.filter_map(|set| catalogue.set(&set.name)).any(|index| {
            let any = |state| index.backups().iter().any(|backup| backup.state() == state);
            let harmed = any(BackupState::Damaged) || !index.lost(1).is_empty();
            harmed && !any(BackupState::Unverified) && index.latest().is_none()
        });
        if hopeless {
            let demanded = ModeEvent::RecoveryDemanded(RecoveryCause::NoGoodBackup);
            self.supervisor.do_send(Happened::unasked(demanded));
        }
    }
}
