//! Documents for tests. They hold one of everything that can be shown, so that nothing is shown unseen.

use chrono::{DateTime, TimeDelta, Utc};

use super::output::Look;
use crate::api::*;
use crate::core::recovery_plan::{Action, Chosen, Entry, LiveState, Plan};
use crate::core::{BackupId, BackupKind, BackupPriority, BackupState, Digest};

pub fn now() -> DateTime<Utc> {
    "2026-11-23T13:15:00Z".parse().unwrap()
}

/// A pipe: no colours, as wide as need be.
pub fn look() -> Look {
    Look { colour: false, width: None, now: now() }
}

/// A terminal of 40 columns.
pub fn narrow() -> Look {
    Look { width: Some(40), ..look() }
}

pub fn id(digit: char) -> BackupId {
    format!("20261123T101500Z-{}", digit.to_string().repeat(8)).parse().unwrap()
}

pub fn summary() -> BackupSummary {
    let created = "2026-11-23T10:15:00Z".parse().unwrap();
    BackupSummary {
        id: id('3'),
        set: "security".parse().unwrap(),
        sequence: Some(12),
        kind: Some(BackupKind::Manual),
        created,
        state: BackupState::Good,
        fault: None,
        verified: Some(created),
        pinned: false,
        consistent: true,
        size_bytes: 1_258_291,
        stored_bytes: 307_200,
        recipients: vec![],
    }
}

pub fn damaged() -> BackupSummary {
    BackupSummary {
        id: id('a'),
        set: "application".parse().unwrap(),
        kind: None,
        state: BackupState::Damaged,
        fault: Some("its manifest is absent".into()),
        verified: None,
        pinned: true,
        consistent: false,
        size_bytes: 512,
        ..summary()
    }
}

pub fn details() -> BackupDetails {
    let file = FileDocument {
        hard_link_to: None,
        path: "security_config.json".into(),
        size_bytes: 1_258_291,
        sha256: Digest::of(b"content"),
        mode: "0640".into(),
        modified: "2026-11-20T08:00:00Z".parse().unwrap(),
        fault: None,
    };
    BackupDetails {
        summary: summary(),
        manifest_sha256: Some(Digest::of(b"manifest")),
        files: vec![file],
        missing: vec!["safe_mode_config.json".into()],
        fewer: vec![],
        symlinks: vec![],
        directories: vec![],
        unreadable: vec![UnreadableDocument {
            path: "magic_number_rules.json".into(),
            reason: "permission denied".into(),
        }],
    }
}

pub fn restored() -> RestoreOutcome {
    let file =
        RestoredDocument { path: "security_config.json".into(), size_bytes: 2048, sha256: Digest::of(b"content") };
    RestoreOutcome {
        set: "security".parse().unwrap(),
        backup: id('3'),
        backups: vec![id('3')],
        target: "/srv/app/config".into(),
        restored: vec![file],
        symlinks: vec![],
        not_kept: vec![],
        removed: vec!["safe_mode_config.json".into()],
        unsaved: vec![],
        left_alone: vec!["magic_number_rules.json".into()],
        undo_call: None,
        skipped: vec![SkippedDocument {
            path: "security_audit.log".into(),
            reason: "the audit log is never replaced in place".into(),
        }],
        safety_backup: Some(id('b')),
        undo: Some(format!("fiovana-app restore security {}", id('b'))),
    }
}

/// A plan with one file of every kind.
pub fn plan() -> PlanDocument {
    let entry = |path: &str, live, action, reason: &str| Entry {
        set: "security".parse().unwrap(),
        path: path.into(),
        live,
        action,
        reason: reason.into(),
    };
    let chosen = |replaces| Chosen {
        backup: id('3'),
        created: "2026-11-23T10:15:00Z".parse().unwrap(),
        sha256: Digest::of(b"content"),
        size_bytes: 2048,
        replaces,
    };
    let restore = |replaces| Action::Restore(chosen(replaces));
    let entries = vec![
        entry("circuit_breaker_config.json", LiveState::Missing, restore(None), "missing"),
        entry(
            "security_config.json",
            LiveState::Invalid,
            restore(Some(Digest::of(b"torn"))),
            "invalid: expected value at line 1 column 7",
        ),
        entry("magic_number_rules.json", LiveState::Missing, Action::Lost, "missing; no good copy is left"),
        entry("safe_mode_config.json", LiveState::Differs, Action::Keep, "differs, and is valid"),
        entry("error.log", LiveState::Present, Action::Keep, "a log: what is live goes on"),
    ];
    PlanDocument::new(Plan { entries, unproven: vec![] }, PlanOptions::default())
}

/// What came of it.
pub fn applied() -> ApplyOutcome {
    ApplyOutcome {
        plan: plan().digest,
        restored: vec![restored()],
        failed: vec![FailedRestore {
            set: "logs".parse().unwrap(),
            problem: Problem::new(ProblemKind::Target, "restore logs from 2026: it is a log"),
        }],
        validated: false,
        losses: vec!["security/magic_number_rules.json".into()],
        mode: mode(),
        duration_seconds: 0.42,
    }
}

pub fn verified(verdict: VerifyVerdict) -> VerifyOutcome {
    let damages = vec![DamageDocument { place: "objects/3f/3f9c".into(), fault: "it is absent".into() }];
    VerifyOutcome {
        backup: id('3'),
        set: "security".parse().unwrap(),
        verdict,
        damages: if verdict == VerifyVerdict::Damaged { damages } else { vec![] },
        healed: vec![],
        unreadable: (verdict == VerifyVerdict::Unreadable).then(|| "read objects/3f/3f9c: I/O error".into()),
        content_bytes: 4096,
    }
}

fn set(name: &str, priority: BackupPriority) -> SetStatus {
    SetStatus {
        name: name.parse().unwrap(),
        priority,
        enabled: true,
        source: "/srv/app/config".into(),
        interval_seconds: 3600,
        next_run: Some(now() + TimeDelta::minutes(57)),
        last_attempt: Some(now() - TimeDelta::minutes(3)),
        last_success: Some(now() - TimeDelta::minutes(3)),
        consecutive_failures: 0,
        last_error: None,
        running_since: None,
        last_drill: Some(now() - TimeDelta::hours(2)),
        last_drill_outcome: Some("passed".into()),
        last_drill_error: None,
        next_drill: Some(now() + TimeDelta::hours(22)),
        latest: Some(id('3')),
        backups: StateCounts { good: 4, ..StateCounts::default() },
        lost_sequences: vec![],
        left_out: vec![],
        held: None,
    }
}

/// A drill that ended so.
pub fn drilled(verdict: DrillVerdict) -> DrillOutcome {
    let failed = verdict != DrillVerdict::Passed;
    DrillOutcome {
        set: "security".parse().unwrap(),
        backup: id('3'),
        verdict,
        failure: failed.then(|| "objects/3f/3f9c is absent".into()),
        started: now(),
        files: if failed { 0 } else { 4 },
        size_bytes: if failed { 0 } else { 4096 },
        duration_seconds: 0.2,
    }
}

pub fn status() -> Status {
    let failing = SetStatus {
        last_success: None,
        consecutive_failures: 2,
        last_error: Some("the source /srv/app/logs is absent".into()),
        last_drill: None,
        last_drill_outcome: Some("failed".into()),
        last_drill_error: Some("error.log was restored and is not what was backed up".into()),
        next_drill: None,
        latest: None,
        backups: StateCounts { damaged: 1, ..StateCounts::default() },
        lost_sequences: vec![3, 4],
        held: None,
        ..set("logs", BackupPriority::Medium)
    };
    let actor = |name: &str, state: &str, restarts| ActorStatus {
        name: name.into(),
        parent: Some("supervisor".into()),
        state: state.into(),
        since: now(),
        restarts,
        last_error: (restarts > 0).then(|| "panicked: index out of bounds".into()),
        waiting_messages: restarts,
    };
    Status {
        version: "0.1.0".into(),
        started: now() - TimeDelta::hours(3),
        enabled: true,
        mode: mode(),
        sets: vec![set("security", BackupPriority::Critical), failing],
        actors: vec![actor("scheduler", "up", 0), actor("janitor", "restarting", 3)],
        repository: RepositoryStatus {
            location: "/srv/app/backups".into(),
            id: "0".repeat(32),
            objects: 12,
            stored_bytes: 307_200,
            free_bytes: Some(10 << 30),
            earlier: None,
        },
        damage: Default::default(),
        scrub: Default::default(),
        replicas: vec![ReplicaStatus {
            name: "usb".parse().unwrap(),
            path: "/mnt/usb/replica".into(),
            reachable: false,
            lag: 2,
            last_success: Some(now() - TimeDelta::hours(3)),
            same_disk: true,
            fault: Some("mount its disk".into()),
        }],
        audit: AuditStatus {
            path: "/srv/app/logs/security_audit.log".into(),
            head_sequence: Some(42),
            writable: false,
            chain_ok: true,
        },
        log_lines_dropped: 0,
    }
}

pub fn mode() -> ModeDocument {
    ModeDocument {
        name: "recovery".into(),
        cause: Some("operator".into()),
        phase: Some("awaiting_decision".into()),
        reasons: vec![ReasonDocument {
            code: "live_files_missing".into(),
            detail: "logs/error.log: missing: restore the set".into(),
        }],
        losses: vec!["logs/error.log".into()],
        persisted: false,
    }
}
