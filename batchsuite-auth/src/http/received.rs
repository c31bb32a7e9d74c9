//! The bytes of an answer that have arrived, kept where they outlive the exchange.

use std::{
    fmt, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use http::{HeaderMap, Response, StatusCode};
use zeroize::Zeroizing;

/// The largest answer that is taken for one of UPS's, in bytes: several times the largest token pair known.
pub(crate) const ANSWER_CAP: usize = 64 * 1024;

/// Room for an answer with a pair, so that it is not moved while it grows.
const FIRST_ROOM: usize = 4 * 1024;

/// What has arrived so far of the answer to one request.
///
/// A JSON object ends by itself. So a token pair is whole as soon as its last brace is there, although the connection
/// breaks afterwards, the last chunk never comes or a deadline passes. The library puts a `Received` into the
/// [extensions](http::Request::extensions) of each request; an [`HttpClient`](super::HttpClient) that writes the arriving bytes to
/// it loses no such pair. A client may leave it alone: then a request without a whole answer is unanswered.
///
/// ```
/// # fn exchange(request: &http::Request<Vec<u8>>) {
/// use batchsuite_auth::http::Received;
///
/// let received = request.extensions().get::<Received>().cloned().unwrap_or_default();
/// received.head(http::StatusCode::OK, http::HeaderMap::new());
/// received.body(br#"{"access_token":"#);
/// # }
/// ```
///
/// Clones are the same one. It is a secret: its `Debug` shows nothing, and its memory is wiped when it is dropped.
#[derive(Clone, Default)]
pub struct Received(Arc<Mutex<Option<Part>>>);

/// The beginning of an answer, or all of it.
struct Part {
    status: StatusCode,
    headers: HeaderMap,
    body: Zeroizing<Vec<u8>>,
}

impl Received {
    /// The head of the answer is there.
    pub fn head(&self, status: StatusCode, headers: HeaderMap) {
        *self.part() = Some(Part { status, headers, body: Zeroizing::default() });
    }

    /// More of the body is there; `false`: it is more than an answer of UPS's has, and the rest is not wanted.
    #[must_use = "the rest of an answer that is too large is not wanted"]
    pub fn body(&self, bytes: &[u8]) -> bool {
        let mut part = self.part();
        let Some(part) = part.as_mut() else { return true };
        let room = ANSWER_CAP - part.body.len();
        append(&mut part.body, &bytes[..bytes.len().min(room)]);
        bytes.len() <= room
    }

    /// Takes out what is there, if at least the head is. Its body may be cut off.
    pub fn take(&self) -> Option<Response<Vec<u8>>> {
        let mut part = self.part().take()?;
        let mut answer = Response::new(mem::take(&mut *part.body));
        *answer.status_mut() = part.status;
        *answer.headers_mut() = part.headers;
        Some(answer)
    }

    fn part(&self) -> MutexGuard<'_, Option<Part>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Received(..)")
    }
}

/// Adds to a buffer, and wipes the memory that it outgrows. `Vec` by itself would free that memory unwiped.
pub(crate) fn append(body: &mut Zeroizing<Vec<u8>>, bytes: &[u8]) {
    let needed = body.len() + bytes.len();
    if needed > body.capacity() {
        let mut larger = Zeroizing::new(Vec::with_capacity(needed.max(body.capacity() * 2).max(FIRST_ROOM)));
        larger.extend_from_slice(body);
        drop(mem::replace(body, larger));
    }
    body.extend_from_slice(bytes);
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::test_memory::left_of;

    const CANARY: &[u8] = b"received-canary-3e81b0c4";

    #[test]
    fn what_a_body_has_outgrown_and_what_it_leaves_is_wiped() {
        let text = CANARY.repeat(50);
        let received = Received::default();
        received.head(StatusCode::OK, HeaderMap::new());
        assert!(received.body(&text));
        let first = left_of(&received.part().as_ref().unwrap().body);
        assert!(first.holds(CANARY), "the test looks at the right place");

        assert!(received.body(&[0; 8 * 1024]));

        assert!(!first.holds(CANARY), "outgrown");
        let second = left_of(&received.part().as_ref().unwrap().body);
        assert!(second.holds(CANARY));
        drop(received);
        assert!(!second.holds(CANARY), "dropped");
    }

    #[test]
    fn no_more_than_the_cap_is_kept() {
        let received = Received::default();
        received.head(StatusCode::OK, HeaderMap::new());

        assert!(received.body(&[b'a'; ANSWER_CAP]));
        assert!(!received.body(b"b"));

        assert_eq!(received.take().unwrap().body().len(), ANSWER_CAP);
        assert!(received.take().is_none());
    }
}
