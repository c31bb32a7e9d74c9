//! The connection between a process and UPS, where every request and answer is read in passing.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use batchsuite_tests::proxy::{Sender, Watcher, message};

use crate::ledger::Ledger;

/// Records passing messages in the ledger.
#[derive(Debug)]
pub(crate) struct Reader {
    ledger: Arc<Ledger>,
    /// The process at the near end of new connections.
    process: Arc<AtomicUsize>,
    conversations: Mutex<HashMap<u64, Conversation>>,
}

#[derive(Debug, Default)]
struct Conversation {
    process: usize,
    request: Vec<u8>,
    answer: Vec<u8>,
    /// The request that waits for its answer.
    under_way: Option<usize>,
    /// The request whose complete answer is about to be forwarded.
    answered: Option<usize>,
}

impl Reader {
    pub(crate) fn new(ledger: &Arc<Ledger>, process: &Arc<AtomicUsize>) -> Self {
        Self { ledger: Arc::clone(ledger), process: Arc::clone(process), conversations: Mutex::default() }
    }
}

impl Watcher for Reader {
    fn came(&self, connection: u64, sender: Sender, bytes: &[u8]) -> bool {
        let mut conversations = self.conversations.lock().expect("no thread panicked with the lock");
        let conversation = conversations.entry(connection).or_insert_with(|| {
            let process = self.process.load(SeqCst);
            Conversation { process, ..Conversation::default() }
        });
        let whole = match sender {
            Sender::Client => &mut conversation.request,
            Sender::Server => &mut conversation.answer,
        };
        whole.extend_from_slice(bytes);
        let Some((head, body)) = message(whole) else { return false };
        match sender {
            Sender::Client => {
                conversation.under_way = Some(self.ledger.book().sent(conversation.process, body));
            }
            Sender::Server => {
                conversation.answered = conversation.under_way.take();
                if let Some(send) = conversation.answered {
                    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
                    let answer = serde_json::from_slice(body).unwrap_or_default();
                    self.ledger.book().answered(send, status.unwrap_or_default(), &answer);
                }
            }
        }
        whole.clear();
        true
    }

    fn passed(&self, connection: u64, sender: Sender) {
        if sender == Sender::Server {
            let mut conversations = self.conversations.lock().expect("no thread panicked with the lock");
            if let Some(send) = conversations.get_mut(&connection).and_then(|conversation| conversation.answered.take())
            {
                self.ledger.book().delivered(send);
            }
        }
    }
}
