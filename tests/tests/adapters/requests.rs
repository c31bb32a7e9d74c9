//! A request gets its company's token or is not sent.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
};

use batchsuite_auth::{
    adapters::{RequestError, token_error},
    error::TokenError,
};
use batchsuite_tests::{acme, company, opt_in};
use http::{Request, Response, StatusCode};
use tower::{Layer as _, Service, ServiceExt as _};

use crate::stage::{Failure, Recorder, Settings, Stage, tracking};

/// Finds the adapters' own error in the chain of `error`.
fn request_error(error: &Failure) -> Option<&RequestError> {
    match error.downcast_ref() {
        Some(reqwest_middleware::Error::Middleware(error)) => error.downcast_ref(),
        _ => error.downcast_ref(),
    }
}

#[tokio::test]
async fn a_request_carries_the_token_of_its_own_company_else_of_the_fixed_one() {
    let stage = Stage::new().await;
    let other = company("other");
    opt_in(&stage.process.auth, &stage.ups, &other).await;
    let tokens = [stage.process.token(&acme()).await, stage.process.token(&other).await];
    let [of_acme, of_other] = tokens.each_ref().map(|token| token.header().to_str().unwrap());
    let recorder = Recorder::default();

    for (name, client) in (Settings { company: Some(acme()), ..stage.settings() }).clients_over(&recorder.service()) {
        for request in [tracking(&stage.track()), tracking(&stage.track()).extension(other.clone())] {
            client.clone().oneshot(request.body(Vec::new()).unwrap()).await.unwrap();
        }
        assert_eq!(recorder.take_authorizations(), [[of_acme], [of_other]], "{name}");
    }
}

#[tokio::test]
async fn the_tracking_api_takes_the_token() {
    let stage = Stage::new().await;

    for (name, client) in stage.settings().clients() {
        assert_eq!(client.oneshot(stage.request()).await.unwrap(), StatusCode::OK, "{name}");
    }
    assert_eq!((stage.tracked(), stage.refreshes()), (2, 0));
}

#[tokio::test]
async fn a_request_without_a_company_is_not_sent() {
    let stage = Stage::new().await;
    let recorder = Recorder::default();

    for (name, client) in stage.settings().clients_over(&recorder.service()) {
        let request = tracking(&stage.track()).body(Vec::new()).unwrap();

        let error = client.oneshot(request).await.unwrap_err();

        assert!(matches!(request_error(&error), Some(RequestError::NoCompany)), "{name}: {error:?}");
        assert!(token_error(&*error).is_none(), "{name}");
        assert_eq!(recorder.take().len(), 0, "{name}");
    }
}

#[tokio::test]
async fn without_a_token_nothing_is_sent_and_the_error_says_who_must_act() {
    let stage = Stage::new().await;
    let recorder = Recorder::default();

    for (name, client) in stage.settings().clients_over(&recorder.service()) {
        let request = tracking(&stage.track()).extension(company("stranger")).body(Vec::new()).unwrap();

        let error = client.oneshot(request).await.unwrap_err();

        let kept = match request_error(&error) {
            Some(RequestError::Token(kept)) => kept,
            _ => panic!("{name}: {error:?}"),
        };
        assert!(matches!(kept, TokenError::NotAuthenticated), "{name}: {kept:?}");
        assert!(token_error(&*error).is_some_and(TokenError::needs_reauthorization), "{name}");
        assert_eq!(recorder.take().len(), 0, "{name}");
    }
}

/// Only an inner service knows the host of a relative URI.
#[tokio::test]
async fn a_request_to_no_host_is_not_sent() {
    let stage = Stage::new().await;
    let recorder = Recorder::default();
    let client = stage.settings().layer().layer(recorder.service());

    let request = tracking("/api/track/v1/details/1").header("Host", "onlinetools.ups.com").extension(acme());
    let error = client.oneshot(request.body(Vec::new()).unwrap()).await.unwrap_err();

    assert!(matches!(error, RequestError::NoHost), "{error:?}");
    assert_eq!(recorder.take().len(), 0);
}

#[tokio::test]
async fn a_clients_own_error_is_kept_apart_from_a_missing_token() {
    let stage = Stage::new().await;
    let url = stage.track();
    let request = || tracking(&url).extension(acme()).body(Vec::new()).unwrap();
    stage.process.token(&acme()).await;
    stage.ups.go_offline().await;

    for (name, client) in stage.settings().clients() {
        let error = client.oneshot(request()).await.unwrap_err();

        assert!(token_error(&*error).is_none(), "{name}");
        match name {
            "tower" => {
                let Some(RequestError::Client(client)) = request_error(&error) else { panic!("{error:?}") };
                assert!(client.is::<hyper_util::client::legacy::Error>(), "{client:?}");
            }
            _ => assert!(matches!(error.downcast_ref(), Some(reqwest_middleware::Error::Reqwest(_))), "{error:?}"),
        }
    }
}

/// A service that must be polled for readiness before each call, as `tower`'s contract demands.
#[derive(Debug, Default)]
struct Strict {
    is_ready: bool,
}

impl Clone for Strict {
    fn clone(&self) -> Self {
        Self { is_ready: false }
    }
}

impl Service<Request<Vec<u8>>> for Strict {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = Ready<Result<Response<()>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.is_ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Vec<u8>>) -> Self::Future {
        assert!(std::mem::take(&mut self.is_ready), "a call of a service that is not ready");
        let mut answer = Response::new(());
        *answer.status_mut() = StatusCode::UNAUTHORIZED;
        ready(Ok(answer))
    }
}

#[tokio::test]
async fn each_call_of_the_inner_service_comes_after_its_readiness() {
    let stage = Stage::new().await;
    let mut client = stage.settings().layer().layer(Strict::default());

    let answer = client.ready().await.unwrap().call(stage.request()).await.unwrap();

    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(stage.refreshes(), 1, "the inner service is called twice");
}

/// A service that is never ready.
#[derive(Clone, Debug)]
struct Broken;

impl Service<Request<Vec<u8>>> for Broken {
    type Response = Response<()>;
    type Error = std::io::Error;
    type Future = Ready<Result<Response<()>, std::io::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), std::io::Error>> {
        Poll::Ready(Err(std::io::Error::other("broken")))
    }

    fn call(&mut self, _: Request<Vec<u8>>) -> Self::Future {
        unreachable!("it is never ready")
    }
}

#[tokio::test]
async fn a_client_that_is_broken_says_so_before_the_call() {
    let stage = Stage::new().await;

    let mut client = stage.settings().layer().layer(Broken);
    let error = client.ready().await.unwrap_err();

    let RequestError::Client(error) = error else { panic!("{error:?}") };
    assert_eq!(error.to_string(), "broken");
}
