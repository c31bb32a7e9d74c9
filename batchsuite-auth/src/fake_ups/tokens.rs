//! The fake's tokens. They carry what they stand for under a keyed digest, so that nothing has to be remembered for a
//! token: a million rotations leave no trace but one number in the grant.

use std::sync::atomic::{AtomicU64, Ordering};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use rand::Rng as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Makes and reads tokens. Another mint's tokens do not pass.
pub(super) struct Mint {
    key: [u8; 32],
    serial: AtomicU64,
}

/// Which rotation of which grant a refresh token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RefreshClaims {
    pub(super) grant: u64,
    pub(super) rotation: u64,
}

/// What an access token says, in JWT's terms (RFC 7519 section 4.1); times in seconds since 1970.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct AccessClaims {
    pub(super) client_id: String,
    pub(super) grant: u64,
    pub(super) rotation: u64,
    /// Counts all access tokens of this mint; it makes each one different, and tells older from newer.
    #[serde(rename = "jti")]
    pub(super) serial: u64,
    pub(super) iat: i64,
    pub(super) exp: i64,
}

/// `{"alg":"HS256","typ":"JWT"}`
const JWT_HEADER: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";

/// The part that [`Edit::pad`](super::Edit::pad) appends; the rest of the token stays valid.
const PADDING: char = 'A';

impl Mint {
    pub(super) fn new() -> Self {
        let mut key = [0; 32];
        rand::rng().fill_bytes(&mut key);
        Self { key, serial: AtomicU64::new(0) }
    }

    /// The number for the next access token.
    pub(super) fn next_serial(&self) -> u64 {
        self.serial.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn refresh_token(&self, claims: RefreshClaims) -> String {
        let mut token = [0; 48];
        token[..8].copy_from_slice(&claims.grant.to_be_bytes());
        token[8..16].copy_from_slice(&claims.rotation.to_be_bytes());
        let digest = self.digest(&token[..16]);
        token[16..].copy_from_slice(&digest);
        URL_SAFE_NO_PAD.encode(token)
    }

    pub(super) fn read_refresh_token(&self, token: &str) -> Option<RefreshClaims> {
        let mut bytes = [0; 48];
        let length = URL_SAFE_NO_PAD.decode_slice(token, &mut bytes).ok()?;
        if length != bytes.len() || bytes[16..] != self.digest(&bytes[..16]) {
            return None;
        }
        let number =
            |range: std::ops::Range<usize>| bytes[range].iter().fold(0, |all, byte| all << 8 | u64::from(*byte));
        Some(RefreshClaims { grant: number(0..8), rotation: number(8..16) })
    }

    pub(super) fn access_token(&self, claims: &AccessClaims) -> String {
        let mut token = String::with_capacity(320);
        token.push_str(JWT_HEADER);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(serde_json::to_vec(claims).unwrap_or_default(), &mut token);
        let digest = self.digest(token.as_bytes());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(digest, &mut token);
        token
    }

    pub(super) fn read_access_token(&self, token: &str) -> Option<AccessClaims> {
        let token = match token.rsplit_once('.') {
            Some((rest, padding)) if rest.matches('.').count() == 2 && padding.chars().all(|c| c == PADDING) => rest,
            _ => token,
        };
        let (signed, signature) = token.rsplit_once('.')?;
        if URL_SAFE_NO_PAD.decode(signature).ok()? != self.digest(signed.as_bytes()) {
            return None;
        }
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(signed.split_once('.')?.1).ok()?).ok()
    }

    fn digest(&self, message: &[u8]) -> [u8; 32] {
        Sha256::new().chain_update(self.key).chain_update(message).finalize().into()
    }
}

/// `token` made `length` characters long (it is never cut); an access token stays valid.
pub(super) fn pad(token: &str, length: usize) -> String {
    let mut padded = token.to_owned();
    if padded.len() < length {
        padded.push('.');
        padded.extend(std::iter::repeat_n(PADDING, length - padded.len()));
    }
    padded
}

/// An authorization code in the shape of a recorded one: 132 characters of base64 that end in `==`. Its number is the key under
/// which it is kept.
pub(super) fn authorization_code() -> (u64, String) {
    let mut bytes = [0; 97];
    rand::rng().fill_bytes(&mut bytes);
    let code = STANDARD.encode(bytes);
    (code_number(&code).unwrap_or_default(), code)
}

/// The number of a code; `None` for what cannot be one.
pub(super) fn code_number(code: &str) -> Option<u64> {
    let bytes = STANDARD.decode(code.get(..12)?).ok()?;
    Some(bytes.iter().take(8).fold(0, |all, byte| all << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(serial: u64) -> AccessClaims {
        AccessClaims { client_id: "client".into(), grant: 7, rotation: 2, serial, iat: 100, exp: 3700 }
    }

    #[test]
    fn tokens_say_what_they_were_made_for() {
        let mint = Mint::new();
        let refresh = RefreshClaims { grant: u64::MAX - 5, rotation: 3 };

        assert_eq!(mint.read_refresh_token(&mint.refresh_token(refresh)), Some(refresh));
        assert_eq!(mint.read_access_token(&mint.access_token(&claims(1))), Some(claims(1)));
    }

    #[test]
    fn a_token_that_was_changed_or_is_another_mints_does_not_pass() {
        let mint = Mint::new();
        let refresh = mint.refresh_token(RefreshClaims { grant: 1, rotation: 1 });
        let access = mint.access_token(&claims(1));

        let altered = |token: &str| {
            let (first, rest) = token.split_at(token.len() / 2);
            format!("{first}{}{}", if rest.starts_with('x') { 'y' } else { 'x' }, &rest[1..])
        };
        assert_eq!(mint.read_refresh_token(&altered(&refresh)), None);
        assert_eq!(mint.read_access_token(&altered(&access)), None);
        assert_eq!(Mint::new().read_refresh_token(&refresh), None);
        assert_eq!(Mint::new().read_access_token(&access), None);
        for rubbish in ["", ".", "..", "...", "a.b.c", "é", &"A".repeat(64), &"A".repeat(10_000)] {
            assert_eq!(mint.read_refresh_token(rubbish), None, "{rubbish:.20}");
            assert_eq!(mint.read_access_token(rubbish), None, "{rubbish:.20}");
        }
    }

    #[test]
    fn a_padded_access_token_is_long_and_still_valid() {
        let mint = Mint::new();

        let padded = pad(&mint.access_token(&claims(1)), 16 * 1024);

        assert_eq!(padded.len(), 16 * 1024);
        assert_eq!(mint.read_access_token(&padded), Some(claims(1)));
        assert_eq!(mint.read_access_token(&format!("{padded}B")), None);
    }

    #[test]
    fn a_code_has_132_characters_and_ends_in_two_equals_signs() {
        let (number, code) = authorization_code();

        assert_eq!(code.len(), 132);
        assert!(code.ends_with("=="));
        assert_eq!(code_number(&code), Some(number));
        assert_eq!(code_number("é".repeat(10).as_str()), None);
    }
}
