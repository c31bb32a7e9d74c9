//! The query of a callback from UPS.

use batchsuite_auth::{
    error::MalformedCallback,
    secret::SecretHash,
    test_util::ups::{Callback, CallbackResponse, callback},
};
use url::form_urlencoded;

use crate::input::{shows, texts};

const ISSUER: &str = "https://wwwcie.ups.com";
const LONGEST_QUERY: usize = 16 * 1024;
const LONGEST_CODE: usize = 4 * 1024;
/// The known parameters.
const NAMES: [&str; 4] = ["code", "state", "error", "iss"];

/// Input: a query.
///
/// - A query of more than 16 KiB, and no other, is reported as too long.
/// - An accepted code is visible ASCII of at most 4 KiB.
/// - `Debug` shows no code and no state, and the name of an error contains no twelve characters of the state.
/// - A leading question mark, an empty parameter or an unknown parameter changes nothing. A second occurrence of a
///   known parameter is refused.
pub fn callback_query(data: &[u8]) {
    let Ok(query) = std::str::from_utf8(data) else { return };
    let result = callback(query, ISSUER);
    assert_eq!(query.len() > LONGEST_QUERY, matches!(result, Err(MalformedCallback::TooLong)), "{result:?}");
    if let Ok(returned) = &result {
        is_sane(query, returned);
    }
    if query.len() > LONGEST_QUERY - 16 {
        return;
    }
    let bare = query.strip_prefix('?').unwrap_or(query);
    for same in
        [format!("?{bare}"), format!("?&{bare}"), format!("?{bare}&"), format!("?{bare}&x=%41"), format!("?x&{bare}")]
    {
        assert_eq!(told(&callback(&same, ISSUER)), told(&result), "{same:?}");
    }
    if result.is_ok() {
        for name in read(query).into_iter().map(|(name, _)| name).filter(|name| NAMES.contains(&name.as_str())) {
            let twice = callback(&format!("?{bare}&{name}=x"), ISSUER);
            assert!(matches!(twice, Err(MalformedCallback::Repeated)), "{name} twice: {twice:?}");
        }
    }
}

fn is_sane(query: &str, returned: &Callback) {
    let shown = format!("{returned:?}");
    let state = value(query, "state").unwrap_or_default();
    match &returned.response {
        CallbackResponse::Code(code) => {
            let code = code.expose_secret();
            assert!((1..=LONGEST_CODE).contains(&code.len()) && code.bytes().all(|byte| (0x20..0x7f).contains(&byte)));
            assert!(code.len() < 12 || !shows(&shown, code, code.len()), "Debug shows the code");
        }
        CallbackResponse::Error(name) => {
            assert!(!name.is_empty() || value(query, "error").is_some_and(|error| error.is_empty()), "a name");
            // Blanks and control characters do not count.
            let visible =
                |text: &str| text.chars().filter(|c| !c.is_whitespace() && !c.is_control()).collect::<String>();
            let (name, state) = (visible(name).to_ascii_lowercase(), visible(&state).to_ascii_lowercase());
            assert!(state.len() < 12 || !shows(&name, &state, 12), "an error shows the state");
        }
        CallbackResponse::Denied | CallbackResponse::CodeAndError => {}
    }
}

/// Input: a query; after separators, a state and a code.
///
/// - `form_urlencoded` agrees with every accepted query: each of the four parameters occurs at most once, with the same
///   value; the state is present and not empty; the issuer is UPS.
/// - No query is accepted in which `form_urlencoded` had to insert a replacement character.
/// - A query that `form_urlencoded` writes from a valid state and code is accepted and read back.
pub fn callback_against_form_urlencoded(data: &[u8]) {
    let Some([query, state, code]) = texts::<3>(data) else { return };
    if let Ok(returned) = callback(query, ISSUER) {
        agrees(query, &returned);
    }
    let written =
        form_urlencoded::Serializer::new(String::new()).append_pair("state", state).append_pair("code", code).finish();
    let is_valid = !state.is_empty()
        && (1..=LONGEST_CODE).contains(&code.len())
        && code.bytes().all(|byte| (0x20..0x7f).contains(&byte))
        && written.len() <= LONGEST_QUERY;
    match callback(&written, ISSUER) {
        Ok(returned) => {
            assert!(is_valid, "{written:?} is accepted");
            assert_eq!(returned.state, SecretHash::of(state));
            let CallbackResponse::Code(read) = returned.response else { panic!("{written:?} yields no code") };
            assert_eq!(read.expose_secret(), code);
        }
        Err(error) => assert!(!is_valid, "{written:?}: {error}"),
    }
}

fn agrees(query: &str, returned: &Callback) {
    let read = read(query);
    for name in NAMES {
        assert!(read.iter().filter(|(known, _)| known == name).count() <= 1, "{name} occurs twice");
    }
    // Replacement characters written by the sender do not count.
    let replaced: usize =
        read.iter().flat_map(|(name, value)| [name, value]).map(|text| text.matches('\u{fffd}').count()).sum();
    let bytes: Vec<u8> = percent_encoding::percent_decode(query.as_bytes()).collect();
    let written = bytes.windows(3).filter(|bytes| bytes == b"\xef\xbf\xbd").count();
    assert_eq!(replaced, written, "an encoding was repaired");
    let state = value(query, "state").filter(|state| !state.is_empty()).unwrap_or_else(|| panic!("no state"));
    assert_eq!(returned.state, SecretHash::of(&state), "the state is read differently");
    assert!(value(query, "iss").is_none_or(|issuer| issuer == ISSUER), "the issuer differs");
    let (code, error) = (value(query, "code"), value(query, "error"));
    match &returned.response {
        CallbackResponse::Code(read) => {
            assert_eq!((code.as_deref(), error), (Some(read.expose_secret()), None), "the code is read differently");
        }
        CallbackResponse::Denied => assert_eq!((code, error.as_deref()), (None, Some("access_denied"))),
        CallbackResponse::Error(_) => assert!(code.is_none() && error.is_some_and(|error| error != "access_denied")),
        CallbackResponse::CodeAndError => assert!(code.is_some() && error.is_some()),
    }
}

/// The query as `form_urlencoded` reads it.
fn read(query: &str) -> Vec<(String, String)> {
    form_urlencoded::parse(query.strip_prefix('?').unwrap_or(query).as_bytes()).into_owned().collect()
}

fn value(query: &str, name: &str) -> Option<String> {
    read(query).into_iter().find(|(known, _)| known == name).map(|(_, value)| value)
}

/// A result in a form that can be compared.
fn told(result: &Result<Callback, MalformedCallback>) -> Result<(SecretHash, String), MalformedCallback> {
    let returned = result.as_ref().map_err(|error| *error)?;
    let response = match &returned.response {
        CallbackResponse::Code(code) => format!("code {}", code.expose_secret()),
        other => format!("{other:?}"),
    };
    Ok((returned.state, response))
}
