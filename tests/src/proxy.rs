//! A proxy between a store and its server that can fall silent: TCP still acknowledges, and no byte passes.

use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UnixStream},
    sync::watch,
};

use crate::postgres::Server;

/// Passes connections on to a server of our own, unless it is silent.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    accepted: Arc<AtomicU64>,
    /// Connections with a number below this one are silent.
    silent_below: watch::Sender<u64>,
}

impl Proxy {
    /// A proxy before `server`.
    ///
    /// # Panics
    /// If the server is not one of our own.
    pub async fn before(server: &Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let socket = server.directory().expect("a server of our own").join(".s.PGSQL.5432");
        let (accepted, silent_below) = (Arc::new(AtomicU64::new(0)), watch::Sender::new(0));
        let (numbers, silent) = (Arc::clone(&accepted), silent_below.subscribe());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let number = numbers.fetch_add(1, SeqCst);
                tokio::spawn(connection(client, socket.clone(), Silence { number, below: silent.clone() }));
            }
        });
        Self { address, accepted, silent_below }
    }

    /// The server behind it, as a connection string.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres?sslmode=disable", self.address.port())
    }

    /// How many connections there have been.
    pub fn connections(&self) -> u64 {
        self.accepted.load(SeqCst)
    }

    /// The connections that there are fall silent; new ones pass.
    pub fn silence_connections(&self) {
        self.silent_below.send_replace(self.connections());
    }

    /// Everything falls silent, new connections too.
    pub fn silence_everything(&self) {
        self.silent_below.send_replace(u64::MAX);
    }

    /// Goes on with everything, also with what was held back.
    pub fn go_on(&self) {
        self.silent_below.send_replace(0);
    }
}

#[derive(Clone)]
struct Silence {
    number: u64,
    below: watch::Receiver<u64>,
}

impl Silence {
    async fn end(&mut self) {
        let number = self.number;
        // Without a proxy, nobody is silent any more.
        let _ = self.below.wait_for(|below| *below <= number).await;
    }
}

async fn connection(client: TcpStream, server: PathBuf, mut silence: Silence) -> io::Result<()> {
    silence.end().await;
    let (from_server, to_server) = UnixStream::connect(server).await?.into_split();
    let (from_client, to_client) = client.into_split();
    tokio::select! {
        ended = pass(from_client, to_server, silence.clone()) => ended,
        ended = pass(from_server, to_client, silence) => ended,
    }
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut silence: Silence,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = from.read(&mut buffer).await?;
        silence.end().await;
        if length == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..length]).await?;
    }
}
