//! A way to UPS on which requests and answers can be held up.

use std::{collections::VecDeque, sync::Mutex};

use async_trait::async_trait;
use batchsuite_auth::{
    fake_ups::InProcessClient,
    http::{HttpClient, HttpError},
};
use http::{Request, Response};

use crate::hold::Hold;

/// A process's own way to the fake UPS.
#[derive(Debug)]
pub(crate) struct Gate {
    client: InProcessClient,
    requests: Mutex<VecDeque<Hold>>,
    answers: Mutex<VecDeque<Hold>>,
}

impl Gate {
    pub(crate) fn before(client: InProcessClient) -> Self {
        Self { client, requests: Mutex::default(), answers: Mutex::default() }
    }

    /// The next request waits before UPS sees it.
    pub(crate) fn hold_request(&self) -> Hold {
        held(&self.requests)
    }

    /// The next answer waits on its way back: UPS has acted.
    pub(crate) fn hold_answer(&self) -> Hold {
        held(&self.answers)
    }
}

fn held(queue: &Mutex<VecDeque<Hold>>) -> Hold {
    let hold = Hold::default();
    queue.lock().unwrap().push_back(hold.clone());
    hold
}

#[async_trait]
impl HttpClient for Gate {
    async fn send(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, HttpError> {
        let hold = self.requests.lock().unwrap().pop_front();
        if let Some(hold) = hold {
            hold.pass().await;
        }
        let hold = self.answers.lock().unwrap().pop_front();
        let answer = self.client.send(request).await;
        if let Some(hold) = hold {
            hold.pass().await;
        }
        answer
    }
}
