//! The calls, each translated: path, query and body in, document out.
//!
//! Hazard: what comes in may be anything. Set names and ids are parsed here, so that nothing that could climb out of a
//! directory goes further; what they mean is for the service to say.

pub(super) mod audit;
pub(super) mod events;
pub(super) mod files;
pub(super) mod pruning;
pub(super) mod recovery;

use actix_web::error::QueryPayloadError;
use actix_web::http::StatusCode;
use actix_web::http::header::{ContentType, LOCATION};
use actix_web::web::{Data, Path, Query};
use actix_web::{HttpRequest, HttpResponse};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::OpenApi;

use crate::actors::service::Caller;
use crate::api::{JobOperation, ListQuery, Problem, ProblemKind, RestoreOptions};
use crate::core::printable;
use crate::core::set_name::SetNameError;
use crate::core::{BackupRef, SetName};

use super::api::Api;
use super::options::Options;
use super::preferences::Preferences;
use super::shared::Shared;

type Answer = Result<HttpResponse, Problem>;

/// The options of a call that has none: `{}`, or nothing at all.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NoOptions {}

pub(super) async fn backup<A: Api>(
    shared: Data<Shared<A>>,
    set: Path<String>,
    caller: Caller,
    preferences: Preferences,
    _: Options<NoOptions>,
) -> Answer {
    let set = set_name(set.into_inner())?;
    let work = async move |api: A, caller: Caller| api.backup(&set, &caller).await;
    let worked = shared.work(JobOperation::Backup, caller, preferences, work).await?;
    worked.answer(|backup| {
        let mut response = document(StatusCode::CREATED, backup)?;
        let location = format!("/api/backup/{}", backup.summary.id);
        response.headers_mut().insert(LOCATION, location.try_into().map_err(Problem::unexpected)?);
        Ok(response)
    })
}

pub(super) async fn list<A: Api>(shared: Data<Shared<A>>, request: HttpRequest) -> Answer {
    let query: ListQuery = query(&request)?;
    query.set.clone().map(set_name).transpose()?;
    query.after.clone().map(reference).transpose()?;
    ok(&shared.ask(move |api| api.list(&query)).await??)
}

pub(super) async fn show<A: Api>(shared: Data<Shared<A>>, id: Path<String>) -> Answer {
    let id = reference(id.into_inner())?;
    ok(&shared.ask(move |api| api.show(&id)).await??)
}

pub(super) async fn verify<A: Api>(
    shared: Data<Shared<A>>,
    id: Path<String>,
    caller: Caller,
    preferences: Preferences,
    _: Options<NoOptions>,
) -> Answer {
    let id = reference(id.into_inner())?;
    let work = async move |api: A, caller: Caller| api.verify(&id, &caller).await;
    shared.work(JobOperation::Verify, caller, preferences, work).await?.answer(ok)
}

pub(super) async fn drill<A: Api>(
    shared: Data<Shared<A>>,
    set: Path<String>,
    caller: Caller,
    preferences: Preferences,
    _: Options<NoOptions>,
) -> Answer {
    let set = set_name(set.into_inner())?;
    let work = async move |api: A, caller: Caller| api.drill(&set, &caller).await;
    shared.work(JobOperation::Drill, caller, preferences, work).await?.answer(ok)
}

pub(super) async fn restore<A: Api>(
    shared: Data<Shared<A>>,
    path: Path<(String, String)>,
    caller: Caller,
    preferences: Preferences,
    options: Options<RestoreOptions>,
) -> Answer {
    let (set, id) = path.into_inner();
    let (set, id, Options(options)) = (set_name(set)?, reference(id)?, options);
    let work = async move |api: A, caller: Caller| api.restore(&set, &id, &options, &caller).await;
    shared.work(JobOperation::Restore, caller, preferences, work).await?.answer(ok)
}

pub(super) async fn jobs<A: Api>(shared: Data<Shared<A>>) -> Answer {
    ok(&shared.jobs.list())
}

pub(super) async fn job<A: Api>(
    shared: Data<Shared<A>>,
    id: Path<String>,
    caller: Caller,
    preferences: Preferences,
) -> Answer {
    let (job, applied) = shared.job(id.parse().map_err(malformed)?, &caller, preferences).await?;
    let mut response = ok(&job)?;
    applied.tell(response.headers_mut());
    Ok(response)
}

pub(super) async fn status<A: Api>(shared: Data<Shared<A>>) -> Answer {
    ok(&shared.ask(|api| api.status()).await?)
}

pub(super) async fn metrics<A: Api>(shared: Data<Shared<A>>) -> Answer {
    let text = shared.glance(|api| api.metrics()).await??;
    Ok(HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(text))
}

pub(super) async fn openapi(document: Data<OpenApi>) -> Answer {
    ok(&document)
}

/// Alive is whoever does its work: that it answers says nothing of the parts behind it.
pub(super) async fn alive<A: Api>(shared: Data<Shared<A>>) -> Answer {
    unless(shared.glance(|api| api.unwell()).await?, "ok\n")
}

pub(super) async fn ready<A: Api>(shared: Data<Shared<A>>) -> Answer {
    unless(shared.glance(|api| api.unready()).await?, "ready\n")
}

fn unless(reason: Option<String>, text: &'static str) -> Answer {
    match reason {
        None => Ok(HttpResponse::Ok().content_type(ContentType::plaintext()).body(text)),
        Some(reason) => Err(Problem::new(ProblemKind::Unavailable, reason)),
    }
}

/// What stands behind the `?`.
fn query<T: DeserializeOwned>(request: &HttpRequest) -> Result<T, Problem> {
    let text = request.query_string();
    let parsed = Query::<T>::from_query(text).map(Query::into_inner);
    parsed.map_err(|error| {
        // What is wrong with one parameter is told without its name, which is found by leaving out the others.
        let wrong = text.split('&').find(|one| Query::<T>::from_query(one).is_err()).unwrap_or(text);
        let shown: String = wrong.chars().take(80).collect();
        let why = match error {
            QueryPayloadError::Deserialize(why) => why.to_string(),
            other => other.to_string(),
        };
        malformed(format!("{shown:?} cannot be understood: {why}"))
    })
}

fn ok(content: &impl Serialize) -> Answer {
    document(StatusCode::OK, content)
}

/// JSON that ends a line, so that a terminal's prompt starts on the next.
pub(super) fn document(status: StatusCode, content: &impl Serialize) -> Answer {
    let text = serde_json::to_string(content).map_err(Problem::unexpected)?;
    let text = format!("{}\n", printable::json(&text));
    Ok(HttpResponse::build(status).content_type(ContentType::json()).body(text))
}

/// The text, if it has the form of a set's name. A reserved word has: that no set is called so, the service says.
fn set_name(text: String) -> Result<String, Problem> {
    match text.parse::<SetName>() {
        Err(error @ SetNameError::Form(_)) => Err(malformed(error)),
        Ok(_) | Err(SetNameError::Reserved(_)) => Ok(text),
    }
}

/// The text, if it has the form of an id, of the beginning of one, or is `latest`.
fn reference(text: String) -> Result<String, Problem> {
    text.parse::<BackupRef>().map_err(malformed)?;
    Ok(text)
}

fn malformed(error: impl std::fmt::Display) -> Problem {
    Problem::new(ProblemKind::BadRequest, error.to_string())
}
