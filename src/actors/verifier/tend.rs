//! What is done about damage, however it was found: counted, healed, told, and read again.
//!
//! Hazard: a repair beside a backup that is being made. Healing holds the write lane, a few places at a time, so that
//! a backup waits for no more than those.

use std::collections::BTreeMap;

use super::*;
use crate::core::ReplicaName;
use crate::pipeline::heal::{self, Copy, Healing, Pharmacy};
use crate::repository::StoredFile;
use crate::repository::replica::Replica;

/// The most places that are healed while others wait for the lane.
const PLACES_AT_ONCE: usize = 16;

/// The repository that the damage is in.
#[derive(Clone)]
pub(super) enum Tree {
    /// The one that is written to.
    Primary,
    /// A replica of it.
    Replica(ReplicaName, Arc<Replica>),
}

/// Replicas that can be reached.
pub(super) type Replicas = Vec<(ReplicaName, Arc<Replica>)>;

/// The replicas; one that cannot be reached is told of elsewhere.
pub(super) fn reach_replicas(world: &World) -> Replicas {
    let configured = world.settings().replicas.clone();
    let reach = |wanted: &_| world.replicas.reach(wanted, world).ok();
    configured.iter().filter_map(|wanted| Some((wanted.name.clone(), reach(wanted)?))).collect()
}

/// Misses from now on what only these replicas still know; not what may be of another history, as long as nobody has
/// compared the two.
pub(super) fn miss_what_they_have(world: &World, replicas: &Replicas) {
    let compared = replicas.iter().filter(|(name, _)| world.replicas.is_compared(name));
    compared.for_each(|(_, replica)| world.repository.miss(replica.repository()));
}

/// What became of damaged places.
#[derive(Default)]
pub(super) struct Tended {
    /// These are right again.
    pub healed: Vec<Damage>,
    /// These are not: and why.
    pub lost: Vec<(Damage, String)>,
    /// These were deleted on purpose before they could be: nothing is missing.
    pub deleted: Vec<Damage>,
}

/// Look after damage to a replica that somebody else came upon; answered when it is healed, or cannot be.
#[derive(Message)]
#[rtype(result = "()")]
pub struct TendReplica {
    /// The replica's name.
    pub name: ReplicaName,
    /// The replica.
    pub replica: Arc<Replica>,
    /// What is absent or wrong.
    pub damages: Vec<Damage>,
}

impl Handler<TendReplica> for Verifier {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, message: TendReplica, _ctx: &mut Self::Context) -> Self::Result {
        let TendReplica { name, replica, damages } = message;
        let (tools, tree) = (self.0.clone(), Tree::Replica(name, replica));
        let work = async move {
            let _operation = tools.world.begin_operation();
            let about = About::caller(&Caller::component("verifier"));
            tools.report(Check::Replication, &tree, &damages, None, &about).await;
        };
        Box::pin(work.into_actor(self))
    }
}

impl Tools {
    /// Tells of what a check found, as far as it is news, and looks after it.
    pub(super) async fn report(
        &self,
        check: Check,
        tree: &Tree,
        found: &[Damage],
        unreadable: Option<String>,
        about: &About,
    ) -> Tended {
        let expected = |damage: &&Damage| tree.expects(&self.world, &damage.place);
        let found: Vec<Damage> = found.iter().filter(expected).cloned().collect();
        let known = self.world.damage.list();
        let news = found.iter().filter(|damage| !known.contains_key(&tree.name(&damage.place)));
        let damages: Vec<String> =
            news.map(|damage| format!("{}: {}", tree.name(&damage.place), damage.fault)).collect();
        if !damages.is_empty() || unreadable.is_some() {
            let _ = self.herald.tell(Event::IntegrityCheckFailed { check, damages, unreadable }, about).await;
        }
        self.tend(tree, &found, about).await
    }

    /// Counts damage, heals what can be healed, and tells of both.
    pub(super) async fn tend(&self, tree: &Tree, damages: &[Damage], about: &About) -> Tended {
        let now = self.world.clock.now();
        let is_news = |damage: &&Damage| self.world.damage.note(tree.name(&damage.place), &damage.fault, now);
        let mut news: BTreeSet<String> = damages.iter().filter(is_news).map(|damage| damage.place.clone()).collect();
        let mut tended = Tended::default();
        for some in damages.chunks(PLACES_AT_ONCE) {
            let outcomes = match self.heal(tree, some.to_vec()).await {
                Ok(outcomes) => outcomes,
                Err(why) => some.iter().map(|damage| (damage.clone(), Healing::Failed(why.clone()))).collect(),
            };
            let mut by_remedy: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
            for (damage, outcome) in outcomes {
                match outcome {
                    Healing::Sound => tended.healed.push(damage),
                    Healing::Deleted => tended.deleted.push(damage),
                    Healing::Healed(remedy) => {
                        by_remedy.entry(remedy.code()).or_default().push(tree.name(&damage.place));
                        tended.healed.push(damage);
                    }
                    Healing::Lost => {
                        let why = "the right bytes are neither in a replica nor in a live file".to_owned();
                        tended.lost.push((damage, why));
                    }
                    Healing::Failed(why) => tended.lost.push((damage, why)),
                }
            }
            for (source, places) in by_remedy {
                let _ = self.herald.tell(Event::RepairCompleted { source, places }, about).await;
            }
        }
        tended.deleted.iter().for_each(|damage| _ = news.remove(&damage.place));
        self.tell_of_losses(tree, &tended, &news, about).await;
        self.remember(tree, &tended);
        if matches!(tree, Tree::Primary) {
            self.ask_for_new_backups(&tended, &news);
        }
        self.count(&news, about);
        tended
    }

    /// Has new damage counted, healed or not. Afterwards: whoever acts upon it looks at what was healed already.
    fn count(&self, news: &BTreeSet<String>, about: &About) {
        // A file whose objects are all right, and which is not: the manifest is at fault.
        let counts = |place: &&String| StoredFile::at(place).is_none_or(|file| file.counts());
        news.iter().filter(counts).for_each(|_| self.supervisor.do_send(IntegrityFailure(about.asker())));
    }

    async fn heal(&self, tree: &Tree, damages: Vec<Damage>) -> Result<Vec<(Damage, Healing)>, String> {
        let pass = self.world.lane.enter().await.map_err(|closed| closed.to_string())?;
        let (world, tree) = (self.world.clone(), tree.clone());
        let work = tokio::task::spawn_blocking(move || {
            let _pass = pass;
            let replicas = reach_replicas(&world);
            damages
                .into_iter()
                .map(|damage| {
                    let healing = heal_place(&world, &tree, &replicas, &damage);
                    (damage, healing)
                })
                .collect()
        });
        work.await.map_err(|panic| panic.to_string())
    }

    async fn tell_of_losses(&self, tree: &Tree, tended: &Tended, news: &BTreeSet<String>, about: &About) {
        let new = tended.lost.iter().filter(|(damage, _)| news.contains(&damage.place));
        let places: Vec<String> = new.map(|(damage, why)| format!("{}: {why}", tree.name(&damage.place))).collect();
        if !places.is_empty() {
            let _ = self.herald.tell(Event::RepairFailed { places }, about).await;
        }
    }

    fn remember(&self, tree: &Tree, tended: &Tended) {
        let right = tended.healed.iter().chain(&tended.deleted);
        let right: BTreeSet<String> = right.map(|damage| tree.name(&damage.place)).collect();
        self.world.damage.clear(|place| right.contains(place));
        if let Err(error) = self.world.damage.save(&self.world.repository) {
            tracing::warn!("known damage was not remembered: {}", chain(&error));
        }
    }

    /// What a new backup of the live files can make good, it shall.
    fn ask_for_new_backups(&self, tended: &Tended, news: &BTreeSet<String>) {
        let lost: Vec<StoredFile> = tended
            .lost
            .iter()
            .filter(|(damage, _)| news.contains(&damage.place))
            .filter_map(|(damage, _)| StoredFile::at(&damage.place))
            .collect();
        let objects: HashSet<Digest> = lost.iter().filter_map(StoredFile::object).collect();
        let catalogue = self.world.repository.catalogue();
        let manifests = lost.iter().filter_map(|file| match file {
            StoredFile::Manifest(set, _) => Some(set),
            _ => None,
        });
        let sets: BTreeSet<&SetName> = catalogue.needing(&objects).map(|b| &b.set).chain(manifests).collect();
        sets.into_iter().for_each(|set| self.world.want_backup(set));
    }
}

fn heal_place(world: &World, tree: &Tree, replicas: &Replicas, damage: &Damage) -> Healing {
    let Some(file) = StoredFile::at(&damage.place) else {
        return Healing::Failed("all that it needs is as it was written".into());
    };
    let mut copies: Vec<Copy<'_>> = Vec::new();
    if let Tree::Replica(..) = tree {
        copies.push(Copy { name: "the repository".into(), repository: &world.repository });
    }
    let others = replicas.iter().filter(|(name, _)| !matches!(tree, Tree::Replica(own, _) if own == name));
    copies.extend(
        others.map(|(name, replica)| Copy { name: format!("replica {name}"), repository: replica.repository() }),
    );
    let settings = world.settings();
    let pharmacy = Pharmacy { copies: &copies, sets: &settings.sets };
    let healing = match tree {
        Tree::Primary => heal::heal(&world.repository, &file, &pharmacy, world.clock.now()),
        Tree::Replica(_, replica) => {
            let _lane = replica.write_lane();
            heal::heal(replica.repository(), &file, &pharmacy, world.clock.now())
        }
    };
    healing.unwrap_or_else(|error| Healing::Failed(chain(&error)))
}

impl Tree {
    /// Whether something must be in this place now; what was deleted on purpose since it was read is no loss.
    fn expects(&self, world: &World, place: &str) -> bool {
        let repository = match self {
            Self::Primary => &world.repository,
            Self::Replica(_, replica) => replica.repository(),
        };
        StoredFile::at(place).is_none_or(|file| repository.expects(&file))
    }

    /// A place in it, as it is known to everybody.
    pub(super) fn name(&self, place: &str) -> String {
        match self {
            Self::Primary => place.to_owned(),
            Self::Replica(name, _) => format!("replica {name}: {place}"),
        }
    }
}
