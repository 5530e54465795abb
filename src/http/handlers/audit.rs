//! The calls about the audit log.
//!
//! Hazard: a log of years does not fit into an answer: every answer is a page.

use actix_web::HttpRequest;
use actix_web::web::Data;

use super::{Answer, NoOptions, malformed, ok, query, set_name};
use crate::actors::service::Caller;
use crate::api::AuditQuery;
use crate::http::api::Api;
use crate::http::options::Options;
use crate::http::shared::Shared;

pub(in crate::http) async fn audit<A: Api>(shared: Data<Shared<A>>, request: HttpRequest) -> Answer {
    let query: AuditQuery = query(&request)?;
    query.set.clone().map(set_name).transpose()?;
    if query.event.as_ref().is_some_and(|name| name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphabetic()))
    {
        return Err(malformed("an event has a name of letters, such as BackupCompleted"));
    }
    if query.after.is_some_and(|after| i64::try_from(after).is_err()) {
        return Err(malformed("after is no record's number: give the `next` of a page"));
    }
    ok(&shared.ask(move |api| api.audit_records(&query)).await??)
}

pub(in crate::http) async fn accept<A: Api>(shared: Data<Shared<A>>, caller: Caller, _: Options<NoOptions>) -> Answer {
    ok(&shared.operate(caller, async move |api, caller| api.accept_audit(&caller).await).await?)
}
