//! What a user of the `oauth2` crate writes to keep tokens at UPS.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use batchsuite_auth::{
    CompanyId,
    http::{HttpClient as _, ReqwestClient},
};
use batchsuite_benches::companies::{CLIENT_ID, text};
use oauth2::{
    AccessToken, Client, ClientId, ClientSecret, EndpointNotSet, EndpointSet, HttpClientError, HttpRequest,
    HttpResponse, RefreshToken, Scope, StandardRevocableToken, TokenResponse, TokenUrl,
    basic::{BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse, BasicTokenType},
};
use serde::{Deserialize, Serialize};

use crate::server::{REFRESH, Server};

/// The client and the tokens that it keeps, in memory.
#[derive(Clone)]
pub(super) struct Peer {
    client: Arc<UpsClient>,
    http: Http,
    tokens: Arc<Mutex<HashMap<CompanyId, Pair>>>,
}

/// What it sends through.
#[derive(Clone)]
pub(super) enum Http {
    /// `reqwest` as it is.
    Bare(reqwest::Client),
    /// With our guards.
    Guarded(Arc<ReqwestClient>),
}

type UpsClient = Client<
    BasicErrorResponse,
    Pair,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
>;

/// An answer of UPS. The crate's own type wants a number where UPS sends a string.
#[derive(Debug, Deserialize, Serialize)]
struct Pair {
    access_token: AccessToken,
    token_type: BasicTokenType,
    expires_in: String,
    refresh_token: RefreshToken,
    refresh_token_expires_in: String,
}

impl TokenResponse for Pair {
    type TokenType = BasicTokenType;

    fn access_token(&self) -> &AccessToken {
        &self.access_token
    }

    fn token_type(&self) -> &BasicTokenType {
        &self.token_type
    }

    fn expires_in(&self) -> Option<Duration> {
        self.expires_in.parse().ok().map(Duration::from_secs)
    }

    fn refresh_token(&self) -> Option<&RefreshToken> {
        Some(&self.refresh_token)
    }

    fn scopes(&self) -> Option<&Vec<Scope>> {
        None
    }
}

impl Peer {
    pub(super) fn new(server: &Server, http: Http) -> Self {
        let url = server.url().join(REFRESH).expect("a URL");
        let client = Client::new(ClientId::new(CLIENT_ID.to_owned()))
            .set_client_secret(ClientSecret::new("bench-secret".to_owned()))
            .set_token_uri(TokenUrl::from_url(url));
        Self { client: Arc::new(client), http, tokens: Arc::default() }
    }

    /// Lets companies have opted in.
    pub(super) fn opt_in(&self, companies: &[CompanyId]) {
        let pair = || Pair {
            access_token: AccessToken::new(text()),
            token_type: BasicTokenType::Bearer,
            expires_in: "0".to_owned(),
            // The server counts its tokens from the same start.
            refresh_token: RefreshToken::new(text().replace("token", "first")),
            refresh_token_expires_in: "7776000".to_owned(),
        };
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.extend(companies.iter().map(|company| (company.clone(), pair())));
    }

    /// Brings a company's next pair and keeps it.
    pub(super) async fn refresh(&self, company: &CompanyId) {
        let spent = {
            let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
            tokens[company].refresh_token.clone()
        };
        let send = |request| self.http.clone().send(request);
        let pair = self.client.exchange_refresh_token(&spent).request_async(&send).await.expect("a pair");
        assert!(pair.refresh_token.secret() != spent.secret(), "another token");
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).insert(company.clone(), pair);
    }
}

impl Http {
    /// With the settings of `batchsuite_auth::http::ReqwestClient`.
    pub(super) fn bare() -> Self {
        let client = reqwest::Client::builder()
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .retry(reqwest::retry::never())
            .no_proxy()
            .connect_timeout(Duration::from_secs(5))
            .pool_idle_timeout(Duration::from_secs(15))
            .tcp_nodelay(true)
            .build()
            .expect("the settings fit");
        Self::Bare(client)
    }

    pub(super) fn guarded() -> Self {
        let client = ReqwestClient::builder().allow_loopback_http().build().expect("the settings fit");
        Self::Guarded(Arc::new(client))
    }

    async fn send(self, request: HttpRequest) -> Result<HttpResponse, HttpClientError<reqwest::Error>> {
        match self {
            Self::Bare(client) => send(client, request).await,
            Self::Guarded(client) => {
                client.send(request).await.map_err(|error| HttpClientError::Other(error.to_string()))
            }
        }
    }
}

/// As the crate's own adapter does it for the reqwest that it knows, 0.12.
async fn send(client: reqwest::Client, request: HttpRequest) -> Result<HttpResponse, HttpClientError<reqwest::Error>> {
    let response = client.execute(request.try_into().map_err(Box::new)?).await.map_err(Box::new)?;
    let mut answer = http::Response::builder().status(response.status()).version(response.version());
    for (name, value) in response.headers() {
        answer = answer.header(name, value);
    }
    answer.body(response.bytes().await.map_err(Box::new)?.to_vec()).map_err(HttpClientError::Http)
}
