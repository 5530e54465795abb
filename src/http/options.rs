//! The optional JSON body of a call.
//!
//! Hazard: a body is the one part of a request that can be endless, in size and in time; and an option that is
//! misspelt and ignored does what nobody asked for. The procedures' calls come with no body and no content type, so
//! nothing means the defaults, and the content type is not looked at.

use actix_web::body::{BodyStream, to_bytes_limited};
use actix_web::dev::Payload;
use actix_web::web::Bytes;
use actix_web::{FromRequest, HttpRequest};
use futures_util::future::LocalBoxFuture;
use serde::de::DeserializeOwned;

use crate::api::{Problem, ProblemKind};

use super::limits::Limits;
use super::problem::too_large;

/// The options that came as the body, or the defaults if none came.
pub(super) struct Options<T>(pub T);

impl<T: DeserializeOwned + Default> FromRequest for Options<T> {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let limits = request.app_data::<Limits>().copied().unwrap_or(Limits::DEFAULT);
        let payload = payload.take();
        Box::pin(async move { Ok(Self(parse(&read(payload, limits).await?)?)) })
    }
}

async fn read(payload: Payload, limits: Limits) -> Result<Bytes, Problem> {
    let whole = to_bytes_limited(BodyStream::new(payload), limits.body_bytes);
    let Ok(body) = tokio::time::timeout(limits.body_timeout, whole).await else {
        let detail = format!("the body did not arrive within {} s", limits.body_timeout.as_secs_f32());
        return Err(Problem::new(ProblemKind::Timeout, detail));
    };
    let body = body.map_err(|_| too_large(limits.body_bytes))?;
    body.map_err(|error| bad(format!("the body cannot be read: {error}")))
}

fn parse<T: DeserializeOwned + Default>(body: &[u8]) -> Result<T, Problem> {
    match body.trim_ascii_start().first() {
        None => Ok(T::default()),
        Some(b'{') => {
            serde_json::from_slice(body).map_err(|error| bad(format!("the body is not as expected: {error}")))
        }
        // An array would do as a struct for serde.
        Some(_) => Err(bad("the body is not as expected: send a JSON object, or nothing".to_owned())),
    }
}

fn bad(detail: String) -> Problem {
    Problem::new(ProblemKind::BadRequest, detail)
}
