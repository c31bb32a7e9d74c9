//! The way between a process and UPS, where every request and every answer is read as it comes by.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use batchsuite_tests::proxy::{Sender, Watcher};
use serde_json::Value;
use url::form_urlencoded;

use crate::ledger::Ledger;

/// What a process asks UPS.
#[derive(Debug, Default)]
pub(crate) struct Request {
    pub(crate) code: Option<String>,
    pub(crate) refresh_token: Option<String>,
}

/// What UPS answers.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The access token and the refresh token.
    pub(crate) pair: Option<(String, String)>,
}

/// Writes into the ledger what passes.
#[derive(Debug)]
pub(crate) struct Reader {
    ledger: Arc<Ledger>,
    /// Which process is at the near end of new connections.
    process: Arc<AtomicUsize>,
    conversations: Mutex<HashMap<u64, Conversation>>,
}

#[derive(Debug)]
struct Conversation {
    process: usize,
    request: Vec<u8>,
    answer: Vec<u8>,
    /// The request that waits for its answer.
    under_way: Option<usize>,
    /// The request whose answer has come whole and is to be handed on.
    answered: Option<usize>,
}

impl Reader {
    pub(crate) fn new(ledger: &Arc<Ledger>, process: &Arc<AtomicUsize>) -> Self {
        Self { ledger: Arc::clone(ledger), process: Arc::clone(process), conversations: Mutex::default() }
    }
}

impl Watcher for Reader {
    fn came(&self, connection: u64, sender: Sender, bytes: &[u8]) -> bool {
        let mut conversations = self.conversations.lock().expect("nobody panicked here");
        let conversation = conversations.entry(connection).or_insert_with(|| Conversation {
            process: self.process.load(SeqCst),
            request: Vec::new(),
            answer: Vec::new(),
            under_way: None,
            answered: None,
        });
        let whole = match sender {
            Sender::Client => &mut conversation.request,
            Sender::Server => &mut conversation.answer,
        };
        whole.extend_from_slice(bytes);
        let Some((head, body)) = message(whole) else { return false };
        match sender {
            Sender::Client => {
                let request = request(body);
                whole.clear();
                conversation.under_way = Some(self.ledger.book().sent(conversation.process, &request));
            }
            Sender::Server => {
                let answer = answer(head, body);
                whole.clear();
                conversation.answered = conversation.under_way.take();
                if let Some(send) = conversation.answered {
                    self.ledger.book().answered(send, &answer);
                }
            }
        }
        true
    }

    fn passed(&self, connection: u64, sender: Sender) {
        if sender == Sender::Server {
            let mut conversations = self.conversations.lock().expect("nobody panicked here");
            if let Some(send) = conversations.get_mut(&connection).and_then(|conversation| conversation.answered.take())
            {
                self.ledger.book().delivered(send);
            }
        }
    }
}

/// The head and the body of an HTTP/1.1 message (RFC 9112 section 6.3) that has come whole.
fn message(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let (head, body) = (str::from_utf8(&bytes[..end]).ok()?, &bytes[end + 4..]);
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    (body.len() >= length.unwrap_or(0)).then_some((head, body))
}

fn request(form: &[u8]) -> Request {
    let mut request = Request::default();
    for (name, value) in form_urlencoded::parse(form) {
        match &*name {
            "code" => request.code = Some(value.into_owned()),
            "refresh_token" => request.refresh_token = Some(value.into_owned()),
            _ => {}
        }
    }
    request
}

fn answer(head: &str, body: &[u8]) -> Answer {
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |name: &str| body[name].as_str().map(str::to_owned);
    Answer { status, pair: text("access_token").zip(text("refresh_token")) }
}
