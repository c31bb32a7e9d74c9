//! The fake UPS without a network.

use std::sync::Arc;

use async_trait::async_trait;
use http::{Request, Response};
use tokio::sync::watch;

use super::{
    FakeUpsState,
    wire::{self, WireFault},
};
use crate::http::{HttpClient, HttpError};

/// An [`HttpClient`] that passes each request to the fake UPS in this process; see
/// [`FakeUps::in_process`](super::FakeUps::in_process).
#[derive(Clone, Debug)]
pub struct InProcessClient {
    state: Arc<FakeUpsState>,
    online: watch::Receiver<bool>,
}

impl InProcessClient {
    pub(super) fn new(state: Arc<FakeUpsState>, online: watch::Receiver<bool>) -> Self {
        Self { state, online }
    }
}

#[async_trait]
impl HttpClient for InProcessClient {
    async fn send(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, HttpError> {
        if !*self.online.borrow() {
            return Err(HttpError::not_sent());
        }
        if let Some(fault) = self.state.connection_fault() {
            return Err(suffer(fault).await);
        }
        let reply = self.state.answer(&request);
        if !reply.delay.is_zero() {
            tokio::time::sleep(reply.delay).await;
        }
        match reply.wire_fault {
            None => Ok(reply.response),
            Some(WireFault::Trickle { pause }) => {
                // The approximate length of the head, which trickles on the wire, too.
                const HEAD: usize = 128;
                let bytes = u32::try_from(reply.response.body().len() + HEAD).unwrap_or(u32::MAX);
                tokio::time::sleep(pause.saturating_mul(bytes)).await;
                Ok(reply.response)
            }
            Some(fault) => Err(suffer(fault).await),
        }
    }
}

/// Once connected, the client cannot know whether the request was processed.
async fn suffer(fault: WireFault) -> HttpError {
    if fault == WireFault::Hang {
        tokio::time::sleep(wire::LONGEST_HANG).await;
    }
    HttpError::unanswered()
}
