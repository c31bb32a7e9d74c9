//! The errors of an answer, in any known shape.

use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::{
    grant_type::GrantType,
    json::{self, Object},
    repair::repaired,
};

/// The errors in a body; empty if the body has no known shape.
#[derive(Default)]
pub(super) struct Errors {
    pub(super) complaints: Vec<Complaint>,
    /// Further errors in another known shape.
    beside: Vec<Complaint>,
    /// A key appears twice, so different parsers read different bodies.
    pub(super) repeated: bool,
    /// The body declares an error: `errors` or `error` has a value.
    pub(super) are_named: bool,
    /// The body has a token as well.
    pub(super) has_token: bool,
}

/// One error of an answer.
#[derive(Default, PartialEq, Eq)]
pub(super) struct Complaint {
    pub(super) code: Option<Zeroizing<String>>,
    pub(super) message: Option<Zeroizing<String>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// UPS refuses the token or the code.
    Refused,
    /// UPS refuses our configuration.
    Misconfigured,
    /// UPS limits the rate.
    RateLimited,
    /// An unknown error.
    Unknown,
}

impl Errors {
    pub(super) fn of(text: &str) -> Self {
        let Some(body) = Json::of(text).or_else(|| Json::of(&repaired(text)?)) else { return Self::default() };
        let places = [body.get("response"), Some(&body)];
        let errors = places.iter().flatten().find_map(|place| place.get("errors"));
        let mut complaints: Vec<_> = match errors {
            // An item of an unknown shape counts as an unknown error.
            Some(Json::List(errors)) => errors.iter().flat_map(Complaint::all).collect(),
            Some(errors @ Json::Object { .. }) => Complaint::all(errors),
            _ => Complaint::all(&body),
        };
        // The same body, read in the other known shapes.
        let others = places.iter().flatten().flat_map(|place| match place.get("errors") {
            Some(Json::List(errors)) => errors.iter().chain([*place]).collect(),
            Some(errors) => vec![errors, *place],
            None => vec![*place],
        });
        let beside: Vec<_> = others.flat_map(Complaint::all).filter(|other| !complaints.contains(other)).collect();
        if errors.is_none() {
            complaints.retain(|complaint| *complaint != Complaint::default());
        }
        Self {
            complaints,
            beside,
            repeated: body.is_repeated(),
            are_named: errors.or(body.get("error")).is_some_and(Json::is_something),
            has_token: ["access_token", "refresh_token"]
                .iter()
                .any(|name| body.get(name).and_then(Json::text).is_some_and(|token| !token.is_empty())),
        }
    }

    pub(super) fn meaning(&self, grant_type: GrantType) -> Meaning {
        let mut meanings: Vec<_> = self.complaints.iter().map(|complaint| complaint.meaning(grant_type)).collect();
        // An unknown complaint next to the errors adds nothing.
        let beside = self.beside.iter().map(|complaint| complaint.meaning(grant_type));
        meanings.extend(beside.filter(|meaning| *meaning != Meaning::Unknown));
        let all = |meaning| !meanings.is_empty() && meanings.iter().all(|other| *other == meaning);
        if self.repeated {
            Meaning::Unknown
        } else if meanings.contains(&Meaning::Misconfigured) {
            // While our configuration is wrong, UPS's answer about the token proves nothing.
            Meaning::Misconfigured
        } else if all(Meaning::Refused) {
            Meaning::Refused
        } else if all(Meaning::RateLimited) {
            Meaning::RateLimited
        } else {
            Meaning::Unknown
        }
    }
}

impl Complaint {
    /// The complaints of an object, by UPS's keys and those of RFC 6749; at least one.
    fn all(value: &Json) -> Vec<Self> {
        let text = |name: &str| value.get(name).and_then(Json::text).map(|text| Zeroizing::new(text.to_owned()));
        let (code, error) = (text("code"), text("error"));
        let (message, description) = (text("message"), text("error_description"));
        if code.is_some() && error.is_some() {
            return vec![Self { code, message }, Self { code: error, message: description }];
        }
        vec![Self { code: code.or(error), message: message.or(description) }]
    }

    fn meaning(&self, grant_type: GrantType) -> Meaning {
        let code = self.code.as_ref().map(|code| code.as_str());
        let message = self.message.as_ref().map_or("", |message| message.as_str());
        let message = message.trim().trim_end_matches('.').to_ascii_lowercase();
        match (code, message.as_str(), grant_type) {
            // RFC 6749 §5.2
            (Some("invalid_grant"), _, _) => Meaning::Refused,
            (
                Some(
                    "invalid_client"
                    | "invalid_request"
                    | "invalid_scope"
                    | "unauthorized_client"
                    | "unsupported_grant_type",
                ),
                _,
                _,
            ) => Meaning::Misconfigured,
            // UPS
            (
                Some("10400") | None,
                "invalid refresh token" | "invalid/missing refresh token",
                GrantType::RefreshToken,
            )
            | (Some("10400") | None, "invalid authorization code", GrantType::AuthorizationCode) => Meaning::Refused,
            (
                Some("10400" | "10401") | None,
                "invalid redirect url"
                | "invalid/missing authorization header"
                | "unsupported grant type"
                | "clientid is invalid",
                _,
            ) => Meaning::Misconfigured,
            (Some("10429"), _, _) => Meaning::RateLimited,
            _ => Meaning::Unknown,
        }
    }
}

/// A JSON value that keeps every key. Its strings may echo secrets, so they are wiped.
enum Json {
    Text(Zeroizing<String>),
    List(Vec<Json>),
    Object { fields: Vec<(Zeroizing<String>, Json)>, repeated: bool },
    Other,
}

/// Maximum nesting that is read. All known shapes are within it; deeper values are [`Json::Other`].
const DEEPEST: usize = 128;

impl Json {
    /// `None`: it is no JSON, or something follows it.
    fn of(text: &str) -> Option<Self> {
        Self::read(serde_json::from_str(text).ok()?, DEEPEST)
    }

    fn read(raw: &RawValue, levels: usize) -> Option<Self> {
        let raw = raw.get();
        Some(match raw.bytes().next()? {
            b'"' => Self::Text(json::text(raw)?),
            b'-' | b'0'..=b'9' => Self::Text(number(raw)),
            b'[' if levels > 0 => {
                let values: Vec<&RawValue> = serde_json::from_str(raw).ok()?;
                Self::List(values.into_iter().map(|value| Self::read(value, levels - 1)).collect::<Option<_>>()?)
            }
            b'{' if levels > 0 => {
                let Object(fields) = serde_json::from_str(raw).ok()?;
                let read = |(name, value)| Some((json::text(name)?, Self::read(value, levels - 1)?));
                let fields: Vec<_> = fields.into_iter().map(read).collect::<Option<_>>()?;
                let mut names: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
                names.sort_unstable();
                let repeated = names.windows(2).any(|pair| pair[0] == pair[1]);
                Self::Object { fields, repeated }
            }
            _ => Self::Other,
        })
    }

    fn get(&self, name: &str) -> Option<&Self> {
        let Self::Object { fields, .. } = self else { return None };
        fields.iter().rev().find(|(key, _)| key.as_str() == name).map(|(_, value)| value)
    }

    /// A string, or a number as text.
    fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    fn is_something(&self) -> bool {
        match self {
            Self::Text(text) => !text.is_empty(),
            Self::List(values) => !values.is_empty(),
            Self::Object { fields, .. } => !fields.is_empty(),
            Self::Other => false,
        }
    }

    fn is_repeated(&self) -> bool {
        match self {
            Self::Object { fields, repeated } => *repeated || fields.iter().any(|(_, value)| value.is_repeated()),
            Self::List(values) => values.iter().any(Self::is_repeated),
            Self::Text(_) | Self::Other => false,
        }
    }
}

/// A number as text: `10400.0` is `10400`.
fn number(raw: &str) -> Zeroizing<String> {
    let number = raw.contains(['.', 'e', 'E']).then(|| raw.parse::<f64>().ok()).flatten();
    Zeroizing::new(number.map_or_else(|| raw.to_owned(), |number| number.to_string()))
}
