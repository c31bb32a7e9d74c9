//! The way from a process to UPS: answers can be held on it until the process is stopped.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// Passes connections on. Requests always pass.
pub(crate) struct Post {
    address: SocketAddr,
    is_open: watch::Sender<bool>,
}

impl Post {
    pub(crate) async fn to(ups: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (is_open, opens) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((process, _)) = listener.accept().await {
                if let Ok(ups) = TcpStream::connect(ups).await {
                    tokio::spawn(pass(process, ups, opens.clone()));
                }
            }
        });
        Self { address, is_open }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers wait from now on.
    pub(crate) fn hold_answers(&self) {
        self.is_open.send_replace(false);
    }

    /// They arrive, at the process's socket.
    pub(crate) fn deliver(&self) {
        self.is_open.send_replace(true);
    }
}

async fn pass(process: TcpStream, ups: TcpStream, mut is_open: watch::Receiver<bool>) {
    let (mut from_process, mut to_process) = process.into_split();
    let (mut from_ups, mut to_ups) = ups.into_split();
    let requests = tokio::spawn(async move { copy(&mut from_process, &mut to_ups).await });
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from_ups.read(&mut buffer).await {
        if is_open.wait_for(|is_open| *is_open).await.is_err() || to_process.write_all(&buffer[..length]).await.is_err()
        {
            break;
        }
    }
    requests.abort();
}
