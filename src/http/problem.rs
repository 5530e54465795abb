//! Whatever goes wrong, told as one kind of document (RFC 9457).
//!
//! Hazard: an error page that a script cannot read, or that cannot be found again in the audit log. Handlers return a
//! [`Problem`]; it gets its form and the request's id here, and so does any error that actix itself makes.

use actix_web::body::BoxBody;
use actix_web::dev::ServiceResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};

use crate::api::{Problem, ProblemKind};
use crate::core::printable;

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::new(self.status_code());
        let header = match self.kind {
            ProblemKind::Unavailable => Some((RETRY_AFTER, "1")),
            ProblemKind::Busy => Some((RETRY_AFTER, "5")),
            ProblemKind::TooManyRequests => Some((RETRY_AFTER, "60")),
            ProblemKind::Unauthorized => Some((WWW_AUTHENTICATE, "Bearer")),
            _ => None,
        };
        if let Some((name, value)) = header {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

impl Problem {
    /// Something failed that cannot.
    pub(super) fn unexpected(error: impl std::error::Error) -> Self {
        Self::new(ProblemKind::Internal, format!("write the answer: {error}"))
    }
}

/// A body of more than so many bytes.
pub(super) fn too_large(body_bytes: usize) -> Problem {
    Problem::new(ProblemKind::TooLarge, format!("a body may have at most {body_bytes} bytes"))
}

/// Gives the response the problem's document as its body, if it is one.
pub(super) fn tell(response: ServiceResponse, correlation_id: &str) -> ServiceResponse {
    let Some(error) = response.response().error() else { return response };
    let mut problem = error.as_error::<Problem>().cloned().unwrap_or_else(|| of_actix(error));
    problem.correlation_id = Some(correlation_id.to_owned());
    let text = format!("{}\n", printable::json(&serde_json::to_string(&problem).unwrap_or_default()));
    response.map_body(|head, _| {
        head.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        BoxBody::new(text)
    })
}

/// An error of actix's own. Its status stays as it is; the kind is the nearest there is.
fn of_actix(error: &actix_web::Error) -> Problem {
    let status = error.as_response_error().status_code();
    let kind = match status {
        StatusCode::NOT_FOUND => ProblemKind::NotFound,
        StatusCode::PAYLOAD_TOO_LARGE => ProblemKind::TooLarge,
        _ if status.is_client_error() => ProblemKind::BadRequest,
        _ => ProblemKind::Internal,
    };
    Problem { status: status.as_u16(), ..Problem::new(kind, error.to_string()) }
}
