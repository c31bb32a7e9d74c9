//! A mail server on this machine that keeps what it is given (RFC 5321, as far as one client needs it).

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};

use crate::eventually;

/// Keeps every mail; clones share it.
#[derive(Clone, Debug)]
pub struct MailSink {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    mails: Vec<Mail>,
    refusals: usize,
    refusal: &'static str,
    refused: usize,
    sign_ins: usize,
}

/// A mail that arrived.
#[derive(Clone, Debug, Default)]
pub struct Mail {
    /// The addresses of the envelope: the sender first.
    pub envelope: Vec<String>,
    /// The message, headers included, as sent.
    pub text: String,
}

impl Mail {
    /// The value of a header; empty if it is missing.
    pub fn header(&self, name: &str) -> &str {
        let head = self.text.split("\r\n\r\n").next().unwrap_or_default();
        let named = |line: &'_ str| line.split_once(": ").is_some_and(|(this, _)| this.eq_ignore_ascii_case(name));
        let line = head.lines().find(|line| named(line)).unwrap_or_default();
        line.split_once(": ").map_or("", |(_, value)| value)
    }
}

impl MailSink {
    /// Starts a server on a free port.
    ///
    /// # Panics
    /// If there is none.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let sink = Self { address: listener.local_addr().expect("its address"), state: Arc::default() };
        let this = sink.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let this = this.clone();
                tokio::spawn(async move { this.session(stream).await });
            }
        });
        sink
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("smtp://{}", self.address)
    }

    /// Refuses the next mails for now.
    pub fn refuse(&self, times: usize) {
        self.refuse_with(times, "451 not now, says canary-mail-server\r\n");
    }

    /// Refuses the next mails for good: nobody has such an address.
    pub fn refuse_for_good(&self, times: usize) {
        self.refuse_with(times, "550 nobody here, says canary-mail-server\r\n");
    }

    fn refuse_with(&self, times: usize, refusal: &'static str) {
        let mut state = self.state();
        (state.refusals, state.refusal) = (times, refusal);
    }

    /// How many mails were refused.
    pub fn refused(&self) -> usize {
        self.state().refused
    }

    /// How often a client signed in. Any password is accepted.
    pub fn sign_ins(&self) -> usize {
        self.state().sign_ins
    }

    /// The mails so far.
    pub fn mails(&self) -> Vec<Mail> {
        self.state().mails.clone()
    }

    /// Waits until this many mails have arrived, and returns them.
    pub async fn reached(&self, count: usize) -> Vec<Mail> {
        eventually(&format!("{count} mails"), async || {
            let mails = self.mails();
            (mails.len() >= count).then_some(mails)
        })
        .await
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn session(&self, stream: TcpStream) -> io::Result<()> {
        let mut stream = BufReader::new(stream);
        stream.write_all(b"220 sink\r\n").await?;
        let mut mail = Mail::default();
        let mut line = String::new();
        while stream.read_line(&mut line).await? > 0 {
            let command = line.to_ascii_uppercase();
            let answer = if command.starts_with("DATA") {
                stream.write_all(b"354 go on\r\n").await?;
                mail.text = message(&mut stream).await?;
                self.state().mails.push(std::mem::take(&mut mail));
                "250 kept\r\n"
            } else if let Some(refusal) = command.starts_with("MAIL FROM:").then(|| self.refusal()).flatten() {
                refusal
            } else if let Some((_, address)) = line.split_once('<') {
                mail.envelope.push(address.split('>').next().unwrap_or_default().to_owned());
                "250 fine\r\n"
            } else if command.starts_with("EHLO") {
                "250-sink\r\n250 AUTH PLAIN\r\n"
            } else if command.starts_with("AUTH ") {
                self.state().sign_ins += 1;
                "235 welcome\r\n"
            } else if command.starts_with("QUIT") {
                "221 bye\r\n"
            } else {
                "250 sink\r\n"
            };
            stream.write_all(answer.as_bytes()).await?;
            line.clear();
        }
        Ok(())
    }

    fn refusal(&self) -> Option<&'static str> {
        let mut state = self.state();
        state.refusals = state.refusals.checked_sub(1)?;
        state.refused += 1;
        Some(state.refusal)
    }
}

/// A message up to the line with a single dot.
async fn message(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let (mut text, mut line) = (String::new(), String::new());
    while stream.read_line(&mut line).await? > 0 && line != ".\r\n" {
        text.push_str(line.strip_prefix('.').unwrap_or(&line));
        line.clear();
    }
    Ok(text)
}
