//! What stands between the authenticator and UPS in a test: it remembers every exchange, and can hold one, send it
//! elsewhere, or answer itself.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use batchsuite_auth::http::{HttpClient, HttpError, HttpErrorKind};
use http::{
    Request, Response,
    header::{ACCEPT_ENCODING, AUTHORIZATION},
};
use serde_json::Value;
use tokio::sync::oneshot;
use url::{Url, form_urlencoded};

/// One request and what came back.
#[derive(Clone, Debug, Default)]
pub(crate) struct Exchange {
    /// As it was sent.
    pub(crate) body: String,
    pub(crate) authorization: Option<String>,
    pub(crate) accept_encoding: Option<String>,
    answer: Vec<u8>,
}

impl Exchange {
    /// A value of the form that was sent.
    pub(crate) fn sent(&self, name: &str) -> Option<String> {
        let mut fields = form_urlencoded::parse(self.body.as_bytes());
        fields.find(|(field, _)| field == name).map(|(_, value)| value.into_owned())
    }

    /// A text of the JSON that came back.
    pub(crate) fn received(&self, name: &str) -> Option<String> {
        let answer: Value = serde_json::from_slice(&self.answer).ok()?;
        answer.get(name)?.as_str().map(str::to_owned)
    }

    /// Everything in it that nobody may see.
    fn secrets(&self) -> impl Iterator<Item = String> {
        let sent = ["code", "refresh_token", "code_verifier"].map(|name| self.sent(name));
        let received = ["access_token", "refresh_token"].map(|name| self.received(name));
        sent.into_iter().chain(received).chain([self.authorization.clone()]).flatten()
    }
}

/// The wire of one process. Clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct Wire(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    http: Arc<dyn HttpClient>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    exchanges: Vec<Exchange>,
    gates: VecDeque<Gate>,
    script: VecDeque<Result<Response<Vec<u8>>, HttpErrorKind>>,
    elsewhere: Option<Url>,
}

impl Wire {
    pub(crate) fn over(http: Arc<dyn HttpClient>) -> Self {
        Self(Arc::new(Inner { http, state: Mutex::default() }))
    }

    pub(crate) fn exchanges(&self) -> Vec<Exchange> {
        self.state().exchanges.clone()
    }

    pub(crate) fn secrets(&self) -> Vec<String> {
        self.state().exchanges.iter().flat_map(Exchange::secrets).collect()
    }

    /// Requests go to this scheme and host instead, until [`back_to_ups`](Self::back_to_ups).
    pub(crate) fn send_to(&self, other: &str) {
        self.state().elsewhere = Some(other.parse().unwrap());
    }

    pub(crate) fn back_to_ups(&self) {
        self.state().elsewhere = None;
    }

    /// The next request is not sent; this is its answer.
    pub(crate) fn answer(&self, answer: Result<Response<Vec<u8>>, HttpErrorKind>) {
        self.state().script.push_back(answer);
    }

    /// The next request waits before it is sent.
    pub(crate) fn hold_request(&self) -> Held {
        self.hold(Moment::BeforeTheRequest)
    }

    /// The answer to the next request waits before the authenticator sees it.
    pub(crate) fn hold_answer(&self) -> Held {
        self.hold(Moment::AfterTheAnswer)
    }

    fn hold(&self, moment: Moment) -> Held {
        let ((reached, is_reached), (release, released)) = (oneshot::channel(), oneshot::channel());
        self.state().gates.push_back(Gate { moment, reached, released });
        Held { is_reached, _release: release }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl HttpClient for Wire {
    async fn send(&self, mut request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, HttpError> {
        let (number, gate, scripted) = {
            let mut state = self.state();
            if let Some(other) = &state.elsewhere {
                let address = format!("{}{}", other.origin().ascii_serialization(), request.uri().path());
                *request.uri_mut() = address.parse().unwrap();
            }
            let authorization = request.headers().get(AUTHORIZATION);
            state.exchanges.push(Exchange {
                body: String::from_utf8(request.body().clone()).unwrap(),
                authorization: authorization.map(|value| value.to_str().unwrap().replace("Basic ", "")),
                accept_encoding: request.headers().get(ACCEPT_ENCODING).map(|value| value.to_str().unwrap().to_owned()),
                answer: Vec::new(),
            });
            (state.exchanges.len() - 1, state.gates.pop_front(), state.script.pop_front())
        };
        let gate = match gate {
            Some(gate) if gate.moment == Moment::BeforeTheRequest => {
                gate.wait().await;
                None
            }
            gate => gate,
        };
        let answer = match scripted {
            Some(scripted) => scripted.map_err(HttpError::new),
            None => self.0.http.send(request).await,
        };
        if let Ok(answer) = &answer {
            self.state().exchanges[number].answer = answer.body().clone();
        }
        if let Some(gate) = gate {
            gate.wait().await;
        }
        answer
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    BeforeTheRequest,
    AfterTheAnswer,
}

#[derive(Debug)]
struct Gate {
    moment: Moment,
    reached: oneshot::Sender<()>,
    released: oneshot::Receiver<()>,
}

impl Gate {
    async fn wait(self) {
        let _ = self.reached.send(());
        // An error is the release: the other end is gone.
        let _ = self.released.await;
    }
}

/// An exchange that is held until this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    is_reached: oneshot::Receiver<()>,
    _release: oneshot::Sender<()>,
}

impl Held {
    /// Waits until the exchange has come so far.
    pub(crate) async fn reached(&mut self) {
        (&mut self.is_reached).await.expect("the exchange ended before it was held");
    }

    pub(crate) fn release(self) {}
}
