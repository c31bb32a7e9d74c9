//! The fake's tokens, in the recorded formats. They carry their own state under a keyed digest, so nothing is stored
//! per token: a million rotations change only one number in the grant.

use std::sync::atomic::{AtomicU64, Ordering};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest, Sha256, Sha512};
use uuid::Uuid;

use super::{letters, rs384};
use crate::random;

/// Issues and reads tokens. Another signer's tokens are rejected, although all signers share the test key for access
/// tokens.
pub(super) struct TokenSigner {
    key: [u8; 32],
    serial: AtomicU64,
    signed: bool,
}

/// The grant and rotation of a refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RefreshClaims {
    pub(super) grant: u64,
    pub(super) rotation: u64,
}

/// The input for an access token.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewAccessToken<'a> {
    pub(super) user: &'a str,
    pub(super) user_id: Uuid,
    pub(super) client_id: &'a str,
    pub(super) application_name: &'a str,
    pub(super) grant: u64,
    /// Numbers all access tokens of this signer: it makes each token unique and orders them by age.
    pub(super) serial: u64,
    /// In milliseconds since 1970.
    pub(super) issued_at: i64,
    /// In seconds.
    pub(super) lifetime: i64,
}

/// The content of an access token for its signer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AccessClaims {
    pub(super) grant: u64,
    pub(super) serial: u64,
    /// In milliseconds since 1970: the issue time plus `expires_in`, a second before `exp`.
    pub(super) expires_at: i64,
}

/// The recorded claims, in the recorded order (names as in RFC 7519 §4.1; times in seconds since 1970).
#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    clientid: &'a str,
    iss: &'a str,
    #[serde(serialize_with = "text")]
    uuid: Uuid,
    sid: &'a str,
    aud: &'a str,
    at: &'a str,
    nbf: i64,
    #[serde(rename = "DisplayName")]
    display_name: &'a str,
    exp: i64,
    iat: i64,
    #[serde(serialize_with = "text")]
    jti: Uuid,
}

fn text<S: Serializer>(uuid: &Uuid, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(uuid)
}

/// The claims that the signer reads back.
#[derive(Deserialize)]
struct ReadClaims<'a> {
    at: &'a str,
    exp: i64,
    iat: i64,
    jti: &'a str,
}

const ISSUER: &str = "https://apis.ups.com";

/// The claims' length in bytes that makes a token as long as the recorded one, 1,316 characters.
const CLAIMS: usize = 401;

/// The minimum length of the claim `at`. What UPS puts there is unknown; here it holds a digest and pads the claims.
const AT: usize = 32;
const NO_AT: &[u8] = br#""at":"""#;

/// The character that [`Edit::pad`](super::Edit::pad) appends; the token stays valid.
const PADDING: char = 'A';

/// The size of a grant's number. With a serial number of 52 bits and the milliseconds of the issue it fits into one
/// UUID.
pub(super) const GRANT_BITS: u32 = 60;

impl TokenSigner {
    /// A signer that signs access tokens, or puts a keyed digest in place of the signature.
    pub(super) fn new(signed: bool) -> Self {
        let mut key = [0; 32];
        random::fill(&mut key);
        Self { key, serial: AtomicU64::new(0), signed }
    }

    /// The next access token's number.
    pub(super) fn next_serial(&self) -> u64 {
        self.serial.fetch_add(1, Ordering::Relaxed)
    }

    /// 164 characters: base64 of 32 alphanumerics, `-`, and base64 of 64 bytes. A rotation changes only the 32.
    pub(super) fn refresh_token(&self, claims: RefreshClaims) -> String {
        let (blob, mask) = self.grant_blob(claims.grant);
        let mut text = [0; 121];
        text[..32].copy_from_slice(&self.rotation_part(claims, mask));
        text[32] = b'-';
        let _ = STANDARD.encode_slice(blob, &mut text[33..]);
        STANDARD.encode(text)
    }

    pub(super) fn read_refresh_token(&self, token: &str) -> Option<RefreshClaims> {
        let mut text = [0; 123];
        if STANDARD.decode_slice(token, &mut text).ok()? != 121 || text[32] != b'-' {
            return None;
        }
        let mut blob = [0; 66];
        if STANDARD.decode_slice(&text[33..121], &mut blob).ok()? != 64 {
            return None;
        }
        let grant = blob[..8].iter().fold(0, |all, byte| all << 8 | u64::from(*byte));
        let (expected, mask) = self.grant_blob(grant);
        let claims = RefreshClaims { grant, rotation: letters::number(&text[..11])? ^ mask };
        (blob[..64] == expected && text[..32] == self.rotation_part(claims, mask)).then_some(claims)
    }

    /// The constant part of a grant's refresh tokens, and the mask that hides the rotation number.
    fn grant_blob(&self, grant: u64) -> ([u8; 64], u64) {
        let digest = Sha512::new().chain_update(self.key).chain_update(grant.to_be_bytes()).finalize();
        let mut blob = [0; 64];
        blob[..8].copy_from_slice(&grant.to_be_bytes());
        blob[8..].copy_from_slice(&digest[..56]);
        (blob, digest[56..].iter().fold(0, |all, byte| all << 8 | u64::from(*byte)))
    }

    /// The rotation in eleven letters, followed by a digest of it.
    fn rotation_part(&self, claims: RefreshClaims, mask: u64) -> [u8; 32] {
        let mut part = [0; 32];
        let mut rest = claims.rotation ^ mask;
        for letter in &mut part[..11] {
            *letter = letters::ALL[(rest % 62) as usize];
            rest /= 62;
        }
        let mut message = [0; 16];
        message[..8].copy_from_slice(&claims.grant.to_be_bytes());
        message[8..].copy_from_slice(&claims.rotation.to_be_bytes());
        part[11..].copy_from_slice(&letters::of_digest(&self.digest(&message))[..21]);
        part
    }

    /// A JWT of 1,316 characters (longer if the names in it are long) with the recorded header and claims; `exp` is a
    /// second after `expires_in`.
    pub(super) fn access_token(&self, new: &NewAccessToken<'_>) -> String {
        let jti = token_id(new.grant, new.serial, new.issued_at.rem_euclid(1000));
        let own_claim = self.own_claim(jti);
        let iat = new.issued_at.div_euclid(1000);
        let claims = Claims {
            sub: new.user,
            clientid: new.client_id,
            iss: ISSUER,
            uuid: new.user_id,
            sid: rs384::KEY_ID,
            aud: new.application_name,
            at: "",
            nbf: iat,
            display_name: new.application_name,
            exp: iat.saturating_add(new.lifetime).saturating_add(1),
            iat,
            jti,
        };
        let header = format!(r#"{{"kid":"{}","typ":"JWT","alg":"RS384"}}"#, rs384::KEY_ID);
        let mut token = String::with_capacity(1400);
        URL_SAFE_NO_PAD.encode_string(header, &mut token);
        token.push('.');
        let mut claims = serde_json::to_vec(&claims).unwrap_or_default();
        // A quotation mark in a name would be escaped, so this match is the claim.
        if let Some(before) = claims.windows(NO_AT.len()).position(|window| window == NO_AT) {
            let length = CLAIMS.saturating_sub(claims.len()).max(AT);
            let at = before + NO_AT.len() - 1;
            claims.splice(at..at, own_claim.into_iter().cycle().take(length));
        }
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature = self.signature(&token);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        token
    }

    pub(super) fn read_access_token(&self, token: &str) -> Option<AccessClaims> {
        let token = match token.rsplit_once('.') {
            Some((rest, padding)) if rest.matches('.').count() == 2 && padding.chars().all(|c| c == PADDING) => rest,
            _ => token,
        };
        let (signed, signature) = token.rsplit_once('.')?;
        let claims = URL_SAFE_NO_PAD.decode(signed.split_once('.')?.1).ok()?;
        let ReadClaims { at, exp, iat, jti } = serde_json::from_slice(&claims).ok()?;
        let jti = Uuid::try_parse(jti).ok()?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        if at.as_bytes().get(..AT) != Some(&self.own_claim(jti)) || signature != self.signature(signed) {
            return None;
        }
        let (grant, serial, milliseconds) = read_token_id(jti);
        Some(AccessClaims { grant, serial, expires_at: (exp - 1).saturating_mul(1000).saturating_add(milliseconds) })
            .filter(|_| iat < exp)
    }

    /// The claim by which a signer recognizes its own tokens, since the test key is shared.
    fn own_claim(&self, jti: Uuid) -> [u8; AT] {
        letters::of_digest(&self.digest(jti.as_bytes()))
    }

    fn signature(&self, signed: &str) -> [u8; rs384::SIGNATURE] {
        if self.signed {
            return rs384::sign(signed.as_bytes());
        }
        let digest = self.digest(signed.as_bytes());
        std::array::from_fn(|index| digest[index % digest.len()])
    }

    fn digest(&self, message: &[u8]) -> [u8; 32] {
        Sha256::new().chain_update(self.key).chain_update(message).finalize().into()
    }
}

/// A version 4 UUID that identifies the token.
fn token_id(grant: u64, serial: u64, milliseconds: i64) -> Uuid {
    let high = (grant >> 12) << 16 | 0x4000 | grant & 0xfff;
    let low = 0b10 << 62 | (serial & ((1 << 52) - 1)) << 10 | milliseconds.unsigned_abs() & 0x3ff;
    Uuid::from_u64_pair(high, low)
}

fn read_token_id(id: Uuid) -> (u64, u64, i64) {
    let (high, low) = id.as_u64_pair();
    let milliseconds = i64::try_from(low & 0x3ff).unwrap_or_default();
    ((high >> 16) << 12 | high & 0xfff, low << 2 >> 12, milliseconds)
}

/// The same id for the same user, in every fake.
pub(super) fn user_id(user: &str) -> Uuid {
    let digest: [u8; 32] = Sha256::digest(user.to_lowercase()).into();
    let (first, _) = digest.split_at(16);
    uuid::Builder::from_random_bytes(first.try_into().unwrap_or_default()).into_uuid()
}

/// Pads `token` to `length` characters (never cuts it); an access token stays valid.
pub(super) fn pad(token: &str, length: usize) -> String {
    let mut padded = token.to_owned();
    if padded.len() < length {
        padded.push('.');
        padded.extend(std::iter::repeat_n(PADDING, length - padded.len()));
    }
    padded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(serial: u64) -> NewAccessToken<'static> {
        NewAccessToken {
            user: "demo@example.com",
            user_id: user_id("demo@example.com"),
            client_id: "fake-ups-client",
            application_name: "Batch Suite",
            grant: (1 << GRANT_BITS) - 5,
            serial,
            issued_at: 1_706_710_138_962,
            lifetime: 14_399,
        }
    }

    #[test]
    fn tokens_say_what_they_were_made_for() {
        for signer in [TokenSigner::new(true), TokenSigner::new(false)] {
            for rotation in [0, 3, u64::MAX] {
                let refresh = RefreshClaims { grant: u64::MAX - 5, rotation };
                assert_eq!(signer.read_refresh_token(&signer.refresh_token(refresh)), Some(refresh));
            }
            let access =
                AccessClaims { grant: (1 << GRANT_BITS) - 5, serial: 77, expires_at: 1_706_710_138_962 + 14_399_000 };
            assert_eq!(signer.read_access_token(&signer.access_token(&new(77))), Some(access));
        }
    }

    #[test]
    fn a_token_that_was_changed_or_is_another_signers_does_not_pass() {
        let signer = TokenSigner::new(true);
        let refresh = signer.refresh_token(RefreshClaims { grant: 1, rotation: 1 });
        let access = signer.access_token(&new(1));

        let altered = |token: &str, at: usize| {
            let (first, rest) = token.split_at(at);
            format!("{first}{}{}", if rest.starts_with('x') { 'y' } else { 'x' }, &rest[1..])
        };
        for at in [0, 10, 40, 44, 60, 100, 160] {
            assert_eq!(signer.read_refresh_token(&altered(&refresh, at)), None, "{at}");
        }
        for at in [0, 95, 200, 500, 700, access.len() - 2] {
            assert_eq!(signer.read_access_token(&altered(&access, at)), None, "{at}");
        }
        assert_eq!(TokenSigner::new(true).read_refresh_token(&refresh), None);
        assert_eq!(TokenSigner::new(true).read_access_token(&access), None);
        for rubbish in ["", ".", "..", "...", "a.b.c", "é", &"A".repeat(164), &"A".repeat(10_000)] {
            assert_eq!(signer.read_refresh_token(rubbish), None, "{rubbish:.20}");
            assert_eq!(signer.read_access_token(rubbish), None, "{rubbish:.20}");
        }
    }

    #[test]
    fn a_padded_access_token_is_long_and_still_valid() {
        let signer = TokenSigner::new(true);

        let padded = pad(&signer.access_token(&new(1)), 16 * 1024);

        assert_eq!(padded.len(), 16 * 1024);
        assert!(signer.read_access_token(&padded).is_some());
        assert_eq!(signer.read_access_token(&format!("{padded}B")), None);
    }

    #[test]
    fn an_access_token_is_as_long_as_the_recorded_one() {
        let with_another_name = NewAccessToken { user: "\"at\":\"\"", application_name: "Ä & Ö", ..new(1) };
        for new in [new(1), with_another_name] {
            assert_eq!(TokenSigner::new(true).access_token(&new).len(), 1_316);
        }
    }

    #[test]
    fn the_first_half_of_a_refresh_token_changes_and_the_second_stays() {
        let signer = TokenSigner::new(true);
        let [first, second] = [1, 2].map(|rotation| signer.refresh_token(RefreshClaims { grant: 5, rotation }));

        let [first, second] = [first, second].map(|token| String::from_utf8(STANDARD.decode(token).unwrap()).unwrap());

        assert_ne!(first[..32], second[..32]);
        assert_eq!(first[32..], second[32..]);
    }
}
