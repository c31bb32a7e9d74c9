//! A connection to UPS that records every exchange, and can hold, redirect or answer requests: the only wrapper around
//! an HTTP client.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use batchsuite_auth::http::{HttpClient, HttpError, HttpErrorKind, TimeLimits};
use http::{
    Request, Response,
    header::{ACCEPT_ENCODING, AUTHORIZATION},
};
use serde_json::Value;
use url::{Url, form_urlencoded};

use crate::{Hold, mark::Mark};

/// The answer to a request.
pub type Answer = Result<Response<Vec<u8>>, HttpError>;

type Rule = Arc<dyn Fn(&Request<Vec<u8>>) -> Option<Answer> + Send + Sync>;

/// A process's own connection to UPS.
pub struct Gate {
    http: Arc<dyn HttpClient>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    exchanges: Vec<Exchange>,
    answers: Vec<Mark>,
    held_connections: VecDeque<Hold>,
    held_requests: VecDeque<Hold>,
    held_answers: VecDeque<Hold>,
    next_answers: VecDeque<Result<Response<Vec<u8>>, HttpErrorKind>>,
    rules: Vec<Rule>,
    elsewhere: Option<Url>,
}

/// One request and its answer.
#[derive(Clone, Debug, Default)]
pub struct Exchange {
    /// The form as sent.
    pub body: String,
    /// The credentials, without the word `Basic`.
    pub authorization: Option<String>,
    /// The header of this name.
    pub accept_encoding: Option<String>,
    answer: Vec<u8>,
}

impl Gate {
    /// A connection through `http` that holds nothing yet.
    pub fn before(http: impl HttpClient) -> Self {
        Self { http: Arc::new(http), state: Mutex::default() }
    }

    /// A connection to nowhere: `answer` answers every request.
    pub fn answering(answer: impl Fn(&Request<Vec<u8>>) -> Answer + Send + Sync + 'static) -> Self {
        let gate = Self::before(Nowhere);
        gate.answer_by(move |request| Some(answer(request)));
        gate
    }

    /// The next request waits while connecting; afterwards its time limits are checked.
    pub fn hold_connection(&self) -> Hold {
        held(&mut self.state().held_connections)
    }

    /// The next request waits before UPS receives it.
    pub fn hold_request(&self) -> Hold {
        held(&mut self.state().held_requests)
    }

    /// The next answer waits on its way back: UPS has processed the request.
    pub fn hold_answer(&self) -> Hold {
        held(&mut self.state().held_answers)
    }

    /// The next request is not sent and gets this answer.
    pub fn answer_next(&self, answer: Result<Response<Vec<u8>>, HttpErrorKind>) {
        self.state().next_answers.push_back(answer);
    }

    /// Every request with `refresh_token` gets this answer; none is sent.
    pub fn answer_to(&self, refresh_token: &str, answer: Response<Vec<u8>>) {
        let refresh_token = refresh_token.to_owned();
        self.answer_by(move |request| {
            let sent = field(request.body(), "refresh_token")?;
            (sent == refresh_token).then(|| Ok(answer.clone()))
        });
    }

    /// A request that `rule` answers is not sent.
    pub fn answer_by(&self, rule: impl Fn(&Request<Vec<u8>>) -> Option<Answer> + Send + Sync + 'static) {
        self.state().rules.push(Arc::new(rule));
    }

    /// Requests go to this scheme and host, until [`back_to_ups`](Self::back_to_ups).
    pub fn send_to(&self, other: &str) {
        self.state().elsewhere = Some(other.parse().expect("a URL"));
    }

    /// Ends [`send_to`](Self::send_to).
    pub fn back_to_ups(&self) {
        self.state().elsewhere = None;
    }

    /// Every exchange so far, in the order of the requests.
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.state().exchanges.clone()
    }

    /// When each answer arrived.
    pub fn answers(&self) -> Vec<Mark> {
        self.state().answers.clone()
    }

    /// Every secret in the exchanges.
    pub fn secrets(&self) -> Vec<String> {
        self.state().exchanges.iter().flat_map(Exchange::secrets).map(|(_, secret)| secret).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits at the next hold of `queue`, if any; returns whether there was one.
    async fn pass(&self, queue: impl FnOnce(&mut State) -> &mut VecDeque<Hold>) -> bool {
        let hold = queue(&mut self.state()).pop_front();
        match hold {
            Some(hold) => {
                hold.pass().await;
                true
            }
            None => false,
        }
    }

    /// Answers in place of UPS, if configured.
    fn scripted(&self, request: &Request<Vec<u8>>) -> Option<Answer> {
        let (next, rules) = {
            let mut state = self.state();
            (state.next_answers.pop_front(), state.rules.clone())
        };
        next.map(|next| next.map_err(HttpError::new)).or_else(|| rules.iter().find_map(|rule| rule(request)))
    }
}

fn held(queue: &mut VecDeque<Hold>) -> Hold {
    let hold = Hold::default();
    queue.push_back(hold.clone());
    hold
}

#[async_trait]
impl HttpClient for Gate {
    async fn send(&self, mut request: Request<Vec<u8>>) -> Answer {
        let number = self.state().note(&mut request);
        if self.pass(|state| &mut state.held_connections).await
            && !request.extensions().get::<TimeLimits>().expect("limits").may_be_sent()
        {
            return Err(HttpError::new(HttpErrorKind::Late));
        }
        self.pass(|state| &mut state.held_requests).await;
        let held_answer = self.state().held_answers.pop_front();
        let answer = match self.scripted(&request) {
            Some(answer) => answer,
            None => self.http.send(request).await,
        };
        if let Ok(answer) = &answer {
            let mut state = self.state();
            state.answers.push(Mark::here());
            state.exchanges[number].answer = answer.body().clone();
        }
        if let Some(hold) = held_answer {
            hold.pass().await;
        }
        answer
    }
}

impl State {
    /// Redirects a request if configured, and records it; returns its number.
    fn note(&mut self, request: &mut Request<Vec<u8>>) -> usize {
        if let Some(other) = &self.elsewhere {
            let address = format!("{}{}", other.origin().ascii_serialization(), request.uri().path());
            *request.uri_mut() = address.parse().expect("an address");
        }
        let header = |name| request.headers().get(name).map(|value| value.to_str().expect("ASCII"));
        self.exchanges.push(Exchange {
            body: String::from_utf8(request.body().clone()).expect("a form"),
            authorization: header(AUTHORIZATION).map(|value| value.replace("Basic ", "")),
            accept_encoding: header(ACCEPT_ENCODING).map(str::to_owned),
            answer: Vec::new(),
        });
        self.exchanges.len() - 1
    }
}

impl Exchange {
    /// A value of the sent form.
    pub fn sent(&self, name: &str) -> Option<String> {
        field(self.body.as_bytes(), name)
    }

    /// A text field of the received JSON.
    pub fn received(&self, name: &str) -> Option<String> {
        let answer: Value = serde_json::from_slice(&self.answer).ok()?;
        answer.get(name)?.as_str().map(str::to_owned)
    }

    /// Every secret of the exchange, with its name.
    pub fn secrets(&self) -> impl Iterator<Item = (&'static str, String)> {
        let sent =
            [("authorization code", "code"), ("refresh token", "refresh_token"), ("PKCE verifier", "code_verifier")]
                .map(|(what, name)| (what, self.sent(name)));
        let received = [("access token", "access_token"), ("refresh token", "refresh_token")]
            .map(|(what, name)| (what, self.received(name)));
        let secrets = sent.into_iter().chain(received).chain([("client secret, as Basic", self.authorization.clone())]);
        secrets.filter_map(|(what, secret)| Some((what, secret?)))
    }
}

fn field(form: &[u8], name: &str) -> Option<String> {
    form_urlencoded::parse(form).find(|(field, _)| field == name).map(|(_, value)| value.into_owned())
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("http", &self.http).finish_non_exhaustive()
    }
}

/// No request gets here.
#[derive(Debug)]
struct Nowhere;

#[async_trait]
impl HttpClient for Nowhere {
    async fn send(&self, _: Request<Vec<u8>>) -> Answer {
        Err(HttpError::not_sent())
    }
}
