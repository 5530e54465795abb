//! The documents that people and programs exchange with the service: what the HTTP API answers and the command line
//! shows. Both are made here, so that they cannot say different things.
//!
//! Hazard: a field that is renamed breaks somebody's script silently. Fields are added, never renamed.

mod audit;
mod backups;
mod damage;
mod diff;
mod drill;
mod jobs;
mod keys;
mod problem;
mod prune;
mod recovery;
mod replicas;
mod restore;
mod schema;
mod status;
mod timeline;
mod verify;

pub use audit::{AcceptOutcome, AuditPage, AuditQuery, MAX_RECORDS};
pub use backups::{
    BackupDetails, BackupList, BackupSummary, DirectoryDocument, FileDocument, ListQuery, MAX_LIST, SymlinkDocument,
    UnreadableDocument,
};
pub use damage::{DamageStatus, DamagedPlace, MAX_DAMAGED_SHOWN, ScrubStatus};
pub use diff::{DiffDocument, DiffQuery, FileChange, FileDiff};
pub use drill::{DrillOutcome, DrillVerdict};
pub use jobs::{JobDocument, JobId, JobList, JobOperation, JobProgress, JobResult, JobState};
pub use keys::{KeyChange, KeyCheck, KeyDocument, KeyList, SetKeyCheck};
pub use problem::{Problem, ProblemKind};
pub use prune::{
    DecisionDocument, DeletedDocument, ForgetOptions, ForgetOutcome, GarbageDocument, HeldDocument, PruneOptions,
    PruneOutcome, PrunePlan, QuarantineDocument, SetPlan,
};
pub use recovery::{ApplyOptions, ApplyOutcome, FailedRestore, PlanDocument, PlanOptions, RecoveryDocument};
pub use replicas::{ReplicaCreated, ReplicaStatus};
pub use restore::{RestoreOptions, RestoreOutcome, RestoredDocument, SkippedDocument};
pub use schema::patterns;
pub use status::{
    ActorStatus, AuditStatus, ModeDocument, ReasonDocument, RepositoryStatus, SetStatus, StateCounts, Status,
};
pub use timeline::{AcceptTimelineOptions, DepartureDocument, TimelineDocument, TimelinesDocument};
pub use verify::{DamageDocument, VerifyOutcome, VerifyVerdict};
