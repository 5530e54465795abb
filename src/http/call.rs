//! A call: what answers it, and what the document says of it.
//!
//! Hazard: a document that is written beside the code is wrong after the next change, and a right that is asked for
//! elsewhere is forgotten for the next call. A call's route, what it needs and its description are one value, so that
//! none is there without the others.

use actix_web::Route;
use actix_web::http::Method;
use utoipa::openapi::content::Content;
use utoipa::openapi::header::Header;
use utoipa::openapi::path::Parameter;
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use super::auth::Need;
use crate::api::{JobDocument, ProblemKind};

/// What may go wrong with every call, before it is understood.
pub(super) const ALWAYS: [ProblemKind; 8] = [
    ProblemKind::BadRequest,
    ProblemKind::Unauthorized,
    ProblemKind::Forbidden,
    ProblemKind::Timeout,
    ProblemKind::TooLarge,
    ProblemKind::TooManyRequests,
    ProblemKind::Internal,
    ProblemKind::Unavailable,
];

/// What may be preferred of a call that works.
const PREFERS_A_JOB: &str = "`respond-async`: the answer is a job, at once; with `wait=N` only if the work is not done \
                             within N seconds, of which at most 30 count (RFC 7240).";

/// What may be preferred of a call that waits.
const PREFERS_TO_WAIT: &str = "`wait=N`: the answer comes when the work has ended, at the latest after N seconds, of which \
                               at most 30 count; at once if too many wait (RFC 7240).";

/// Named schemas, as they are gathered.
pub(super) type Schemas = Vec<(String, RefOr<Schema>)>;

/// An answer that is no problem.
pub(super) struct Answer {
    pub status: u16,
    pub description: &'static str,
    pub content: Option<(&'static str, Content)>,
    pub headers: Vec<(&'static str, Header)>,
}

/// A call.
pub(super) struct Call {
    pub method: Method,
    /// As actix matches it: `{name}`, or `{name:.+}` for what may hold slashes.
    pub path: &'static str,
    /// What whoever calls it must be allowed.
    pub need: Need,
    pub route: Route,
    /// Its name in the document.
    pub id: &'static str,
    pub summary: &'static str,
    pub query: Vec<Parameter>,
    pub body: Option<RefOr<Schema>>,
    pub needs_body: bool,
    pub answers: Vec<Answer>,
    /// What may go wrong besides [`ALWAYS`].
    pub problems: Vec<ProblemKind>,
    /// What may be preferred of it: what that means, and an example.
    pub preference: Option<(&'static str, &'static str)>,
    pub schemas: Schemas,
}

/// Something that is read.
pub(super) fn get(path: &'static str, need: Need, route: Route, id: &'static str, summary: &'static str) -> Call {
    Call::new(Method::GET, path, need, route, id, summary)
}

/// Something that is done.
pub(super) fn post(path: &'static str, need: Need, route: Route, id: &'static str, summary: &'static str) -> Call {
    Call::new(Method::POST, path, need, route, id, summary)
}

/// Something that is put there.
pub(super) fn put(path: &'static str, need: Need, route: Route, id: &'static str, summary: &'static str) -> Call {
    Call::new(Method::PUT, path, need, route, id, summary)
}

/// Something that is taken away.
pub(super) fn delete(path: &'static str, need: Need, route: Route, id: &'static str, summary: &'static str) -> Call {
    Call::new(Method::DELETE, path, need, route, id, summary)
}

impl Call {
    fn new(
        method: Method,
        path: &'static str,
        need: Need,
        route: Route,
        id: &'static str,
        summary: &'static str,
    ) -> Self {
        Self {
            method,
            path,
            need,
            route,
            id,
            summary,
            query: vec![],
            body: None,
            needs_body: false,
            answers: vec![],
            problems: vec![],
            preference: None,
            schemas: vec![],
        }
    }

    /// It takes these in its query.
    pub fn query<Q: IntoParams>(mut self) -> Self {
        self.query = Q::into_params(|| None);
        self
    }

    /// It takes these options as its body, or none.
    pub fn takes<T: ToSchema>(mut self) -> Self {
        self.body = Some(self.named::<T>());
        self
    }

    /// It takes these options as its body, and not without.
    pub fn needs<T: ToSchema>(self) -> Self {
        Self { needs_body: true, ..self.takes::<T>() }
    }

    /// It answers this document.
    pub fn answers<T: ToSchema>(self) -> Self {
        self.answers_with::<T>(200, "Done.", vec![])
    }

    /// It makes something, and answers with it and where it is.
    pub fn creates<T: ToSchema>(self) -> Self {
        self.answers_with::<T>(201, "Made.", vec![location("Where it is.")])
    }

    /// It answers a text of this media type.
    pub fn tells(self, media_type: &'static str) -> Self {
        self.sends(media_type, Content::new(Some(String::schema())), vec![])
    }

    /// It answers a text of this media type, in which there are such documents.
    pub fn tells_of<T: ToSchema>(mut self, media_type: &'static str) -> Self {
        let document = self.named::<T>();
        let text = ObjectBuilder::new().schema_type(Type::String);
        let text = text.content_media_type("application/json").content_schema(Some(document));
        self.sends(media_type, Content::new(Some(text)), vec![])
    }

    /// It answers JSON of a form that others define.
    pub fn tells_json(self) -> Self {
        self.sends("application/json", Content::new(Some(ObjectBuilder::new())), vec![])
    }

    /// It answers this content.
    pub fn sends(mut self, media_type: &'static str, content: Content, headers: Vec<(&'static str, Header)>) -> Self {
        let content = Some((media_type, content));
        self.answers.push(Answer { status: 200, description: "Done.", content, headers });
        self
    }

    /// It works, perhaps for long: whoever prefers not to wait for it gets a job.
    pub fn works(mut self) -> Self {
        self.preference = Some((PREFERS_A_JOB, "respond-async, wait=5"));
        let applied = ("Preference-Applied", text_header("`respond-async`, with `wait=N` if so long was waited."));
        self.answers_with::<JobDocument>(202, "Begun.", vec![location("Where it tells how far it is."), applied])
    }

    /// It waits for something, for as long as is preferred.
    pub fn waits(self) -> Self {
        Self { preference: Some((PREFERS_TO_WAIT, "wait=5")), ..self }
    }

    /// What may go wrong.
    pub fn fails(mut self, problems: &[ProblemKind]) -> Self {
        self.problems = problems.to_vec();
        self
    }

    fn answers_with<T: ToSchema>(
        mut self,
        status: u16,
        description: &'static str,
        headers: Vec<(&'static str, Header)>,
    ) -> Self {
        let content = Some(("application/json", Content::new(Some(self.named::<T>()))));
        self.answers.push(Answer { status, description, content, headers });
        self
    }

    /// A reference to the schema of this type, which is gathered with all that it refers to.
    fn named<T: ToSchema>(&mut self) -> RefOr<Schema> {
        self.schemas.push((T::name().into_owned(), T::schema()));
        T::schemas(&mut self.schemas);
        utoipa::openapi::Ref::from_schema_name(T::name()).into()
    }
}

fn location(description: &str) -> (&'static str, Header) {
    ("Location", text_header(description))
}

/// Any bytes.
pub(super) fn file_content() -> Content {
    Content::new(Some(ObjectBuilder::new().content_media_type("application/octet-stream")))
}

/// A header that is a text.
pub(super) fn text_header(description: &str) -> Header {
    utoipa::openapi::header::HeaderBuilder::new().schema(Some(String::schema())).description(Some(description)).build()
}
