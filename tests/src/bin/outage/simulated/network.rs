//! A process's way to UPS, and UPS as the fake's one function.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use batchsuite_auth::http::{HttpClient, HttpError, HttpErrorKind, TimeLimits};
use http::{Request, Response};
use tokio::time::sleep;

use super::world::World;
use crate::Kind;

/// The deadline of [`ReqwestClient`](batchsuite_auth::http::ReqwestClient).
const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) struct Network(pub(crate) Arc<World>);

#[async_trait]
impl HttpClient for Network {
    async fn send(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, HttpError> {
        let Self(world) = self;
        let [connect, there, back] = world.distances();
        sleep(connect).await;
        let away = world.away();
        if away == Some(Kind::Refused) {
            return Err(HttpError::not_sent());
        }
        let is_late = request.extensions().get::<TimeLimits>().is_some_and(|limits| !limits.may_be_sent());
        if is_late {
            return Err(HttpError::new(HttpErrorKind::Late));
        }
        let _connection = Connection::open(world);
        sleep(there).await;
        world.traffic().came(Duration::from_micros(world.clocks.micros()));
        if away == Some(Kind::Hangs) || world.away() == Some(Kind::Hangs) {
            sleep(DEADLINE).await;
            return Err(HttpError::unanswered());
        }
        let answer = world.ups_answers(&request);
        sleep(back).await;
        Ok(answer)
    }
}

struct Connection<'a>(&'a World);

impl<'a> Connection<'a> {
    fn open(world: &'a World) -> Self {
        world.traffic().opened();
        Self(world)
    }
}

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        self.0.traffic().closed();
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").finish_non_exhaustive()
    }
}
