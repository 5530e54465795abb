//! The document that tells programs what may be asked and answered: OpenAPI 3.1, made from the calls themselves.
//!
//! Hazard: an answer that the document does not know breaks clients that were made from it. Every status that a call can
//! answer is there, those from before it is understood included, and every problem with what to do about it.

use std::collections::{BTreeMap, BTreeSet};

use actix_web::http::Method;
use utoipa::openapi::content::Content;
use utoipa::openapi::info::{InfoBuilder, LicenseBuilder};
use utoipa::openapi::path::{
    HttpMethod, Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn, PathsBuilder,
};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::schema::{ComponentsBuilder, ObjectBuilder, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{OpenApi, OpenApiBuilder, Ref, RefOr, Required, Schema};
use utoipa::{ToSchema, openapi};

use super::auth::Need;
use super::call::{ALWAYS, Call, text_header};
use crate::api::{Problem, ProblemKind, patterns};

const DESCRIPTION: &str = "\
Backs up, verifies and restores an application's configuration and audit logs.

Errors are `application/problem+json` (RFC 9457); what to do about each `type` is in the schema `ProblemType`. On
loopback most calls need no token; elsewhere all but `/healthz` and `/readyz` do, and the content of files needs one
everywhere. Every answer has an `X-Request-Id`, by which it is found again in the audit log.";

/// The scheme of the tokens.
const TOKEN: &str = "token";

/// The document of these calls.
pub(super) fn document(calls: &[Call]) -> OpenApi {
    let mut paths = PathsBuilder::new();
    for call in calls {
        if let Some(method) = method(&call.method) {
            paths = paths.path(template(call.path), openapi::PathItem::new(method, operation(call)));
        }
    }
    let schemas: BTreeMap<String, RefOr<Schema>> = calls.iter().flat_map(|call| call.schemas.iter().cloned()).collect();
    let mut components = ComponentsBuilder::new().schemas_from_iter(schemas).schema_from::<Problem>();
    for kind in alone(calls) {
        components = components.response(kind.name(), problems(&[kind]));
    }
    let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer);
    let token = token.description(Some("One of those in `state/api-tokens` in the backup directory.")).build();
    let info = InfoBuilder::new()
        .title("fiovana-app")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(DESCRIPTION))
        .license(Some(LicenseBuilder::new().name("MIT").identifier(Some("MIT")).build()));
    OpenApiBuilder::new()
        .info(info.build())
        .paths(paths.build())
        .components(Some(components.security_scheme(TOKEN, SecurityScheme::Http(token)).build()))
        .build()
}

fn operation(call: &Call) -> Operation {
    let mut operation = OperationBuilder::new()
        .operation_id(Some(call.id))
        .summary(Some(call.summary))
        .tag(tag(call.path))
        .parameters(Some(in_path(call).into_iter().chain(call.query.iter().cloned()).chain(preference(call))))
        .securities(securities(call));
    if let Some(options) = &call.body {
        let content = Content::new(Some(options.clone()));
        let body = RequestBodyBuilder::new()
            .required(Some(if call.needs_body { Required::True } else { Required::False }))
            .content("application/json", content);
        operation = operation.request_body(Some(body.description(Some("Options; nothing means none.")).build()));
    }
    for answer in &call.answers {
        let mut response = ResponseBuilder::new().description(answer.description);
        for (name, header) in &answer.headers {
            response = response.header(*name, header.clone());
        }
        if let Some((media_type, content)) = &answer.content {
            response = response.content(*media_type, content.clone());
        }
        operation = operation.response(answer.status.to_string(), response.build());
    }
    for (status, kinds) in problems_by_status(call) {
        let response: RefOr<Response> = match kinds[..] {
            [one] => Ref::from_response_name(one.name()).into(),
            _ => problems(&kinds).into(),
        };
        operation = operation.response(status.to_string(), response);
    }
    operation.build()
}

/// What may go wrong with a call.
fn problems_by_status(call: &Call) -> BTreeMap<u16, Vec<ProblemKind>> {
    let kinds: BTreeSet<ProblemKind> = ALWAYS.iter().chain(&call.problems).copied().collect();
    let mut by_status: BTreeMap<u16, Vec<ProblemKind>> = BTreeMap::new();
    kinds.into_iter().for_each(|kind| by_status.entry(kind.status()).or_default().push(kind));
    by_status
}

/// The kinds that are all that some call answers with their status.
fn alone(calls: &[Call]) -> BTreeSet<ProblemKind> {
    let kinds = calls.iter().flat_map(|call| problems_by_status(call).into_values());
    kinds.filter_map(|kinds| <[ProblemKind; 1]>::try_from(kinds).ok()).map(|[kind]| kind).collect()
}

/// The answer that tells of one of these problems; all have one status.
fn problems(kinds: &[ProblemKind]) -> Response {
    let kinds_told = kinds.iter().map(|kind| format!("`{}`: {}: {}.", kind.urn(), kind.title(), kind.advice()));
    let description = kinds_told.collect::<Vec<_>>().join("\n\n");
    let content = Content::new(Some(Ref::from_schema_name(Problem::name())));
    let mut response = ResponseBuilder::new().description(description).content("application/problem+json", content);
    let header = match kinds.first().map(|kind| kind.status()) {
        Some(409) if kinds.contains(&ProblemKind::Busy) => {
            Some(("Retry-After", "In how many seconds to try again, if the set is busy."))
        }
        Some(401) => Some(("WWW-Authenticate", "`Bearer`.")),
        Some(405) => Some(("Allow", "The methods that apply.")),
        Some(429 | 503) => Some(("Retry-After", "In how many seconds to try again.")),
        _ => None,
    };
    if let Some((name, description)) = header {
        response = response.header(name, text_header(description));
    }
    response.build()
}

/// What may be preferred of it.
fn preference(call: &Call) -> Option<Parameter> {
    let (description, example) = call.preference?;
    let schema = ObjectBuilder::new().schema_type(Type::String).examples([example]);
    let parameter = ParameterBuilder::new()
        .name("Prefer")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(schema.build()));
    Some(parameter.build())
}

/// What a call takes in its path.
fn in_path(call: &Call) -> Vec<Parameter> {
    let template = template(call.path);
    let names = template.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    names.map(|name| path_parameter(name, call)).collect()
}

fn path_parameter(name: &str, call: &Call) -> Parameter {
    let (pattern, example, description) = match (name, call.path) {
        ("set", _) => (patterns::NAME, "security", "A backup set."),
        ("set_or_id", _) if call.method == Method::POST => (patterns::NAME, "security", "A backup set."),
        ("id", "/api/jobs/{id}") => (patterns::JOB, "6f1d92ab00c4e377", "A job."),
        ("id", "/api/recovery/{set}/{id}") => {
            (patterns::RESTORABLE, "latest", "A backup of the set: its id, a unique beginning of it, or `latest`.")
        }
        ("id", "/api/backup/{id}/forget") => (
            patterns::FORGETTABLE,
            "security:7",
            "A backup: its id, a unique beginning of it, or the place of a lost one.",
        ),
        ("name", _) => {
            (patterns::FILE, "security_config.json", "A file's path as the backup has it; `/` in it as `%2F`.")
        }
        ("id" | "set_or_id", _) => {
            (patterns::REFERENCE, "20261123T101500Z-3f9c2ab1", "A backup: its id, or a unique beginning of it.")
        }
        _ => (".", "", ""),
    };
    let schema = ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern)).examples([example]);
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some(description))
        .schema(Some(schema.build()))
        .build()
}

fn securities(call: &Call) -> Option<Vec<SecurityRequirement>> {
    let token = || SecurityRequirement::new(TOKEN, Vec::<String>::new());
    match call.need {
        Need::Nothing => None,
        // On loopback without.
        Need::Overview | Need::Details | Need::Change => Some(vec![SecurityRequirement::default(), token()]),
        Need::Content => Some(vec![token()]),
    }
}

/// A path without the patterns that only actix knows.
fn template(path: &str) -> String {
    path.replace(":.+}", "}")
}

/// The part of the API that a path belongs to.
fn tag(path: &str) -> &str {
    match path.strip_prefix("/api/") {
        Some(rest) => rest.split('/').next().unwrap_or(rest),
        None => "service",
    }
}

fn method(method: &Method) -> Option<HttpMethod> {
    Some(match *method {
        Method::GET => HttpMethod::Get,
        Method::POST => HttpMethod::Post,
        Method::PUT => HttpMethod::Put,
        Method::DELETE => HttpMethod::Delete,
        _ => return None,
    })
}
