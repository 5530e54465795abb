//! The service in another process, through its API: what can be asked of it.
//!
//! Hazard: work whose answer was lost may have been done all the same. What was asked for long is followed to its end
//! ([`work`]), and what is unknown is said to be ([`trouble`]).

mod connection;
mod socket;
mod trouble;
mod work;

use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use ureq::RequestBuilder;

pub use self::connection::PATIENCE;
pub use self::trouble::{Refusal, RemoteError};

use self::connection::Connection;
use self::trouble::Answer;
use super::url::ServiceUrl;
use crate::api::{
    AcceptOutcome, AcceptTimelineOptions, ApplyOptions, ApplyOutcome, AuditPage, AuditQuery, BackupDetails, BackupList,
    DiffDocument, DrillOutcome, ForgetOptions, ForgetOutcome, ListQuery, ModeDocument, PlanDocument, PlanOptions,
    PruneOptions, PruneOutcome, PrunePlan, RecoveryDocument, RestoreOptions, RestoreOutcome, Status, TimelinesDocument,
    VerifyOutcome,
};
use crate::core::secrets::Secrets;
use crate::core::{BackupRef, SetName};
use crate::pipeline::Progress;
use crate::repository::lock::Holder;

/// A service that answers.
#[derive(Clone, Debug)]
pub struct Remote(Connection);

#[derive(Serialize)]
struct Acknowledgement<'a> {
    acknowledge: &'a [String],
}

impl Remote {
    /// The service that holds the repository in `directory`, once it has given a sign of life. It gets as much `patience`
    /// for that, and for every answer that it need not work for.
    pub fn reach(directory: &Path, holder: Holder, patience: Duration) -> Result<Self, RemoteError> {
        Connection::to_holder(directory, holder, patience).map(Self)
    }

    /// The service at this address, once it has given a sign of life.
    pub fn at(url: &ServiceUrl, patience: Duration) -> Result<Self, RemoteError> {
        Connection::to(url, patience).map(Self)
    }

    /// The same, asking as the bearer of `token`.
    pub fn with_token(self, token: Option<String>) -> Self {
        Self(self.0.with_token(token))
    }

    /// The same, in a test's hurry.
    #[cfg(test)]
    pub fn hurried(mut self) -> Self {
        self.0.pace = work::Pace::HURRIED;
        self
    }

    /// Backs up a set now.
    pub fn backup(&self, set: &SetName, progress: &Progress) -> Answer<BackupDetails> {
        self.0.work(&format!("/api/backup/{set}"), RequestBuilder::send_empty, progress)
    }

    /// Rehearses the restore of a set.
    pub fn drill(&self, set: &SetName, progress: &Progress) -> Answer<DrillOutcome> {
        self.0.work(&format!("/api/drill/{set}"), RequestBuilder::send_empty, progress)
    }

    /// A page of backups, newest first.
    pub fn list(&self, query: &ListQuery) -> Answer<BackupList> {
        let limit = query.limit.map(|limit| limit.to_string());
        let parameters = [("set", query.set.clone()), ("limit", limit), ("after", query.after.clone())];
        self.0.get("/api/backup/list", parameters.into_iter().filter_map(|(name, value)| Some((name, value?))))
    }

    /// Everything about a backup.
    pub fn show(&self, reference: &BackupRef) -> Answer<BackupDetails> {
        self.0.get(&format!("/api/backup/{reference}"), [])
    }

    /// Reads a backup, whole.
    pub fn verify(&self, reference: &BackupRef, progress: &Progress) -> Answer<VerifyOutcome> {
        self.0.work(&format!("/api/backup/{reference}/verify"), RequestBuilder::send_empty, progress)
    }

    /// Restores a backup in place.
    pub fn restore(
        &self,
        set: &SetName,
        reference: &BackupRef,
        options: &RestoreOptions,
        progress: &Progress,
    ) -> Answer<RestoreOutcome> {
        self.0.work(&format!("/api/recovery/{set}/{reference}"), |request| request.send_json(options), progress)
    }

    /// Believes the clock, whatever contradicts it.
    pub fn accept_clock(&self) -> Answer<ModeDocument> {
        self.0.post("/api/clock/accept")
    }

    /// The timelines of the repository.
    pub fn timelines(&self) -> Answer<TimelinesDocument> {
        self.0.get("/api/timeline", [])
    }

    /// Says that somebody has seen the newest timeline.
    pub fn accept_timeline(&self, options: &AcceptTimelineOptions) -> Answer<TimelinesDocument> {
        self.0.post_json("/api/timeline/accept", options)
    }

    /// What would become of every backup.
    pub fn prune_plan(&self) -> Answer<PrunePlan> {
        self.0.get("/api/prune", [])
    }

    /// Deletes what is due, and what is confirmed.
    pub fn prune(&self, options: &PruneOptions, progress: &Progress) -> Answer<PruneOutcome> {
        self.0.work("/api/prune", |request| request.send_json(options), progress)
    }

    /// Pins a backup, or takes its pin away.
    pub fn set_pinned(&self, reference: &BackupRef, pinned: bool) -> Answer<BackupDetails> {
        let path = format!("/api/backup/{reference}/pin");
        self.0.answer(match pinned {
            true => self.0.putting(&path).send_empty(),
            false => self.0.deleting(&path).call(),
        })
    }

    /// Gives something up, if that is confirmed.
    pub fn forget(&self, what: &str, options: &ForgetOptions) -> Answer<ForgetOutcome> {
        self.0.post_json(&format!("/api/backup/{what}/forget"), options)
    }

    /// What differs from what is live there, or from another backup. Reading both takes as long as it takes.
    pub fn diff(&self, before: &BackupRef, after: Option<&BackupRef>, secrets: Secrets) -> Answer<DiffDocument> {
        let against = after.map_or_else(|| "live".to_owned(), ToString::to_string);
        let asking = self.0.getting(&format!("/api/backup/{before}/diff")).query("against", against);
        self.0.answer(match secrets {
            Secrets::Hidden => asking.call(),
            Secrets::Shown => asking.query("show_secrets", "true").call(),
        })
    }

    /// A page of audit records.
    pub fn audit(&self, query: &AuditQuery) -> Answer<AuditPage> {
        let AuditQuery { event, set, since, after, limit } = query;
        let parameters = [
            ("event", event.clone()),
            ("set", set.clone()),
            ("since", since.map(|since| since.to_rfc3339())),
            ("after", after.map(|after| after.to_string())),
            ("limit", limit.map(|limit| limit.to_string())),
        ];
        self.0.get("/api/audit", parameters.into_iter().filter_map(|(name, value)| Some((name, value?))))
    }

    /// Everything at a glance.
    pub fn status(&self) -> Answer<Status> {
        self.0.get("/api/status", [])
    }

    /// The mode, and what would be done.
    pub fn recovery(&self) -> Answer<RecoveryDocument> {
        self.0.get("/api/recovery", [])
    }

    /// Plans what would be restored.
    pub fn plan(&self, options: &PlanOptions) -> Answer<PlanDocument> {
        self.0.post_json("/api/recovery/plan", options)
    }

    /// Applies a plan.
    pub fn apply(&self, options: &ApplyOptions, progress: &Progress) -> Answer<ApplyOutcome> {
        self.0.work("/api/recovery/apply", |request| request.send_json(options), progress)
    }

    /// Accepts what is wrong with the audit log.
    pub fn accept_audit(&self) -> Answer<AcceptOutcome> {
        self.0.post("/api/audit/accept")
    }

    /// Enters recovery mode.
    pub fn enter_recovery(&self) -> Answer<ModeDocument> {
        self.0.post("/api/recovery/enter")
    }

    /// Leaves recovery mode.
    pub fn exit_recovery(&self, acknowledge: &[String]) -> Answer<ModeDocument> {
        self.0.post_json("/api/recovery/exit", &Acknowledgement { acknowledge })
    }
}

#[cfg(test)]
mod tests;
