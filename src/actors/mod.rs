//! The actors: a message comes in, a pipeline call is made, an event goes out.
//!
//! Hazard: an actor that decides, or blocks, or remembers what the disk knows better. Actors here are thin: the
//! decisions are in `core`, the work in `pipeline`, the truth in the repository.
//!
//! ```text
//!                          Supervisor  (mode, who is up)
//!       ┌───────────┬───────────┼────────────┬───────────┐
//!   Scheduler ──▶ Archiver ──▶ Verifier   Janitor     Auditor ◀── everyone's events
//!                      └──────────────────────▲
//! ```

mod archiver;
mod auditor;
mod chain_check;
#[cfg(feature = "chaos")]
pub mod chaos;
mod damage_view;
pub mod diff;
mod drills;
mod herald;
mod history;
mod janitor;
pub mod keyring;
mod known_damage;
mod lane;
mod leftovers;
mod notifier;
mod post;
mod presence;
pub mod problems;
mod reasons;
pub mod recovery;
mod reload;
pub mod replicas;
mod replication;
mod scheduler;
pub mod service;
pub mod supervision;
mod supervisor;
mod timekeeping;
pub mod trail;
pub mod turns;
mod upkeep;
mod verifier;
pub mod view;
mod world;
mod writer;

use std::sync::Arc;

use actix::{AsyncContext, Context, Recipient};
use tokio::task::JoinHandle;

use crate::core::mode::{ModeEvent, StartFacts};
use crate::telemetry::Event;

use archiver::Archiver;
use auditor::{AuditFile, Auditor};
use herald::{About, Herald};
use janitor::Janitor;
use post::Post;
pub use reload::STATE as KEPT_STATE;
use scheduler::Scheduler;
use service::{Caller, Service};
use supervision::{Care, ChildEvent};
use supervisor::{Happened, Meet, Supervisor};
use turns::Turns;
use verifier::Verifier;
pub use world::{ACTORS, AUDIT_LOG, Opening, Role, World};

/// The actors, running.
pub struct Running {
    /// The front door.
    pub service: Service,
    /// Ends only if the supervisor does, by a panic: the process should then end, too, and be started anew.
    pub supervisor: JoinHandle<()>,
    world: Arc<World>,
    herald: Herald,
    scheduler: Option<Post<Scheduler>>,
    /// An actor that nobody knows ends.
    _auditor: Post<Auditor>,
}

/// Starts all actors on this thread, and brings the mode from `starting` to where it belongs. To be called in an
/// actix system.
pub async fn start(world: World) -> Running {
    let world = Arc::new(world);
    let context = Context::new();
    let supervisor: Post<Supervisor> = Post::new(context.address(), world.mail(world::ROOT));
    let children = Children { world: &world, parent: context.address().recipient() };
    let root = actix_rt::spawn(context.into_future(Supervisor::new(world.clone())));
    let file = AuditFile::at(world.settings().log_directory.join(AUDIT_LOG));
    let herald = |actor: &'static str| Herald::new(world.clone(), file.clone(), actor);
    let audited = file.clone();
    let auditor = children.start("auditor", auditor::MAILBOX, move |world| Auditor::new(world, audited.clone()));
    let (speaker, root_address) = (herald("verifier"), supervisor.clone());
    let verifier = children
        .start("verifier", verifier::MAILBOX, move |world| Verifier::new(world, speaker.clone(), root_address.clone()));
    let (speaker, healer) = (herald("janitor"), verifier.clone());
    let janitor =
        children.start("janitor", janitor::MAILBOX, move |world| Janitor::new(world, speaker.clone(), healer.clone()));
    let (speaker, reader, sweeper) = (herald("archiver"), verifier.clone(), janitor.clone());
    // Outlives the instances of the actor, as their work may.
    let turns = Turns::default();
    let archiver = children.start("archiver", archiver::MAILBOX, move |world| {
        Archiver::new(world, speaker.clone(), reader.clone(), sweeper.clone(), turns.clone())
    });
    let scheduler = (world.role == Role::Daemon).then(|| {
        let archiver = archiver.clone();
        children.start("scheduler", scheduler::MAILBOX, move |world| Scheduler::new(world, archiver.clone()))
    });
    #[cfg(feature = "chaos")]
    let victims = chaos::Victims {
        archiver: archiver.clone(),
        auditor: auditor.clone(),
        janitor: janitor.clone(),
        scheduler: scheduler.clone(),
        supervisor: supervisor.clone(),
        verifier: verifier.clone(),
        ghosts: chaos::Ghosts::default(),
    };
    supervisor.do_send(Meet { herald: herald("supervisor"), verifier: verifier.clone(), scheduler: scheduler.clone() });
    let service = Service::new(
        world.clone(),
        supervisor,
        archiver,
        verifier,
        janitor,
        herald("http"),
        #[cfg(feature = "chaos")]
        victims,
    );
    let running =
        Running { service, supervisor: root, herald: herald("supervisor"), world, scheduler, _auditor: auditor };
    running.leave_starting().await;
    running
}

struct Children<'a> {
    world: &'a Arc<World>,
    parent: Recipient<ChildEvent>,
}

impl Children<'_> {
    fn start<A: supervision::Child>(
        &self,
        name: &'static str,
        mailbox: usize,
        make: impl Fn(Arc<World>) -> A + 'static,
    ) -> Post<A> {
        let settings = self.world.settings().supervision;
        let (world, hearer) = (self.world.clone(), self.world.clone());
        let heard = Box::new(move || hearer.hear(name));
        let care = Care { policy: settings.policy(), heartbeat: settings.heartbeat, heard };
        let made = move || {
            #[cfg(feature = "chaos")]
            chaos::being_made(name);
            make(world.clone())
        };
        let address = supervision::start(name, care, mailbox, self.parent.clone(), made);
        Post::new(address, self.world.mail(name))
    }
}

impl Running {
    async fn leave_starting(&self) {
        // Before anybody looks at a live file, or backs one up.
        let sources = self.world.settings().sets.iter().map(|set| set.source.clone()).collect();
        leftovers::settle(&self.world, &self.herald, sources).await;
        leftovers::tell_of_the_unbegun(&self.world, &self.herald).await;
        // Before anything is added to a history that may not be the newest.
        history::take_stock(&self.world, &self.herald).await;
        let world = self.world.clone();
        let look = tokio::task::spawn_blocking(move || {
            let concerns = reasons::concerns(&reasons::look(&world));
            world.set_concerns(concerns.clone());
            StartFacts {
                flag_set: world.settings().recovery_mode && world.role == Role::Daemon,
                persisted: Supervisor::persisted(&world),
                alarm: world.opening.alarm,
                reasons: concerns.into_keys().collect(),
            }
        });
        match look.await {
            Ok(facts) => {
                if let Err(problem) = self.service.happened(Happened::unasked(ModeEvent::Started(facts))).await {
                    tracing::error!("{problem}");
                }
            }
            Err(panic) => tracing::error!("what is true at start could not be found out: {panic}"),
        }
        let about = About::caller(&Caller::component("supervisor"));
        for event in &self.world.opening.told {
            let _ = self.herald.tell(event.clone(), &about).await;
        }
        if self.world.role == Role::Daemon {
            let repository = &self.world.repository;
            let event = Event::ServiceStarted {
                version: env!("CARGO_PKG_VERSION"),
                repository: repository.location(),
                repository_id: (!repository.is_vacant()).then(|| repository.id().to_owned()),
                mode: self.world.mode().mode.name(),
            };
            // Unrecorded: the auditor keeps the record and says so.
            let _ = self.herald.tell(event, &about).await;
            self.service.check_doubtful();
            self.service.check_chain();
        }
    }

    /// Ends all work in good order, and records that it did.
    pub async fn stop(self) {
        self.service.stop().await;
        if self.world.role == Role::Daemon {
            let about = About::caller(&Caller::component("supervisor"));
            let _ = self.herald.tell(Event::ServiceStopped { abandoned: self.world.abandoned() }, &about).await;
            self.world.feed.close();
            // However it ends, nobody waits for it longer.
            let _ = tokio::task::spawn_blocking(move || self.world.notifier.close()).await;
        }
    }
}
