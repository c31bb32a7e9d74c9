//! A proxy in front of a server. It can fall silent (TCP still acknowledges, but no byte passes), delay data, cut
//! connections, and close them in one direction. A watcher can read passing data.

use std::{
    fmt::Debug,
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream, UnixStream},
    sync::watch,
    time::{sleep, timeout},
};

use crate::postgres::Server;

/// Forwards connections to a server.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    accepted: Arc<AtomicU64>,
    /// Connections with a number below this one are silent.
    silent_below: watch::Sender<u64>,
    trouble: watch::Sender<Trouble>,
    is_closed: watch::Sender<bool>,
    open: Arc<Open>,
}

/// How many connections are open, and the most at once.
#[derive(Debug, Default)]
struct Open {
    now: AtomicU64,
    most: AtomicU64,
}

/// A server's address.
#[derive(Clone, Debug)]
pub enum Target {
    /// A Unix socket.
    Socket(PathBuf),
    /// A TCP port.
    Address(SocketAddr),
}

/// The fault applied to passing data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trouble {
    /// Data pass.
    #[default]
    None,
    /// Data pass after this delay.
    Delay(Duration),
    /// A request ends its connection and does not arrive.
    CutRequests,
    /// An answer ends its connection and does not arrive.
    CutAnswers,
    /// The server's direction closes instead of an answer; the client's stays open.
    HalfClose,
    /// Data pass once this fault is over.
    Silence,
}

/// The sender of data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// The data are part of a request.
    Client,
    /// The data are part of an answer.
    Server,
}

/// Reads passing data.
pub trait Watcher: Debug + Send + Sync + 'static {
    /// Bytes arrived on the connection of this number. Returns whether a message ends with them.
    fn came(&self, connection: u64, sender: Sender, bytes: &[u8]) -> bool;

    /// Everything received from this sender so far was forwarded.
    fn passed(&self, connection: u64, sender: Sender);
}

impl Proxy {
    /// A proxy in front of `server`.
    ///
    /// # Panics
    /// If the server is not our own.
    pub async fn before(server: &Server) -> Self {
        let socket = server.directory().expect("a server of our own").join(".s.PGSQL.5432");
        Self::to(Target::Socket(socket), None).await
    }

    /// A proxy in front of the server at `target`. With a watcher, data that the client leaves unread are still read
    /// from the server.
    ///
    /// # Panics
    /// If no port is available.
    pub async fn to(target: Target, watcher: Option<Arc<dyn Watcher>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("the address of the listener");
        let (accepted, silent_below) = (Arc::new(AtomicU64::new(0)), watch::Sender::new(0));
        let trouble = watch::Sender::new(Trouble::None);
        let (is_closed, open) = (watch::Sender::new(false), Arc::new(Open::default()));
        let (numbers, below, troubles) = (Arc::clone(&accepted), silent_below.subscribe(), trouble.subscribe());
        let (mut door, opened) = (is_closed.subscribe(), Arc::clone(&open));
        tokio::spawn(async move {
            let mut listener = listener;
            loop {
                tokio::select! {
                    _ = reaches(&mut door, true) => {
                        drop(listener);
                        // The port stays ours, and refuses connections.
                        let socket = TcpSocket::new_v4().expect("a socket");
                        socket.set_reuseaddr(true).expect("a socket");
                        socket.bind(address).expect("the port");
                        if !reaches(&mut door, false).await {
                            return;
                        }
                        listener = socket.listen(1024).expect("the port");
                    }
                    accepted = listener.accept() => {
                        let Ok((client, _)) = accepted else { return };
                        let silence = Silence { number: numbers.fetch_add(1, SeqCst), below: below.clone() };
                        let passage = Passage { silence, trouble: troubles.clone(), watcher: watcher.clone() };
                        let connection = passage.connection(client, target.clone());
                        tokio::spawn(until_closed(connection, door.clone(), Arc::clone(&opened)));
                    }
                }
            }
        });
        Self { address, accepted, silent_below, trouble, is_closed, open }
    }

    /// The proxy's address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The server behind it, as a connection string.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres?sslmode=disable", self.address.port())
    }

    /// The number of connections so far.
    pub fn connections(&self) -> u64 {
        self.accepted.load(SeqCst)
    }

    /// Existing connections fall silent; new ones pass.
    pub fn silence_connections(&self) {
        self.silent_below.send_replace(self.connections());
    }

    /// Everything falls silent, including new connections.
    pub fn silence_everything(&self) {
        self.silent_below.send_replace(u64::MAX);
    }

    /// Everything passes again, including data held back.
    pub fn go_on(&self) {
        self.silent_below.send_replace(0);
    }

    /// Refuses connections and cuts the existing ones, until [`open`](Self::open).
    pub fn close(&self) {
        self.is_closed.send_replace(true);
    }

    /// Takes connections again.
    pub fn open(&self) {
        self.is_closed.send_replace(false);
    }

    /// The most connections that were open at once, since the last call.
    pub fn take_most_open(&self) -> u64 {
        self.open.most.swap(self.open.now.load(SeqCst), SeqCst)
    }

    /// Sets the fault for passing data.
    pub fn trouble(&self, trouble: Trouble) {
        self.trouble.send_replace(trouble);
    }
}

/// Waits until the proxy is closed or open; `false`: there is no proxy any more.
async fn reaches(door: &mut watch::Receiver<bool>, is_closed: bool) -> bool {
    door.wait_for(|now| *now == is_closed).await.is_ok()
}

/// Counts a connection, and cuts it when the proxy closes.
async fn until_closed(
    connection: impl Future<Output = io::Result<()>>,
    mut door: watch::Receiver<bool>,
    open: Arc<Open>,
) {
    let now = open.now.fetch_add(1, SeqCst) + 1;
    open.most.fetch_max(now, SeqCst);
    tokio::select! {
        _ = connection => {}
        _ = reaches(&mut door, true) => {}
    }
    open.now.fetch_sub(1, SeqCst);
}

#[derive(Clone)]
struct Silence {
    number: u64,
    below: watch::Receiver<u64>,
}

impl Silence {
    async fn end(&mut self) {
        let number = self.number;
        // Without a proxy, no connection is silent any more.
        let _ = self.below.wait_for(|below| *below <= number).await;
    }
}

/// One connection's path.
#[derive(Clone)]
struct Passage {
    silence: Silence,
    trouble: watch::Receiver<Trouble>,
    watcher: Option<Arc<dyn Watcher>>,
}

/// How a direction ended.
enum End {
    /// Its sender closed it.
    Gone,
    /// A fault cut it.
    Cut,
}

/// How long an answer in transit is awaited after the client has gone.
const LAST_ANSWER: Duration = Duration::from_secs(3);

type Halves = (Box<dyn AsyncRead + Send + Unpin>, Box<dyn AsyncWrite + Send + Unpin>);

impl Passage {
    async fn connection(mut self, client: TcpStream, target: Target) -> io::Result<()> {
        self.silence.end().await;
        let (from_server, to_server) = connect(target).await?;
        let (from_client, to_client) = client.into_split();
        let mut answers = std::pin::pin!(self.clone().pass(Sender::Server, from_server, to_client));
        let is_watched = self.watcher.is_some();
        tokio::select! {
            ended = self.pass(Sender::Client, from_client, to_server) => {
                if is_watched && !matches!(ended, Ok(End::Cut)) {
                    let _ = timeout(LAST_ANSWER, answers).await;
                }
                ended.map(drop)
            }
            ended = &mut answers => ended.map(drop),
        }
    }

    async fn pass(
        mut self,
        sender: Sender,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
    ) -> io::Result<End> {
        let mut buffer = vec![0; 64 * 1024];
        let mut is_open = true;
        loop {
            let length = from.read(&mut buffer).await?;
            self.silence.end().await;
            if length == 0 {
                return Ok(End::Gone);
            }
            let number = self.silence.number;
            let is_whole = self.watcher.as_ref().is_none_or(|watcher| watcher.came(number, sender, &buffer[..length]));
            let trouble = *self.trouble.borrow();
            match (trouble, sender) {
                (Trouble::CutRequests, Sender::Client) | (Trouble::CutAnswers, Sender::Server) if is_whole => {
                    return Ok(End::Cut);
                }
                (Trouble::HalfClose, Sender::Server) if is_whole && is_open => {
                    is_open = false;
                    to.shutdown().await?;
                }
                (Trouble::Delay(late), _) => sleep(late).await,
                (Trouble::Silence, _) => drop(self.trouble.wait_for(|now| *now != Trouble::Silence).await),
                _ => {}
            }
            if is_open {
                to.write_all(&buffer[..length]).await?;
                if let Some(watcher) = &self.watcher {
                    watcher.passed(number, sender);
                }
            }
        }
    }
}

async fn connect(target: Target) -> io::Result<Halves> {
    Ok(match target {
        Target::Socket(path) => {
            let (from, to) = UnixStream::connect(path).await?.into_split();
            (Box::new(from), Box::new(to))
        }
        Target::Address(address) => {
            let (from, to) = TcpStream::connect(address).await?.into_split();
            (Box::new(from), Box::new(to))
        }
    })
}

/// The head and the body of a complete HTTP/1.1 message (RFC 9112 §6.3); `None`: it is not complete.
pub fn message(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let (head, body) = (str::from_utf8(&bytes[..end]).ok()?, &bytes[end + 4..]);
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    (body.len() >= length.unwrap_or(0)).then_some((head, body))
}
