//! The service as its users see it: what may be asked of it, whatever they ask through.
//!
//! Hazard: two front doors with two sets of rules. The HTTP API and the command line both come in here.

use std::sync::Arc;

use crate::api::{
    BackupDetails, BackupList, ListQuery, ModeDocument, Problem, RestoreOptions, RestoreOutcome, Status, VerifyOutcome,
};
use crate::pipeline::Progress;

/// Who asks.
#[derive(Clone, Debug)]
pub struct Caller {
    /// `http`, `cli:1000`, `scheduler`.
    pub principal: String,
    /// What ties the records, log lines and answers of this operation together.
    pub correlation_id: String,
    /// How far the work is, and the wish that it stop.
    pub progress: Arc<Progress>,
}

/// A handle to the running service. Cheap to clone.
#[derive(Clone)]
pub struct Service {}

impl Service {
    /// Backs up a set now; answered after it was read back.
    pub async fn backup(&self, set: &str, caller: &Caller) -> Result<BackupDetails, Problem> {
        let _ = (set, caller);
        unimplemented!()
    }
    /// A page of backups, newest first.
    pub fn list(&self, query: &ListQuery) -> Result<BackupList, Problem> {
        let _ = query;
        unimplemented!()
    }
    /// Everything about a backup.
    pub fn show(&self, reference: &str) -> Result<BackupDetails, Problem> {
        let _ = reference;
        unimplemented!()
    }
    /// Reads a backup, whole.
    pub async fn verify(&self, reference: &str, caller: &Caller) -> Result<VerifyOutcome, Problem> {
        let _ = (reference, caller);
        unimplemented!()
    }
    /// Restores a backup in place.
    pub async fn restore(
        &self,
        set: &str,
        reference: &str,
        options: &RestoreOptions,
        caller: &Caller,
    ) -> Result<RestoreOutcome, Problem> {
        let _ = (set, reference, options, caller);
        unimplemented!()
    }
    /// Everything at a glance.
    pub fn status(&self) -> Status {
        unimplemented!()
    }
    /// The mode.
    pub fn recovery(&self) -> ModeDocument {
        unimplemented!()
    }
    /// Enters recovery mode, as an operator.
    pub async fn enter_recovery(&self, caller: &Caller) -> Result<ModeDocument, Problem> {
        let _ = caller;
        unimplemented!()
    }
    /// Leaves recovery mode, after a validation, or with these losses acknowledged by name.
    pub async fn exit_recovery(&self, acknowledged: Vec<String>, caller: &Caller) -> Result<ModeDocument, Problem> {
        let _ = (acknowledged, caller);
        unimplemented!()
    }
    /// The metrics in Prometheus' text format 0.0.4.
    pub fn metrics(&self) -> Result<String, Problem> {
        unimplemented!()
    }
    /// Why the service is not ready, if it is not.
    pub fn unready(&self) -> Option<String> {
        unimplemented!()
    }
}
