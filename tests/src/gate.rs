//! A way to UPS on which requests and answers can be held up.

use std::{
    collections::{HashMap, VecDeque},
    sync::Mutex,
};

use async_trait::async_trait;
use batchsuite_auth::{
    fake_ups::InProcessClient,
    http::{HttpClient, HttpError, HttpErrorKind, TimeLimits},
};
use http::{Request, Response};

use crate::hold::Hold;

/// A process's own way to the fake UPS.
#[derive(Debug)]
pub struct Gate {
    client: InProcessClient,
    connections: Mutex<VecDeque<Hold>>,
    refused: Mutex<HashMap<String, Response<Vec<u8>>>>,
    requests: Mutex<VecDeque<Hold>>,
    answers: Mutex<VecDeque<Hold>>,
}

impl Gate {
    /// A way to the fake UPS on which nothing is held up yet.
    pub fn before(client: InProcessClient) -> Self {
        Self {
            client,
            connections: Mutex::default(),
            refused: Mutex::default(),
            requests: Mutex::default(),
            answers: Mutex::default(),
        }
    }

    /// The next request waits for its connection; then it is judged whether it may still be sent.
    pub fn hold_connection(&self) -> Hold {
        held(&self.connections)
    }

    /// This is UPS's answer to `refresh_token`, always.
    pub fn answer_to(&self, refresh_token: &str, answer: Response<Vec<u8>>) {
        self.refused.lock().expect("no test panicked here").insert(refresh_token.to_owned(), answer);
    }

    fn scripted(&self, request: &Request<Vec<u8>>) -> Option<Response<Vec<u8>>> {
        let (_, token) = url::form_urlencoded::parse(request.body()).find(|(name, _)| name == "refresh_token")?;
        self.refused.lock().expect("no test panicked here").get(&*token).cloned()
    }

    /// The next request waits before UPS sees it.
    pub fn hold_request(&self) -> Hold {
        held(&self.requests)
    }

    /// The next answer waits on its way back: UPS has acted.
    pub fn hold_answer(&self) -> Hold {
        held(&self.answers)
    }
}

fn held(queue: &Mutex<VecDeque<Hold>>) -> Hold {
    let hold = Hold::default();
    queue.lock().expect("no test panicked here").push_back(hold.clone());
    hold
}

#[async_trait]
impl HttpClient for Gate {
    async fn send(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, HttpError> {
        let hold = self.connections.lock().expect("no test panicked here").pop_front();
        if let Some(hold) = hold {
            hold.pass().await;
            if !request.extensions().get::<TimeLimits>().expect("limits").may_be_sent() {
                return Err(HttpError::new(HttpErrorKind::Late));
            }
        }
        if let Some(answer) = self.scripted(&request) {
            return Ok(answer);
        }
        let hold = self.requests.lock().expect("no test panicked here").pop_front();
        if let Some(hold) = hold {
            hold.pass().await;
        }
        let hold = self.answers.lock().expect("no test panicked here").pop_front();
        let answer = self.client.send(request).await;
        if let Some(hold) = hold {
            hold.pass().await;
        }
        answer
    }
}
