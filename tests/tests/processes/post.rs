//! The path from a process to UPS. Requests and answers can be held on it while the process runs or is stopped.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

/// Forwards connections.
pub(crate) struct Post {
    address: SocketAddr,
    requests: Direction,
    answers: Direction,
}

/// One direction of all connections.
#[derive(Clone)]
struct Direction {
    is_open: watch::Sender<bool>,
    /// Whether data are held.
    holds: watch::Sender<bool>,
}

impl Post {
    pub(crate) async fn to(ups: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (requests, answers) = (Direction::open(), Direction::open());
        let post = Self { address, requests: requests.clone(), answers: answers.clone() };
        tokio::spawn(async move {
            while let Ok((process, _)) = listener.accept().await {
                if let Ok(ups) = TcpStream::connect(ups).await {
                    tokio::spawn(pass(process, ups, requests.clone(), answers.clone()));
                }
            }
        });
        post
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Holds answers from now on.
    pub(crate) fn hold_answers(&self) {
        self.answers.is_open.send_replace(false);
    }

    /// Holds requests from now on.
    pub(crate) fn hold_requests(&self) {
        self.requests.is_open.send_replace(false);
    }

    /// Waits until a request is held.
    pub(crate) async fn holds_a_request(&self) {
        let waits = self.requests.holds.subscribe().wait_for(|holds| *holds).await.is_ok();
        assert!(waits, "the path is open");
    }

    /// Delivers the held data to UPS or to the process's socket.
    pub(crate) fn deliver(&self) {
        for direction in [&self.requests, &self.answers] {
            direction.is_open.send_replace(true);
        }
    }
}

impl Direction {
    fn open() -> Self {
        Self { is_open: watch::Sender::new(true), holds: watch::Sender::new(false) }
    }

    async fn pass(self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
        let mut is_open = self.is_open.subscribe();
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            let holds = !*is_open.borrow();
            self.holds.send_if_modified(|before| holds && !std::mem::replace(before, true));
            if is_open.wait_for(|is_open| *is_open).await.is_err() || to.write_all(&buffer[..length]).await.is_err() {
                return;
            }
        }
    }
}

async fn pass(process: TcpStream, ups: TcpStream, requests: Direction, answers: Direction) {
    let (from_process, to_process) = process.into_split();
    let (from_ups, to_ups) = ups.into_split();
    let requests = tokio::spawn(requests.pass(from_process, to_ups));
    answers.pass(from_ups, to_process).await;
    requests.abort();
}
