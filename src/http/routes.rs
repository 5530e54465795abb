//! What is answered where.
//!
//! Hazard: the first pattern that fits a path decides, so a fixed word comes before a variable in its place; and a call
//! that is registered anywhere else needs nothing. Each line has the pattern, what the call needs and what answers it;
//! whatever no line claims, a wrong method or an unknown path, needs the right to change something.

use actix_web::guard::{Any, Get, Head};
use actix_web::http::Method;
use actix_web::http::header::{ALLOW, HeaderValue};
use actix_web::web::{ServiceConfig, resource, to};
use actix_web::{HttpRequest, HttpResponse, Resource, Route};

use crate::api::ProblemKind::{
    Ambiguous, Busy, Integrity, MethodNotAllowed, NoSpace, NotFound, Protected, RolledBack, SetMismatch, Source,
    StalePlan, Target, WrongMode,
};
use crate::api::{
    AcceptOutcome, AcceptTimelineOptions, ApplyOptions, ApplyOutcome, AuditPage, AuditQuery, BackupDetails, BackupList,
    DiffDocument, DiffQuery, DrillOutcome, ForgetOptions, ForgetOutcome, JobDocument, JobList, ListQuery, ModeDocument,
    PlanDocument, PlanOptions, Problem, ProblemKind, PruneOptions, PruneOutcome, PrunePlan, RecoveryDocument,
    RestoreOptions, RestoreOutcome, Status, TimelinesDocument, VerifyOutcome,
};

use crate::audit::Entry;

use super::api::Api;
use super::auth::Need::{self, Change, Content, Details, Nothing, Overview};
use super::call::{Call, delete, file_content, get, post, put, text_header};
use super::gate::gated;
use super::handlers::pruning::{accept_clock, accept_timeline, forget, pin, prune, prune_plan, timelines, unpin};
use super::handlers::recovery::{ExitOptions, apply, diff, enter_recovery, exit_recovery, plan, recovery};
use super::handlers::{
    NoOptions, alive, backup, drill, job, jobs, list, metrics, openapi, ready, restore, show, status, verify,
};
use super::handlers::{audit, events, files};

/// What names no backup, or more than one.
const UNCLEAR: [ProblemKind; 2] = [NotFound, Ambiguous];
/// What keeps files from being restored.
const UNRESTORABLE: [ProblemKind; 9] =
    [NotFound, Ambiguous, SetMismatch, Busy, Source, Integrity, Target, RolledBack, NoSpace];

/// All calls.
#[rustfmt::skip]
pub(super) fn calls<A: Api>() -> Vec<Call> {
    vec![
        get("/api/backup/list", Overview, to(list::<A>), "listBackups", "A page of backups, newest first")
            .query::<ListQuery>().answers::<BackupList>().fails(&UNCLEAR),
        get("/api/backup/{set_or_id}", Details, to(show::<A>), "showBackup", "Everything about a backup, its files included")
            .answers::<BackupDetails>().fails(&UNCLEAR),
        post("/api/backup/{set_or_id}", Change, to(backup::<A>), "backUp", "Backs a set up now; answers after it was read back")
            .takes::<NoOptions>().creates::<BackupDetails>().works()
            .fails(&[NotFound, MethodNotAllowed, Busy, Source, Integrity, NoSpace]),
        post("/api/backup/{id}/verify", Change, to(verify::<A>), "verifyBackup", "Reads a backup whole now")
            .takes::<NoOptions>().answers::<VerifyOutcome>().works().fails(&UNCLEAR),
        get("/api/backup/{id}/diff", Content, to(diff::<A>), "compare", "What differs from what is live, or from another backup; secrets are hidden unless they are asked for")
            .query::<DiffQuery>().answers::<DiffDocument>().fails(&[NotFound, Ambiguous, SetMismatch, Source, Integrity]),
        get("/api/backup/{id}/files/{name:.+}", Content, to(files::file::<A>), "getFile", "The content of a file; cut off if it turns out to be damaged after its first chunk")
            .sends("application/octet-stream", file_content(), vec![("ETag", text_header("Its SHA-256, in quotes."))])
            .fails(&[NotFound, Ambiguous, Integrity]),
        put("/api/backup/{id}/pin", Change, to(pin::<A>), "pin", "Protects a backup from retention")
            .takes::<NoOptions>().answers::<BackupDetails>().fails(&UNCLEAR),
        delete("/api/backup/{id}/pin", Change, to(unpin::<A>), "unpin", "Protects it no longer")
            .answers::<BackupDetails>().fails(&UNCLEAR),
        post("/api/backup/{id}/forget", Change, to(forget::<A>), "forget", "Gives up a damaged or lost backup, if that is confirmed; else shows what that means")
            .takes::<ForgetOptions>().answers::<ForgetOutcome>().fails(&[NotFound, Ambiguous, Protected, StalePlan, WrongMode]),
        post("/api/drill/{set}", Change, to(drill::<A>), "drill", "Restores a set's newest good backup into a scratch directory, and compares")
            .takes::<NoOptions>().answers::<DrillOutcome>().works().fails(&[NotFound]),
        get("/api/prune", Details, to(prune_plan::<A>), "planPruning", "What would be deleted, and why")
            .answers::<PrunePlan>(),
        post("/api/prune", Change, to(prune::<A>), "prune", "Deletes what is due, and what is held if its digest is confirmed")
            .takes::<PruneOptions>().answers::<PruneOutcome>().works().fails(&[StalePlan, WrongMode]),
        post("/api/clock/accept", Change, to(accept_clock::<A>), "acceptClock", "Believes the clock, whatever contradicts it")
            .takes::<NoOptions>().answers::<ModeDocument>(),
        get("/api/timeline", Details, to(timelines::<A>), "showTimelines", "The timelines of the repository, and whether deletion waits until somebody has seen the newest")
            .answers::<TimelinesDocument>(),
        post("/api/timeline/accept", Change, to(accept_timeline::<A>), "acceptTimeline", "Takes note that somebody has seen the newest timeline: deletion goes on; or says that a replica is this service's")
            .takes::<AcceptTimelineOptions>().answers::<TimelinesDocument>().fails(&[NotFound]),
        get("/api/recovery", Details, to(recovery::<A>), "showRecovery", "The mode, why, and what would be restored")
            .answers::<RecoveryDocument>(),
        post("/api/recovery/plan", Change, to(plan::<A>), "planRecovery", "What would be restored, and why")
            .takes::<PlanOptions>().answers::<PlanDocument>().fails(&[NotFound]),
        post("/api/recovery/apply", Change, to(apply::<A>), "applyRecovery", "Restores what the plan with this digest says, and validates")
            .needs::<ApplyOptions>().answers::<ApplyOutcome>().works().fails(&[NotFound, Busy, StalePlan, WrongMode]),
        post("/api/recovery/enter", Change, to(enter_recovery::<A>), "enterRecovery", "Enters recovery mode")
            .takes::<NoOptions>().answers::<ModeDocument>().fails(&[WrongMode]),
        post("/api/recovery/exit", Change, to(exit_recovery::<A>), "exitRecovery", "Leaves recovery mode, once all is well or its losses are acknowledged")
            .takes::<ExitOptions>().answers::<ModeDocument>().fails(&[WrongMode]),
        post("/api/recovery/{set}/{id}", Change, to(restore::<A>), "restore", "Restores a backup in place; the files as they were are backed up before")
            .takes::<RestoreOptions>().answers::<RestoreOutcome>().works().fails(&UNRESTORABLE),
        get("/api/jobs", Details, to(jobs::<A>), "listJobs", "Long work: what is under way, and what ended last")
            .answers::<JobList>(),
        get("/api/jobs/{id}", Details, to(job::<A>), "showJob", "How far long work is, or what came of it")
            .answers::<JobDocument>().waits().fails(&[NotFound]),
        get("/api/status", Overview, to(status::<A>), "showStatus", "Everything at a glance")
            .answers::<Status>(),
        get("/api/events", Details, to(events::events::<A>), "followEvents", "What happens, as it happens: server-sent events; Last-Event-ID goes on after it")
            .tells_of::<Entry>("text/event-stream"),
        get("/api/audit", Details, to(audit::audit::<A>), "listAuditRecords", "A page of audit records, newest last")
            .query::<AuditQuery>().answers::<AuditPage>(),
        post("/api/audit/accept", Change, to(audit::accept::<A>), "acceptAudit", "Accepts what is wrong with the audit chain, and says so in the log")
            .takes::<NoOptions>().answers::<AcceptOutcome>(),
        get("/api/openapi.json", Overview, to(openapi), "showOpenApi", "This document").tells_json(),
        get("/metrics", Overview, to(metrics::<A>), "showMetrics", "For Prometheus").tells("text/plain"),
        get("/healthz", Nothing, to(alive::<A>), "isAlive", "Whether it lives").tells("text/plain"),
        get("/readyz", Nothing, to(ready::<A>), "isReady", "Whether it is ready").tells("text/plain"),
    ]
}

/// All routes: those of one path together.
pub(super) fn routes<A: Api>(config: &mut ServiceConfig) {
    route::<A>(config, calls::<A>());
    let unclaimed = to(|request| no_such_path(request, "GET /api/status tells what there is"));
    config.default_service(gated::<A>(unclaimed, None, Need::Change));
}

/// What may be looked at by whoever may look at metrics.
pub(super) fn metrics_alone<A: Api>(config: &mut ServiceConfig) {
    let open = calls::<A>().into_iter().filter(|call| ["/metrics", "/healthz", "/readyz"].contains(&call.path));
    route::<A>(config, open);
    let unclaimed = to(|request| no_such_path(request, "there are /metrics, /healthz and /readyz here"));
    config.default_service(gated::<A>(unclaimed, None, Need::Change));
}

fn route<A: Api>(config: &mut ServiceConfig, calls: impl IntoIterator<Item = Call>) {
    let mut paths: Vec<(&'static str, Vec<Call>)> = vec![];
    for call in calls {
        match paths.iter_mut().find(|(path, _)| *path == call.path) {
            Some((_, calls)) => calls.push(call),
            None => paths.push((call.path, vec![call])),
        }
    }
    for (path, calls) in paths {
        let allowed: Vec<&str> = calls.iter().map(|call| allowed(&call.method)).collect();
        let resource = only::<A>(path, allowed.join(", "));
        config.service(calls.into_iter().fold(resource, |resource, call| resource.route(guarded::<A>(call))));
    }
}

/// What is got may also be had without its body.
fn allowed(method: &Method) -> &str {
    if *method == Method::GET { "GET, HEAD" } else { method.as_str() }
}

fn guarded<A: Api>(Call { method, path, need, route, .. }: Call) -> Route {
    let route = if method == Method::GET { route.guard(Any(Get()).or(Head())) } else { route.method(method) };
    gated::<A>(route, Some(path), need)
}

fn only<A: Api>(path: &'static str, allowed: String) -> Resource {
    let refused = to(move |request: HttpRequest| {
        let refusal = wrong_method(&request, &allowed);
        async move { refusal }
    });
    resource(path).default_service(gated::<A>(refused, Some(path), Need::Change))
}

fn wrong_method(request: &HttpRequest, allowed: &str) -> HttpResponse {
    let detail = format!("{} does not apply to {}: use {allowed}", request.method(), shown(request.path()));
    let mut response = HttpResponse::from_error(Problem::new(MethodNotAllowed, detail));
    if let Ok(allowed) = HeaderValue::from_str(allowed) {
        response.headers_mut().insert(ALLOW, allowed);
    }
    response
}

async fn no_such_path(request: HttpRequest, hint: &str) -> Result<HttpResponse, Problem> {
    let detail = format!("there is nothing at {}: {hint}", shown(request.path()));
    Err(Problem::new(NotFound, detail))
}

/// Shortened: it may be as long as a head may be.
fn shown(path: &str) -> String {
    path.chars().take(96).collect()
}
