//! The requests, written by the `oauth2` crate and sent by ours.
//!
//! `oauth2` knows the form of a request (parameters, PKCE), but must not read answers: it drops the status and
//! `Retry-After`, refuses good pairs because of their content type, and its errors contain the raw body. So each
//! request it writes is intercepted before it is sent, and [`judge()`](super::judge::judge) reads the answer.
//!
//! `oauth2` form-encodes id and secret within Basic (RFC 6749 §2.3.1). UPS takes them unencoded (RFC 7617 §2), so we
//! write this header ourselves.
//!
//! A request's secrets are wiped when it is dropped, except the copies of a token that `oauth2` makes while it writes
//! the form.

use std::{cell::Cell, sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{
    HeaderValue,
    header::{ACCEPT_ENCODING, AUTHORIZATION},
};

use oauth2::{
    AuthUrl, ClientId, CsrfToken, HttpRequest, HttpResponse, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope,
    TokenUrl, basic::BasicClient,
};
use url::Url;
use zeroize::Zeroizing;

use super::{answer::PairDefaults, grant_type::GrantType};
use crate::{
    config::Client,
    http::{HttpClient, TimeLimits},
    secret::{AuthorizationCode, PkceVerifier, RefreshToken, random_text},
};

/// UPS's endpoints for one client.
#[derive(Debug)]
pub(crate) struct Ups {
    base: Url,
    authorize: AuthUrl,
    token: TokenUrl,
    refresh: TokenUrl,
    pub(super) client: Client,
    /// Marked sensitive, so that `Debug` hides it.
    pub(super) basic: HeaderValue,
    pub(super) http: Arc<dyn HttpClient>,
    deadline: Duration,
    pub(super) defaults: PairDefaults,
}

/// An authorization request (RFC 6749 §4.1.1). Secret throughout, so without `Debug`.
pub(crate) struct Authorization {
    pub(crate) url: Url,
    pub(crate) state: String,
    pub(crate) verifier: Option<PkceVerifier>,
}

/// A request, ready to be sent once. Secret throughout, so without `Debug`.
pub(crate) struct Prepared {
    pub(super) grant_type: GrantType,
    pub(super) head: http::request::Parts,
    pub(super) body: Zeroizing<Vec<u8>>,
    /// The request's secrets, other than the client's.
    pub(super) secrets: Vec<Zeroizing<String>>,
}

impl Ups {
    /// `None` if `base` cannot carry UPS's paths, or the client id contains a colon.
    pub(crate) fn new(
        base: &Url,
        client: Client,
        http: Arc<dyn HttpClient>,
        deadline: Duration,
        defaults: PairDefaults,
    ) -> Option<Self> {
        let endpoint = |name: &str| {
            let mut url = base.clone();
            url.path_segments_mut().ok()?.pop_if_empty().extend(["security", "v1", "oauth", name]);
            Some(url)
        };
        Some(Self {
            base: base.clone(),
            authorize: AuthUrl::from_url(endpoint("authorize")?),
            token: TokenUrl::from_url(endpoint("token")?),
            refresh: TokenUrl::from_url(endpoint("refresh")?),
            basic: basic(&client)?,
            client,
            http,
            deadline,
            defaults,
        })
    }

    pub(crate) fn base_url(&self) -> &Url {
        &self.base
    }

    /// The issuer that a callback may name (RFC 9207): the origin of the endpoints.
    pub(crate) fn issuer(&self) -> String {
        self.base.origin().ascii_serialization()
    }

    /// An authorization request with a new state and, if the client uses PKCE, a new verifier (RFC 7636 §4.1).
    pub(crate) fn authorization(&self, redirect_uri: &Url) -> Authorization {
        self.authorization_with(redirect_uri, random_text(), None)
    }

    /// The same with this state, and if there is one with this verifier.
    pub(crate) fn authorization_with(
        &self,
        redirect_uri: &Url,
        state: String,
        verifier: Option<PkceVerifier>,
    ) -> Authorization {
        let client = BasicClient::new(ClientId::new(self.client.id.clone()))
            .set_auth_uri(self.authorize.clone())
            .set_redirect_uri(RedirectUrl::from_url(redirect_uri.clone()));
        let mut request =
            client.authorize_url(|| CsrfToken::new(state.clone())).add_scope(Scope::new("read".to_owned()));
        let verifier = verifier.or_else(|| {
            let (_, secret) = PkceCodeChallenge::new_random_sha256();
            self.client.authentication.uses_pkce().then(|| PkceVerifier::new(secret.secret().clone()))
        });
        if let Some(verifier) = &verifier {
            let verifier = PkceCodeVerifier::new(verifier.expose_secret().to_owned());
            request = request.set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier));
        }
        let (url, _) = request.url();
        Authorization { url, state, verifier }
    }

    /// The exchange of a code for the first pair (RFC 6749 §4.1.3, RFC 7636 §4.5).
    pub(crate) fn exchange(
        &self,
        code: &AuthorizationCode,
        redirect_uri: &Url,
        verifier: Option<&PkceVerifier>,
    ) -> Option<Prepared> {
        let mut client = BasicClient::new(ClientId::new(self.client.id.clone()))
            .set_token_uri(self.token.clone())
            .set_redirect_uri(RedirectUrl::from_url(redirect_uri.clone()));
        if self.client.authentication.uses_secret() {
            client = client.set_client_secret(no_secret());
        }
        let mut request = client.exchange_code(oauth2::AuthorizationCode::new(code.expose_secret().to_owned()));
        if let Some(verifier) = verifier {
            request = request.set_pkce_verifier(PkceCodeVerifier::new(verifier.expose_secret().to_owned()));
            if self.client.authentication.uses_secret() {
                // UPS's PKCE body names the client; `oauth2` omits it if there is a Basic header.
                request = request.add_extra_param("client_id", self.client.id.clone());
            }
        }
        let secrets = [Some(code.expose_secret()), verifier.map(PkceVerifier::expose_secret)];
        let request = caught(|catch| drop(request.request(&catch)))?;
        Some(self.prepared(GrantType::AuthorizationCode, request, secrets.into_iter().flatten()))
    }

    /// A refresh (RFC 6749 §6). UPS has a separate endpoint for it, which always requires the client secret.
    pub(crate) fn refresh(&self, token: &RefreshToken) -> Option<Prepared> {
        let client = BasicClient::new(ClientId::new(self.client.id.clone()))
            .set_token_uri(self.refresh.clone())
            .set_client_secret(no_secret());
        let oauth2_token = oauth2::RefreshToken::new(token.expose_secret().to_owned());
        let request = caught(|catch| drop(client.exchange_refresh_token(&oauth2_token).request(&catch)))?;
        Some(self.prepared(GrantType::RefreshToken, request, [token.expose_secret()].into_iter()))
    }

    /// The time limits of a request.
    pub(crate) fn limits(&self) -> TimeLimits {
        TimeLimits::new(self.deadline)
    }

    fn prepared<'a>(
        &self,
        grant_type: GrantType,
        request: HttpRequest,
        secrets: impl Iterator<Item = &'a str>,
    ) -> Prepared {
        let (mut head, body) = request.into_parts();
        if let Some(header) = head.headers.get_mut(AUTHORIZATION) {
            *header = self.basic.clone();
        }
        // Without this header, any content coding would be acceptable (RFC 9110 §12.5.3).
        head.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let secrets = secrets.map(|secret| Zeroizing::new(secret.to_owned())).collect();
        Prepared { grant_type, head, body: body.into(), secrets }
    }
}

#[cfg(feature = "test-util")]
impl Prepared {
    pub(crate) fn into_request(mut self) -> http::Request<Vec<u8>> {
        http::Request::from_parts(self.head, std::mem::take(&mut *self.body))
    }
}

pub(super) const BASIC: &str = "Basic ";

/// The Basic header; `None` for an id with a colon, which it cannot express (RFC 7617 §2).
fn basic(client: &Client) -> Option<HeaderValue> {
    let (id, secret) = (client.id.as_bytes(), client.secret.expose_secret().as_bytes());
    if id.contains(&b':') {
        return None;
    }
    let mut credentials = Zeroizing::new(Vec::with_capacity(id.len() + 1 + secret.len()));
    for part in [id, b":", secret] {
        credentials.extend_from_slice(part);
    }
    // Base64 makes four characters of three bytes, so the string never reallocates.
    let mut value = Zeroizing::new(String::with_capacity(BASIC.len() + credentials.len().div_ceil(3) * 4));
    value.push_str(BASIC);
    STANDARD.encode_string(&*credentials, &mut value);
    let mut header = HeaderValue::from_maybe_shared(Bytes::from_owner(value)).ok()?;
    header.set_sensitive(true);
    Some(header)
}

/// Tells `oauth2` to authenticate the client by Basic; the header it writes is replaced.
fn no_secret() -> oauth2::ClientSecret {
    oauth2::ClientSecret::new(String::new())
}

/// Lets `oauth2` write a request, and intercepts it.
fn caught(write: impl FnOnce(&dyn Fn(HttpRequest) -> Result<HttpResponse, Caught>)) -> Option<HttpRequest> {
    let caught = Cell::new(None);
    write(&|request| {
        caught.set(Some(request));
        Err(Caught)
    });
    caught.into_inner()
}

/// Stops `oauth2` before it sends.
#[derive(Debug, thiserror::Error)]
#[error("caught before it was sent")]
struct Caught;

#[cfg(test)]
mod tests {
    use super::{super::judge::Judgement, *};
    use crate::{
        clock::Timestamp,
        config::{ClientAuthentication, Environment},
        http::HttpError,
    };

    const SECRET: &str = "s:e/c r\u{e9}t%+";

    #[derive(Debug)]
    struct NoHttp;

    #[async_trait::async_trait]
    impl HttpClient for NoHttp {
        async fn send(&self, _: http::Request<Vec<u8>>) -> Result<http::Response<Vec<u8>>, HttpError> {
            Err(HttpError::not_sent())
        }
    }

    fn ups(authentication: ClientAuthentication) -> Ups {
        let client = Client::new("id+1", SECRET).with_authentication(authentication);
        let base = Url::parse(Environment::Cie.base_url()).unwrap();
        Ups::new(&base, client, Arc::new(NoHttp), Duration::from_secs(1), PairDefaults::default()).unwrap()
    }

    fn redirect_uri() -> Url {
        Url::parse("https://host.example/back?a=b").unwrap()
    }

    fn body(prepared: &Prepared) -> Vec<(String, String)> {
        url::form_urlencoded::parse(&prepared.body).into_owned().collect()
    }

    fn basic(prepared: &Prepared) -> Option<String> {
        let header = prepared.head.headers.get("authorization")?.to_str().unwrap();
        Some(String::from_utf8(STANDARD.decode(header.strip_prefix("Basic ").unwrap()).unwrap()).unwrap())
    }

    #[test]
    fn both_environments_have_ups_paths() {
        for (environment, host) in
            [(Environment::Cie, "wwwcie.ups.com"), (Environment::Production, "onlinetools.ups.com")]
        {
            let base = Url::parse(environment.base_url()).unwrap();
            let ups = Ups::new(&base, Client::new("i", "s"), Arc::new(NoHttp), Duration::ZERO, PairDefaults::default())
                .unwrap();
            let url = ups.authorization(&redirect_uri()).url;
            assert_eq!((url.host_str(), url.path()), (Some(host), "/security/v1/oauth/authorize"));
            assert_eq!(ups.token.as_str(), format!("https://{host}/security/v1/oauth/token"));
            assert_eq!(ups.refresh.as_str(), format!("https://{host}/security/v1/oauth/refresh"));
        }
    }

    #[test]
    fn a_base_url_of_the_hosts_choice_may_have_a_path() {
        for base in ["http://127.0.0.1:9/ups", "http://127.0.0.1:9/ups/"] {
            let base = Url::parse(base).unwrap();
            let ups = Ups::new(&base, Client::new("i", "s"), Arc::new(NoHttp), Duration::ZERO, PairDefaults::default())
                .unwrap();
            assert_eq!(ups.token.as_str(), "http://127.0.0.1:9/ups/security/v1/oauth/token");
            assert_eq!(ups.issuer(), "http://127.0.0.1:9");
        }
    }

    #[test]
    fn the_authorization_request_has_what_ups_asks_for() {
        let authorization = ups(ClientAuthentication::Secret).authorization(&redirect_uri());
        let mut query: Vec<_> = authorization.url.query_pairs().into_owned().collect();
        query.sort();

        let expected = [
            ("client_id", "id+1"),
            ("redirect_uri", "https://host.example/back?a=b"),
            ("response_type", "code"),
            ("scope", "read"),
            ("state", &authorization.state),
        ];
        assert_eq!(query, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(authorization.state.len(), 43, "256 bits");
        assert!(authorization.verifier.is_none());
    }

    #[test]
    fn with_pkce_the_challenge_belongs_to_the_verifier() {
        use base64::engine::general_purpose::URL_SAFE_NO_PAD;
        use sha2::{Digest, Sha256};

        for mode in [ClientAuthentication::Pkce, ClientAuthentication::PkceWithSecret] {
            let authorization = ups(mode).authorization(&redirect_uri());
            let query: std::collections::HashMap<_, _> = authorization.url.query_pairs().into_owned().collect();
            let verifier = authorization.verifier.unwrap();

            assert_eq!(query["code_challenge_method"], "S256");
            let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.expose_secret()));
            assert_eq!(query["code_challenge"], challenge);
        }
    }

    #[test]
    fn each_client_mode_exchanges_as_its_source_says() {
        let cases = [
            (ClientAuthentication::Secret, None, true, false),
            (ClientAuthentication::Pkce, Some("verifier-1"), false, true),
            (ClientAuthentication::PkceWithSecret, Some("verifier-1"), true, true),
        ];
        for (mode, verifier, with_basic, with_client_id) in cases {
            let verifier = verifier.map(PkceVerifier::new);
            let prepared =
                ups(mode).exchange(&AuthorizationCode::new("a+b/c=="), &redirect_uri(), verifier.as_ref()).unwrap();

            let body = body(&prepared);
            let value = |name: &str| body.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
            assert_eq!(value("grant_type"), Some("authorization_code"), "{mode:?}");
            assert_eq!(value("code"), Some("a+b/c=="), "{mode:?}");
            assert_eq!(value("redirect_uri"), Some("https://host.example/back?a=b"), "{mode:?}");
            assert_eq!(value("code_verifier"), verifier.as_ref().map(|_| "verifier-1"), "{mode:?}");
            assert_eq!(value("client_id"), with_client_id.then_some("id+1"), "{mode:?}");
            assert_eq!(value("client_secret"), None, "{mode:?}");
            assert_eq!(basic(&prepared).is_some(), with_basic, "{mode:?}");
        }
    }

    #[test]
    fn id_and_secret_are_written_as_they_are_inside_basic() {
        let prepared = ups(ClientAuthentication::Secret).refresh(&RefreshToken::new("r")).unwrap();

        assert_eq!(basic(&prepared).unwrap(), format!("id+1:{SECRET}"));
        assert!(prepared.head.headers["authorization"].is_sensitive());
    }

    #[test]
    fn an_id_with_a_colon_is_refused() {
        let base = Url::parse(Environment::Cie.base_url()).unwrap();
        for id in ["a:b", ":", "id:"] {
            let client = Client::new(id, "s").with_authentication(ClientAuthentication::Pkce);
            let ups = Ups::new(&base, client, Arc::new(NoHttp), Duration::ZERO, PairDefaults::default());
            assert!(ups.is_none(), "{id}");
        }
    }

    #[test]
    fn no_coding_of_the_answer_is_asked_for() {
        let ups = ups(ClientAuthentication::Secret);
        let exchange = ups.exchange(&AuthorizationCode::new("c"), &redirect_uri(), None).unwrap();
        for prepared in [exchange, ups.refresh(&RefreshToken::new("r")).unwrap()] {
            assert_eq!(prepared.head.headers["accept-encoding"], "identity");
        }
    }

    #[test]
    fn an_endpoint_has_the_name_at_the_end_of_its_path() {
        let ups = ups(ClientAuthentication::Secret);
        let exchange = ups.exchange(&AuthorizationCode::new("c"), &redirect_uri(), None).unwrap();
        for prepared in [exchange, ups.refresh(&RefreshToken::new("r")).unwrap()] {
            let path = format!("/security/v1/oauth/{}", prepared.grant_type.endpoint());
            assert_eq!(prepared.head.uri.path(), path);
        }
    }

    #[test]
    fn a_refresh_always_takes_the_secret() {
        let prepared = ups(ClientAuthentication::Pkce).refresh(&RefreshToken::new("r+1")).unwrap();

        assert!(basic(&prepared).is_some());
        let expected = [("grant_type", "refresh_token"), ("refresh_token", "r+1")];
        assert_eq!(body(&prepared), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(prepared.head.uri, "https://wwwcie.ups.com/security/v1/oauth/refresh");
    }

    /// Answers with every secret of the request.
    #[derive(Debug)]
    struct Echo;

    #[async_trait::async_trait]
    impl HttpClient for Echo {
        async fn send(&self, request: http::Request<Vec<u8>>) -> Result<http::Response<Vec<u8>>, HttpError> {
            let basic = request.headers()[AUTHORIZATION].to_str().unwrap();
            let form = String::from_utf8(request.body().clone()).unwrap();
            let body = serde_json::json!({"code": "1", "message": format!("{basic} {form}")});
            let body = body.to_string().into_bytes();
            Ok(http::Response::builder().status(400).body(body).unwrap())
        }
    }

    #[tokio::test]
    async fn everything_secret_that_is_sent_is_cut_out_of_what_comes_back() {
        let secret = "the-secret-of-the-client";
        let client = Client::new("id", secret).with_authentication(ClientAuthentication::PkceWithSecret);
        let base = Url::parse(Environment::Cie.base_url()).unwrap();
        let ups = Ups::new(&base, client, Arc::new(Echo), Duration::from_secs(1), PairDefaults::default()).unwrap();
        let (code, verifier) = (AuthorizationCode::new("the+code+of+ups"), PkceVerifier::new("the-verifier-1"));
        let requests = [
            ups.exchange(&code, &redirect_uri(), Some(&verifier)).unwrap(),
            ups.refresh(&RefreshToken::new("spent/at/most/once")).unwrap(),
        ];
        for request in requests {
            let Judgement::Unknown(evidence) = ups.send(request, ups.limits(), Timestamp::UNIX_EPOCH).await else {
                panic!()
            };

            let shown = evidence.message.unwrap();
            assert!(shown.contains("[…]") && shown.contains("grant_type"), "{shown}");
            for cut in [&STANDARD.encode(format!("id:{secret}")), "2Bcode", "verifier-1", "2Fmost", "code+of"] {
                assert!(!shown.contains(cut), "{cut}: {shown}");
            }
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn form_and_basic_are_wiped() {
        let canary = "request-canary-77d1e0b2";
        let client = Client::new("id", canary);
        let base = Url::parse(Environment::Cie.base_url()).unwrap();
        let ups = Ups::new(&base, client, Arc::new(NoHttp), Duration::ZERO, PairDefaults::default()).unwrap();
        let prepared = ups.refresh(&RefreshToken::new(canary.repeat(4))).unwrap();
        let places = [
            crate::test_memory::left_of(&prepared.body),
            crate::test_memory::left_of(prepared.secrets[0].as_bytes()),
            crate::test_memory::left_of(ups.basic.as_bytes()),
        ];
        // After the part that the allocator overwrites.
        let basic = &STANDARD.encode(format!("id:{canary}")).into_bytes()[24..];
        assert!(places[0].holds(canary.as_bytes()) && places[2].holds(basic), "the test looks at the right places");

        drop((ups, prepared));

        for place in places {
            assert!(!place.holds(canary.as_bytes()) && !place.holds(basic));
        }
    }
}
