//! A server that does on the wire exactly what a test scripts, and counts what reaches it.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use batchsuite_auth::http::{HttpError, HttpErrorKind, ReqwestClient, ReqwestClientBuilder};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;

/// What the test's own clients are: plain http to loopback allowed, time-outs that no healthy test reaches.
pub(crate) fn client() -> ReqwestClientBuilder {
    ReqwestClient::builder().allow_loopback_http()
}

/// A refresh as the library sends it, but for the values.
pub(crate) fn refresh(uri: impl AsRef<str>) -> http::Request<Vec<u8>> {
    http::Request::post(uri.as_ref())
        .header("authorization", "Basic Y2xpZW50OnNlY3JldA==")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(b"grant_type=refresh_token&refresh_token=spent-at-most-once".to_vec())
        .unwrap()
}

/// Asserts `kind` and that the error's own words say what it says.
#[track_caller]
pub(crate) fn assert_kind(outcome: Result<http::Response<Vec<u8>>, HttpError>, kind: HttpErrorKind) -> HttpError {
    let error = outcome.expect_err("an answer where there should be none");
    assert_eq!(error.kind(), kind, "{error:?}");
    assert_eq!(error.is_not_sent(), kind != HttpErrorKind::Unanswered);
    error
}

#[derive(Debug, Default)]
struct Counts {
    connections: AtomicUsize,
    requests: AtomicUsize,
    bytes: AtomicUsize,
}

/// Listens on a free port of 127.0.0.1 until it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    counts: Arc<Counts>,
    task: JoinHandle<()>,
}

impl Server {
    /// Runs `script` on each connection, with the number of connections before it.
    pub(crate) async fn start<S, F>(script: S) -> Self
    where
        S: Fn(Connection<TcpStream>, usize) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let socket = TcpSocket::new_v4().unwrap();
        // Small, so that what a client does not read stays unwritten.
        socket.set_send_buffer_size(16 * 1024).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Self::on(socket.listen(64).unwrap(), script)
    }

    /// Answers every request with `answer`, on kept connections.
    pub(crate) async fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer = Arc::new(answer.into());
        Self::start(move |mut connection, _| {
            let answer = answer.clone();
            async move {
                while connection.request().await.is_some() {
                    connection.write(&answer).await;
                }
            }
        })
        .await
    }

    fn on<S, F>(listener: TcpListener, script: S) -> Self
    where
        S: Fn(Connection<TcpStream>, usize) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let address = listener.local_addr().unwrap();
        let counts = Arc::new(Counts::default());
        let counting = counts.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let before = counting.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(script(Connection { stream, counts: counting.clone(), unread: Vec::new() }, before));
            }
        });
        Self { address, counts, task }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/security/v1/oauth/refresh", self.address)
    }

    /// Connections accepted so far. Let the client end first: one on its way is not counted yet.
    pub(crate) fn connections(&self) -> usize {
        self.counts.connections.load(Ordering::SeqCst)
    }

    /// Whole requests read so far.
    pub(crate) fn requests(&self) -> usize {
        self.counts.requests.load(Ordering::SeqCst)
    }

    /// Bytes of answers written so far, buffers of the system included.
    pub(crate) fn written(&self) -> usize {
        self.counts.bytes.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One connection, as the script has it.
#[derive(Debug)]
pub(crate) struct Connection<S> {
    stream: S,
    counts: Arc<Counts>,
    unread: Vec<u8>,
}

impl Connection<TcpStream> {
    /// Closes with a TCP reset.
    pub(crate) fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }

    /// Reads `length` bytes of whatever comes, without taking them for a request.
    pub(crate) async fn read_exactly(&mut self, length: usize) {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes).await.unwrap();
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// The same connection with another stream on top of this one's: TLS.
    pub(crate) async fn upgrade<T, E, F>(self, wrap: impl FnOnce(S) -> F) -> Result<Connection<T>, E>
    where
        F: Future<Output = Result<T, E>>,
    {
        Ok(Connection { stream: wrap(self.stream).await?, counts: self.counts, unread: self.unread })
    }

    /// The next request, head and body, or `None` at the end of the connection.
    pub(crate) async fn request(&mut self) -> Option<String> {
        loop {
            if let Some(end) = whole_request(&self.unread) {
                let rest = self.unread.split_off(end);
                let request = std::mem::replace(&mut self.unread, rest);
                self.counts.requests.fetch_add(1, Ordering::SeqCst);
                return Some(String::from_utf8(request).unwrap());
            }
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer).await {
                Ok(0) | Err(_) => return None,
                Ok(read) => self.unread.extend_from_slice(&buffer[..read]),
            }
        }
    }

    /// Writes as much of `bytes` as the client takes; whether it took all.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> bool {
        for piece in bytes.chunks(4096) {
            if self.stream.write_all(piece).await.is_err() || self.stream.flush().await.is_err() {
                return false;
            }
            self.counts.bytes.fetch_add(piece.len(), Ordering::SeqCst);
        }
        true
    }

    /// Writes one byte of `bytes` each `pace` until the client goes away.
    pub(crate) async fn drip(&mut self, bytes: &[u8], pace: Duration) {
        let mut tick = tokio::time::interval(pace);
        for byte in bytes.iter().cycle() {
            tick.tick().await;
            if !self.write(&[*byte]).await {
                return;
            }
        }
    }

    /// Waits for the client to close, and throws away what it sends meanwhile.
    pub(crate) async fn hold(&mut self) {
        let mut buffer = [0; 4096];
        while matches!(self.stream.read(&mut buffer).await, Ok(read) if read > 0) {}
    }
}

/// Where the first request in `bytes` ends, once it is there whole.
fn whole_request(bytes: &[u8]) -> Option<usize> {
    let text = String::from_utf8_lossy(bytes);
    let head = text.find("\r\n\r\n")? + 4;
    let length = text[..head]
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:").map(|n| n.trim().parse().unwrap()))
        .unwrap_or(0);
    (bytes.len() >= head + length).then_some(head + length)
}

/// An answer with a `Content-Length` that is true.
pub(crate) fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut answer = format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n", body.len()).into_bytes();
    answer.extend_from_slice(body);
    answer
}
