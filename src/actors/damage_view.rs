//! What is damaged and what was read again, as people see it.
//!
//! Hazard: a scrub that is behind and looks as if it were done. Both are told from what the rotation remembers of every
//! place, replicas included.

use chrono::{DateTime, Utc};

use super::verifier::scrub::pace;
use super::world::World;
use crate::api::{DamageStatus, DamagedPlace, MAX_DAMAGED_SHOWN, ScrubStatus};
use crate::core::scrub::{Pace, Shard};
use crate::repository::Quarantined;

/// What is known to be damaged.
pub fn damage(world: &World) -> DamageStatus {
    let known = world.damage.list();
    let replicas = world.replicas.open_ones();
    let places = [&world.repository].into_iter().chain(replicas.iter().map(|(_, replica)| replica.repository()));
    let quarantined: Vec<Quarantined> = places.filter_map(|place| place.quarantined().ok()).collect();
    DamageStatus {
        known: known.len() as u64,
        places: known
            .into_iter()
            .take(MAX_DAMAGED_SHOWN)
            .map(|(place, known)| DamagedPlace { place, fault: known.fault, since: known.since })
            .collect(),
        quarantined: quarantined.iter().map(|place| place.count() as u64).sum(),
        quarantined_bytes: quarantined.iter().map(Quarantined::bytes).sum(),
    }
}

/// How far everything was read again.
pub fn scrub(world: &World) -> ScrubStatus {
    let pace = pace(world);
    let complete_by = pace.map(|pace| complete_by(world, &pace));
    ScrubStatus { enabled: pace.is_some(), oldest_check: oldest_check(world), complete_by }
}

/// When that was read which was read longest ago; `None` if something never was.
pub fn oldest_check(world: &World) -> Option<DateTime<Utc>> {
    let (rotations, now) = (world.rotations(), world.clock.now());
    let oldest = |(name, shards): (String, Vec<(Shard, u64)>)| {
        let shards: Vec<Shard> = shards.into_iter().map(|(shard, _)| shard).collect();
        rotations.get(&name)?.checked.oldest(&shards, now)
    };
    places(world).into_iter().map(oldest).min().flatten()
}

fn complete_by(world: &World, pace: &Pace) -> DateTime<Utc> {
    let (rotations, now) = (world.rotations(), world.clock.now());
    let of_place = |(name, shards): (String, Vec<(Shard, u64)>)| {
        let rotation = rotations.get(&name).cloned().unwrap_or_default();
        rotation.checked.complete_by(&shards, pace, now)
    };
    places(world).into_iter().map(of_place).max().unwrap_or(now)
}

fn places(world: &World) -> Vec<(String, Vec<(Shard, u64)>)> {
    let replicas = world.replicas.open_ones().into_iter();
    let replicas = replicas.map(|(name, replica)| (name.to_string(), replica.repository().shards()));
    [(String::new(), world.repository.shards())].into_iter().chain(replicas).collect()
}
