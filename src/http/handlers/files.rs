//! The content of files.
//!
//! Hazard: what was sent cannot be taken back. A file that turns out to be damaged is a problem as long as nothing of it
//! was sent, which for a file of one chunk is always so; after that the connection is cut, so that what came is shorter
//! than its `Content-Length` and taken for a whole file by nobody.

use actix_web::body::SizedStream;
use actix_web::http::Method;
use actix_web::http::header::{CONTENT_DISPOSITION, ETAG, HeaderValue};
use actix_web::web::{Bytes, Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::{StreamExt, stream};

use super::{Answer, reference};
use crate::actors::service::{Caller, Download};
use crate::api::Problem;
use crate::http::api::Api;
use crate::http::patience::Patient;
use crate::http::shared::{Shared, broken_off};

type Content = Box<dyn Iterator<Item = Result<Vec<u8>, Problem>> + Send>;

pub(in crate::http) async fn file<A: Api>(
    shared: Data<Shared<A>>,
    path: Path<(String, String)>,
    caller: Caller,
    request: HttpRequest,
) -> Answer {
    let (id, name) = path.into_inner();
    let id = reference(id)?;
    let place = shared.admit_download(&caller)?;
    let Download { file, content } = shared.ask(move |api| api.download(&id, &name, &caller)).await??;
    let mut response = HttpResponse::Ok();
    response
        .content_type("application/octet-stream")
        .insert_header((ETAG, format!("\"{}\"", file.sha256)))
        .insert_header((CONTENT_DISPOSITION, HeaderValue::from_static("attachment")));
    if *request.method() == Method::HEAD {
        return Ok(response.body(SizedStream::new(file.size_bytes, stream::empty::<Result<Bytes, Problem>>())));
    }
    let (content, first) = next(content).await?;
    let first = first.transpose()?.unwrap_or_default();
    let rest = stream::try_unfold((content, place), |(content, place)| async move {
        let (content, chunk) = next(content).await?;
        Ok(chunk.transpose()?.map(|chunk| (Bytes::from(chunk), (content, place))))
    });
    let whole = stream::iter([Ok(Bytes::from(first))]).chain(rest);
    Ok(response.body(SizedStream::new(file.size_bytes, Patient::new(whole, shared.limits.body_patience))))
}

/// The next chunk, read on a thread that may block; and what comes after it.
async fn next(mut content: Content) -> Result<(Content, Option<Result<Vec<u8>, Problem>>), Problem> {
    let read = actix_rt::task::spawn_blocking(move || {
        let chunk = content.next();
        (content, chunk)
    });
    read.await.map_err(|_| broken_off())
}
