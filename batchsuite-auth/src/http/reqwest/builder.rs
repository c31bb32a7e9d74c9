use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use ::reqwest::{NoProxy, Proxy, redirect, retry};

use super::error::ClientBuildError;
use super::timely::Timely;
use super::{ReqwestClient, tls};

/// The longest deadline: an exchange must end before the lease (60 s) does.
const LONGEST_DEADLINE: Duration = Duration::from_secs(50);

/// How long a connection may be idle. Otherwise UPS would close it first, and a request that races with the close is
/// *unanswered*.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// hyper's default is 100, and an answer with more headers is lost. Not larger, because hyper reserves this many for
/// each answer.
const MOST_HEADERS: usize = 1024;

/// Configures a [`ReqwestClient`]; created by [`ReqwestClient::builder`].
#[must_use = "a builder does nothing until `build`"]
pub struct ReqwestClientBuilder {
    loopback_http: bool,
    proxy: Option<http::Uri>,
    roots: Vec<Vec<u8>>,
    connect_timeout: Duration,
    deadline: Duration,
}

impl ReqwestClient {
    /// A builder with the defaults: https only, the system's root certificates, no proxy, 5 s to connect, 20 s in
    /// total.
    pub fn builder() -> ReqwestClientBuilder {
        ReqwestClientBuilder::new()
    }
}

impl ReqwestClientBuilder {
    fn new() -> Self {
        Self {
            loopback_http: false,
            proxy: None,
            roots: Vec::new(),
            connect_timeout: Duration::from_secs(5),
            deadline: Duration::from_secs(20),
        }
    }

    /// Allows plain `http` to this machine (`127.0.0.0/8`, `[::1]` and `localhost`), for a fake UPS only.
    pub fn allow_loopback_http(mut self) -> Self {
        self.loopback_http = true;
        self
    }

    /// Uses the proxy at `proxy` (`http` or `https`, with or without credentials) for all requests except those to this
    /// machine. By default there is no proxy, whatever the environment says.
    pub fn proxy(mut self, proxy: http::Uri) -> Self {
        self.proxy = Some(proxy);
        self
    }

    /// Trusts the certificates in `pem` in addition to the system's. May be called repeatedly.
    pub fn root_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.roots.push(pem.into());
        self
    }

    /// How long name resolution, TCP and TLS may take together; 5 s by default. After that, nothing was sent.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long the whole exchange may take, including the connect; 20 s by default, at most 50 s. After that, the
    /// request is unanswered, but the runtime first gets half a second to read an answer that has arrived.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Builds the client.
    ///
    /// # Errors
    /// A root certificate cannot be read, there are no root certificates, the proxy's URL is invalid, or the time-outs
    /// are not `0 < connect < deadline <= 50 s`.
    pub fn build(self) -> Result<ReqwestClient, ClientBuildError> {
        if self.connect_timeout.is_zero() || self.connect_timeout >= self.deadline || self.deadline > LONGEST_DEADLINE {
            return Err(ClientBuildError::new(
                "the connect time-out must be shorter than the deadline, and the deadline at most 50 s",
            ));
        }
        let mut builder = ::reqwest::Client::builder()
            .user_agent(concat!("batchsuite-auth/", env!("CARGO_PKG_VERSION")))
            .tls_backend_preconfigured(self.tls()?)
            .https_only(!self.loopback_http)
            .http1_only()
            // A fault in the head must not cost the pair in the body.
            .http1_allow_obsolete_multiline_headers_in_responses(true)
            .http1_allow_spaces_after_header_name_in_responses(true)
            .http1_ignore_invalid_headers_in_responses(true)
            .http1_max_headers(MOST_HEADERS)
            // Name servers do not decide what `localhost` is.
            .resolve_to_addrs("localhost", &LOCALHOST)
            .redirect(redirect::Policy::none())
            .referer(false)
            // Disables reqwest's retries. hyper-util has a retry of its own, which reqwest leaves on: it repeats a
            // request that hyper hands *back*. hyper does so only while the request waits in the channel to the
            // connection; once the request is taken out to be written, an error comes without it (`message: None`). So
            // this retry covers a kept connection that was closed before the first byte, and cannot send anything
            // twice.
            .retry(retry::never())
            .no_proxy()
            .no_gzip()
            .no_brotli()
            .no_zstd()
            .no_deflate()
            .connection_verbose(false)
            .connect_timeout(self.connect_timeout)
            .connector_layer(Timely { limit: self.connect_timeout })
            .pool_idle_timeout(IDLE_TIMEOUT)
            .tcp_nodelay(true);
        if let Some(proxy) = &self.proxy {
            builder = builder.proxy(proxy_for(proxy)?);
        }
        let client = builder.build().map_err(|error| {
            ClientBuildError::new("the HTTP client cannot be built").with_source(error.without_url())
        })?;
        Ok(ReqwestClient { client, deadline: self.deadline, loopback_http: self.loopback_http })
    }
}

impl ReqwestClientBuilder {
    fn tls(&self) -> Result<rustls::ClientConfig, ClientBuildError> {
        match tls::client_config(&self.roots) {
            // A demo or a test on a machine without root certificates talks only to this machine.
            Err(error) if self.loopback_http && self.roots.is_empty() => {
                tracing::warn!(error = %crate::error::chain(&error), "no https server is trusted; plain http to this machine works");
                tls::trusting_nobody()
            }
            config => config,
        }
    }
}

impl std::fmt::Debug for ReqwestClientBuilder {
    // A proxy's URL may contain a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReqwestClientBuilder")
            .field("loopback_http", &self.loopback_http)
            .field("proxy", &self.proxy.as_ref().map(|_| ".."))
            .field("roots", &self.roots.len())
            .field("connect_timeout", &self.connect_timeout)
            .field("deadline", &self.deadline)
            .finish()
    }
}

/// Port 0 stands for the request's port.
const LOCALHOST: [SocketAddr; 2] =
    [SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0), SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 0)];

fn proxy_for(uri: &http::Uri) -> Result<Proxy, ClientBuildError> {
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(ClientBuildError::new("the proxy must be an http or https URL"));
    }
    // The error is dropped because it could show the URL.
    let proxy = Proxy::all(uri.to_string()).map_err(|_| ClientBuildError::new("the proxy's URL cannot be used"))?;
    // Plain http to this machine must not go out through the proxy.
    Ok(proxy.no_proxy(NoProxy::from_string("localhost,127.0.0.0/8,::1")))
}
