//! The fake UPS as a server inside a test: wiremock behind the wire layer.

use std::{
    net::{Ipv4Addr, SocketAddr},
    ops::Deref,
    sync::Arc,
    thread,
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{oneshot, watch},
    task::JoinSet,
};
use url::Url;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate, matchers::any};

use super::{FakeUpsBuilder, FakeUpsState, InProcessClient, WireStream};
use crate::test_util::ManualClock;

/// A UPS that runs on its own port until it is dropped.
///
/// Its controls (change a password, set a fault, count requests) are the methods of [`FakeUpsState`], to which it
/// derefs. See the [module's docs](super) for an example.
#[derive(Debug)]
#[must_use = "the fake UPS stops when it is dropped"]
pub struct FakeUps {
    state: Arc<FakeUpsState>,
    clock: ManualClock,
    base_url: Url,
    /// The requested state.
    online: watch::Sender<bool>,
    /// The actual state.
    listening: watch::Sender<bool>,
    mock_server: Option<MockServer>,
    front: Option<RunningFront>,
}

impl FakeUps {
    /// The default client's id.
    pub const CLIENT_ID: &'static str = FakeUpsState::CLIENT_ID;
    /// The default client's secret.
    pub const CLIENT_SECRET: &'static str = FakeUpsState::CLIENT_SECRET;
    /// The default redirect URI.
    pub const REDIRECT_URI: &'static str = FakeUpsState::REDIRECT_URI;
    /// The default user.
    pub const USER: &'static str = FakeUpsState::USER;
    /// The default user's password.
    pub const PASSWORD: &'static str = FakeUpsState::PASSWORD;

    /// Starts a fake UPS with the default settings.
    ///
    /// # Panics
    /// If no port of 127.0.0.1 is available.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// The settings of a fake UPS; [`FakeUpsState::builder`] lists the defaults.
    pub fn builder() -> FakeUpsBuilder {
        FakeUpsState::builder()
    }

    /// The address it listens on: `http://127.0.0.1:PORT/`.
    pub fn base_url(&self) -> Url {
        self.base_url.clone()
    }

    /// The client id; the first, if there are several.
    pub fn client_id(&self) -> &str {
        &self.state.settings.clients[0].id
    }

    /// The client's secret; the first client's, if there are several.
    pub fn client_secret(&self) -> &str {
        &self.state.settings.clients[0].secret
    }

    /// The registered redirect URI; the first, if there are several.
    ///
    /// # Panics
    /// Never: registered URIs have been parsed.
    pub fn redirect_uri(&self) -> Url {
        let uri = &self.state.settings.redirect_uris[0];
        Url::parse(uri).unwrap_or_else(|error| panic!("{uri}: {error}"))
    }

    /// The clock that every expiry here follows. Give it to the code under test, too.
    pub fn clock(&self) -> ManualClock {
        self.clock.clone()
    }

    /// An HTTP client that reaches this UPS without a network, for tests with many steps. It sees the same answers,
    /// faults and delays. A broken connection is [`unanswered`](crate::http::HttpError::unanswered);
    /// [`go_offline`](Self::go_offline) is [`not_sent`](crate::http::HttpError::not_sent).
    pub fn in_process(&self) -> InProcessClient {
        InProcessClient::new(Arc::clone(&self.state), self.online.subscribe())
    }

    /// Stops listening until [`go_online`](Self::go_online). When this returns, new connections are refused and open
    /// ones are broken.
    ///
    /// # Cancellation
    /// It still goes offline, later.
    pub async fn go_offline(&self) {
        self.switch(false).await;
    }

    /// Listens again on the same port after [`go_offline`](Self::go_offline).
    ///
    /// # Cancellation
    /// It still goes online, later.
    pub async fn go_online(&self) {
        self.switch(true).await;
    }

    async fn switch(&self, online: bool) {
        self.online.send_replace(online);
        // An error means that the front has ended, which happens only when `self` is dropped.
        let _ = self.listening.subscribe().wait_for(|listening| *listening == online).await;
    }

    async fn serve(state: Arc<FakeUpsState>, clock: ManualClock) -> Self {
        let mock_server = MockServer::builder().disable_request_recording().start().await;
        Mock::given(any()).respond_with(Responder(Arc::clone(&state))).mount(&mock_server).await;
        let (online, follow_online) = watch::channel(true);
        let listening = watch::Sender::new(true);
        let front = Front {
            state: Arc::clone(&state),
            upstream: *mock_server.address(),
            online: follow_online,
            listening: listening.clone(),
        };
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .unwrap_or_else(|error| panic!("no port for the fake UPS: {error}"));
        let address = listener.local_addr().unwrap_or_else(|error| panic!("no address for the fake UPS: {error}"));
        let front = front.start(listener, address);
        let base_url = Url::parse(&format!("http://{address}/")).unwrap_or_else(|error| panic!("{error}"));
        Self { state, clock, base_url, online, listening, mock_server: Some(mock_server), front: Some(front) }
    }
}

impl FakeUpsBuilder {
    /// Starts the server on a free port of 127.0.0.1. Without a [`manual_clock`](Self::manual_clock) it creates one, so
    /// time stands still until the test moves it.
    ///
    /// # Panics
    /// If a setting is invalid (the message is the [`SettingsError`](super::SettingsError)) or no port is available.
    pub async fn start(self) -> FakeUps {
        let clock = self.clock.clone().unwrap_or_default();
        let state = self.manual_clock(clock.clone()).build().unwrap_or_else(|error| panic!("{error}"));
        FakeUps::serve(Arc::new(state), clock).await
    }
}

impl Drop for FakeUps {
    /// The front stops first, so that no new connection is possible once an existing one is seen to end.
    ///
    /// wiremock's drop blocks on one of tokio's locks. In a task whose cooperative budget is used up, that lock is
    /// never granted, so the drop runs on its own thread.
    fn drop(&mut self) {
        if let Some(front) = self.front.take() {
            front.stop();
        }
        if let Some(mock_server) = self.mock_server.take() {
            let _ = thread::spawn(move || drop(mock_server)).join();
        }
    }
}

impl Deref for FakeUps {
    type Target = FakeUpsState;

    fn deref(&self) -> &FakeUpsState {
        &self.state
    }
}

/// Makes wiremock answer with the fake's one function.
struct Responder(Arc<FakeUpsState>);

impl Respond for Responder {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let mut http_request = http::Request::new(request.body.clone());
        *http_request.method_mut() = request.method.clone();
        *http_request.headers_mut() = request.headers.clone();
        let target = &request.url[url::Position::BeforePath..url::Position::AfterQuery];
        match target.parse() {
            Ok(uri) => *http_request.uri_mut() = uri,
            Err(_) => return ResponseTemplate::new(400),
        }
        let reply = self.0.respond(&http_request);
        let delay = reply.delay;
        let (parts, body) = reply.into_response().into_parts();
        let mut template = ResponseTemplate::new(parts.status.as_u16()).set_body_bytes(body).set_delay(delay);
        for (name, value) in &parts.headers {
            template = template.append_header(name, value);
        }
        template
    }
}

/// The wire layer in front of wiremock, on its own thread: a test's runtime may be busy or paused.
struct Front {
    state: Arc<FakeUpsState>,
    upstream: SocketAddr,
    online: watch::Receiver<bool>,
    listening: watch::Sender<bool>,
}

#[derive(Debug)]
struct RunningFront {
    stop: oneshot::Sender<()>,
    thread: thread::JoinHandle<()>,
}

impl RunningFront {
    /// Returns once the port is closed and every connection has ended.
    fn stop(self) {
        drop(self.stop);
        let _ = self.thread.join();
    }
}

impl Front {
    fn start(self, listener: std::net::TcpListener, address: SocketAddr) -> RunningFront {
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap_or_else(|error| panic!("no runtime for the fake UPS: {error}"));
        let thread = thread::spawn(move || {
            runtime.block_on(async move {
                tokio::select! {
                    _ = self.run(listener, address) => {}
                    _ = stopped => {}
                }
            });
        });
        RunningFront { stop, thread }
    }

    async fn run(mut self, listener: std::net::TcpListener, address: SocketAddr) -> std::io::Result<()> {
        listener.set_nonblocking(true)?;
        let mut listener = TcpListener::from_std(listener)?;
        loop {
            let mut connections = JoinSet::new();
            while *self.online.borrow_and_update() {
                tokio::select! {
                    accepted = WireStream::accept(&listener, &self.state) => {
                        let Ok((client, _)) = accepted else {
                            tokio::time::sleep(PAUSE).await;
                            continue;
                        };
                        let upstream = self.upstream;
                        connections.spawn(async move { relay(client, upstream).await });
                    }
                    Some(_) = connections.join_next() => {}
                    changed = self.online.changed() => if changed.is_err() { return Ok(()) },
                }
            }
            drop(listener);
            connections.shutdown().await;
            self.listening.send_replace(false);
            if self.online.wait_for(|online| *online).await.is_err() {
                return Ok(());
            }
            listener = listen_again(address).await;
            self.listening.send_replace(true);
        }
    }
}

async fn listen_again(address: SocketAddr) -> TcpListener {
    let listen = || {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(1024)
    };
    loop {
        match listen() {
            Ok(listener) => return listener,
            // Another process holds the port while its connection lasts.
            Err::<_, std::io::Error>(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// The pause before retrying when ports or file descriptors run out.
const PAUSE: Duration = Duration::from_millis(20);

async fn relay(mut client: WireStream, upstream: SocketAddr) -> std::io::Result<()> {
    let mut upstream = TcpStream::connect(upstream).await?;
    upstream.set_nodelay(true)?;
    tokio::io::copy_bidirectional(&mut client, &mut upstream).await.map(drop)
}
