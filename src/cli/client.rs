//! The service, wherever it runs.
//!
//! Hazard: a command that does one thing beside a running service and another without one. Both are asked the same
//! questions and give the same documents, so everything after this is shared.

use std::sync::Arc;

use super::failure::Failure;
use super::progress::Bars;
use super::remote::{Refusal, Remote};
use crate::actors::service::{Caller, Service};
use crate::api::{
    AcceptOutcome, AcceptTimelineOptions, ApplyOptions, ApplyOutcome, BackupDetails, BackupList, DiffDocument,
    DrillOutcome, ForgetOptions, ForgetOutcome, ListQuery, ModeDocument, PlanDocument, PlanOptions, Problem,
    PruneOptions, PruneOutcome, PrunePlan, RecoveryDocument, RestoreOptions, RestoreOutcome, Status, TimelinesDocument,
    VerifyOutcome,
};
use crate::core::secrets::Secrets;
use crate::core::{BackupRef, SetName};
use crate::pipeline::Progress;

/// The service, and whether its progress is shown.
pub struct Client {
    service: Whose,
    bars: Bars,
}

enum Whose {
    /// In another process, which answers.
    Remote(Remote),
    /// In this one, for this one command.
    Local(Box<Service>),
}

type Answer<T> = Result<T, Failure>;

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Problem(problem) => Self::Problem(problem),
            Refusal::Remote(error) => Self::Remote(error),
        }
    }
}

impl Client {
    /// The one in another process.
    pub const fn there(remote: Remote, bars: Bars) -> Self {
        Self { service: Whose::Remote(remote), bars }
    }

    /// The one in this process.
    pub fn here(service: Service, bars: Bars) -> Self {
        Self { service: Whose::Local(Box::new(service)), bars }
    }

    /// Whether this process will be gone after the command, and schedules with it.
    pub const fn is_local(&self) -> bool {
        matches!(self.service, Whose::Local(_))
    }

    /// Backs up a set now; answered after it was read back.
    pub async fn backup(&self, set: &SetName) -> Answer<BackupDetails> {
        match &self.service {
            Whose::Remote(remote) => self.followed("back up", |progress| remote.backup(set, progress)),
            Whose::Local(service) => {
                self.watched("back up", async |caller: &Caller| service.backup(set.as_str(), caller).await).await
            }
        }
    }

    /// A page of backups, newest first.
    pub fn list(&self, query: &ListQuery) -> Answer<BackupList> {
        match &self.service {
            Whose::Remote(remote) => Ok(remote.list(query)?),
            Whose::Local(service) => Ok(service.list(query)?),
        }
    }

    /// Reads a backup, whole.
    pub async fn verify(&self, reference: &BackupRef) -> Answer<VerifyOutcome> {
        match &self.service {
            Whose::Remote(remote) => self.followed("verify", |progress| remote.verify(reference, progress)),
            Whose::Local(service) => {
                let reference = reference.to_string();
                self.watched("verify", async |caller: &Caller| service.verify(&reference, caller).await).await
            }
        }
    }

    /// Rehearses the restore of a set.
    pub async fn drill(&self, set: &SetName) -> Answer<DrillOutcome> {
        match &self.service {
            Whose::Remote(remote) => self.followed("drill", |progress| remote.drill(set, progress)),
            Whose::Local(service) => {
                self.watched("drill", async |caller: &Caller| service.drill(set.as_str(), caller).await).await
            }
        }
    }

    /// Restores a backup in place.
    pub async fn restore(
        &self,
        set: &SetName,
        reference: &BackupRef,
        options: &RestoreOptions,
    ) -> Answer<RestoreOutcome> {
        match &self.service {
            Whose::Remote(remote) => {
                self.followed("restore", |progress| remote.restore(set, reference, options, progress))
            }
            Whose::Local(service) => {
                let (set, reference) = (set.as_str(), reference.to_string());
                self.watched("restore", async |caller: &Caller| service.restore(set, &reference, options, caller).await)
                    .await
            }
        }
    }

    /// What differs, with the secrets in it.
    pub async fn diff_with_secrets(&self, before: &BackupRef, after: Option<&BackupRef>) -> Answer<DiffDocument> {
        match &self.service {
            Whose::Remote(remote) => Ok(remote.diff(before, after, Secrets::Shown)?),
            Whose::Local(service) => Ok(service.diff_with_secrets(before, after, &caller()).await?),
        }
    }

    /// Believes the clock, whatever contradicts it.
    pub async fn accept_clock(&self) -> Answer<ModeDocument> {
        match &self.service {
            Whose::Remote(remote) => Ok(remote.accept_clock()?),
            Whose::Local(service) => Ok(service.accept_clock(&caller()).await?),
        }
    }

    /// The timelines of the repository.
    pub fn timelines(&self) -> Answer<TimelinesDocument> {
        match &self.service {
            Whose::Remote(remote) => Ok(remote.timelines()?),
            Whose::Local(service) => Ok(service.timelines()?),
        }
    }

    /// Says that somebody has seen the newest timeline.
    pub async fn accept_timeline(&self, options: &AcceptTimelineOptions) -> Answer<TimelinesDocument> {
        match &self.service {
            Whose::Remote(remote) => Ok(remote.accept_timeline(options)?),
            Whose::Local(service) => Ok(service.accept_timeline(options, &caller()).await?),
        }
    }

    /// What would become of every backup.
    pub fn prune_plan(&self) -> Answer<PrunePlan> {
        match &self.service {
            Whose::Remote(remote) => Ok(remote.prune_plan()?),
            Whose::Local(service) => Ok(service.prune_plan()),
        }
    }

    /// Deletes what is due, and what is confirmed.
    pub async fn prune(&self, options: &PruneOptions) -> Answer<PruneOutcome> {
        match &self.service {
            Whose::Remote(remote) => self.followed("clean up", |progress| remote.prune(options, progress)),
            Whose::Local(service) => {
                self.watched("clean up", async |caller: &Caller| service.prune(options, caller).await).await
            }
        }
    }

    /// Pins a backup, or takes its pin away.
    pub async fn set_pinned(&self, reference: &BackupRef, pinned: bool) -> Answer<BackupDetails> {
        match &self.service {
            Whose::Remote(remote) => Ok(remote.set_pinned(reference, pinned)?),
            Whose::Local(service) => Ok(service.set_pinned(&reference.to_string(), pinned, &caller()).await?),
        }
    }

    /// Gives something up, if that is confirmed.
    pub async fn forget(&self, what: &str, options: &ForgetOptions) -> Answer<ForgetOutcome> {
        match &self.service {
            Whose::Remote(remote) => Ok(remote.forget(what, options)?),
            Whose::Local(service) => Ok(service.forget(what, options, &caller()).await?),
        }
    }

    /// Everything at a glance.
    pub fn status(&self) -> Answer<Status> {
        match &self.service {
            Whose::Remote(remote) => Ok(remote.status()?),
            Whose::Local(service) => Ok(service.status()),
        }
    }

    /// The mode, and what would be done.
    pub fn recovery(&self) -> Answer<RecoveryDocument> {
        match &self.service {
            Whose::Remote(remote) => Ok(remote.recovery()?),
            Whose::Local(service) => Ok(service.recovery()),
        }
    }

    /// Plans what would be restored, once the copies were read.
    pub async fn plan(&self, options: &PlanOptions) -> Answer<PlanDocument> {
        match &self.service {
            Whose::Remote(remote) => Ok(remote.plan(options)?),
            Whose::Local(service) => {
                self.watched("read the backups", async |caller: &Caller| service.plan(options, caller).await).await
            }
        }
    }

    /// Applies a plan, and validates what came of it.
    pub async fn apply(&self, options: &ApplyOptions) -> Answer<ApplyOutcome> {
        match &self.service {
            Whose::Remote(remote) => self.followed("restore", |progress| remote.apply(options, progress)),
            Whose::Local(service) => {
                self.watched("restore", async |caller: &Caller| service.apply(options, caller).await).await
            }
        }
    }

    /// Accepts what is wrong with the audit log.
    pub async fn accept_audit(&self) -> Answer<AcceptOutcome> {
        match &self.service {
            Whose::Remote(remote) => Ok(remote.accept_audit()?),
            Whose::Local(service) => Ok(service.accept_audit(&caller()).await?),
        }
    }

    /// Enters recovery mode.
    pub async fn enter_recovery(&self) -> Answer<ModeDocument> {
        match &self.service {
            Whose::Remote(remote) => Ok(remote.enter_recovery()?),
            Whose::Local(service) => Ok(service.enter_recovery(&caller()).await?),
        }
    }

    /// Leaves recovery mode, these losses acknowledged.
    pub async fn exit_recovery(&self, acknowledge: &[String]) -> Answer<ModeDocument> {
        match &self.service {
            Whose::Remote(remote) => Ok(remote.exit_recovery(acknowledge)?),
            Whose::Local(service) => Ok(service.exit_recovery(acknowledge.to_vec(), &caller()).await?),
        }
    }

    /// Long work of this process, its progress shown.
    async fn watched<T>(&self, verb: &'static str, work: impl AsyncFnOnce(&Caller) -> Result<T, Problem>) -> Answer<T> {
        let caller = caller();
        let _bar = self.bars.show(verb, &caller.progress);
        Ok(work(&caller).await?)
    }

    /// Long work of the other process, its progress shown.
    fn followed<T>(&self, verb: &str, work: impl FnOnce(&Progress) -> Result<T, Refusal>) -> Answer<T> {
        let progress = Arc::default();
        let _bar = self.bars.show(format!("{verb} (after Ctrl-C the service goes on)"), &progress);
        Ok(work(&progress)?)
    }
}

/// Whoever runs this command.
fn caller() -> Caller {
    Caller {
        correlation_id: format!("{:016x}", fastrand::u64(..)),
        ..Caller::new(format!("cli:{}", rustix::process::getuid().as_raw()))
    }
}
