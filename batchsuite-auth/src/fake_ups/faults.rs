//! Faults as data: the same names in Rust and in `POST /__fake/faults`.

mod answer;
mod lenient;
mod ordered;
mod waiting;

use std::time::Duration;

use http::{HeaderValue, Response, header};
use serde::{Deserialize, Serialize};

pub use self::answer::{Answer, Edit};
use self::{
    answer::check_value,
    lenient::{number, optional_text},
};
pub(super) use self::{
    lenient::{number as lenient_number, optional_number as optional_lenient_number},
    waiting::Faults,
};
use super::{error_response::ErrorResponse, paths::ERROR_PAGE, reply::Reply, requests::Endpoint, wire::WireFault};

/// A fault at an [`Endpoint`]. The [module's docs](super#faults) list all of them.
///
/// In JSON a fault without settings is its name, e.g. `"drop_answer"`. A fault with settings is an object, e.g.
/// `{"answer":{"status":503}}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Fault {
    /// The request has no effect and gets this answer.
    Answer(Answer),
    /// The request is processed; its answer is altered.
    Edit(Edit),
    /// The request is processed; its answer is delayed.
    Delay {
        /// The delay.
        #[serde(deserialize_with = "number")]
        milliseconds: u64,
    },
    /// The request is processed, then the connection is reset before a byte of the answer: at `/refresh`, the token
    /// rotates and the answer is lost.
    DropAnswer,
    /// The connection is reset and the request has no effect. At [`Endpoint::Connection`], the reset comes before any
    /// byte of the request is read.
    Reset,
    /// Like [`Reset`](Self::Reset), but the connection is closed cleanly.
    Close,
    /// The request has no effect and is never answered; the connection stays open (for at most ten minutes).
    Hang,
    /// The request is processed; the connection closes in the middle of the answer's body.
    Truncate {
        /// The number of body bytes that arrive; always fewer than the body has.
        #[serde(deserialize_with = "number")]
        keep_bytes: usize,
    },
    /// The request is processed; the whole answer, including its head, arrives one byte at a time.
    Trickle {
        /// The pause before each byte.
        #[serde(deserialize_with = "number")]
        milliseconds: u64,
    },
    /// A 429 in UPS's format; the request has no effect.
    TooManyRequests {
        /// A `Retry-After` header: seconds or a date. UPS sends none.
        #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional_text")]
        retry_after: Option<String>,
    },
    /// A 503 with an HTML page; the request has no effect.
    Unavailable,
    /// A 302 to `https://www.ups.com/error.page`, as during an outage; the request has no effect.
    ErrorPage,
    /// A redirect to any location; the request has no effect.
    Redirect {
        /// 301, 302, 303, 307 or 308.
        #[serde(deserialize_with = "number")]
        status: u16,
        /// The `Location`.
        location: String,
    },
    /// A 400 with `10400` `Invalid Refresh Token` although the token is valid; the token stays valid.
    InvalidRefreshToken,
    /// A 401 with `10401` `ClientId is Invalid` although the client's credentials are right.
    InvalidClient,
    /// A 403 as for a blocked client.
    Blocked,
    /// A refresh returns a new access token and the *same* refresh token, which stays valid.
    KeepRefreshToken,
    /// Numbers are JSON numbers instead of strings.
    Numbers,
    /// At `/authorize`: the browser is redirected straight back with `error=access_denied`.
    AccessDenied,
}

/// How often a fault occurs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Times {
    /// At the next request.
    Once,
    /// At this many requests.
    Exactly(u32),
    /// Until [`clear_faults`](super::FakeUpsState::clear_faults).
    UntilCleared,
}

impl From<Answer> for Fault {
    fn from(answer: Answer) -> Self {
        Self::Answer(answer)
    }
}

impl From<Edit> for Fault {
    fn from(edit: Edit) -> Self {
        Self::Edit(edit)
    }
}

/// The longest delay of an answer.
const LONGEST_DELAY: Duration = Duration::from_secs(24 * 3600);

impl Fault {
    /// The names of the faults without settings, as `POST /__fake/faults` accepts them.
    pub const NAMES: [&'static str; 12] = [
        "drop_answer",
        "reset",
        "close",
        "hang",
        "unavailable",
        "error_page",
        "invalid_refresh_token",
        "invalid_client",
        "blocked",
        "keep_refresh_token",
        "numbers",
        "access_denied",
    ];

    /// A description of what is impossible, so that a mistake is reported when the fault is set and not when it should
    /// occur.
    pub(super) fn check(&self, endpoint: Endpoint) -> Result<(), String> {
        let only_at = match self {
            Self::KeepRefreshToken => Some(Endpoint::Refresh),
            Self::AccessDenied => Some(Endpoint::Authorize),
            _ => None,
        };
        if let Some(only) = only_at.filter(|only| *only != endpoint) {
            return Err(format!("this fault can only be at {only}"));
        }
        if endpoint == Endpoint::Connection && !matches!(self, Self::Reset | Self::Close | Self::Hang) {
            return Err(format!("a {endpoint} can only reset, close or hang: it is not known yet what will be asked"));
        }
        match self {
            Self::Answer(answer) => answer.check(),
            Self::Edit(edit) => edit.check(),
            Self::TooManyRequests { retry_after: Some(value) } => check_value("retry_after", value),
            Self::Redirect { status, location } => {
                if !matches!(status, 301 | 302 | 303 | 307 | 308) {
                    return Err(format!("a redirect's status is 301, 302, 303, 307 or 308, not {status}"));
                }
                check_value("location", location)
            }
            _ => Ok(()),
        }
    }

    /// The answer of a fault that prevents processing; `None` if the request is processed.
    pub(super) fn instead(&self, endpoint: Endpoint, sent: &[(&str, &str)]) -> Option<Reply> {
        let refuse = |error: ErrorResponse| match endpoint {
            Endpoint::Authorize => error.response_of_authorize(),
            _ => error.response(),
        };
        Some(match self {
            Self::Answer(answer) => Reply::from(answer.response(sent)).late(milliseconds(answer.delay_milliseconds)),
            Self::Reset => Reply::broken(WireFault::Reset),
            Self::Close => Reply::broken(WireFault::Close),
            Self::Hang => Reply::broken(WireFault::Hang),
            Self::TooManyRequests { retry_after } => {
                let mut response = refuse(ErrorResponse::TOO_MANY_REQUESTS);
                if let Some(value) = retry_after.as_ref().and_then(|value| HeaderValue::from_str(value).ok()) {
                    response.headers_mut().insert(header::RETRY_AFTER, value);
                }
                response.into()
            }
            Self::Unavailable => {
                let page = "<html><body><h1>503 Service Unavailable</h1></body></html>";
                Answer::status(503).with_body(page).response(sent).into()
            }
            Self::ErrorPage => Answer::status(302).with_header("location", ERROR_PAGE).response(sent).into(),
            Self::Redirect { status, location } => {
                Answer::status(*status).with_header("location", location).response(sent).into()
            }
            Self::InvalidRefreshToken => refuse(ErrorResponse::SPENT_REFRESH_TOKEN).into(),
            Self::InvalidClient => refuse(ErrorResponse::BAD_CLIENT).into(),
            Self::Blocked => refuse(ErrorResponse::BLOCKED_CLIENT).into(),
            Self::Edit(_)
            | Self::Delay { .. }
            | Self::DropAnswer
            | Self::Truncate { .. }
            | Self::Trickle { .. }
            | Self::KeepRefreshToken
            | Self::Numbers
            | Self::AccessDenied => return None,
        })
    }

    /// Applies this fault to the answer of a processed request.
    pub(super) fn alter(&self, response: Response<Vec<u8>>) -> Reply {
        let length = response.body().len();
        match self {
            Self::Edit(edit) => Reply::from(edit.apply(response)).late(milliseconds(edit.delay_milliseconds)),
            Self::Numbers => Edit { numbers: true, ..Edit::default() }.apply(response).into(),
            Self::Delay { milliseconds: late } => Reply::from(response).late(milliseconds(*late)),
            Self::DropAnswer => Reply::from(response).with_wire_fault(WireFault::Reset),
            Self::Truncate { .. } if length == 0 => Reply::from(response).with_wire_fault(WireFault::Close),
            Self::Truncate { keep_bytes } => {
                Reply::from(response).with_wire_fault(WireFault::Truncate { keep_bytes: (*keep_bytes).min(length - 1) })
            }
            Self::Trickle { milliseconds: pause } => {
                Reply::from(response).with_wire_fault(WireFault::Trickle { pause: milliseconds(*pause) })
            }
            _ => response.into(),
        }
    }
}

fn milliseconds(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds).min(LONGEST_DELAY)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{answer::LONGEST_BODY, *};

    #[test]
    fn every_name_is_a_fault_and_every_fault_survives_json() {
        for name in Fault::NAMES {
            let fault: Fault = serde_json::from_value(json!(name)).unwrap();
            assert_eq!(serde_json::to_value(fault).unwrap(), name);
        }
        for fault in [
            Fault::from(Answer::status(503).with_body("<html>").with_header("x-a", "b")),
            Fault::from(Edit::default().set("expires_in", -1).remove("scope").pad("access_token", 9).cut(3)),
            Fault::Delay { milliseconds: 5 },
            Fault::Truncate { keep_bytes: 7 },
            Fault::Trickle { milliseconds: 1 },
            Fault::TooManyRequests { retry_after: Some("120".into()) },
            Fault::Redirect { status: 307, location: "https://elsewhere.example/".into() },
        ] {
            let json = serde_json::to_string(&fault).unwrap();
            assert_eq!(serde_json::from_str::<Fault>(&json).unwrap(), fault, "{json}");
        }
        assert_eq!(
            serde_json::from_value::<Fault>(json!({"too_many_requests": {}})).unwrap(),
            Fault::TooManyRequests { retry_after: None }
        );
    }

    #[test]
    fn a_number_may_be_a_number_or_its_text() {
        for (number, text) in [
            (json!({"too_many_requests": {"retry_after": 5}}), json!({"too_many_requests": {"retry_after": "5"}})),
            (json!({"delay": {"milliseconds": 5}}), json!({"delay": {"milliseconds": "5"}})),
            (json!({"trickle": {"milliseconds": 5}}), json!({"trickle": {"milliseconds": "5"}})),
            (json!({"truncate": {"keep_bytes": 5}}), json!({"truncate": {"keep_bytes": " 5 "}})),
            (
                json!({"redirect": {"status": 307, "location": "/"}}),
                json!({"redirect": {"status": "307", "location": "/"}}),
            ),
            (
                json!({"answer": {"status": 500, "fill_bytes": 9, "delay_milliseconds": 3, "headers": {"retry-after": 5}}}),
                json!({"answer": {"status": "500", "fill_bytes": "9", "delay_milliseconds": "3", "headers": {"retry-after": "5"}}}),
            ),
            (
                json!({"edit": {"status": 201, "cut_bytes": 9, "delay_milliseconds": 3, "pad": {"access_token": 9}}}),
                json!({"edit": {"status": "201", "cut_bytes": "9", "delay_milliseconds": "3", "pad": {"access_token": "9"}}}),
            ),
        ] {
            let [number, text] = [number, text].map(|json| serde_json::from_value::<Fault>(json).unwrap());
            assert_eq!(number, text);
        }
        // Values inside an answer stay as written.
        let fault = serde_json::from_value(json!({"edit": {"set": {"expires_in": 5, "scope": "5"}}}));
        assert_eq!(fault.ok(), Some(Fault::from(Edit::default().set("expires_in", 5).set("scope", "5"))));
        for json in [json!({"delay": {"milliseconds": "soon"}}), json!({"delay": {"milliseconds": -1}})] {
            assert!(serde_json::from_value::<Fault>(json.clone()).is_err(), "{json}");
        }
    }

    #[test]
    fn what_cannot_be_done_is_told_when_it_is_set() {
        for (fault, words) in [
            (Fault::from(Answer::status(99)), "200 to 599"),
            (Fault::from(Answer::default().with_header("a b", "c")), "header name"),
            (Fault::from(Edit::default().with_content_type("a\nb")), "cannot stand in a header"),
            (Fault::from(Answer::default().with_fill(LONGEST_BODY + 1)), "no body is longer"),
            (Fault::from(Answer { base64: Some("*".into()), ..Answer::default() }), "not base64"),
            (Fault::Redirect { status: 200, location: "/".into() }, "not 200"),
            (Fault::KeepRefreshToken, "only be at refresh"),
            (Fault::AccessDenied, "only be at authorize"),
        ] {
            let message = Faults::default().push(Endpoint::Token, fault, Times::Once).unwrap_err();
            assert!(message.contains(words), "{message}");
        }
        let message = Faults::default().push(Endpoint::Connection, Fault::DropAnswer, Times::Once).unwrap_err();
        assert!(message.contains("reset, close or hang"), "{message}");
        for json in [json!({"delay": {"milliseconds": 1, "then": 2}}), json!("explode"), json!({"trickle": {}})] {
            assert!(serde_json::from_value::<Fault>(json.clone()).is_err(), "{json}");
        }
    }

    #[test]
    fn faults_of_an_endpoint_happen_in_order_and_as_often_as_said() {
        let faults = Faults::default();
        faults.push(Endpoint::Refresh, Fault::Reset, Times::Exactly(2)).unwrap();
        faults.push(Endpoint::Refresh, Fault::Close, Times::Once).unwrap();
        faults.push(Endpoint::Refresh, Fault::Hang, Times::UntilCleared).unwrap();

        assert_eq!(faults.take(Endpoint::Token), None);
        let happened: Vec<_> = (0..5).filter_map(|_| faults.take(Endpoint::Refresh)).collect();
        assert_eq!(happened, [Fault::Reset, Fault::Reset, Fault::Close, Fault::Hang, Fault::Hang]);
        faults.clear(Endpoint::Refresh);
        assert_eq!(faults.take(Endpoint::Refresh), None);
        assert!(faults.list().is_empty());
    }

    #[test]
    fn an_edit_alters_exactly_what_it_names() {
        let answer = Response::new(br#"{"a":"1","b":"x","c":"2"}"#.to_vec());
        let edit = Edit { numbers: true, ..Edit::default() }.set("d", json!(null)).remove("c").with_status(201);

        let edited = edit.apply(answer);

        assert_eq!(edited.status(), 201);
        assert_eq!(serde_json::from_slice::<Value>(edited.body()).unwrap(), json!({"a": 1, "b": "x", "d": null}));
    }

    #[test]
    fn an_answer_echoes_what_was_sent_where_it_says_so() {
        let answer = Answer::status(400).with_json(json!({"message": "bad {refresh_token}"}));

        let response = answer.response(&[("refresh_token", "r-1")]);

        assert_eq!(response.body(), br#"{"message":"bad r-1"}"#);
        assert_eq!(response.headers()["content-type"], "application/json");
    }
}
