//! The Verifier: reads backups back.
//!
//! Hazard: damage that is counted twice looks like a dying disk, and damage that is not counted looks like health.
//! Each place in the repository counts once, when it is first found damaged, across restarts.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use actix::prelude::*;

use super::chain_check::CheckChain;
use super::herald::{About, Herald};
use super::problems::chain;
use super::service::Caller;
use super::supervision::Child;
use super::supervisor::{Happened, IntegrityFailure, Supervisor};
use super::world::World;
use crate::api::{Problem, ProblemKind};
use crate::core::mode::{Loss, Mode, ModeEvent, RecoveryCause};
use crate::core::{BackupPriority, BackupState, Digest};
use crate::pipeline::assess::assess;
use crate::pipeline::verify::{self, Damage, Verdict, Verification};
use crate::pipeline::{Cancelled, Progress};
use crate::repository::catalogue::Backup;
use crate::storage::Durability;
use crate::telemetry::{Check, Event};

mod drill;

pub use drill::Drill;

const DAMAGES: &str = "damages";

/// How many messages may wait for this actor.
pub const MAILBOX: usize = 64;

/// Read a fresh backup back.
#[derive(Message)]
#[rtype(result = "Result<Verification, Problem>")]
pub struct ReadBack {
    /// The backup.
    pub backup: Backup,
    /// Its objects that were read and right while it was made.
    pub proven: HashSet<Digest>,
    /// Who asked.
    pub caller: Caller,
}

/// Read a backup, whole.
#[derive(Message)]
#[rtype(result = "Result<Verification, Problem>")]
pub struct Verify {
    /// The backup.
    pub backup: Backup,
    /// How it came to that.
    pub check: Check,
    /// Who asked.
    pub caller: Caller,
}

/// Read all backups that are not known to be intact.
#[derive(Message)]
#[rtype(result = "()")]
pub struct CheckDoubtful;

/// Verify that recovery is complete: the live files are whole, and each set has a good backup that reads back.
#[derive(Message)]
#[rtype(result = "ModeEvent")]
pub struct Validate;

/// The actor.
pub struct Verifier(Tools);

#[derive(Clone)]
struct Tools {
    world: Arc<World>,
    herald: Herald,
    supervisor: Addr<Supervisor>,
}

/// What is to be read of a backup.
enum Depth {
    Fresh(HashSet<Digest>),
    Whole,
}

impl Verifier {
    /// A verifier that works with these.
    pub fn new(world: Arc<World>, herald: Herald, supervisor: Addr<Supervisor>) -> Self {
        Self(Tools { world, herald, supervisor })
    }

    /// What its checks need.
    pub(super) fn tools(&self) -> (Arc<World>, Herald, Addr<Supervisor>) {
        let Tools { world, herald, supervisor } = self.0.clone();
        (world, herald, supervisor)
    }
}

impl Actor for Verifier {
    type Context = Context<Self>;
}

impl Supervised for Verifier {}

impl Child for Verifier {
    fn begin(&mut self, ctx: &mut Context<Self>) {
        // At the start of the process the mode comes first: a failure found before it would have nowhere to count.
        if self.0.world.mode().mode != Mode::Starting {
            ctx.notify(CheckDoubtful);
            ctx.notify(CheckChain);
        }
        drill::begin(&self.0, ctx);
    }
}

impl Handler<ReadBack> for Verifier {
    type Result = ResponseActFuture<Self, Result<Verification, Problem>>;

    fn handle(&mut self, message: ReadBack, _ctx: &mut Self::Context) -> Self::Result {
        let ReadBack { backup, proven, caller } = message;
        let tools = self.0.clone();
        let work = async move { tools.check(backup, Depth::Fresh(proven), Check::ReadBack, &caller).await };
        Box::pin(work.into_actor(self))
    }
}

impl Handler<Verify> for Verifier {
    type Result = ResponseActFuture<Self, Result<Verification, Problem>>;

    fn handle(&mut self, message: Verify, _ctx: &mut Self::Context) -> Self::Result {
        let Verify { backup, check, caller } = message;
        let tools = self.0.clone();
        Box::pin(async move { tools.check(backup, Depth::Whole, check, &caller).await }.into_actor(self))
    }
}

impl Handler<CheckDoubtful> for Verifier {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, _: CheckDoubtful, _ctx: &mut Self::Context) -> Self::Result {
        let tools = self.0.clone();
        Box::pin(async move { tools.check_doubtful().await }.into_actor(self))
    }
}

impl Handler<Validate> for Verifier {
    type Result = ResponseActFuture<Self, ModeEvent>;

    fn handle(&mut self, _: Validate, _ctx: &mut Self::Context) -> Self::Result {
        let tools = self.0.clone();
        Box::pin(async move { tools.validate().await }.into_actor(self))
    }
}

impl Tools {
    async fn check(
        &self,
        backup: Backup,
        depth: Depth,
        check: Check,
        caller: &Caller,
    ) -> Result<Verification, Problem> {
        let _operation = self.world.begin_operation();
        let about = About::caller(caller).set(&backup.set).backup(backup.id);
        let id = backup.id;
        self.world.register_work(&caller.progress);
        let (world, progress) = (self.world.clone(), caller.progress.clone());
        let work = tokio::task::spawn_blocking(move || look(&world, &backup, &depth, &progress));
        let (verification, news) = match work.await {
            Ok(Ok(found)) => found,
            Ok(Err(Cancelled)) => {
                return Err(Problem::new(ProblemKind::Unavailable, format!("verify {id}: {Cancelled}")));
            }
            Err(panic) => return Err(Problem::new(ProblemKind::Internal, format!("verify {id}: {panic}"))),
        };
        let event = match &verification.verdict {
            Verdict::Intact => Event::IntegrityCheckPassed { check, content_bytes: verification.content_bytes },
            Verdict::Damaged(damages) => {
                let damages = damages.iter().map(|damage| format!("{}: {}", damage.place, damage.fault)).collect();
                Event::IntegrityCheckFailed { check, damages, unreadable: None }
            }
            Verdict::Unreadable(why) => {
                Event::IntegrityCheckFailed { check, damages: vec![], unreadable: Some(why.clone()) }
            }
        };
        if matches!(verification.verdict, Verdict::Intact) && check == Check::ReadBack {
            // The record of the backup itself comes next, and is waited for.
            self.herald.mention(event, &about);
        } else {
            let _ = self.herald.tell(event, &about).await;
        }
        for _damage in 0..news {
            self.supervisor.do_send(IntegrityFailure);
        }
        if matches!(verification.verdict, Verdict::Damaged(_)) {
            self.demand_recovery_if_hopeless();
        }
        Ok(verification)
    }

    /// A critical set whose backups were damaged until no good one is left cannot wait for the next failure.
    fn demand_recovery_if_hopeless(&self) {
        let catalogue = self.world.repository.catalogue();
        let settings = self.world.settings();
        let critical = settings.sets.iter().filter(|set| set.priority == BackupPriority::Critical);
        let hopeless = critical.filter_map(|set| catalogue.set(&set.name)).any(|index| {
            let damaged = index.backups().iter().any(|backup| backup.state() == BackupState::Damaged);
            let doubtful = index.backups().iter().any(|backup| backup.state() == BackupState::Unverified);
            damaged && !doubtful && index.latest().is_none()
        });
        if hopeless {
            self.supervisor.do_send(Happened(ModeEvent::RecoveryDemanded(RecoveryCause::NoGoodBackup)));
        }
    }

    async fn check_doubtful(&self) {
        let doubtful: Vec<Backup> = {
            let catalogue = self.world.repository.catalogue();
            let intact = |backup: &&Backup| !matches!(backup.state(), BackupState::Good | BackupState::Suspect);
            catalogue.backups().filter(intact).cloned().collect()
        };
        // Newest first: those are the ones that somebody may need.
        for backup in doubtful.into_iter().rev() {
            let caller = Caller::component("verifier");
            if self.check(backup, Depth::Whole, Check::Startup, &caller).await.is_err() {
                return;
            }
        }
    }

    async fn validate(&self) -> ModeEvent {
        let mut losses: BTreeSet<Loss> = BTreeSet::new();
        for set in &self.world.settings().sets {
            let latest = {
                let catalogue = self.world.repository.catalogue();
                let Some(index) = catalogue.set(&set.name).filter(|index| !index.backups().is_empty()) else {
                    continue;
                };
                index.latest().cloned()
            };
            let caller = Caller::component("verifier");
            let intact = match latest {
                None => false,
                Some(backup) => match self.check(backup, Depth::Whole, Check::Validation, &caller).await {
                    Ok(verification) => verification.verdict == Verdict::Intact,
                    Err(_) => return ModeEvent::WorkFailed,
                },
            };
            if !intact {
                losses.insert(Loss(format!("{}: no good backup", set.name)));
            }
        }
        let world = self.world.clone();
        let Ok(faults) = tokio::task::spawn_blocking(move || assess(&world.repository, &world.settings().sets)).await
        else {
            return ModeEvent::WorkFailed;
        };
        losses.extend(faults.into_iter().map(|fault| Loss(format!("{}/{}", fault.set, fault.path))));
        if losses.is_empty() { ModeEvent::ValidationPassed } else { ModeEvent::ValidationFailed { losses } }
    }
}

/// Reads the backup and remembers what was found; returns that, and how many places are newly damaged.
fn look(
    world: &World,
    backup: &Backup,
    depth: &Depth,
    progress: &Progress,
) -> Result<(Verification, usize), Cancelled> {
    let verification = match depth {
        Depth::Fresh(proven) => verify::read_back(&world.repository, backup, proven, progress)?,
        Depth::Whole => verify::verify(&world.repository, backup, progress)?,
    };
    if let Err(error) = verify::record(&world.repository, backup, &verification.verdict, world.clock.now()) {
        tracing::warn!(backup = %backup.id, "what was found was not remembered: {}", chain(&error));
    }
    let news = match &verification.verdict {
        Verdict::Damaged(damages) => count_news(world, damages),
        Verdict::Intact | Verdict::Unreadable(_) => 0,
    };
    Ok((verification, news))
}

/// How many of these places were not known to be damaged; from now on they are.
fn count_news(world: &World, damages: &[Damage]) -> usize {
    let mut known: BTreeSet<String> =
        world.repository.load_state(DAMAGES).ok().and_then(|loaded| loaded.value()).unwrap_or_default();
    let news = damages.iter().filter(|damage| known.insert(damage.place.clone())).count();
    if news > 0
        && let Err(error) = world.repository.save_state(DAMAGES, &known, Durability::Lazy)
    {
        tracing::warn!("known damage was not remembered: {}", chain(&error));
    }
    news
}
