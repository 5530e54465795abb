//! The plan as things are, and the work that was agreed to.
//!
//! Hazard: a plan that is carried out twice, or not at all while the mode says that it is under way. The work is handed
//! over once, and its end is reported whatever becomes of it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::future::LocalBoxFuture;

use super::world::World;
use crate::api::{PlanOptions, Problem};
use crate::core::SetName;
use crate::core::mode::ModeEvent;
use crate::core::recovery_plan::{Action, Ask, Entry, Plan, plan};
use crate::pipeline::assess::{Depth, facts};
use crate::repository::Repository;
use crate::settings::Settings;

use super::problems;

/// Work that ends in the event to report.
pub type Work = Box<dyn FnOnce() -> LocalBoxFuture<'static, ModeEvent> + Send>;

/// Where work lies that was agreed to, until the supervisor starts it.
#[derive(Default)]
pub struct RecoveryDesk(Mutex<Option<Work>>);

impl RecoveryDesk {
    fn slot(&self) -> MutexGuard<'_, Option<Work>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves work here; not if there is some already.
    pub fn order(&self, work: Work) -> bool {
        let mut slot = self.slot();
        let free = slot.is_none();
        if free {
            *slot = Some(work);
        }
        free
    }

    /// Takes back what was ordered and not begun.
    pub fn withdraw(&self) {
        *self.slot() = None;
    }

    /// Starts what was ordered, as a task of its own: a panic in it is a failure like any other.
    pub fn start(&self) -> LocalBoxFuture<'static, ModeEvent> {
        let work = self.slot().take();
        Box::pin(async {
            let Some(work) = work else { return ModeEvent::WorkFailed };
            actix_rt::spawn(work()).await.unwrap_or(ModeEvent::WorkFailed)
        })
    }
}

/// What these options ask for; fails for a set that is not configured.
pub fn ask(settings: &Settings, options: &PlanOptions) -> Result<Ask, Problem> {
    let known = || settings.sets.iter().map(|set| set.name.clone());
    let named = options.sets.iter().filter(|name| *name != ALL).map(|name| {
        let set = name.parse::<SetName>().ok().filter(|set| known().any(|known| known == *set));
        set.ok_or_else(|| problems::unknown_set(name, known()))
    });
    let named = named.collect::<Result<_, _>>()?;
    let all = options.sets.iter().any(|name| name == ALL);
    Ok(Ask {
        sets: if all { Default::default() } else { named },
        replace_valid: !options.sets.is_empty() || options.at.is_some(),
        at: options.at,
    })
}

/// The word for every set.
const ALL: &str = "all";

/// The plan as things are now. Reads live files, so it blocks.
pub fn look(repository: &Repository, settings: &Settings, ask: &Ask) -> Plan {
    plan(&facts(repository, &settings.sets, Depth::Content), ask)
}

/// Whether there is a decision to take: work was agreed to, or files are to be restored, or their copies to be read.
pub(super) fn restorable(world: &World) -> bool {
    let undecided = |entry: &Entry| matches!(entry.action, Action::Restore(_) | Action::Verify);
    let plan = || look(&world.repository, &world.settings(), &Ask::default());
    world.recovery.slot().is_some() || plan().entries.iter().any(undecided)
}
