use bytes::Bytes;
use zeroize::Zeroizing;

use super::super::{HttpError, Received};

/// A request body that is wiped when reqwest drops it.
pub(super) fn to_send(body: Vec<u8>) -> ::reqwest::Body {
    Bytes::from_owner(Zeroizing::new(body)).into()
}

/// Reads an answer to its end. Each piece is recorded in `received` at once, so that it survives if the end never
/// comes.
pub(super) async fn read(
    mut response: ::reqwest::Response,
    received: &Received,
) -> Result<http::Response<Vec<u8>>, HttpError> {
    received.head(response.status(), std::mem::take(response.headers_mut()));
    // `Content-Length` is ignored: it may be wrong or missing.
    while let Some(chunk) =
        response.chunk().await.map_err(|error| HttpError::unanswered().with_source(error.without_url()))?
    {
        if !received.body(&chunk) {
            return Err(HttpError::unanswered().with_source("the answer is larger than 64 KiB"));
        }
    }
    received.take().ok_or_else(HttpError::unanswered)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::test_memory::left_of;

    #[test]
    fn a_body_that_was_sent_is_wiped() {
        let canary = b"form-canary-5d0c7a11".repeat(8);
        let body = to_send(canary.clone());
        let place = left_of(body.as_bytes().unwrap());
        assert!(place.holds(b"form-canary-5d0c7a11"), "the test looks at the right place");

        drop(body);

        assert!(!place.holds(b"form-canary-5d0c7a11"));
    }
}
