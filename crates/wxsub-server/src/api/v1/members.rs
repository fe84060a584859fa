//! The members of a JSON body, and the parameters of a query: each handler reads those that it knows. All problems are reported at once.

use std::str::FromStr;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::request::Parts;
use serde_json::{Map, Value};
use wxsub_api::{FieldError, ProblemKind, SendResult, SendStatus};
use wxsub_proto::codec::{decode_query, parse_object};
use wxsub_proto::{Scene, ValidationError};

use super::problem::ProblemResponse;
use crate::api::request::RequestContext;
use crate::apps::SharedState;

/// Maximum number of unknown members that are reported, and of the characters that are shown of each.
const MAX_UNKNOWN: usize = 8;
const MAX_SHOWN_CHARS: usize = 32;

/// The body of a request. An axum extractor.
pub(in crate::api) struct RawBody(pub(super) Bytes);

/// The members that are not read yet, and the problems of those that were read. For a JSON body, an axum extractor.
#[derive(Debug, Default)]
pub(in crate::api) struct Members {
    values: Map<String, Value>,
    /// What was read: the names that the request may have.
    known: Vec<&'static str>,
    problems: Vec<FieldError>,
    is_query: bool,
}

impl FromRequest<SharedState> for RawBody {
    type Rejection = ProblemResponse;

    async fn from_request(request: Request, state: &SharedState) -> Result<Self, ProblemResponse> {
        let (_, body) = RequestContext::read_body(request, state).await;
        Ok(Self(body?))
    }
}

impl FromRequest<SharedState> for Members {
    type Rejection = ProblemResponse;

    async fn from_request(request: Request, state: &SharedState) -> Result<Self, ProblemResponse> {
        let RawBody(body) = RawBody::from_request(request, state).await?;
        Self::of_body(&body)
    }
}

impl Members {
    /// The members of a JSON object.
    pub(super) fn of_body(body: &[u8]) -> Result<Self, ProblemResponse> {
        match parse_object(body) {
            Ok(values) => Ok(Self { values, ..Self::default() }),
            Err(invalid) => {
                let problems = vec![FieldError::new(invalid.field(), invalid.rule().to_string())];
                Err(problem(ProblemKind::NotJson, invalid.to_string(), problems))
            }
        }
    }

    /// The parameters of a query. Each may be there once.
    pub(super) fn of_query(parts: &Parts) -> Self {
        let mut members = Self { is_query: true, ..Self::default() };
        match decode_query(parts.uri.query().unwrap_or_default()) {
            Ok(pairs) => {
                for (name, value) in pairs {
                    // A parameter that stands twice becomes a list, which no parameter may be.
                    let value = match members.values.remove(&name) {
                        Some(_) => Value::Array(Vec::new()),
                        None => value.into(),
                    };
                    members.values.insert(name, value);
                }
            }
            Err(invalid) => members.refuse(invalid.field(), invalid.rule().to_string()),
        }
        members
    }

    /// Whether there is a member with this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.values.get(name).is_some_and(|value| !value.is_null())
    }

    /// Reads a member. `None` if it is missing or invalid, which is then a problem.
    pub(super) fn required<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<T> {
        match self.take(name) {
            Some(value) => self.keep(name, read(&value)),
            None => {
                self.refuse(name, ValidationError::missing(name).rule().to_string());
                None
            }
        }
    }

    /// Reads a member that may be missing. An empty text counts as missing.
    pub(super) fn optional<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.take(name).filter(|value| value.as_str() != Some(""))?;
        self.keep(name, read(&value))
    }

    /// Adds a problem.
    pub(super) fn refuse(&mut self, field: &'static str, rule: impl Into<String>) {
        self.problems.push(FieldError::new(field, rule));
    }

    /// Ignores the members that were not read.
    pub(super) fn ignore_others(&mut self) {
        self.values.clear();
    }

    /// Takes all problems. Members that were not read are unknown.
    pub(super) fn into_problems(self) -> Vec<FieldError> {
        let Self { values, known, mut problems, is_query } = self;
        if values.is_empty() {
            return problems;
        }
        let (place, what) = if is_query { ("query", "parameter") } else { ("body", "member") };
        let remedy = match known.is_empty() {
            true => "remove it: this route has none".to_owned(),
            false => format!("use only {}", known.join(", ")),
        };
        problems.extend(values.keys().take(MAX_UNKNOWN).map(|name| {
            let name: String = name.chars().take(MAX_SHOWN_CHARS).collect();
            FieldError::new(place, format!("has an unknown {what} {name:?}; {remedy}"))
        }));
        problems
    }

    /// The value that was made of the members. It is `None` only after a problem.
    ///
    /// # Errors
    /// All problems.
    pub(super) fn finish<T>(self, value: Option<T>) -> Result<T, ProblemResponse> {
        let problems = self.into_problems();
        match value {
            Some(value) if problems.is_empty() => Ok(value),
            _ => Err(problem(ProblemKind::Invalid, INVALID_REQUEST, problems)),
        }
    }

    /// `null` counts as missing.
    fn take(&mut self, name: &'static str) -> Option<Value> {
        self.known.push(name);
        self.values.remove(name).filter(|value| !value.is_null())
    }

    fn keep<T>(&mut self, name: &'static str, read: Result<T, String>) -> Option<T> {
        read.map_err(|rule| self.refuse(name, rule)).ok()
    }
}

impl FromIterator<(String, Value)> for Members {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(members: I) -> Self {
        Self { values: members.into_iter().collect(), ..Self::default() }
    }
}

const INVALID_REQUEST: &str = "the request is invalid: see problems; correct the fields";

fn problem(kind: ProblemKind, detail: impl Into<String>, problems: Vec<FieldError>) -> ProblemResponse {
    let mut result = SendResult::new(SendStatus::Invalid);
    result.problems = problems;
    ProblemResponse::new(kind, detail).with_result(result)
}

/// The problem of one invalid field.
pub(super) fn invalid_field(field: &'static str, rule: impl Into<String>) -> ProblemResponse {
    problem(ProblemKind::Invalid, INVALID_REQUEST, vec![FieldError::new(field, rule)])
}

/// Reads a text that has this type's form.
pub(super) fn text<T: FromStr<Err = ValidationError>>(value: &Value) -> Result<T, String> {
    let text = value.as_str().ok_or("must be text")?;
    text.parse().map_err(|invalid: ValidationError| invalid.rule().to_string())
}

/// Reads a text that this type knows. `rule` says which it knows.
pub(super) fn one_of<T: FromStr>(rule: &'static str) -> impl FnOnce(&Value) -> Result<T, String> {
    move |value| value.as_str().and_then(|text| text.parse().ok()).ok_or_else(|| rule.to_owned())
}

/// Reads a scene: a number, or its digits as text.
pub(super) fn scene(value: &Value) -> Result<Scene, String> {
    match value {
        Value::String(_) => text(value),
        _ => {
            Scene::try_from(value.as_u64().unwrap_or(u64::MAX)).map_err(|invalid| invalid.rule().to_string())
        }
    }
}

/// Reads what identifies the user's browser or login.
pub(super) fn session(value: &Value) -> Result<String, String> {
    match value.as_str() {
        None => Err("must be text".to_owned()),
        Some("") => Err("is empty; send what identifies the user's browser or login".to_owned()),
        Some(session) => Ok(session.to_owned()),
    }
}
