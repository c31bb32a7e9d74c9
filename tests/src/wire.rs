//! The network between a store and its server: it records passing messages by round trip, and it can be cut.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{
        TcpListener, TcpStream, UnixStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
        unix,
    },
};

use crate::postgres::Server;

/// Forwards connections to our own server.
#[derive(Debug)]
pub struct Wire {
    address: SocketAddr,
    passing: Passing,
}

/// State shared by all its connections.
#[derive(Clone, Debug, Default)]
struct Passing {
    round_trips: Arc<Mutex<Vec<RoundTrip>>>,
    swallows: Arc<AtomicBool>,
    /// How many answers were dropped because of their statement.
    swallowed: Arc<AtomicUsize>,
    /// The name of the statement whose answers are dropped.
    swallows_to: Arc<Mutex<Option<String>>>,
}

/// The messages that the store sent before it waited for the server to be ready again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct RoundTrip(Vec<Message>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Message {
    /// A statement to parse and keep.
    Parse(String),
    /// A statement to run, or several in one text.
    Run(String),
}

impl Wire {
    /// A wire to `server`.
    ///
    /// # Panics
    /// If the server is not our own.
    pub async fn before(server: &Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let socket = server.directory().expect("a server of our own").join(".s.PGSQL.5432");
        let passing = Passing::default();
        let wire = Self { address, passing: passing.clone() };
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = UnixStream::connect(&socket).await else { continue };
                tokio::spawn(passing.clone().connection(client, server));
            }
        });
        wire
    }

    /// The server behind it, as a connection string.
    pub fn url(&self) -> String {
        format!("host=127.0.0.1 port={} user=postgres dbname=postgres sslmode=disable", self.address.port())
    }

    /// From now on the first answer on each connection is dropped and the connection cut: the request has taken effect,
    /// and the client is not told.
    pub fn swallow_answers(&self, swallow: bool) {
        self.passing.swallows.store(swallow, Ordering::SeqCst);
    }

    /// From now on the answer to each run of the statement of this name is dropped and its connection cut; `None` ends
    /// this.
    pub fn swallow_answers_to(&self, name: Option<&str>) {
        *lock(&self.passing.swallows_to) = name.map(str::to_owned);
    }

    /// How many answers [`swallow_answers_to`](Self::swallow_answers_to) has dropped.
    pub fn swallowed(&self) -> usize {
        self.passing.swallowed.load(Ordering::SeqCst)
    }

    /// The round trips since the last call, except those of the change feed, whose timing varies. Each is a text: the
    /// name at the start of the store's statement (other statements in full), `parse ‹name›` if it was parsed, or both.
    pub fn round_trips(&self) -> Vec<String> {
        let of_feed = |message: &Message| matches!(message.told().1, "horizon" | "changes");
        let trips = std::mem::take(&mut *self.passing.journal());
        let others = trips.into_iter().filter(|trip| trip.0.is_empty() || !trip.0.iter().all(of_feed));
        others.map(|trip| trip.told()).collect()
    }
}

impl RoundTrip {
    fn told(&self) -> String {
        let messages = self.0.iter().map(|message| {
            let (verb, statement) = message.told();
            format!("{verb}{statement}")
        });
        messages.collect::<Vec<_>>().join(", ")
    }
}

impl Message {
    fn told(&self) -> (&'static str, &str) {
        let (verb, sql) = match self {
            Self::Parse(sql) => ("parse ", sql),
            Self::Run(sql) => ("", sql),
        };
        let named = sql.strip_prefix("/* batchsuite ").and_then(|rest| rest.split_once(" */"));
        (verb, named.map_or(sql, |(name, _)| name))
    }
}

impl Passing {
    async fn connection(self, client: TcpStream, server: UnixStream) {
        let (from_client, mut to_client) = client.into_split();
        let (mut from_server, to_server) = server.into_split();
        let is_cut = Arc::new(AtomicBool::new(false));
        let requests = tokio::spawn(self.clone().requests(from_client, to_server, Arc::clone(&is_cut)));
        let _ = self.answers(&mut from_server, &mut to_client, &is_cut).await;
        requests.abort();
    }

    async fn answers(
        &self,
        from: &mut unix::OwnedReadHalf,
        to: &mut OwnedWriteHalf,
        is_cut: &AtomicBool,
    ) -> io::Result<()> {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let length = from.read(&mut buffer).await?;
            if length == 0 || self.swallows.load(Ordering::SeqCst) || is_cut.load(Ordering::SeqCst) {
                return Ok(());
            }
            to.write_all(&buffer[..length]).await?;
        }
    }

    /// Records a round trip before the server receives it.
    async fn requests(
        self,
        from: OwnedReadHalf,
        mut to: unix::OwnedWriteHalf,
        is_cut: Arc<AtomicBool>,
    ) -> io::Result<()> {
        let mut from = BufReader::new(from);
        // The first message has no type byte.
        to.write_all(&rest_of_message(&mut from, Vec::new()).await?).await?;
        let mut session = Session::default();
        loop {
            let kind = from.read_u8().await?;
            let message = rest_of_message(&mut from, vec![kind]).await?;
            if let Some(round_trip) = session.hear(kind, &message[HEAD..]) {
                // Before the server receives it, so that no byte of its answer gets through.
                let swallowed = lock(&self.swallows_to).clone();
                if swallowed.is_some_and(|name| round_trip.0.iter().any(|message| message.told() == ("", &name))) {
                    is_cut.store(true, Ordering::SeqCst);
                    self.swallowed.fetch_add(1, Ordering::SeqCst);
                }
                self.journal().push(round_trip);
            }
            to.write_all(&message).await?;
        }
    }

    fn journal(&self) -> MutexGuard<'_, Vec<RoundTrip>> {
        lock(&self.round_trips)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The type byte, and the length of the rest including its own four bytes.
const HEAD: usize = 5;

async fn rest_of_message(from: &mut BufReader<OwnedReadHalf>, mut message: Vec<u8>) -> io::Result<Vec<u8>> {
    let length = from.read_u32().await?;
    message.extend(length.to_be_bytes());
    let head = message.len();
    message.resize(head + (length as usize).saturating_sub(4), 0);
    from.read_exact(&mut message[head..]).await?;
    Ok(message)
}

/// The messages of a connection (the frontend's half of the protocol, PostgreSQL's documentation, "Message Formats").
#[derive(Debug, Default)]
struct Session {
    statements: HashMap<String, String>,
    portals: HashMap<String, String>,
    under_way: RoundTrip,
}

impl Session {
    /// Takes a message; returns the round trip that it ends, if any.
    fn hear(&mut self, kind: u8, body: &[u8]) -> Option<RoundTrip> {
        let mut texts = body.split(|byte| *byte == 0).map(|text| String::from_utf8_lossy(text).into_owned());
        let mut text = || texts.next().unwrap_or_default();
        match kind {
            b'P' => {
                let (name, sql) = (text(), text());
                self.under_way.0.push(Message::Parse(sql.clone()));
                self.statements.insert(name, sql);
            }
            b'B' => {
                let (portal, name) = (text(), text());
                self.portals.insert(portal, self.statements.get(&name).cloned().unwrap_or(name));
            }
            b'E' => {
                let sql = self.portals.get(&text()).cloned().unwrap_or_default();
                self.under_way.0.push(Message::Run(sql));
            }
            b'Q' => {
                self.under_way.0.push(Message::Run(text()));
                return Some(std::mem::take(&mut self.under_way));
            }
            // Flush also makes the server answer.
            b'S' | b'H' => return Some(std::mem::take(&mut self.under_way)),
            _ => {}
        }
        None
    }
}
