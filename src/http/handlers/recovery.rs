//! Recovery's calls, and those that would show what files hold.
//!
//! Hazard: content that leaves the machine for whoever asks. Without tokens nobody is known, so nobody is shown any.

use actix_web::web::Data;
use serde::Deserialize;

use crate::actors::service::Caller;
use crate::api::{ApplyOptions, PlanOptions, Problem, ProblemKind};

use super::super::api::Api;
use super::super::options::Options;
use super::super::shared::Shared;
use super::{Answer, NoOptions, ok};

/// How to leave recovery mode.
#[derive(Debug, Default, Deserialize)]
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
    ok(&shared.operate(async move |api| api.enter_recovery(&caller).await).await?)
}

pub(crate) async fn exit_recovery<A: Api>(
    shared: Data<Shared<A>>,
    caller: Caller,
    options: Options<ExitOptions>,
) -> Answer {
    let Options(ExitOptions { acknowledge }) = options;
    ok(&shared.operate(async move |api| api.exit_recovery(acknowledge, &caller).await).await?)
}

pub(crate) async fn plan<A: Api>(shared: Data<Shared<A>>, caller: Caller, options: Options<PlanOptions>) -> Answer {
    let Options(options) = options;
    ok(&shared.operate(async move |api| api.plan(&options, &caller).await).await?)
}

pub(crate) async fn apply<A: Api>(shared: Data<Shared<A>>, caller: Caller, options: Options<ApplyOptions>) -> Answer {
    let Options(options) = options;
    ok(&shared.operate(async move |api| api.apply(&options, &caller).await).await?)
}

/// Content, of whatever backup.
pub(crate) async fn content() -> Answer {
    let detail = "what files hold is shown to known callers only, and this API knows none: run `fiovana-app diff` on \
                  the machine itself, as the user that owns the backups";
    Err(Problem::new(ProblemKind::Forbidden, detail))
}
