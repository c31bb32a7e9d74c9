//! The network between a process and UPS, and UPS itself as the fake's one function.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use batchsuite_auth::{
    AccessToken,
    http::{HttpClient, HttpError, HttpErrorKind, Received, TimeLimits},
};
use http::{Request, Response, StatusCode, header};
use serde_json::Value;
use tokio::sync::oneshot;
use url::form_urlencoded;

use crate::{
    broken::Break,
    clocks::micros,
    dice::Dice,
    faults::Fault,
    ledger::{Arrived, Asks, Incarnation, PairId, Verdict, digest},
    process::Name,
    world::World,
};

type Answer = Response<Vec<u8>>;

/// A process's connection to UPS.
pub(crate) struct Network {
    world: Arc<World>,
    slot: usize,
    incarnation: Incarnation,
}

/// What happens to a request.
#[derive(Clone, Copy, Debug)]
struct Fate {
    /// How long connecting takes.
    connect: Duration,
    /// How long the request travels; `None`: it is lost.
    there: Option<Duration>,
    /// How long the answer travels, and what arrives.
    back: (Duration, Home),
    /// How much later a second copy of the request arrives.
    again: Option<Duration>,
    /// An answer from something other than UPS.
    instead: Option<Instead>,
}

/// What arrives at the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Home {
    Answer,
    /// A broken connection.
    Reset,
    /// Nothing.
    Silence,
    /// Half of the answer.
    Half,
    /// The whole answer, then a broken connection.
    BrokenBehind,
}

/// What answers in place of UPS; nothing is processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Instead {
    TooMany,
    Unavailable,
    WrongClient,
    Blocked,
    Refusal,
}

/// UPS's answer on its way back, and the pair in it.
struct Reply {
    answer: Answer,
    pair: Option<PairId>,
}

impl Network {
    pub(crate) fn new(world: &Arc<World>, slot: usize, incarnation: Incarnation) -> Self {
        Self { world: Arc::clone(world), slot, incarnation }
    }

    fn name(&self) -> Name {
        Name(self.slot, self.incarnation)
    }

    /// Draws what happens to the next request; `Err`: it is not sent.
    fn fate(&self) -> Result<Fate, HttpError> {
        let (weather, now) = (self.world.weather().clone(), self.world.now());
        let mut dice = self.world.dice();
        let mut fate = Fate {
            connect: dice.milliseconds(1..40),
            there: Some(dice.milliseconds(5..80)),
            back: (dice.milliseconds(5..80), Home::Answer),
            again: None,
            instead: None,
        };
        let fault = if weather.is_calm {
            None
        } else if now < weather.ups_away_until {
            Some(dice.one_of(&[Fault::NotSent, Fault::LostRequest, Fault::Silence, Fault::Unavailable]))
        } else if now < weather.wave_until {
            Some(Fault::SpuriousRefusal)
        } else if now < weather.client_refused_until {
            Some(Fault::WrongClient)
        } else if dice.chance(self.world.plan.http) {
            Some(dice.one_of(&FAULTS))
        } else {
            None
        };
        if let Some(fault) = fault {
            let is_sent = fate.suffer(fault, &mut dice);
            drop(dice);
            self.world.suffers(fault, self.name());
            if !is_sent {
                return Err(HttpError::not_sent());
            }
        }
        Ok(fate)
    }
}

/// In microseconds. A copy of a request reaches UPS within ten minutes or never: the design assumes so.
const LAST_ECHO: u64 = 590_000_000;

/// The faults of single requests.
const FAULTS: [Fault; 15] = [
    Fault::NotSent,
    Fault::SlowConnection,
    Fault::SlowUps,
    Fault::LostAnswer,
    Fault::LostRequest,
    Fault::LateRequest,
    Fault::Doubled,
    Fault::Doubled,
    Fault::Silence,
    Fault::CutAnswer,
    Fault::CutBehindPair,
    Fault::TooMany,
    Fault::Unavailable,
    Fault::Blocked,
    Fault::SpuriousRefusal,
];

impl Fate {
    /// Applies a fault; returns whether the request is sent at all.
    fn suffer(&mut self, fault: Fault, dice: &mut Dice) -> bool {
        let echo = dice.seconds(1..580);
        match fault {
            Fault::NotSent => return false,
            Fault::SlowConnection => self.connect = dice.seconds(1..8),
            Fault::SlowUps => self.there = Some(dice.seconds(1..40)),
            Fault::LostAnswer => self.back.1 = dice.one_of(&[Home::Reset, Home::Silence]),
            Fault::LostRequest => (self.there, self.back.1) = (None, Home::Reset),
            Fault::LateRequest => (self.there, self.back.1, self.again) = (None, Home::Reset, Some(echo)),
            Fault::Doubled => self.again = Some(echo),
            Fault::Silence => {
                self.back.1 = Home::Silence;
                if dice.chance(0.7) {
                    self.there = None;
                }
            }
            Fault::CutAnswer => self.back.1 = Home::Half,
            Fault::CutBehindPair => self.back.1 = Home::BrokenBehind,
            Fault::TooMany => self.instead = Some(Instead::TooMany),
            Fault::Unavailable => self.instead = Some(Instead::Unavailable),
            Fault::WrongClient => self.instead = Some(Instead::WrongClient),
            Fault::Blocked => self.instead = Some(Instead::Blocked),
            _ => self.instead = Some(Instead::Refusal),
        }
        true
    }
}

#[async_trait]
impl HttpClient for Network {
    async fn send(&self, request: Request<Vec<u8>>) -> Result<Answer, HttpError> {
        let world = &self.world;
        let Some(send) = read(&request) else { return Err(HttpError::new(HttpErrorKind::Request)) };
        let _under_way = UnderWay::begin(self, send);
        let fate = self.fate()?;
        tokio::time::sleep(fate.connect).await;
        world.befalls(self.slot, self.incarnation, Fault::KilledBeforeSend).await;
        let may_be_sent = request.extensions().get::<TimeLimits>().is_none_or(TimeLimits::may_be_sent);
        if !may_be_sent && world.broken != Some(Break::SendsLate) {
            return Err(HttpError::new(HttpErrorKind::Late));
        }
        let request = Arc::new(request);
        let answer = self.exchange(&request, send, fate).await;
        if answer.is_err() && world.broken == Some(Break::Retries) {
            tokio::time::sleep(Duration::from_secs(1)).await;
            return self.exchange(&request, send, fate).await;
        }
        answer
    }
}

/// A request that a process has under way, until it is dropped.
struct UnderWay<'a>(&'a Network, bool);

impl<'a> UnderWay<'a> {
    fn begin(of: &'a Network, send: Asks) -> Self {
        let is_refresh = matches!(send, Asks::Refresh(_));
        if is_refresh {
            let (now, rate) = (of.world.now(), of.world.plan.refresh_rate);
            of.world.ledger(|ledger| ledger.refresh_begins(of.incarnation, now, rate));
        }
        Self(of, is_refresh)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if self.1 {
            self.0.world.ledger(|ledger| ledger.refresh_ends(self.0.incarnation));
        }
    }
}

impl Network {
    async fn exchange(&self, request: &Arc<Request<Vec<u8>>>, send: Asks, fate: Fate) -> Result<Answer, HttpError> {
        let world = &self.world;
        let sent = world.ledger(|ledger| {
            ledger.handed_over(self.incarnation, send, world.clocks.store_micros(), world.clocks.store_set())
        });
        world.note(self.name(), format_args!("sends {}", send.words()));
        let home = self.travels(request, send, fate);
        world.befalls(self.slot, self.incarnation, Fault::KilledAfterSend).await;
        let reply = match fate.back.1 {
            Home::Silence => std::future::pending().await,
            _ => home.await,
        };
        let Ok(Reply { answer, pair }) = reply else { return Err(HttpError::unanswered()) };
        let received = request.extensions().get::<Received>().cloned().unwrap_or_default();
        let (home, body) = (fate.back.1, answer.body());
        if matches!(home, Home::Half | Home::BrokenBehind) {
            received.head(answer.status(), answer.headers().clone());
            let length = if home == Home::Half { body.len() / 2 } else { body.len() };
            let _ = received.body(&body[..length]);
        }
        // Half an answer carries no pair.
        let arrives = matches!(home, Home::Answer | Home::BrokenBehind);
        let is_pair = pair.is_some() && arrives;
        let is_definite =
            is_pair || (home == Home::Answer && !answer.status().is_server_error() && answer.status().as_u16() != 408);
        if arrives || home == Home::Half {
            let status = answer.status().as_u16();
            world.note(self.name(), format_args!("gets {status} {home:?} {pair:?}"));
        }
        world.ledger(|ledger| ledger.answered(self.incarnation, sent, pair.filter(|_| is_pair), is_definite));
        let is_kept = world.broken != Some(Break::ThrowsAway) || !world.dice().chance(0.01);
        if home == Home::Answer && is_kept { Ok(answer) } else { Err(HttpError::unanswered()) }
    }

    /// Lets the request travel independently: it arrives whatever happens to the process.
    fn travels(&self, request: &Arc<Request<Vec<u8>>>, send: Asks, fate: Fate) -> oneshot::Receiver<Reply> {
        let (tell, home) = oneshot::channel();
        let (world, name) = (Arc::clone(&self.world), self.name());
        let copy = Arc::clone(request);
        tokio::spawn(async move {
            if let Some(there) = fate.there {
                tokio::time::sleep(there).await;
                let reply = match fate.instead {
                    Some(instead) => world.instead(instead, send),
                    None => world.arrives(&copy, send, Arrived::First, name),
                };
                let (back, home) = fate.back;
                tokio::time::sleep(back).await;
                if home != Home::Reset {
                    let _ = tell.send(reply);
                }
            }
        });
        if let Some(again) = fate.again {
            let (world, copy) = (Arc::clone(&self.world), Arc::clone(request));
            let of_answered = fate.there.is_some() && fate.back.1 == Home::Answer;
            let until = world.now() + LAST_ECHO;
            tokio::spawn(async move {
                tokio::time::sleep(again).await;
                // The network kept running while the machine was suspended.
                if world.now() > until {
                    return;
                }
                drop(world.arrives(&copy, send, Arrived::Again { of_answered }, name));
            });
        }
        home
    }
}

impl World {
    /// UPS processes a request.
    fn arrives(&self, request: &Request<Vec<u8>>, send: Asks, arrived: Arrived, name: Name) -> Reply {
        let verdict = self.ledger(|ledger| ledger.arrives(send, arrived, self.plan.ends_families));
        let (answer, pair) = match verdict {
            Verdict::Refuse => (refusal(), None),
            Verdict::Ask => {
                self.ups_clock.set(self.clocks.now());
                let answer = self.ups.respond(request).response;
                let pair = self.issued(&answer, send);
                if pair.is_none() {
                    self.ledger(|ledger| ledger.refuses(send));
                }
                (answer, pair)
            }
        };
        let status = answer.status().as_u16();
        self.note("UPS", format_args!("{} of {name} {arrived:?}: {status} {pair:?}", send.words()));
        Reply { answer, pair }
    }

    /// The pair in UPS's answer.
    fn issued(&self, answer: &Answer, send: Asks) -> Option<PairId> {
        if answer.status() != StatusCode::OK {
            return None;
        }
        let pair: Value = serde_json::from_slice(answer.body()).ok()?;
        let text = |name: &str| pair.get(name).and_then(Value::as_str);
        let (access, refresh) = (text("access_token")?, text("refresh_token")?);
        let lifetime = Duration::from_secs(text("expires_in")?.parse().ok()?);
        let now = self.now();
        let times = (now, now + micros(lifetime));
        self.ledger(|ledger| ledger.issues(send, (access, refresh), times, self.clocks.store_set()))
    }

    /// Whether a UPS API accepts a token.
    pub(crate) fn accepts(&self, token: &AccessToken) -> bool {
        self.ups_clock.set(self.clocks.now());
        let request = Request::get("http://localhost/api/track/v1/details/1Z12345E0291980793")
            .header(header::AUTHORIZATION, token.header())
            .header("transId", "simulation")
            .header("transactionSrc", "simulation")
            .body(Vec::new());
        request.is_ok_and(|request| self.ups.respond(&request).response.status() == StatusCode::OK)
    }

    /// Something other than UPS answers.
    fn instead(&self, instead: Instead, send: Asks) -> Reply {
        let answer = match instead {
            Instead::TooMany => error(429, "10429", "Too Many Requests"),
            Instead::Unavailable => error(503, "", ""),
            Instead::WrongClient => error(401, "10401", "ClientId is Invalid"),
            Instead::Blocked => error(403, "10403", "Blocked Merchant"),
            Instead::Refusal => {
                self.ledger(|ledger| ledger.refuses(send));
                match send {
                    Asks::Refresh(_) => refusal(),
                    Asks::Exchange(_) => error(400, "10400", "Invalid authorization code"),
                }
            }
        };
        Reply { answer, pair: None }
    }
}

impl Asks {
    fn words(self) -> &'static str {
        match self {
            Self::Exchange(_) => "exchange",
            Self::Refresh(_) => "refresh",
        }
    }
}

/// The purpose of a request.
fn read(request: &Request<Vec<u8>>) -> Option<Asks> {
    let form = |name: &str| {
        form_urlencoded::parse(request.body()).find(|(field, _)| field == name).map(|(_, value)| digest(&value))
    };
    match request.uri().path() {
        "/security/v1/oauth/token" => form("code").map(Asks::Exchange),
        "/security/v1/oauth/refresh" => form("refresh_token").map(Asks::Refresh),
        _ => None,
    }
}

fn refusal() -> Answer {
    error(400, "10400", "Invalid Refresh Token")
}

fn error(status: u16, code: &str, message: &str) -> Answer {
    let body = serde_json::json!({ "response": { "errors": [{ "code": code, "message": message }] } });
    let body = if code.is_empty() { Vec::new() } else { body.to_string().into_bytes() };
    let answer = Response::builder().status(status).header(header::CONTENT_TYPE, "application/json");
    answer.body(body).unwrap_or_default()
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").field("slot", &self.slot).finish_non_exhaustive()
    }
}
