//! What the front door needs of the service behind it.
//!
//! Hazard: rules that live in a handler hold for one front door only. Handlers translate, and ask [`Service`]; this
//! trait is as thin as it looks, and is here so that tests can stand in for it.

use crate::actors::service::{Caller, Download, Service};
use crate::api::{
    AcceptOutcome, AcceptTimelineOptions, ApplyOptions, ApplyOutcome, AuditPage, AuditQuery, BackupDetails, BackupList,
    DiffDocument, DrillOutcome, ForgetOptions, ForgetOutcome, ListQuery, ModeDocument, PlanDocument, PlanOptions,
    Problem, PruneOptions, PruneOutcome, PrunePlan, RecoveryDocument, RestoreOptions, RestoreOutcome, Status,
    TimelinesDocument, VerifyOutcome,
};
use crate::core::BackupRef;
use crate::telemetry::Follower;

/// The calls of [`Service`]. Those that are not `async` may block, but for `metrics`, `unready` and `unwell`.
pub(super) trait Api: Clone + Send + Sync + 'static {
    async fn backup(&self, set: &str, caller: &Caller) -> Result<BackupDetails, Problem>;
    fn list(&self, query: &ListQuery) -> Result<BackupList, Problem>;
    fn show(&self, reference: &str) -> Result<BackupDetails, Problem>;
    async fn verify(&self, reference: &str, caller: &Caller) -> Result<VerifyOutcome, Problem>;
    async fn drill(&self, set: &str, caller: &Caller) -> Result<DrillOutcome, Problem>;
    async fn restore(
        &self,
        set: &str,
        reference: &str,
        options: &RestoreOptions,
        caller: &Caller,
    ) -> Result<RestoreOutcome, Problem>;
    fn status(&self) -> Status;
    fn diff(&self, before: &BackupRef, after: Option<&BackupRef>) -> Result<DiffDocument, Problem>;
    async fn diff_with_secrets(
        &self,
        before: &BackupRef,
        after: Option<&BackupRef>,
        caller: &Caller,
    ) -> Result<DiffDocument, Problem>;
    fn download(&self, reference: &str, path: &str, caller: &Caller) -> Result<Download, Problem>;
    fn follow(&self, after: Option<&str>) -> Follower;
    fn recovery(&self) -> RecoveryDocument;
    async fn plan(&self, options: &PlanOptions, caller: &Caller) -> Result<PlanDocument, Problem>;
    async fn apply(&self, options: &ApplyOptions, caller: &Caller) -> Result<ApplyOutcome, Problem>;
    async fn enter_recovery(&self, caller: &Caller) -> Result<ModeDocument, Problem>;
    async fn exit_recovery(&self, acknowledged: Vec<String>, caller: &Caller) -> Result<ModeDocument, Problem>;
    async fn accept_clock(&self, caller: &Caller) -> Result<ModeDocument, Problem>;
    /// The timelines of the repository.
    fn timelines(&self) -> Result<TimelinesDocument, Problem>;
    /// Takes note that somebody has seen the newest timeline.
    async fn accept_timeline(
        &self,
        options: &AcceptTimelineOptions,
        caller: &Caller,
    ) -> Result<TimelinesDocument, Problem>;
    fn prune_plan(&self) -> PrunePlan;
    async fn prune(&self, options: &PruneOptions, caller: &Caller) -> Result<PruneOutcome, Problem>;
    async fn set_pinned(&self, reference: &str, pinned: bool, caller: &Caller) -> Result<BackupDetails, Problem>;
    async fn forget(&self, what: &str, options: &ForgetOptions, caller: &Caller) -> Result<ForgetOutcome, Problem>;
    fn audit_records(&self, query: &AuditQuery) -> Result<AuditPage, Problem>;
    async fn accept_audit(&self, caller: &Caller) -> Result<AcceptOutcome, Problem>;
    fn metrics(&self) -> Result<String, Problem>;
    fn unready(&self) -> Option<String>;
    fn unwell(&self) -> Option<String>;
}

impl Api for Service {
    async fn backup(&self, set: &str, caller: &Caller) -> Result<BackupDetails, Problem> {
        Service::backup(self, set, caller).await
    }

    fn list(&self, query: &ListQuery) -> Result<BackupList, Problem> {
        Service::list(self, query)
    }

    fn show(&self, reference: &str) -> Result<BackupDetails, Problem> {
        Service::show(self, reference)
    }

    async fn verify(&self, reference: &str, caller: &Caller) -> Result<VerifyOutcome, Problem> {
        Service::verify(self, reference, caller).await
    }

    async fn drill(&self, set: &str, caller: &Caller) -> Result<DrillOutcome, Problem> {
        Service::drill(self, set, caller).await
    }

    async fn restore(
        &self,
        set: &str,
        reference: &str,
        options: &RestoreOptions,
        caller: &Caller,
    ) -> Result<RestoreOutcome, Problem> {
        Service::restore(self, set, reference, options, caller).await
    }

    fn status(&self) -> Status {
        Service::status(self)
    }

    fn diff(&self, before: &BackupRef, after: Option<&BackupRef>) -> Result<DiffDocument, Problem> {
        Service::diff(self, before, after)
    }

    async fn diff_with_secrets(
        &self,
        before: &BackupRef,
        after: Option<&BackupRef>,
        caller: &Caller,
    ) -> Result<DiffDocument, Problem> {
        Service::diff_with_secrets(self, before, after, caller).await
    }

    fn download(&self, reference: &str, path: &str, caller: &Caller) -> Result<Download, Problem> {
        Service::download(self, reference, path, caller)
    }

    fn follow(&self, after: Option<&str>) -> Follower {
        Service::follow(self, after)
    }

    fn recovery(&self) -> RecoveryDocument {
        Service::recovery(self)
    }

    async fn plan(&self, options: &PlanOptions, caller: &Caller) -> Result<PlanDocument, Problem> {
        Service::plan(self, options, caller).await
    }

    async fn apply(&self, options: &ApplyOptions, caller: &Caller) -> Result<ApplyOutcome, Problem> {
        Service::apply(self, options, caller).await
    }

    async fn enter_recovery(&self, caller: &Caller) -> Result<ModeDocument, Problem> {
        Service::enter_recovery(self, caller).await
    }

    async fn exit_recovery(&self, acknowledged: Vec<String>, caller: &Caller) -> Result<ModeDocument, Problem> {
        Service::exit_recovery(self, acknowledged, caller).await
    }

    async fn accept_clock(&self, caller: &Caller) -> Result<ModeDocument, Problem> {
        Service::accept_clock(self, caller).await
    }

    fn timelines(&self) -> Result<TimelinesDocument, Problem> {
        Service::timelines(self)
    }

    async fn accept_timeline(
        &self,
        options: &AcceptTimelineOptions,
        caller: &Caller,
    ) -> Result<TimelinesDocument, Problem> {
        Service::accept_timeline(self, options, caller).await
    }

    fn prune_plan(&self) -> PrunePlan {
        Service::prune_plan(self)
    }

    async fn prune(&self, options: &PruneOptions, caller: &Caller) -> Result<PruneOutcome, Problem> {
        Service::prune(self, options, caller).await
    }

    async fn set_pinned(&self, reference: &str, pinned: bool, caller: &Caller) -> Result<BackupDetails, Problem> {
        Service::set_pinned(self, reference, pinned, caller).await
    }

    async fn forget(&self, what: &str, options: &ForgetOptions, caller: &Caller) -> Result<ForgetOutcome, Problem> {
        Service::forget(self, what, options, caller).await
    }

    fn audit_records(&self, query: &AuditQuery) -> Result<AuditPage, Problem> {
        Service::audit_records(self, query)
    }

    async fn accept_audit(&self, caller: &Caller) -> Result<AcceptOutcome, Problem> {
        Service::accept_audit(self, caller).await
    }

    fn metrics(&self) -> Result<String, Problem> {
        Service::metrics(self)
    }

    fn unready(&self) -> Option<String> {
        Service::unready(self)
    }

    fn unwell(&self) -> Option<String> {
        Service::unwell(self)
    }
}
