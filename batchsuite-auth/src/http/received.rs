//! The received bytes of an answer, kept outside the exchange so that they survive it.

use std::{
    fmt, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use http::{HeaderMap, Response, StatusCode};
use zeroize::Zeroizing;

/// The largest answer accepted as UPS's, in bytes: several times the largest known token pair.
pub(crate) const ANSWER_CAP: usize = 64 * 1024;

/// The initial capacity: an answer with a pair fits, so it need not move as it grows.
const FIRST_ROOM: usize = 4 * 1024;

/// The part of an answer that has arrived so far.
///
/// A JSON object shows its own end, so a token pair is complete once its last brace has arrived, even if the connection
/// then breaks, the last chunk is missing or a deadline passes. The library puts a `Received` into the
/// [extensions](http::Request::extensions) of each request; an [`HttpClient`](super::HttpClient) that writes the bytes
/// to it as they arrive loses no such pair. A client need not use it: then a request without a complete answer is
/// unanswered.
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
/// Clones share the same bytes. They are secret: `Debug` shows nothing, and the memory is wiped on drop.
#[derive(Clone, Default)]
pub struct Received(Arc<Mutex<Option<Part>>>);

/// An answer, complete or not.
struct Part {
    status: StatusCode,
    headers: HeaderMap,
    body: Zeroizing<Vec<u8>>,
}

impl Received {
    /// Records the head of the answer.
    pub fn head(&self, status: StatusCode, headers: HeaderMap) {
        *self.part() = Some(Part { status, headers, body: Zeroizing::default() });
    }

    /// Records more of the body. Returns `false` once the body exceeds the largest answer that the library accepts (64
    /// KiB); the rest is not needed.
    #[must_use = "`false` means that the rest of the answer is not needed"]
    pub fn body(&self, bytes: &[u8]) -> bool {
        let mut part = self.part();
        let Some(part) = part.as_mut() else { return true };
        let room = ANSWER_CAP - part.body.len();
        append(&mut part.body, &bytes[..bytes.len().min(room)]);
        bytes.len() <= room
    }

    /// Takes the answer, if its head has arrived. Its body may be incomplete.
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

/// Appends to a buffer, and wipes the old memory when the buffer moves. `Vec` alone would free that memory unwiped.
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
    fn an_answer_of_four_kibibytes_never_moves_as_it_arrives() {
        let mut body = Zeroizing::new(Vec::new());
        append(&mut body, b"a");
        let place = body.as_ptr();

        (1..4096).for_each(|_| append(&mut body, b"a"));

        assert_eq!((body.len(), body.as_ptr()), (4096, place));
    }

    #[test]
    fn no_more_than_the_cap_is_kept() {
        let received = Received::default();
        received.head(StatusCode::OK, HeaderMap::new());

        assert!(received.body(&[b'a'; ANSWER_CAP]));
        assert!(!received.body(b"b"));

        assert_eq!(received.take().unwrap().body().len(), ANSWER_CAP);
        assert!(received.take().is_none());
        assert_eq!(format!("{received:?}"), "Received(..)");
    }
}
