//! What happens, as it happens: server-sent events (WHATWG HTML, 9.2).
//!
//! Hazard: followers stay. Each costs a connection and nothing else; there may be so many, and one that does not read is
//! let go.

use std::time::Duration;

use actix_web::http::Method;
use actix_web::http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::stream;

use super::Answer;
use crate::actors::service::Caller;
use crate::api::Problem;
use crate::http::api::Api;
use crate::http::patience::Patient;
use crate::http::shared::Shared;
use crate::telemetry::{Follower, News};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

pub(in crate::http) async fn events<A: Api>(shared: Data<Shared<A>>, caller: Caller, request: HttpRequest) -> Answer {
    let place = shared.admit_follower(&caller)?;
    let after = request.headers().get(LAST_EVENT_ID).map(|id| id.to_str().unwrap_or_default());
    let follower = shared.api.follow(after);
    let mut response = HttpResponse::Ok();
    response.insert_header((CONTENT_TYPE, HeaderValue::from_static("text/event-stream")));
    if *request.method() == Method::HEAD {
        return Ok(response.finish());
    }
    let (heartbeat, patience) = (shared.limits.heartbeat, shared.limits.body_patience);
    let told = stream::unfold((follower, place, true), move |(mut follower, place, is_first)| async move {
        // Something at once, so that whoever waits for the head has it.
        let text = if is_first { ": live\n\n".to_owned() } else { next(&mut follower, heartbeat).await? };
        Some((Ok::<_, Problem>(Bytes::from(text)), (follower, place, false)))
    });
    Ok(response.streaming(Patient::new(told, patience)))
}

/// What happens next, or a sign of life.
async fn next(follower: &mut Follower, heartbeat: Duration) -> Option<String> {
    let Ok(news) = tokio::time::timeout(heartbeat, follower.next()).await else {
        return Some(": alive\n\n".to_owned());
    };
    Some(match news? {
        News::Event(told) => format!("id: {}\nevent: {}\ndata: {}\n\n", told.id, told.event, told.text),
        News::Gap { id, missed } => {
            let missed = missed.map_or_else(|| "null".to_owned(), |missed| missed.to_string());
            format!("id: {id}\nevent: gap\ndata: {{\"missed\":{missed}}}\n\n")
        }
    })
}
