//! A token endpoint on loopback, for peers that must fetch a token before they can cache it.

use batchsuite_benches::companies;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Starts the endpoint and returns its URL. It serves until the runtime ends.
pub(crate) async fn start() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port on loopback");
    let address = listener.local_addr().expect("the listener is bound");
    let answer = async || axum::Json(tokens());
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(answer)).await });
    format!("http://{address}/token")
}

/// An answer with a fresh pair. The access token is as long as ours.
pub(crate) fn tokens() -> Value {
    let lifetime = companies::ACCESS_LIFETIME.as_secs();
    json!({
        "access_token": companies::text(),
        "refresh_token": companies::text(),
        "token_type": "Bearer",
        "expires_in": lifetime,
        "ext_expires_in": lifetime,
    })
}
