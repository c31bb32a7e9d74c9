//! A company that has opted in, UPS's tracking API, and one client per adapter.

use std::{
    error::Error,
    future::ready,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use batchsuite_auth::{
    BatchSuiteAuth, Client, CompanyId,
    adapters::{
        reqwest_middleware::AccessTokenMiddleware,
        tower::{AccessTokenLayer, AccessTokenService},
    },
    clock::{Clock, Timestamp, earlier},
    fake_ups::{Endpoint, FakeUps},
    test_util::ManualClock,
};
use batchsuite_store::MemoryStore;
use batchsuite_tests::{FlakyStore, Gate, HOUR, Process, acme, opt_in};
use bytes::Bytes;
use http::{Extensions, HeaderMap, Request, Response, StatusCode, header::AUTHORIZATION};
use http_body_util::Full;
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::TokioExecutor,
};
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware, Middleware, Next};
use tower::{Layer as _, ServiceExt as _, service_fn, util::BoxCloneSyncService};
use url::Url;

/// The clock of a service that is an hour behind UPS's once [`Stage::tokens_end_at_ups`] has been called.
#[derive(Clone, Debug)]
struct LateClock {
    ups: ManualClock,
    by: Arc<Mutex<Duration>>,
}

impl Clock for LateClock {
    fn now(&self) -> Timestamp {
        earlier(self.ups.now(), *self.by.lock().unwrap())
    }
}

pub(crate) struct Stage {
    pub(crate) ups: FakeUps,
    pub(crate) process: Process,
    late_by: Arc<Mutex<Duration>>,
}

impl Stage {
    pub(crate) async fn new() -> Self {
        let ups = FakeUps::start().await;
        let clock = LateClock { ups: ups.clock(), by: Arc::default() };
        let store = Arc::new(FlakyStore::over(MemoryStore::with_clock(clock.clone())));
        let http = Arc::new(Gate::before(ups.in_process()));
        let client = Client::new(ups.client_id(), ups.client_secret());
        let late_by = Arc::clone(&clock.by);
        let process = Process::start(&ups, client, store, http, |builder| builder.clock(clock).without_keeper());
        opt_in(&process.auth, &ups, &acme()).await;
        Self { ups, process, late_by }
    }

    /// Default settings.
    pub(crate) fn settings(&self) -> Settings {
        Settings { auth: self.process.auth.clone(), company: None, hosts: None }
    }

    /// From now on UPS answers every issued token with 401, while the service believes that its token is valid.
    pub(crate) fn tokens_end_at_ups(&self) {
        *self.late_by.lock().unwrap() += HOUR;
        self.ups.clock().advance(HOUR);
    }

    /// The number of requests to the tracking API.
    pub(crate) fn tracked(&self) -> u64 {
        self.ups.requests().total(Endpoint::Track)
    }

    /// The number of refreshes at UPS.
    pub(crate) fn refreshes(&self) -> u64 {
        self.ups.requests().total(Endpoint::Refresh)
    }

    /// The tracking API's address.
    pub(crate) fn track(&self) -> String {
        self.ups.base_url().join("api/track/v1/details/1Z999AA10123456784").unwrap().into()
    }

    /// A request to the tracking API for acme.
    pub(crate) fn request(&self) -> Request<Vec<u8>> {
        tracking(&self.track()).extension(acme()).body(Vec::new()).unwrap()
    }

    /// The `Authorization` header of acme's current token.
    pub(crate) async fn authorization(&self) -> String {
        self.process.token(&acme()).await.header().to_str().unwrap().to_owned()
    }
}

/// A request to a tracking API.
pub(crate) fn tracking(uri: &str) -> http::request::Builder {
    Request::get(uri).header("transId", "1").header("transactionSrc", "tests")
}

/// A failure of either adapter, or of a client behind it.
pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// A client with one of the adapters, as the tests of both use it.
pub(crate) type Tracking = BoxCloneSyncService<Request<Vec<u8>>, StatusCode, Failure>;

/// The service behind an adapter.
pub(crate) type Inner = BoxCloneSyncService<Request<Vec<u8>>, Response<Vec<u8>>, Failure>;

/// The settings that both adapters share.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) auth: BatchSuiteAuth,
    pub(crate) company: Option<CompanyId>,
    pub(crate) hosts: Option<Vec<Url>>,
}

impl Settings {
    /// Each adapter, connected to the network.
    pub(crate) fn clients(&self) -> [(&'static str, Tracking); 2] {
        [("tower", tracking_by(self.layer().layer(hyper()))), ("reqwest", tracking_with(self.middleware().build()))]
    }

    /// Each adapter over another service.
    pub(crate) fn clients_over(&self, inner: &Inner) -> [(&'static str, Tracking); 2] {
        let middleware = self.middleware().with(InPlaceOfTheNetwork(inner.clone()));
        [("tower", tracking_by(self.layer().layer(inner.clone()))), ("reqwest", tracking_with(middleware.build()))]
    }

    pub(crate) fn layer<B: Clone>(&self) -> AccessTokenLayer<B> {
        let layer = AccessTokenLayer::new(self.auth.clone());
        let layer = self.company.iter().fold(layer, |layer, company| layer.with_company(company.clone()));
        self.hosts.iter().fold(layer, |layer, hosts| layer.with_hosts(hosts.clone()).unwrap())
    }

    pub(crate) fn middleware(&self) -> ClientBuilder {
        let middleware = AccessTokenMiddleware::new(self.auth.clone());
        let middleware =
            self.company.iter().fold(middleware, |middleware, company| middleware.with_company(company.clone()));
        let middleware =
            self.hosts.iter().fold(middleware, |middleware, hosts| middleware.with_hosts(hosts.clone()).unwrap());
        middleware.client(reqwest::Client::builder().no_proxy()).unwrap()
    }
}

fn tracking_by(service: AccessTokenService<Inner, Vec<u8>>) -> Tracking {
    BoxCloneSyncService::new(service.map_response(|answer| answer.status()).map_err(Failure::from))
}

fn tracking_with(client: ClientWithMiddleware) -> Tracking {
    BoxCloneSyncService::new(service_fn(move |request: Request<Vec<u8>>| {
        let (client, mut extensions) = (client.clone(), request.extensions().clone());
        async move {
            let request = reqwest::Request::try_from(request)?;
            Ok::<_, Failure>(client.execute_with_extensions(request, &mut extensions).await?.status())
        }
    }))
}

/// hyper's client. It follows no redirects.
pub(crate) fn hyper_client() -> legacy::Client<HttpConnector, Full<Bytes>> {
    legacy::Client::builder(TokioExecutor::new()).build_http()
}

/// The same for simple bodies; it does not read the bodies of answers.
pub(crate) fn hyper() -> Inner {
    let client =
        hyper_client().map_request(|request: Request<Vec<u8>>| request.map(|body| Full::new(Bytes::from(body))));
    BoxCloneSyncService::new(client.map_response(|answer| answer.map(|_| Vec::new())).map_err(Failure::from))
}

struct InPlaceOfTheNetwork(Inner);

#[async_trait]
impl Middleware for InPlaceOfTheNetwork {
    async fn handle(
        &self,
        request: reqwest::Request,
        _: &mut Extensions,
        _: Next<'_>,
    ) -> reqwest_middleware::Result<reqwest::Response> {
        let body = request.body().and_then(reqwest::Body::as_bytes).map(<[u8]>::to_vec).unwrap_or_default();
        let request = Request::<reqwest::Body>::try_from(request)?.map(|_| body);
        Ok(self.0.clone().oneshot(request).await.unwrap().into())
    }
}

/// A host that records the headers of its requests.
#[derive(Clone, Default)]
pub(crate) struct Recorder(Arc<Mutex<Vec<HeaderMap>>>);

impl Recorder {
    pub(crate) fn service(&self) -> Inner {
        let recorder = self.clone();
        BoxCloneSyncService::new(service_fn(move |request: Request<Vec<u8>>| {
            recorder.0.lock().unwrap().push(request.headers().clone());
            ready(Ok::<_, Failure>(Response::new(Vec::new())))
        }))
    }

    /// Takes the recorded headers.
    pub(crate) fn take(&self) -> Vec<HeaderMap> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    /// Takes the `Authorization` values of each recorded request.
    pub(crate) fn take_authorizations(&self) -> Vec<Vec<String>> {
        let values = |headers: HeaderMap| {
            headers.get_all(AUTHORIZATION).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
        };
        self.take().into_iter().map(values).collect()
    }
}
