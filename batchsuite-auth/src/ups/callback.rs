//! The strict parser of the callback query (RFC 6749 §4.1.2).

use super::echo;
use crate::{
    error::MalformedCallback,
    secret::{AuthorizationCode, SecretHash},
};

/// The longest query that is parsed, in bytes.
const LONGEST_QUERY: usize = 16 * 1024;
/// The longest code, in bytes.
const LONGEST_CODE: usize = 4 * 1024;

/// A parsed callback; from here on, the state is known only by its hash.
#[derive(Debug)]
pub(crate) struct Returned {
    pub(crate) state: SecretHash,
    pub(crate) response: AuthorizationResponse,
}

/// UPS's response in the callback (RFC 6749 §4.1.2).
#[derive(Debug)]
pub(crate) enum AuthorizationResponse {
    /// The person agreed.
    Code(AuthorizationCode),
    /// The person declined (`access_denied`).
    Denied,
    /// Another error, by its name; secrets are cut out.
    Error(String),
    /// A code and an error: the consent ends, and nothing is sent.
    CodeAndError,
}

/// Parses the raw query and ignores unknown parameters. `issuer` is the only issuer that `iss` may name (RFC 9207).
pub(crate) fn parse(query: &str, issuer: &str) -> Result<Returned, MalformedCallback> {
    if query.len() > LONGEST_QUERY {
        return Err(MalformedCallback::TooLong);
    }
    let mut parameters = Parameters::default();
    for pair in query.strip_prefix('?').unwrap_or(query).split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decoded(name)?, decoded(value)?);
        let known = match name.as_str() {
            "code" => &mut parameters.code,
            "state" => &mut parameters.state,
            "error" => &mut parameters.error,
            "iss" => &mut parameters.issuer,
            _ => continue,
        };
        if known.replace(value).is_some() {
            return Err(MalformedCallback::Repeated);
        }
    }
    parameters.judged(issuer)
}

#[derive(Default)]
struct Parameters {
    code: Option<String>,
    state: Option<String>,
    error: Option<String>,
    issuer: Option<String>,
}

impl Parameters {
    fn judged(self, issuer: &str) -> Result<Returned, MalformedCallback> {
        if self.issuer.is_some_and(|named| named != issuer) {
            return Err(MalformedCallback::WrongIssuer);
        }
        let state = self.state.filter(|state| !state.is_empty()).ok_or(MalformedCallback::NoState)?;
        let response = match (self.code, self.error) {
            (Some(_), Some(_)) => AuthorizationResponse::CodeAndError,
            (Some(code), None) if code.is_empty() => return Err(MalformedCallback::NoCode),
            (Some(code), None) if !is_code(&code) => return Err(MalformedCallback::InvalidCode),
            (Some(code), None) => AuthorizationResponse::Code(AuthorizationCode::new(code)),
            (None, Some(error)) if error == "access_denied" => AuthorizationResponse::Denied,
            // Anyone can craft this parameter, and it is stored and shown, so secrets are cut out of it.
            (None, Some(error)) => AuthorizationResponse::Error(echo::cut(&error, &[&state])),
            (None, None) => return Err(MalformedCallback::NoCode),
        };
        Ok(Returned { state: SecretHash::of(&state), response })
    }
}

/// RFC 6749 §A.11: visible ASCII and space.
fn is_code(code: &str) -> bool {
    code.len() <= LONGEST_CODE && code.bytes().all(|byte| (0x20..=0x7e).contains(&byte))
}

/// Form-decodes strictly: refuses what lenient parsers replace.
fn decoded(text: &str) -> Result<String, MalformedCallback> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || {
                    let digit = rest.next().and_then(|byte| char::from(byte).to_digit(16));
                    digit.and_then(|digit| u8::try_from(digit).ok()).ok_or(MalformedCallback::Encoding)
                };
                digit()? << 4 | digit()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| MalformedCallback::Encoding)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISSUER: &str = "https://wwwcie.ups.com";

    fn refused(query: &str) -> MalformedCallback {
        parse(query, ISSUER).expect_err(query)
    }

    fn code(query: &str) -> String {
        match parse(query, ISSUER).expect(query).response {
            AuthorizationResponse::Code(code) => code.expose_secret().to_owned(),
            other => panic!("{query}: {other:?}"),
        }
    }

    #[test]
    fn what_is_not_a_return_from_ups_is_refused_and_says_why() {
        use MalformedCallback::*;

        let long_code = format!("state=s&code={}", "c".repeat(4097));
        let long_query = format!("state=s&code=c&x={}", "x".repeat(16 * 1024));
        for (query, reason) in [
            ("code=a&code=b&state=s", Repeated),
            ("code=a&state=s&state=s", Repeated),
            ("error=a&error=b&state=s", Repeated),
            ("code=a", NoState),
            ("code=a&state=", NoState),
            ("state=s", NoCode),
            ("state=s&code=", NoCode),
            ("", NoState),
            (&long_code, InvalidCode),
            (&long_query, TooLong),
            ("state=s&code=%FF", Encoding),
            ("state=%FF&code=c", Encoding),
            ("state=s&code=c&other=%FF", Encoding),
            ("state=s&code=%4", Encoding),
            ("state=s&code=%zz", Encoding),
            ("state=s&code=a%0Db", InvalidCode),
            ("state=s&code=a%0Ab", InvalidCode),
            ("state=s&code=%C3%A9", InvalidCode),
            ("state=s&code=c&iss=https%3A%2F%2Fevil.example", WrongIssuer),
        ] {
            assert_eq!(refused(query), reason, "{query}");
        }
    }

    #[test]
    fn a_code_is_decoded_once_and_keeps_its_equals_signs() {
        for (query, expected) in [
            ("state=s&code=a%2Bb", "a+b"),
            ("state=s&code=a%252Bb", "a%2Bb"),
            ("state=s&code=abc==", "abc=="),
            ("?code=abc&scope=read&state=s", "abc"),
            ("state=s&code=c&session_state=x&scope=read&unknown", "c"),
            ("state=s&code=c&iss=https%3A%2F%2Fwwwcie.ups.com", "c"),
            (&format!("{:x<16384}", "state=s&code=c&x="), "c"),
        ] {
            assert_eq!(code(query), expected, "{query}");
        }
    }

    #[test]
    fn an_error_is_a_denial_or_another() {
        let response = |query| parse(query, ISSUER).unwrap().response;

        assert!(matches!(response("state=s&error=access_denied"), AuthorizationResponse::Denied));
        assert!(matches!(
            response("state=s&error=server_error&error_description=%3Cb%3E"),
            AuthorizationResponse::Error(_)
        ));
        assert!(matches!(response("state=s&code=c&error=access_denied"), AuthorizationResponse::CodeAndError));
    }

    #[test]
    fn an_error_shows_no_state_and_no_token() {
        let state = "c3RhdGUtb2YtYS1jb25zZW50";
        for echoed in [state, &state[..14], "c3RhdGUt%2520b2YtYS1jb25z", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b"] {
            let query = format!("state={state}&error=server_error:{echoed}");
            let AuthorizationResponse::Error(name) = parse(&query, ISSUER).unwrap().response else {
                panic!("{echoed}")
            };
            assert_eq!(name, "server_error:[…]", "{echoed}");
        }
    }

    #[test]
    fn the_state_is_told_apart_by_every_character_and_by_case() {
        let state = |query| parse(query, ISSUER).unwrap().state;

        assert_eq!(state("state=abc&code=c"), SecretHash::of("abc"));
        assert_ne!(state("state=abC&code=c"), SecretHash::of("abc"));
        assert_ne!(state("state=abcd&code=c"), SecretHash::of("abc"));
    }
}
