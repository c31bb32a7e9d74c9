//! Shows that the search finds secrets.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use batchsuite_tests::Secrets;
use url::form_urlencoded;

#[test]
fn a_secret_is_found_however_it_is_written() {
    let secrets = Secrets::default();
    let secret = "kanarienvogel+gelb/42=%";
    secrets.add("canary", secret);
    let percent: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    for shown in [
        secret.to_owned(),
        format!("a message that ends with {}", &secret[..18]),
        percent,
        STANDARD_NO_PAD.encode(secret),
        STANDARD_NO_PAD.encode(format!("client:{secret}")),
        URL_SAFE_NO_PAD.encode(format!("Basic client:{secret}!")),
        format!("{:?}", secret.as_bytes()),
        format!("{:#?}", secret.as_bytes()).replace("    ", ""),
    ] {
        assert!(!secrets.seen_in(&format!("a line\n{shown}\n")).is_empty(), "{shown}");
    }
    assert!(secrets.seen_in("canary, Kanarienvogel").is_empty());
}

#[test]
fn a_token_that_is_logged_is_found() {
    let log = batchsuite_tests::log::Log::captured();
    let secrets = Secrets::default();
    let secret = format!("logged-on-purpose-{:x}", rand::random::<u64>());
    secrets.add("canary", &secret);

    tracing::trace!(token = %secret, "this is what must not happen");

    assert!(!secrets.seen_in(&log.text()).is_empty());
}
