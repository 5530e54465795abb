//! The rotation over everything stored, in the repository and its replicas.
//!
//! Hazard: a scrub that is in somebody's way is switched off. It waits until nothing else is under way, reads for a
//! moment, heals what it finds, and rests as long as its rate asks for; with nothing due it sleeps.

use std::collections::BTreeMap;
use std::time::Duration;

use super::tend::{Tended, Tree, miss_what_they_have, reach_replicas};
use super::*;
use crate::core::scrub::Pace;
use crate::pipeline::scrub::{self, Batch, Rotation};
use crate::repository::Repository;
use crate::storage::Durability;

const SCRUB: &str = "scrub";

/// The longest sleep: settings that changed, or a replica that came, are noticed after no more than this.
const MAX_SLEEP: Duration = Duration::from_secs(600);

/// The wait after a start, and while the mode is not known yet.
pub const FIRST_SLEEP: Duration = Duration::from_secs(1);

/// How far the rotation over each repository has come, by the name of the replica; the repository's own is empty.
pub type Rotations = BTreeMap<String, Rotation>;

/// What the repository remembers of the rotation. Lost, it costs reading again.
pub fn recall(repository: &Repository) -> Rotations {
    repository.load_state(SCRUB).ok().and_then(|loaded| loaded.value()).unwrap_or_default()
}

/// The pace that the settings ask for; `None`: nothing is scrubbed.
pub fn pace(world: &World) -> Option<Pace> {
    let settings = world.settings();
    let scrubs = settings.backup.enabled && settings.backup.integrity_checks && !world.repository.is_vacant();
    let rate = u64::from(settings.scrub.rate_mib_per_second) << 20;
    scrubs.then(|| Pace { within: settings.scrub.within, bytes_per_second: (rate > 0).then_some(rate) })
}

impl Tools {
    /// Reads a batch of whatever is due, and heals what is damaged; how long to sleep afterwards.
    pub(super) async fn scrub(&self) -> Duration {
        let Some(pace) = pace(&self.world) else { return MAX_SLEEP };
        self.world.quiescence().await;
        match self.world.mode().mode {
            Mode::Starting => return FIRST_SLEEP,
            Mode::Stopping => return MAX_SLEEP,
            Mode::Normal | Mode::Degraded { .. } | Mode::Recovery { .. } => {}
        }
        let _operation = self.world.begin_operation();
        let begun = self.world.clock.uptime();
        let world = self.world.clone();
        let Ok(trees) = tokio::task::spawn_blocking(move || trees(&world)).await else { return MAX_SLEEP };
        let mut read_bytes = 0;
        let mut sleep = MAX_SLEEP;
        for (name, tree) in trees {
            let Ok(batch) = self.read(name, tree.clone(), pace).await else { return MAX_SLEEP };
            read_bytes += batch.read_bytes;
            let now = self.world.clock.now();
            sleep = sleep.min(batch.rest_until.map_or(Duration::ZERO, |at| (at - now).to_std().unwrap_or_default()));
            self.conclude_scrub(&tree, batch).await;
        }
        let spent = self.world.clock.uptime() - begun;
        sleep.max(pace.duration(read_bytes).saturating_sub(spent))
    }

    async fn read(&self, name: String, tree: Tree, pace: Pace) -> Result<Batch, tokio::task::JoinError> {
        let world = self.world.clone();
        let work = tokio::task::spawn_blocking(move || {
            let mut rotation = world.rotations().get(&name).cloned().unwrap_or_default();
            let repository = match &tree {
                Tree::Primary => &world.repository,
                Tree::Replica(_, replica) => replica.repository(),
            };
            let batch = scrub::batch(repository, &mut rotation, &pace, world.clock.now(), &|| world.is_wanted());
            let rotations = world.set_rotation(name, rotation);
            // A time that may be wrong is not remembered: what was read is read again.
            if batch.read_bytes > 0
                && world.look_at_clock().is_none()
                && let Err(error) = world.repository.save_state(SCRUB, &rotations, Durability::Lazy)
            {
                tracing::warn!("how far the scrub came was not remembered: {}", chain(&error));
            }
            batch
        });
        work.await
    }

    async fn conclude_scrub(&self, tree: &Tree, batch: Batch) {
        let caller = Caller::component("verifier");
        let about = About::caller(&caller);
        if batch.damages.is_empty() && batch.unreadable.is_empty() {
            if batch.read_bytes > 0 && batch.rest_until.is_some() {
                let event = Event::IntegrityCheckPassed { check: Check::Scrub, content_bytes: batch.read_bytes };
                let _ = self.herald.tell(event, &about).await;
            }
            return;
        }
        let unreadable = batch.unreadable.into_iter().next();
        let Tended { healed, lost, .. } = self.report(Check::Scrub, tree, &batch.damages, unreadable, &about).await;
        if matches!(tree, Tree::Primary) {
            self.look_again(&healed, None, &caller).await;
            let lost: Vec<Damage> = lost.into_iter().map(|(damage, _)| damage).collect();
            self.mark(&lost).await;
            self.demand_recovery_if_hopeless();
        }
    }
}

/// The repository and the replicas that can be reached, by name. What only a replica still knows is missed from now on.
fn trees(world: &World) -> Vec<(String, Tree)> {
    let replicas = reach_replicas(world);
    miss_what_they_have(world, &replicas);
    let replicas = replicas.into_iter().map(|(name, replica)| (name.to_string(), Tree::Replica(name, replica)));
    [(String::new(), Tree::Primary)].into_iter().chain(replicas).collect()
}
