//! A redirect never takes the token to another host.

use batchsuite_tests::acme;
use http::{StatusCode, header::AUTHORIZATION};
use http_body_util::Full;
use tower::{Layer as _, ServiceExt as _};
use tower_http::follow_redirect::FollowRedirectLayer;
use url::Url;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::path};

use crate::stage::{Failure, Settings, Stage, hyper_client, tracking};

/// A server on its own port.
struct Host(MockServer);

impl Host {
    async fn new() -> Self {
        Self(MockServer::start().await)
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.0.uri())
    }

    async fn redirects(&self, from: &str, to: &str) {
        let answer = ResponseTemplate::new(302).insert_header("location", to);
        Mock::given(path(from)).respond_with(answer).mount(&self.0).await;
    }

    async fn answers(&self, at: &str) {
        Mock::given(path(at)).respond_with(ResponseTemplate::new(200)).mount(&self.0).await;
    }

    /// The path of each request, and whether it carried credentials.
    async fn seen(&self) -> Vec<(String, bool)> {
        let requests = self.0.received_requests().await.unwrap();
        requests
            .iter()
            .map(|request| (request.url.path().to_owned(), request.headers.contains_key(AUTHORIZATION)))
            .collect()
    }
}

/// A host that gets tokens, and one that must not.
struct Hosts {
    named: Host,
    foreign: Host,
    settings: Settings,
}

impl Hosts {
    async fn new(stage: &Stage) -> Self {
        let (named, foreign) = (Host::new().await, Host::new().await);
        let hosts = Some(vec![Url::parse(&named.url("/")).unwrap()]);
        Self { named, foreign, settings: Settings { company: Some(acme()), hosts, ..stage.settings() } }
    }
}

fn seen(path: &str, has_token: bool) -> (String, bool) {
    (path.to_owned(), has_token)
}

/// A client that only checks whether the origin changes would send the token on the foreign host's second hop.
#[tokio::test]
async fn a_redirect_to_another_host_takes_no_token_along_however_often_that_host_redirects() {
    let stage = Stage::new().await;
    for adapter in ["tower", "reqwest"] {
        let Hosts { named, foreign, settings } = Hosts::new(&stage).await;
        named.redirects("/away", &foreign.url("/one")).await;
        foreign.redirects("/one", "/two").await;
        foreign.redirects("/two", &foreign.url("/three")).await;
        foreign.answers("/three").await;

        let status = follow(adapter, &settings, &named.url("/away")).await;

        assert_eq!(named.seen().await, [seen("/away", true)], "{adapter}");
        let expected = match adapter {
            // The layer handles each hop as a separate request.
            "tower" => vec![seen("/one", false), seen("/two", false), seen("/three", false)],
            // The middleware stops before a hop that must not carry the token.
            _ => vec![],
        };
        assert_eq!(foreign.seen().await, expected, "{adapter}");
        assert_eq!(status, if adapter == "tower" { StatusCode::OK } else { StatusCode::FOUND });
    }
}

/// Every redirect status, to another server and to the same server under another name.
#[tokio::test]
async fn no_status_and_no_spelling_of_a_redirect_takes_the_token_to_what_was_not_named() {
    let stage = Stage::new().await;
    for adapter in ["tower", "reqwest"] {
        for status in [300, 301, 302, 303, 305, 307, 308] {
            let Hosts { named, foreign, settings } = Hosts::new(&stage).await;
            let port = named.0.address().port();
            for host in [&named, &foreign] {
                host.redirects("/x", "/y").await;
                host.answers("/y").await;
            }
            for (number, to) in [
                foreign.url("/x"),
                foreign.url("/x").replace("http:", "HTTP:"),
                foreign.url("/x").replace("http:", ""),
                foreign.url("/x").replace("//", "//127.0.0.1@"),
                foreign.url("/x").replace("//", &format!("//127.0.0.1:{port}@")),
                foreign.url("/x").replace("//", "\\\\"),
                foreign.url("/x").replace("127.0.0.1", "localhost"),
                format!("http://localhost:{port}/x"),
            ]
            .iter()
            .enumerate()
            {
                let from = format!("/{number}");
                let answer = ResponseTemplate::new(status).insert_header("location", to.as_str());
                Mock::given(path(&from)).respond_with(answer).mount(&named.0).await;

                let _ = try_follow(adapter, &settings, &named.url(&from)).await;

                let seen = [named.seen().await, foreign.seen().await].concat();
                let had: Vec<_> = seen.into_iter().filter(|(_, has_token)| *has_token).map(|(path, _)| path).collect();
                let expected: Vec<_> = (0..=number).map(|number| format!("/{number}")).collect();
                assert_eq!(had, expected, "{adapter}: {status} {to}");
            }
        }
    }
}

#[tokio::test]
async fn a_redirect_within_the_named_host_is_followed_with_the_token() {
    let stage = Stage::new().await;
    for adapter in ["tower", "reqwest"] {
        let Hosts { named, settings, .. } = Hosts::new(&stage).await;
        named.redirects("/one", "/two").await;
        named.answers("/two").await;

        assert_eq!(follow(adapter, &settings, &named.url("/one")).await, StatusCode::OK, "{adapter}");

        assert_eq!(named.seen().await, [seen("/one", true), seen("/two", true)], "{adapter}");
    }
}

#[tokio::test]
async fn a_redirect_by_way_of_the_named_host_and_away_takes_no_token_along() {
    let stage = Stage::new().await;
    for adapter in ["tower", "reqwest"] {
        let Hosts { named, foreign, settings } = Hosts::new(&stage).await;
        named.redirects("/one", "/two").await;
        named.redirects("/two", &foreign.url("/away")).await;
        foreign.redirects("/away", "/further").await;
        foreign.answers("/further").await;

        follow(adapter, &settings, &named.url("/one")).await;

        assert_eq!(named.seen().await, [seen("/one", true), seen("/two", true)], "{adapter}");
        assert!(foreign.seen().await.iter().all(|(_, has_token)| !has_token), "{adapter}");
    }
}

#[tokio::test]
async fn another_hosts_redirects_are_followed_without_a_token() {
    let stage = Stage::new().await;
    for adapter in ["tower", "reqwest"] {
        let Hosts { named, foreign, settings } = Hosts::new(&stage).await;
        foreign.redirects("/one", "/two").await;
        foreign.redirects("/two", &named.url("/back")).await;
        named.redirects("/back", &foreign.url("/end")).await;
        foreign.answers("/end").await;

        assert_eq!(follow(adapter, &settings, &foreign.url("/one")).await, StatusCode::OK, "{adapter}");

        let expected = ["/one", "/two", "/end"].map(|path| seen(path, false));
        assert_eq!(foreign.seen().await, expected, "{adapter}");
        // The layer handles each hop, the middleware only the first.
        assert_eq!(named.seen().await, [seen("/back", adapter == "tower")], "{adapter}");
    }
}

/// Sends a request and follows redirects as the adapter's documentation shows.
async fn follow(adapter: &str, settings: &Settings, url: &str) -> StatusCode {
    try_follow(adapter, settings, url).await.unwrap()
}

async fn try_follow(adapter: &str, settings: &Settings, url: &str) -> Result<StatusCode, Failure> {
    if adapter == "tower" {
        let client = FollowRedirectLayer::new().layer(settings.layer().layer(hyper_client()));
        Ok(client.oneshot(tracking(url).body(Full::default())?).await?.status())
    } else {
        Ok(settings.middleware().build().get(url).send().await?.status())
    }
}
