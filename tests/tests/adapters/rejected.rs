//! After a 401: one refresh, one more request, and never a third.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use batchsuite_auth::{
    adapters::{reqwest_middleware::AccessTokenMiddleware, token_error, tower::AccessTokenLayer},
    error::TokenError,
    fake_ups::{Answer, Endpoint, FakeUps, Times},
    http::HttpClient as _,
    machine::CauseKind,
};
use batchsuite_tests::{acme, ada, company, eventually, opt_in};
use futures_util::future::join_all;
use http::{Request, Response, StatusCode, header::AUTHORIZATION};
use http_body_util::Full;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Barrier,
};
use tower::{Layer as _, ServiceExt as _, service_fn, util::BoxCloneSyncService};

use crate::stage::{Failure, Inner, Settings, Stage, hyper, tracking};

/// UPS that answers the token `old` only after `all_sent` requests with it have arrived.
fn ups_after(all_sent: usize, stage: &Stage, old: String) -> Inner {
    let (ups, all_sent) = (stage.ups.in_process(), Arc::new(Barrier::new(all_sent)));
    BoxCloneSyncService::new(service_fn(move |request: Request<Vec<u8>>| {
        let (ups, all_sent) = (ups.clone(), Arc::clone(&all_sent));
        let is_old = request.headers()[AUTHORIZATION] == old.as_str();
        async move {
            if is_old {
                all_sent.wait().await;
            }
            Ok::<_, Failure>(ups.send(request).await?)
        }
    }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_401s_at_once_cause_one_refresh() {
    const CALLERS: usize = 1000;
    for adapter in 0..2 {
        let stage = Stage::new().await;
        let ups = ups_after(CALLERS, &stage, stage.authorization().await);
        let (name, client) = stage.settings().clients_over(&ups)[adapter].clone();
        stage.tokens_end_at_ups();

        let calls = (0..CALLERS).map(|_| tokio::spawn(client.clone().oneshot(stage.request())));
        let answers = join_all(calls).await;

        for answer in answers {
            assert_eq!(answer.unwrap().unwrap(), StatusCode::OK, "{name}");
        }
        assert_eq!((stage.refreshes(), stage.tracked()), (1, 2 * CALLERS as u64), "{name}");
    }
}

#[tokio::test]
async fn a_rejected_request_is_sent_once_more_as_it_was() {
    for adapter in 0..2 {
        let stage = Stage::new().await;
        let (name, client) = stage.settings().clients()[adapter].clone();
        stage.tokens_end_at_ups();

        // UPS requires the headers and the tracking number again.
        assert_eq!(client.oneshot(stage.request()).await.unwrap(), StatusCode::OK, "{name}");
        assert_eq!((stage.refreshes(), stage.tracked()), (1, 2), "{name}");
    }
}

#[tokio::test]
async fn the_second_request_has_the_body_the_method_and_the_extensions_of_the_first() {
    let stage = Stage::new().await;
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let inner = BoxCloneSyncService::new(service_fn({
        let seen = Arc::clone(&seen);
        move |request: Request<Vec<u8>>| {
            let (parts, body) = request.into_parts();
            let token = parts.headers[AUTHORIZATION].to_str().unwrap().to_owned();
            seen.lock().unwrap().push((
                token,
                parts.method,
                parts.uri,
                parts.version,
                body,
                parts.extensions.get::<u8>().copied(),
            ));
            let rejected = Response::builder().status(StatusCode::UNAUTHORIZED).body(Vec::<u8>::new()).unwrap();
            std::future::ready(Ok::<_, Failure>(rejected))
        }
    }));
    let request = Request::post(stage.track()).version(http::Version::HTTP_10).extension(acme()).extension(7_u8);

    let client = stage.settings().layer().layer(inner);
    let answer = client.oneshot(request.body(b"ship it".to_vec()).unwrap()).await.unwrap();

    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    let seen = seen.lock().unwrap();
    let [first, second] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!(
        (&first.1, &first.2, &first.3, &first.4, &first.5),
        (&second.1, &second.2, &second.3, &second.4, &second.5)
    );
    assert_eq!((&first.4[..], first.5), (&b"ship it"[..], Some(7)));
    assert_ne!(first.0, second.0, "another token");
}

#[tokio::test]
async fn a_second_401_is_the_answer_and_there_is_never_a_third_request() {
    for adapter in 0..2 {
        let stage = Stage::new().await;
        let (name, client) = stage.settings().clients()[adapter].clone();
        stage.ups.fault(Endpoint::Track, Answer::status(401), Times::UntilCleared);

        assert_eq!(client.clone().oneshot(stage.request()).await.unwrap(), StatusCode::UNAUTHORIZED, "{name}");
        assert_eq!((stage.refreshes(), stage.tracked()), (1, 2), "{name}");

        // The token was fetched a moment ago because of a 401, so it is not fetched again and no second request is
        // sent.
        let error = client.oneshot(stage.request()).await.unwrap_err();
        assert!(token_error(&*error).is_some_and(TokenError::is_transient), "{name}: {error:?}");
        assert_eq!((stage.refreshes(), stage.tracked()), (1, 3), "{name}");
    }
}

#[tokio::test]
async fn a_401_after_a_password_change_is_told_as_such_and_nothing_is_sent_again() {
    for adapter in 0..2 {
        let stage = Stage::new().await;
        let (name, client) = stage.settings().clients()[adapter].clone();
        stage.ups.change_password(FakeUps::USER);

        let error = client.oneshot(stage.request()).await.unwrap_err();

        let Some(TokenError::ReauthRequired(cause)) = token_error(&*error) else { panic!("{name}: {error:?}") };
        assert_eq!(cause.kind, CauseKind::OptInInvalidated, "{name}");
        assert_eq!(stage.tracked(), 1, "{name}");
    }
}

/// A body that cannot be sent twice.
#[derive(Debug)]
struct Streaming(Vec<u8>);

#[tokio::test]
async fn a_401_of_a_streaming_body_is_returned_and_the_next_request_has_another_token() {
    for adapter in ["tower", "reqwest"] {
        let stage = Stage::new().await;
        let auth = stage.settings().auth;
        let by_tower = AccessTokenLayer::with_body_copy(auth.clone(), |_: &Streaming| None)
            .layer(hyper().map_request(|request: Request<Streaming>| request.map(|body| body.0)));
        let by_reqwest =
            AccessTokenMiddleware::new(auth).client(reqwest::Client::builder().no_proxy()).unwrap().build();
        let send = async || match adapter {
            "tower" => {
                let request = tracking(&stage.track()).extension(acme()).body(Streaming(Vec::new())).unwrap();
                by_tower.clone().oneshot(request).await.unwrap().status()
            }
            _ => {
                let request = by_reqwest.get(stage.track()).with_extension(acme());
                let request = request.header("transId", "1").header("transactionSrc", "tests");
                let stream = reqwest::Body::wrap(Full::new(bytes::Bytes::from_static(b"x")));
                request.body(stream).send().await.unwrap().status()
            }
        };
        stage.tokens_end_at_ups();

        assert_eq!(send().await, StatusCode::UNAUTHORIZED, "{adapter}");
        assert_eq!((stage.refreshes(), stage.tracked()), (1, 1), "{adapter}");
        assert_eq!(send().await, StatusCode::OK, "{adapter}");
        assert_eq!((stage.refreshes(), stage.tracked()), (1, 2), "{adapter}");
    }
}

/// The 401 of a streaming body is returned even if there is no other token; the next request reports the reason.
#[tokio::test]
async fn a_401_of_a_streaming_body_is_returned_also_after_a_password_change() {
    let stage = Stage::new().await;
    let layer = AccessTokenLayer::with_body_copy(stage.settings().auth, |_: &Streaming| None);
    let client = layer.layer(hyper().map_request(|request: Request<Streaming>| request.map(|body| body.0)));
    let request = || tracking(&stage.track()).extension(acme()).body(Streaming(Vec::new())).unwrap();
    stage.ups.change_password(FakeUps::USER);

    assert_eq!(client.clone().oneshot(request()).await.unwrap().status(), StatusCode::UNAUTHORIZED);
    let error = client.oneshot(request()).await.unwrap_err();
    assert!(token_error(&error).is_some_and(TokenError::needs_reauthorization), "{error:?}");
    assert_eq!(stage.tracked(), 1);
}

#[tokio::test]
async fn a_refresh_outlives_the_caller_whose_401_caused_it() {
    for adapter in 0..2 {
        let stage = Stage::new().await;
        let (name, client) = stage.settings().clients()[adapter].clone();
        stage.tokens_end_at_ups();
        let answer = stage.process.http.hold_answer();
        let caller = tokio::spawn(client.clone().oneshot(stage.request()));
        answer.reached().await;

        caller.abort();
        assert!(caller.await.unwrap_err().is_cancelled(), "{name}");
        answer.release();

        eventually("the refresh ends", async || stage.process.token(&acme()).await.revision().version == 2).await;
        assert_eq!((stage.refreshes(), stage.tracked()), (1, 1), "{name}");
        assert_eq!(client.oneshot(stage.request()).await.unwrap(), StatusCode::OK, "{name}");
        assert_eq!((stage.refreshes(), stage.tracked()), (1, 2), "{name}");
    }
}

#[tokio::test]
async fn of_two_companies_behind_one_client_a_401_renews_the_token_of_one() {
    for adapter in 0..2 {
        let stage = Stage::new().await;
        let (name, client) = stage.settings().clients()[adapter].clone();
        opt_in(&stage.process.auth, &stage.ups, &company("other")).await;
        let of_other = || tracking(&stage.track()).extension(company("other")).body(Vec::new()).unwrap();
        stage.ups.fault(Endpoint::Track, Answer::status(401), Times::Once);

        assert_eq!(client.clone().oneshot(of_other()).await.unwrap(), StatusCode::OK, "{name}");
        assert_eq!(client.oneshot(stage.request()).await.unwrap(), StatusCode::OK, "{name}");

        let versions =
            [acme(), company("other")].map(async |company| stage.process.token(&company).await.revision().version);
        assert_eq!(join_all(versions).await, [1, 2], "{name}");
    }
}

/// The authorization is removed while the request is at UPS.
#[tokio::test]
async fn a_401_after_a_removal_is_not_followed_by_a_second_request() {
    for adapter in 0..2 {
        let stage = Stage::new().await;
        let (auth, sent) = (stage.process.auth.clone(), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&sent);
        let ups = BoxCloneSyncService::new(service_fn(move |_: Request<Vec<u8>>| {
            let auth = auth.clone();
            counted.fetch_add(1, Relaxed);
            async move {
                auth.remove_auth(&acme(), &ada()).await.unwrap();
                Ok::<_, Failure>(Response::builder().status(401).body(Vec::new()).unwrap())
            }
        }));
        let (name, client) = stage.settings().clients_over(&ups)[adapter].clone();

        let error = client.oneshot(stage.request()).await.unwrap_err();

        assert!(matches!(token_error(&*error), Some(TokenError::NotAuthenticated)), "{name}: {error:?}");
        assert_eq!((sent.load(Relaxed), stage.refreshes()), (1, 0), "{name}");
    }
}

/// A server that answers the token `old` with a 401 whose body never ends, and any other with 200. It counts connections.
async fn never_ending(old: String) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counted.fetch_add(1, Relaxed);
            tokio::spawn(answer_without_end(stream, old.clone()));
        }
    });
    (address, connections)
}

async fn answer_without_end(mut stream: TcpStream, old: String) {
    let mut head = Vec::new();
    while let Ok(byte) = stream.read_u8().await {
        head.push(byte);
        if !head.ends_with(b"\r\n\r\n") {
            continue;
        }
        let is_old = String::from_utf8_lossy(&head).contains(&old);
        head.clear();
        if !is_old {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
            continue;
        }
        let _ = stream.write_all(b"HTTP/1.1 401 Unauthorized\r\ntransfer-encoding: chunked\r\n\r\n").await;
        while stream.write_all(b"21\r\nHTTP/1.1 200 OK\r\nx: 1\r\n\r\n...\r\n\r\n").await.is_ok() {}
        return;
    }
}

/// The rest of the body must not be read as the response to the second request.
#[tokio::test]
async fn the_body_of_a_401_is_not_waited_for_and_not_taken_for_the_next_answer() {
    for adapter in 0..2 {
        let stage = Stage::new().await;
        let (url, connections) = never_ending(stage.authorization().await).await;
        let settings = Settings { hosts: Some(vec![url.parse().unwrap()]), ..stage.settings() };
        let (name, client) = settings.clients()[adapter].clone();
        stage.tokens_end_at_ups();

        for _ in 0..2 {
            let request = tracking(&url).extension(acme()).body(Vec::new()).unwrap();
            assert_eq!(client.clone().oneshot(request).await.unwrap(), StatusCode::OK, "{name}");
        }
        assert_eq!(stage.refreshes(), 1, "{name}");
        assert!(connections.load(Relaxed) >= 2, "{name}: the unread answer's connection is not used again");
    }
}
