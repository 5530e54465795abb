//! What is answered where.
//!
//! Hazard: the first pattern that fits a path decides, so a fixed word comes before a variable in its place; and one
//! path is one line here, or a call with the wrong method would be a path that does not exist.

use actix_web::guard::{Any, Delete, Get, Head, Post, Put};
use actix_web::http::header::{ALLOW, HeaderValue};
use actix_web::web::{ServiceConfig, resource, to};
use actix_web::{HttpRequest, HttpResponse, Resource, Route};

use crate::api::{Problem, ProblemKind};

use super::api::Api;
use super::handlers::audit;
use super::handlers::pruning::{accept_clock, forget, pin, prune, prune_plan, unpin};
use super::handlers::recovery::{apply, diff, enter_recovery, exit_recovery, plan, recovery};
use super::handlers::{alive, backup, drill, list, metrics, ready, restore, show, status, verify};

/// All routes.
pub(super) fn routes<A: Api>(config: &mut ServiceConfig) {
    config
        .service(reads("/api/backup/list", to(list::<A>)))
        .service(both("/api/backup/{set_or_id}", to(show::<A>), to(backup::<A>)))
        .service(acts("/api/backup/{id}/verify", to(verify::<A>)))
        .service(reads("/api/backup/{id}/diff", to(diff::<A>)))
        .service(sets_and_unsets("/api/backup/{id}/pin", to(pin::<A>), to(unpin::<A>)))
        .service(acts("/api/backup/{id}/forget", to(forget::<A>)))
        .service(acts("/api/clock/accept", to(accept_clock::<A>)))
        .service(both("/api/prune", to(prune_plan::<A>), to(prune::<A>)))
        .service(acts("/api/drill/{set}", to(drill::<A>)))
        .service(reads("/api/recovery", to(recovery::<A>)))
        .service(acts("/api/recovery/plan", to(plan::<A>)))
        .service(acts("/api/recovery/apply", to(apply::<A>)))
        .service(acts("/api/recovery/enter", to(enter_recovery::<A>)))
        .service(acts("/api/recovery/exit", to(exit_recovery::<A>)))
        .service(acts("/api/recovery/{set}/{id}", to(restore::<A>)))
        .service(reads("/api/status", to(status::<A>)))
        .service(reads("/api/audit", to(audit::audit::<A>)))
        .service(acts("/api/audit/accept", to(audit::accept::<A>)))
        .service(reads("/metrics", to(metrics::<A>)))
        .service(reads("/healthz", to(alive)))
        .service(reads("/readyz", to(ready::<A>)))
        .default_service(to(no_such_path));
}

/// A path that is read.
fn reads(path: &str, read: Route) -> Resource {
    only(path, "GET, HEAD").route(read.guard(Any(Get()).or(Head())))
}

/// A path that something is done by.
fn acts(path: &str, act: Route) -> Resource {
    only(path, "POST").route(act.guard(Post()))
}

/// A path for either.
fn both(path: &str, read: Route, act: Route) -> Resource {
    only(path, "GET, HEAD, POST").route(read.guard(Any(Get()).or(Head()))).route(act.guard(Post()))
}

/// A path that is put there and taken away.
fn sets_and_unsets(path: &str, set: Route, unset: Route) -> Resource {
    only(path, "PUT, DELETE").route(set.guard(Put())).route(unset.guard(Delete()))
}

fn only(path: &str, allowed: &'static str) -> Resource {
    resource(path).default_service(to(move |request: HttpRequest| async move { wrong_method(&request, allowed) }))
}

fn wrong_method(request: &HttpRequest, allowed: &'static str) -> HttpResponse {
    let detail = format!("{} does not apply to {}: use {allowed}", request.method(), shown(request.path()));
    let mut response = HttpResponse::from_error(Problem::new(ProblemKind::MethodNotAllowed, detail));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

async fn no_such_path(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let detail = format!("there is nothing at {}: GET /api/status tells what there is", shown(request.path()));
    Err(Problem::new(ProblemKind::NotFound, detail))
}

/// Shortened: it may be as long as a head may be.
fn shown(path: &str) -> String {
    path.chars().take(96).collect()
}
