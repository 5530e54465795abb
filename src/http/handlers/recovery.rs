//! Recovery's calls, and the differences on which its decisions rest.
//!
//! Hazard: a decision for another plan than was seen. A plan is applied by its digest; without one it is refused.

use actix_web::HttpRequest;
use actix_web::web::{Data, Path};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::actors::service::Caller;
use crate::api::{ApplyOptions, DiffQuery, JobOperation, PlanOptions};
use crate::core::BackupRef;

use super::super::api::Api;
use super::super::options::Options;
use super::super::preferences::Preferences;
use super::super::shared::Shared;
use super::{Answer, NoOptions, malformed, ok, query};

/// How to leave recovery mode.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExitOptions {
    /// The losses that are accepted, by name.
    #[serde(default)]
    acknowledge: Vec<String>,
}

pub(crate) async fn recovery<A: Api>(shared: Data<Shared<A>>) -> Answer {
    ok(&shared.ask(|api| api.recovery()).await?)
}

pub(crate) async fn enter_recovery<A: Api>(shared: Data<Shared<A>>, caller: Caller, _: Options<NoOptions>) -> Answer {
    ok(&shared.operate(caller, async move |api, caller| api.enter_recovery(&caller).await).await?)
}

pub(crate) async fn exit_recovery<A: Api>(
    shared: Data<Shared<A>>,
    caller: Caller,
    options: Options<ExitOptions>,
) -> Answer {
    let Options(ExitOptions { acknowledge }) = options;
    ok(&shared.operate(caller, async move |api, caller| api.exit_recovery(acknowledge, &caller).await).await?)
}

pub(crate) async fn plan<A: Api>(shared: Data<Shared<A>>, caller: Caller, options: Options<PlanOptions>) -> Answer {
    let Options(options) = options;
    ok(&shared.operate(caller, async move |api, caller| api.plan(&options, &caller).await).await?)
}

pub(crate) async fn apply<A: Api>(
    shared: Data<Shared<A>>,
    caller: Caller,
    preferences: Preferences,
    options: Options<ApplyOptions>,
) -> Answer {
    let Options(options) = options;
    if options.digest.is_none() {
        return Err(malformed("name the plan by its digest, as POST /api/recovery/plan answers it"));
    }
    let work = async move |api: A, caller: Caller| api.apply(&options, &caller).await;
    shared.work(JobOperation::Apply, caller, preferences, work).await?.answer(ok)
}

pub(crate) async fn diff<A: Api>(
    shared: Data<Shared<A>>,
    id: Path<String>,
    caller: Caller,
    request: HttpRequest,
) -> Answer {
    let query: DiffQuery = query(&request)?;
    let before: BackupRef = id.into_inner().parse().map_err(malformed)?;
    let after = query.against.filter(|against| against != "live");
    let after = after.map(|against| against.parse::<BackupRef>()).transpose().map_err(malformed)?;
    if query.show_secrets == Some(true) {
        let operation = async move |api: A, caller| api.diff_with_secrets(&before, after.as_ref(), &caller).await;
        return ok(&shared.operate(caller, operation).await?);
    }
    ok(&shared.ask(move |api| api.diff(&before, after.as_ref())).await??)
}
