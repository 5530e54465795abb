//! Plain HTTP, with every status an answer.
//!
//! Hazard: a client that retries or waits for ever hides what the service does.

use std::time::Duration;

use serde_json::Value;

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The media type.
    pub content_type: String,
    /// The body.
    pub text: String,
    /// `Retry-After`.
    pub retry_after: Option<String>,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {:?}", self.text))
    }

    /// The kind of problem it tells of, of which it must be a whole document with this status.
    pub fn problem(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.content_type, "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["status"], status, "{problem}");
        assert!(!problem["title"].as_str().unwrap().is_empty(), "{problem}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(!detail.is_empty() && !detail.contains('\n'), "one clear line: {problem}");
        problem["type"].as_str().unwrap().strip_prefix("urn:fiovana:problem:").unwrap().to_owned()
    }
}

/// GET.
pub fn get(url: &str) -> Result<Answer, ureq::Error> {
    answer(agent().get(url).call()?)
}

/// GET as the bearer of a token.
pub fn get_as(url: &str, token: &str) -> Result<Answer, ureq::Error> {
    answer(agent().get(url).header("Authorization", format!("Bearer {token}")).call()?)
}

/// POST without a body.
pub fn post(url: &str) -> Result<Answer, ureq::Error> {
    answer(agent().post(url).send_empty()?)
}

/// POST with a JSON body.
pub fn post_json(url: &str, body: &str) -> Result<Answer, ureq::Error> {
    answer(agent().post(url).content_type("application/json").send(body)?)
}

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder().http_status_as_error(false).proxy(None);
    config.timeout_global(Some(Duration::from_secs(120))).build().into()
}

fn answer(mut response: ureq::http::Response<ureq::Body>) -> Result<Answer, ureq::Error> {
    let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    let (content_type, retry_after) = (header("content-type"), header("retry-after"));
    Ok(Answer {
        status: response.status().as_u16(),
        content_type: content_type.unwrap_or_default(),
        retry_after,
        text: response.body_mut().read_to_string()?,
    })
}
