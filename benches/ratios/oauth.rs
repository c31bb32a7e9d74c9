//! UPS's token endpoint through the `oauth2` crate, as its users write it.

use std::{sync::Arc, time::Duration};

use batchsuite_auth::http::{HttpClient as _, ReqwestClient};
use batchsuite_benches::companies::CLIENT_ID;
use oauth2::{
    AccessToken, Client, ClientId, ClientSecret, EndpointNotSet, EndpointSet, HttpClientError, HttpRequest,
    HttpResponse, RefreshToken, Scope, StandardRevocableToken, TokenResponse, TokenUrl,
    basic::{BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse, BasicTokenType},
};
use serde::{Deserialize, Serialize};

use crate::server::{REFRESH, Server};

/// The client and its HTTP client.
#[derive(Clone)]
pub(crate) struct Ups {
    client: Arc<UpsClient>,
    http: Http,
}

impl Ups {
    pub(crate) fn at(server: &Server, http: Http) -> Self {
        let url = server.url().join(REFRESH).expect("a URL");
        let client = Client::new(ClientId::new(CLIENT_ID.to_owned()))
            .set_client_secret(ClientSecret::new("bench-secret".to_owned()))
            .set_token_uri(TokenUrl::from_url(url));
        Self { client: Arc::new(client), http }
    }

    /// The next pair.
    pub(crate) async fn refreshed(&self, spent: &RefreshToken) -> Pair {
        let send = |request| self.http.clone().send(request);
        self.client.exchange_refresh_token(spent).request_async(&send).await.expect("a pair")
    }
}

/// The HTTP client.
#[derive(Clone)]
pub(crate) enum Http {
    /// Plain `reqwest`.
    Bare(reqwest::Client),
    /// The adapter with our guards.
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

/// An answer of UPS. The crate's own type requires a number where UPS sends a string.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Pair {
    pub(crate) access_token: AccessToken,
    pub(crate) token_type: BasicTokenType,
    pub(crate) expires_in: String,
    pub(crate) refresh_token: RefreshToken,
    pub(crate) refresh_token_expires_in: String,
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

impl Http {
    /// Has the settings of `batchsuite_auth::http::ReqwestClient`.
    pub(crate) fn bare() -> Self {
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

    pub(crate) fn guarded() -> Self {
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

/// The same steps as in the crate's own adapter for reqwest 0.12.
async fn send(client: reqwest::Client, request: HttpRequest) -> Result<HttpResponse, HttpClientError<reqwest::Error>> {
    let response = client.execute(request.try_into().map_err(Box::new)?).await.map_err(Box::new)?;
    let mut answer = http::Response::builder().status(response.status()).version(response.version());
    for (name, value) in response.headers() {
        answer = answer.header(name, value);
    }
    answer.body(response.bytes().await.map_err(Box::new)?.to_vec()).map_err(HttpClientError::Http)
}
