//! A stand-in for the service: remembers what it was asked, and behaves as the set's name says.

use std::sync::{Arc, Mutex, mpsc};

use chrono::DateTime;
use tokio::sync::Semaphore;

use crate::actors::service::{Caller, Download};
use crate::api::{
    AcceptOutcome, AcceptTimelineOptions, ApplyOptions, ApplyOutcome, AuditPage, AuditQuery, AuditStatus,
    BackupDetails, BackupList, BackupSummary, DiffDocument, DrillOutcome, DrillVerdict, FileDocument, ForgetOptions,
    ForgetOutcome, GarbageDocument, ListQuery, ModeDocument, PlanDocument, PlanOptions, Problem, ProblemKind,
    PruneOptions, PruneOutcome, PrunePlan, QuarantineDocument, RecoveryDocument, RepositoryStatus, RestoreOptions,
    RestoreOutcome, Status, TimelinesDocument, VerifyOutcome, VerifyVerdict,
};
use crate::core::recovery_plan::Plan;
use crate::core::{BackupId, BackupKind, BackupRef, BackupState, Digest};
use crate::telemetry::{Feed, Follower};

use super::super::api::Api;
use super::PATIENCE;

pub const ID: &str = "20261123T101500Z-3f9c2ab1";

/// What happens to an operation on the set `slow`.
#[derive(Debug, PartialEq, Eq)]
pub enum Stage {
    Begun,
    Ended,
    Dropped,
}

/// A set called `kind-N` fails as the N-th kind of problem does; `panic` panics; `slow` waits for [`Fake::let_go`].
#[derive(Clone)]
pub struct Fake(Arc<Inner>);

struct Inner {
    calls: Mutex<Vec<String>>,
    callers: Mutex<Vec<Caller>>,
    unready: Mutex<Option<String>>,
    unwell: Mutex<Option<String>>,
    gate: Semaphore,
    feed: Arc<Feed>,
    sender: Mutex<mpsc::Sender<Stage>>,
    stages: Mutex<mpsc::Receiver<Stage>>,
}

impl Default for Fake {
    fn default() -> Self {
        let (sender, stages) = mpsc::channel();
        Self(Arc::new(Inner {
            calls: Mutex::default(),
            callers: Mutex::default(),
            unready: Mutex::default(),
            unwell: Mutex::default(),
            gate: Semaphore::new(0),
            feed: Arc::default(),
            sender: Mutex::new(sender),
            stages: Mutex::new(stages),
        }))
    }
}

/// Tells whether an operation came to its end.
struct Witness(mpsc::Sender<Stage>, Stage);

impl Drop for Witness {
    fn drop(&mut self) {
        let _ = self.0.send(std::mem::replace(&mut self.1, Stage::Dropped));
    }
}

impl Fake {
    /// Everything it was asked so far.
    pub fn calls(&self) -> Vec<String> {
        self.0.calls.lock().unwrap().clone()
    }

    /// Who asked last.
    pub fn caller(&self) -> Caller {
        self.0.callers.lock().unwrap().last().unwrap().clone()
    }

    pub fn make_unready(&self, reason: &str) {
        *self.0.unready.lock().unwrap() = Some(reason.to_owned());
    }

    pub fn make_unwell(&self, reason: &str) {
        *self.0.unwell.lock().unwrap() = Some(reason.to_owned());
    }

    /// Lets one operation on `slow` end.
    pub fn let_go(&self) {
        self.0.gate.add_permits(1);
    }

    /// The next thing that happens to an operation on `slow`.
    pub fn stage(&self) -> Stage {
        self.0.stages.lock().unwrap().recv_timeout(PATIENCE).unwrap()
    }

    /// What happens.
    pub fn feed(&self) -> &Feed {
        &self.0.feed
    }

    fn note(&self, call: String) {
        self.0.calls.lock().unwrap().push(call);
    }

    fn note_caller(&self, caller: &Caller) {
        self.0.callers.lock().unwrap().push(caller.clone());
    }

    fn behave(set: &str) -> Result<(), Problem> {
        assert_ne!(set, "panic");
        let Some(kind) = set.strip_prefix("kind-") else { return Ok(()) };
        let mut problem = Problem::new(ProblemKind::ALL[kind.parse::<usize>().unwrap()], "as asked");
        problem.good_backups = vec![id()];
        Err(problem)
    }

    async fn wait_if_slow(&self, set: &str) {
        if set == "slow" {
            let sender = self.0.sender.lock().unwrap().clone();
            sender.send(Stage::Begun).unwrap();
            let mut witness = Witness(sender, Stage::Dropped);
            self.0.gate.acquire().await.unwrap().forget();
            witness.1 = Stage::Ended;
        }
    }
}

impl Api for Fake {
    async fn backup(&self, set: &str, caller: &Caller) -> Result<BackupDetails, Problem> {
        self.note(format!("backup {set}"));
        self.note_caller(caller);
        self.wait_if_slow(set).await;
        Self::behave(set)?;
        Ok(details())
    }

    fn list(&self, query: &ListQuery) -> Result<BackupList, Problem> {
        self.note(format!("list {:?} {:?} {:?}", query.set, query.limit, query.after));
        Self::behave(query.set.as_deref().unwrap_or_default())?;
        Ok(BackupList { backups: vec![details().summary], next: Some(id()) })
    }

    fn show(&self, reference: &str) -> Result<BackupDetails, Problem> {
        self.note(format!("show {reference}"));
        Ok(details())
    }

    async fn drill(&self, set: &str, caller: &Caller) -> Result<DrillOutcome, Problem> {
        self.note(format!("drill {set}"));
        self.note_caller(caller);
        Ok(DrillOutcome {
            set: set.parse().unwrap(),
            backup: id(),
            verdict: DrillVerdict::Passed,
            failure: None,
            started: DateTime::UNIX_EPOCH,
            files: 1,
            size_bytes: 2,
            duration_seconds: 0.5,
        })
    }

    async fn verify(&self, reference: &str, caller: &Caller) -> Result<VerifyOutcome, Problem> {
        self.note(format!("verify {reference}"));
        self.note_caller(caller);
        Ok(VerifyOutcome {
            backup: id(),
            set: "security".parse().unwrap(),
            verdict: VerifyVerdict::Intact,
            damages: vec![],
            healed: vec![],
            unreadable: None,
            content_bytes: 7,
        })
    }

    async fn restore(
        &self,
        set: &str,
        reference: &str,
        options: &RestoreOptions,
        caller: &Caller,
    ) -> Result<RestoreOutcome, Problem> {
        self.note(format!("restore {set} {reference} {:?} {}", options.file, options.replace_logs));
        self.note_caller(caller);
        self.wait_if_slow(set).await;
        Self::behave(set)?;
        Ok(RestoreOutcome {
            set: set.parse().unwrap(),
            backup: id(),
            backups: vec![id()],
            target: "/etc/fiovana".to_owned(),
            restored: vec![],
            removed: vec![],
            unsaved: vec![],
            left_alone: vec![],
            undo_call: None,
            symlinks: vec![],
            not_kept: vec![],
            skipped: vec![],
            safety_backup: Some(id()),
            undo: None,
        })
    }

    fn status(&self) -> Status {
        self.note("status".to_owned());
        Status {
            version: "0.1.0".to_owned(),
            started: DateTime::UNIX_EPOCH,
            enabled: true,
            mode: mode("normal"),
            sets: vec![],
            actors: vec![],
            damage: Default::default(),
            scrub: Default::default(),
            replicas: vec![],
            repository: RepositoryStatus {
                location: "/backups".to_owned(),
                id: "r".to_owned(),
                objects: 0,
                stored_bytes: 0,
                free_bytes: None,
                earlier: None,
            },
            audit: AuditStatus { path: "/audit".to_owned(), head_sequence: None, writable: true, chain_ok: true },
            log_lines_dropped: 0,
        }
    }

    fn diff(&self, before: &BackupRef, after: Option<&BackupRef>) -> Result<DiffDocument, Problem> {
        self.note(format!("diff {before} {after:?}"));
        let (before, after) = (before.to_string(), after.map_or_else(|| "live".to_owned(), ToString::to_string));
        Ok(DiffDocument { set: "security".parse().unwrap(), before, after, files: vec![], more: 0 })
    }

    async fn diff_with_secrets(
        &self,
        before: &BackupRef,
        after: Option<&BackupRef>,
        caller: &Caller,
    ) -> Result<DiffDocument, Problem> {
        self.note("with secrets".to_owned());
        self.note_caller(caller);
        self.diff(before, after)
    }

    fn download(&self, reference: &str, path: &str, caller: &Caller) -> Result<Download, Problem> {
        self.note(format!("download {reference} {path}"));
        self.note_caller(caller);
        let damage = || Problem::new(ProblemKind::Integrity, "as asked");
        let chunks: Vec<Result<Vec<u8>, Problem>> = match path {
            "damaged" => vec![Err(damage())],
            "damaged-later" => vec![Ok(vec![b'a'; 1 << 20]), Err(damage())],
            "large" => (0..64).map(|_| Ok(vec![b'a'; 1 << 20])).collect(),
            "empty" => vec![],
            "absent" => return Err(Problem::new(ProblemKind::NotFound, "as asked")),
            _ => vec![Ok(b"con".to_vec()), Ok(b"tent".to_vec())],
        };
        let size_bytes = chunks.iter().map(|chunk| chunk.as_ref().map_or(1 << 20, Vec::len) as u64).sum();
        let file = FileDocument {
            hard_link_to: None,
            path: path.to_owned(),
            size_bytes,
            sha256: Digest::of(b"content"),
            mode: "0644".to_owned(),
            modified: DateTime::UNIX_EPOCH,
            fault: None,
        };
        Ok(Download { file, content: Box::new(chunks.into_iter()) })
    }

    fn follow(&self, after: Option<&str>) -> Follower {
        self.note(format!("follow {after:?}"));
        self.0.feed.follow(after)
    }

    fn recovery(&self) -> RecoveryDocument {
        self.note("recovery".to_owned());
        RecoveryDocument { mode: mode("normal"), plan: PlanDocument::new(Plan::default(), PlanOptions::default()) }
    }

    async fn plan(&self, options: &PlanOptions, caller: &Caller) -> Result<PlanDocument, Problem> {
        self.note(format!("plan {:?} {:?}", options.sets, options.at));
        self.note_caller(caller);
        Ok(PlanDocument::new(Plan::default(), options.clone()))
    }

    async fn apply(&self, options: &ApplyOptions, caller: &Caller) -> Result<ApplyOutcome, Problem> {
        self.note(format!("apply {:?} {}", options.digest, options.ignore_ownership));
        self.note_caller(caller);
        Ok(ApplyOutcome {
            plan: options.digest.unwrap(),
            restored: vec![],
            failed: vec![],
            validated: true,
            losses: vec![],
            mode: mode("normal"),
            duration_seconds: 0.5,
        })
    }

    async fn enter_recovery(&self, caller: &Caller) -> Result<ModeDocument, Problem> {
        self.note("enter".to_owned());
        self.note_caller(caller);
        Ok(mode("recovery"))
    }

    async fn exit_recovery(&self, acknowledged: Vec<String>, caller: &Caller) -> Result<ModeDocument, Problem> {
        self.note(format!("exit {acknowledged:?}"));
        self.note_caller(caller);
        Ok(mode("normal"))
    }

    async fn accept_clock(&self, caller: &Caller) -> Result<ModeDocument, Problem> {
        self.note("accept clock".to_owned());
        self.note_caller(caller);
        Ok(mode("normal"))
    }

    fn timelines(&self) -> Result<TimelinesDocument, Problem> {
        self.note("timelines".to_owned());
        Ok(TimelinesDocument { timeline: 1, held: false, timelines: vec![] })
    }

    async fn accept_timeline(
        &self,
        options: &AcceptTimelineOptions,
        caller: &Caller,
    ) -> Result<TimelinesDocument, Problem> {
        self.note(format!("accept timeline {:?}", options.replica));
        self.note_caller(caller);
        Ok(TimelinesDocument { timeline: 2, held: false, timelines: vec![] })
    }

    fn prune_plan(&self) -> PrunePlan {
        self.note("prune plan".to_owned());
        PrunePlan { sets: vec![], garbage: GarbageDocument::default(), quarantine: QuarantineDocument::default() }
    }

    async fn prune(&self, options: &PruneOptions, caller: &Caller) -> Result<PruneOutcome, Problem> {
        self.note(format!("prune {:?}", options.confirm));
        self.note_caller(caller);
        Ok(PruneOutcome::default())
    }

    async fn set_pinned(&self, reference: &str, pinned: bool, caller: &Caller) -> Result<BackupDetails, Problem> {
        self.note(format!("pin {reference} {pinned}"));
        self.note_caller(caller);
        Ok(details())
    }

    async fn forget(&self, what: &str, options: &ForgetOptions, caller: &Caller) -> Result<ForgetOutcome, Problem> {
        self.note(format!("forget {what} {:?}", options.confirm));
        self.note_caller(caller);
        Ok(ForgetOutcome {
            set: "security".parse().unwrap(),
            backup: None,
            sequences: vec![7],
            gives_up: vec![],
            digest: "0123456789abcdef".to_owned(),
            done: false,
        })
    }

    fn audit_records(&self, query: &AuditQuery) -> Result<AuditPage, Problem> {
        self.note(format!("audit {:?} {:?} {:?} {:?}", query.event, query.set, query.after, query.limit));
        Ok(AuditPage { records: vec![], next: 7 })
    }

    async fn accept_audit(&self, caller: &Caller) -> Result<AcceptOutcome, Problem> {
        self.note("accept".to_owned());
        self.note_caller(caller);
        Ok(AcceptOutcome { accepted: vec![] })
    }

    fn metrics(&self) -> Result<String, Problem> {
        self.note("metrics".to_owned());
        Ok("fiovana_mode 1\n".to_owned())
    }

    fn unready(&self) -> Option<String> {
        self.0.unready.lock().unwrap().clone()
    }

    fn unwell(&self) -> Option<String> {
        self.0.unwell.lock().unwrap().clone()
    }
}

fn id() -> BackupId {
    ID.parse().unwrap()
}

fn mode(name: &str) -> ModeDocument {
    ModeDocument { name: name.to_owned(), cause: None, phase: None, reasons: vec![], losses: vec![], persisted: true }
}

fn details() -> BackupDetails {
    BackupDetails {
        summary: BackupSummary {
            id: id(),
            set: "security".parse().unwrap(),
            sequence: Some(1),
            kind: Some(BackupKind::Manual),
            created: id().created(),
            state: BackupState::Good,
            fault: None,
            verified: None,
            pinned: false,
            consistent: true,
            size_bytes: 7,
            stored_bytes: 9,
            recipients: vec![],
        },
        manifest_sha256: None,
        files: vec![],
        missing: vec![],
        fewer: vec![],
        symlinks: vec![],
        directories: vec![],
        unreadable: vec![],
    }
}
