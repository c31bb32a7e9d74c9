use std::error::Error as StdError;
use std::pin::Pin;
use std::task::{Context, Poll};

use ::reqwest::Body;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::http::TimeLimits;

/// The body of a request that must not be sent late.
///
/// The step that asks for the body is the step that writes the request: hyper has the head in its buffer, asks for the body, and
/// gives both to the socket. So the time is judged after every wait, for a connection, a handshake or a free one, and a body that
/// fails takes the head with it: the connection ends, and not one byte has left.
#[derive(Debug)]
pub(super) struct Punctual {
    body: Body,
    limits: TimeLimits,
}

/// The request came to its connection when it must no longer be sent.
#[derive(Debug, thiserror::Error)]
#[error("the request came too late to its connection")]
pub(super) struct TooLate;

impl Punctual {
    pub(super) fn body(body: Body, limits: TimeLimits) -> Body {
        Body::wrap(Self { body, limits })
    }
}

impl HttpBody for Punctual {
    type Data = <Body as HttpBody>::Data;
    type Error = Box<dyn StdError + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        if !self.limits.may_be_sent() {
            return Poll::Ready(Some(Err(TooLate.into())));
        }
        Pin::new(&mut self.body).poll_frame(cx).map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
