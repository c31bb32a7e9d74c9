//! A UPS that echoes every request.

use std::sync::{
    Arc,
    atomic::{AtomicU16, Ordering::Relaxed},
};

use batchsuite_tests::Gate;
use http::{Request, Response, header};
use serde_json::json;
use url::form_urlencoded;

/// Answers in UPS's place while a status is set.
pub(crate) struct Echo(Arc<AtomicU16>);

impl Echo {
    /// Intercepts requests to `http`. At first it echoes nothing.
    pub(crate) fn on(http: &Gate) -> Self {
        let status = Arc::new(AtomicU16::new(0));
        let echo = Self(Arc::clone(&status));
        http.answer_by(move |request| {
            let status = status.load(Relaxed);
            (status != 0).then(|| Ok(echoed(status, request)))
        });
        echo
    }

    /// From now on echoes every request in every form, with this status. 0 ends this.
    pub(crate) fn answer_with(&self, status: u16) {
        self.0.store(status, Relaxed);
    }
}

/// An error in UPS's format that repeats the request.
fn echoed(status: u16, request: &Request<Vec<u8>>) -> Response<Vec<u8>> {
    let body = String::from_utf8(request.body().clone()).unwrap();
    let basic = request.headers().get(header::AUTHORIZATION).map_or("", |value| value.to_str().unwrap());
    let decoded: Vec<_> =
        form_urlencoded::parse(body.as_bytes()).map(|(name, value)| format!("{name}={value}")).collect();
    let errors: Vec<_> = [decoded.join(" "), body.clone(), basic.to_owned()]
        .into_iter()
        .map(|said| json!({"code": said, "message": format!("No: {said} {said}")}))
        .collect();
    let at = usize::from(status) % errors.len();
    // Only the first error is kept as evidence, so each comes first for some status.
    let errors: Vec<_> = errors[at..].iter().chain(&errors[..at]).cloned().collect();
    let mut answer = Response::new(json!({"response": {"errors": errors}}).to_string().into_bytes());
    *answer.status_mut() = status.try_into().unwrap();
    answer
}
