//! A way to UPS that notes every secret that passes.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering::Relaxed},
    },
};

use async_trait::async_trait;
use batchsuite_auth::http::{HttpClient, HttpError, ReqwestClient};
use http::{Request, Response, header};
use serde_json::{Value, json};
use url::form_urlencoded;

use crate::secrets::Secrets;

/// The real HTTP adapter, with an ear on it.
pub(crate) struct Recorder {
    client: ReqwestClient,
    secrets: Arc<Secrets>,
    /// Not zero: nothing is sent, and this is the status of an answer that echoes everything, in every way.
    echo: AtomicU16,
}

impl Recorder {
    pub(crate) fn new(secrets: Arc<Secrets>) -> Self {
        let client = ReqwestClient::builder().allow_loopback_http().build().unwrap();
        Self { client, secrets, echo: AtomicU16::new(0) }
    }

    /// From now on UPS echoes what it was sent; 0: no more.
    pub(crate) fn echo(&self, status: u16) {
        self.echo.store(status, Relaxed);
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("client", &self.client).finish_non_exhaustive()
    }
}

#[async_trait]
impl HttpClient for Recorder {
    async fn send(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, HttpError> {
        let body = String::from_utf8(request.body().clone()).unwrap();
        let names =
            [("refresh_token", "refresh token"), ("code", "authorization code"), ("code_verifier", "PKCE verifier")];
        self.secrets.add_parameters(&body, &names);
        let basic = request.headers().get(header::AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned());
        if let Some(basic) = &basic {
            self.secrets.add("client secret, as Basic", basic.trim_start_matches("Basic "));
        }
        let echo = self.echo.load(Relaxed);
        if echo != 0 {
            return Ok(echoed(echo, &body, basic.as_deref()));
        }
        let answer = self.client.send(request).await?;
        if let Ok(Value::Object(fields)) = serde_json::from_slice(answer.body()) {
            for (name, what) in [("access_token", "access token"), ("refresh_token", "refresh token")] {
                if let Some(Value::String(token)) = fields.get(name) {
                    self.secrets.add(what, token);
                }
            }
        }
        Ok(answer)
    }
}

/// An error in UPS's shape that says everything it was told.
fn echoed(status: u16, body: &str, basic: Option<&str>) -> Response<Vec<u8>> {
    let decoded: Vec<_> =
        form_urlencoded::parse(body.as_bytes()).map(|(name, value)| format!("{name}={value}")).collect();
    let errors: Vec<_> = [decoded.join(" "), body.to_owned(), basic.unwrap_or_default().to_owned()]
        .into_iter()
        .map(|said| json!({"code": said, "message": format!("No: {said} {said}")}))
        .collect();
    let at = usize::from(status) % errors.len();
    // Only the first error is kept as evidence; let each be it for some status.
    let errors: Vec<_> = errors[at..].iter().chain(&errors[..at]).cloned().collect();
    let mut answer = Response::new(json!({"response": {"errors": errors}}).to_string().into_bytes());
    *answer.status_mut() = status.try_into().unwrap();
    answer
}
