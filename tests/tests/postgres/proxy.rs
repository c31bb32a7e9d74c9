//! A network between the store and the server that can be cut.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream, UnixStream},
};

use batchsuite_tests::postgres::Server;

/// Passes connections on to the server's socket.
pub(crate) struct Proxy {
    address: SocketAddr,
    swallows: Arc<AtomicBool>,
}

impl Proxy {
    pub(crate) async fn before(server: &Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let socket = server.directory().unwrap().join(".s.PGSQL.5432");
        let swallows = Arc::new(AtomicBool::new(false));
        let flag = swallows.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, socket.clone(), flag.clone()));
            }
        });
        Self { address, swallows }
    }

    pub(crate) fn url(&self) -> String {
        format!("host=127.0.0.1 port={} user=postgres dbname=postgres sslmode=disable", self.address.port())
    }

    /// From now on the first answer on each connection is swallowed and the connection cut: what was asked for has
    /// happened, and nobody is told.
    pub(crate) fn swallow_answers(&self, swallow: bool) {
        self.swallows.store(swallow, Ordering::SeqCst);
    }
}

async fn pass(client: TcpStream, socket: PathBuf, swallows: Arc<AtomicBool>) {
    let Ok(server) = UnixStream::connect(socket).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let requests = tokio::spawn(async move { copy(&mut from_client, &mut to_server).await });
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from_server.read(&mut buffer).await {
        if swallows.load(Ordering::SeqCst) || to_client.write_all(&buffer[..length]).await.is_err() {
            break;
        }
    }
    requests.abort();
}
