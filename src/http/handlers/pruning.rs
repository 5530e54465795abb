//! The calls that delete, keep or give up.
//!
//! Hazard: the form of what comes in decides here what may go further; what it means is for the service to say.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};

use super::{Answer, NoOptions, malformed, ok, reference};
use crate::actors::service::Caller;
use crate::api::{AcceptTimelineOptions, ForgetOptions, JobOperation, Problem, PruneOptions};
use crate::core::SetName;
use crate::core::retention::PlanDigest;
use crate::http::api::Api;
use crate::http::options::Options;
use crate::http::preferences::Preferences;
use crate::http::shared::Shared;

pub(in crate::http) async fn prune_plan<A: Api>(shared: Data<Shared<A>>) -> Answer {
    ok(&shared.ask(|api| api.prune_plan()).await?)
}

pub(in crate::http) async fn prune<A: Api>(
    shared: Data<Shared<A>>,
    caller: Caller,
    preferences: Preferences,
    options: Options<PruneOptions>,
) -> Answer {
    let Options(options) = options;
    // Before there is a job: whoever does not wait for that is to be told of a slip at once.
    options.confirm.as_deref().map(str::parse::<PlanDigest>).transpose().map_err(malformed)?;
    let work = async move |api: A, caller: Caller| api.prune(&options, &caller).await;
    shared.work(JobOperation::Prune, caller, preferences, work).await?.answer(ok)
}

pub(in crate::http) async fn accept_clock<A: Api>(
    shared: Data<Shared<A>>,
    caller: Caller,
    _: Options<NoOptions>,
) -> Answer {
    ok(&shared.operate(caller, async move |api, caller| api.accept_clock(&caller).await).await?)
}

pub(in crate::http) async fn timelines<A: Api>(shared: Data<Shared<A>>) -> Answer {
    ok(&shared.ask(|api| api.timelines()).await??)
}

pub(in crate::http) async fn accept_timeline<A: Api>(
    shared: Data<Shared<A>>,
    caller: Caller,
    Options(options): Options<AcceptTimelineOptions>,
) -> Answer {
    ok(&shared.operate(caller, async move |api, caller| api.accept_timeline(&options, &caller).await).await?)
}

pub(in crate::http) async fn pin<A: Api>(
    shared: Data<Shared<A>>,
    id: Path<String>,
    caller: Caller,
    _: Options<NoOptions>,
) -> Answer {
    set_pinned(shared, id, caller, true).await
}

pub(in crate::http) async fn unpin<A: Api>(
    shared: Data<Shared<A>>,
    id: Path<String>,
    caller: Caller,
    _: Options<NoOptions>,
) -> Answer {
    set_pinned(shared, id, caller, false).await
}

async fn set_pinned<A: Api>(shared: Data<Shared<A>>, id: Path<String>, caller: Caller, pinned: bool) -> Answer {
    let id = reference(id.into_inner())?;
    ok(&shared.operate(caller, async move |api, caller| api.set_pinned(&id, pinned, &caller).await).await?)
}

pub(in crate::http) async fn forget<A: Api>(
    shared: Data<Shared<A>>,
    what: Path<String>,
    caller: Caller,
    options: Options<ForgetOptions>,
) -> Result<HttpResponse, Problem> {
    let (what, Options(options)) = (forgettable(what.into_inner())?, options);
    ok(&shared.operate(caller, async move |api, caller| api.forget(&what, &options, &caller).await).await?)
}

/// The text, if it is a reference, or the place of a lost backup: `SET:SEQUENCE`.
fn forgettable(text: String) -> Result<String, Problem> {
    match text.split_once(':') {
        Some((set, sequence)) => {
            set.parse::<SetName>().map_err(malformed)?;
            sequence.parse::<u64>().map_err(|_| malformed("give a lost backup as SET:SEQUENCE, such as security:7"))?;
            Ok(text)
        }
        None => reference(text),
    }
}
