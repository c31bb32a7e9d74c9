use std::error::Error as StdError;
use std::pin::Pin;
use std::task::{Context, Poll};

use ::reqwest::Body;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::http::TimeLimits;

/// The body of a request that must not be sent late.
///
/// hyper polls the body in the step that writes the request: it buffers the head, polls the body, and writes both to
/// the socket. So the check comes after every wait (for a handshake, or for a free connection). If the body fails, the
/// head is not written either: the connection ends, and no byte has been sent.
#[derive(Debug)]
pub(super) struct Punctual {
    body: Body,
    limits: TimeLimits,
}

/// The request reached its connection too late to be sent.
#[derive(Debug, thiserror::Error)]
#[error("the request reached its connection too late")]
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_body_ends_where_the_inner_one_does() {
        let of = |body: Body| Punctual { body, limits: TimeLimits::new(Duration::from_secs(1)) };
        assert!(of(Body::from("")).is_end_stream());
        assert!(!of(Body::from("code=7")).is_end_stream());
    }
}
