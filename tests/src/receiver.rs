//! A receiver of webhooks on this machine.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use url::Url;

use crate::eventually;

const DONE: &str = "HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n";

/// Writes down every request, and answers as told; by default with 204.
#[derive(Clone, Debug)]
pub struct WebhookReceiver {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    requests: Vec<Posted>,
    answers: VecDeque<String>,
}

/// A request that arrived.
#[derive(Clone, Debug)]
pub struct Posted {
    /// The request line and the headers, as sent.
    pub head: String,
    /// The body.
    pub body: String,
}

impl Posted {
    /// The value of a header.
    ///
    /// # Panics
    /// If it is missing.
    pub fn header(&self, name: &str) -> &str {
        let named = |line: &&str| line.split_once(':').is_some_and(|(this, _)| this.eq_ignore_ascii_case(name));
        let line = self.head.lines().find(named).unwrap_or_else(|| panic!("no {name}: {}", self.head));
        line.split_once(':').map_or("", |(_, value)| value.trim())
    }

    /// The body, read as JSON.
    ///
    /// # Panics
    /// If it is not JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).expect("JSON")
    }
}

impl WebhookReceiver {
    /// Starts a receiver on a free port.
    ///
    /// # Panics
    /// If there is none.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let receiver = Self { address: listener.local_addr().expect("its address"), state: Arc::default() };
        let this = receiver.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(this.clone().connection(stream));
            }
        });
        receiver
    }

    /// Its URL.
    ///
    /// # Panics
    /// Never.
    pub fn url(&self) -> Url {
        format!("http://{}/hooks/canary-path", self.address).parse().expect("a URL")
    }

    /// Answers the next request with these bytes; an empty text: not at all.
    pub fn answer(&self, bytes: impl Into<String>) {
        self.state().answers.push_back(bytes.into());
    }

    /// Answers the next request with this status.
    pub fn answer_status(&self, status: u16) {
        self.answer(format!("HTTP/1.1 {status} Told\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"));
    }

    /// Everything that arrived.
    pub fn requests(&self) -> Vec<Posted> {
        self.state().requests.clone()
    }

    /// Waits until this many requests have arrived, and returns them.
    pub async fn reached(&self, count: usize) -> Vec<Posted> {
        eventually(&format!("{count} requests at the webhook"), async || {
            let requests = self.requests();
            (requests.len() >= count).then_some(requests)
        })
        .await
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn connection(self, mut stream: TcpStream) -> Option<()> {
        let mut read = Vec::new();
        let (head, from) = loop {
            stream.read_buf(&mut read).await.ok().filter(|length| *length > 0)?;
            if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
                break (String::from_utf8_lossy(&read[..end]).into_owned(), end + 4);
            }
        };
        let mut posted = Posted { head, body: String::new() };
        let length: usize = posted.header("content-length").parse().ok()?;
        while read.len() < from + length {
            stream.read_buf(&mut read).await.ok().filter(|length| *length > 0)?;
        }
        posted.body = String::from_utf8_lossy(&read[from..]).into_owned();
        let answer = {
            let mut state = self.state();
            state.requests.push(posted);
            state.answers.pop_front().unwrap_or_else(|| DONE.to_owned())
        };
        if answer.is_empty() {
            std::future::pending::<()>().await;
        }
        stream.write_all(answer.as_bytes()).await.ok()
    }
}
