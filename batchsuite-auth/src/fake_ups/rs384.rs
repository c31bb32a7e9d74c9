//! RS384 (RFC 7518 §3.3) under a test key, for clients that verify access tokens.
//!
//! **The key is a test key and is worthless.** It is published here, and its 4,096 bits are the product of 64 primes of
//! 64 bits (multi-prime RSA, RFC 8017 §3). It can be factored in minutes, and signing takes microseconds where a real
//! key takes milliseconds. Verification is the same as with any other RSA key.

use std::sync::OnceLock;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use sha2::{Digest, Sha384};

/// The key's id: `kid` in a token's header, which UPS repeats as the claim `sid`.
pub(super) const KEY_ID: &str = "7e57ab1e-0000-4000-8000-00007e570001";

const EXPONENT: u64 = 65_537;
const LIMBS: usize = 64;
/// The length of a signature in bytes.
pub(super) const SIGNATURE: usize = LIMBS * 8;

/// Test key: worthless.
#[rustfmt::skip]
const PRIMES: [u64; LIMBS] = [
    0xff9e779eb42e3679, 0xff9614c0952dfffd, 0xff0f240a98ef88fd, 0xffc9241993cdd401,
    0xfe1ff553d0494573, 0xffdb6e01b733ee8b, 0xffd472546ed17f0d, 0xff438d00cd595a8d,
    0xffcc196045813291, 0xff8775d3a956e713, 0xfe71575767a0c493, 0xff123ab9dd115517,
    0xffa9eee41836d017, 0xff2e67f8906e2419, 0xfecfae490ba73319, 0xffebd5f00d38901f,
    0xfeea6f7e31302f9f, 0xff62e5854601c2a1, 0xfefeee06de188d9f, 0xfff76c3f4ae9b1a1,
    0xffc330463f9bb2a5, 0xfe3bf3ae8dc82d25, 0xff151bb4d61a3cad, 0xfea9e18478d6fe31,
    0xff2653b9b5dc2931, 0xff3b5d0047bef7b3, 0xfe61cff684d132b5, 0xff18e1818453e7b7,
    0xffcd65a93fa2a539, 0xffbb275cf8512e3b, 0xfec881b986514cbb, 0xff18fede45d5c4bf,
    0xff69ab5dc0f5bec1, 0xfe0bb0ffcb328e47, 0xfeda185d065e64c7, 0xffce29ba83dfcdc9,
    0xff069f33462bcef1, 0xfeba4362c166f3cb, 0xfeef24bb4c8fd0c7, 0xfef7eadb5d3684cd,
    0xff76d6b667ed864b, 0xfff4b039828b9acb, 0xfe3f5df189c76bd1, 0xfe2b8b75cd503cd3,
    0xff12956531b554d3, 0xff70c0256eb5f555, 0xff1691b452b75ad9, 0xffe8547715c4c6db,
    0xffeb925dd8afa5db, 0xfefa891c072c24dd, 0xff504464ad99dddf, 0xfffe66962e79f163,
    0xff8ce0e6ad2d5de7, 0xfe832b5276e2d5e7, 0xfedda606709d4fe9, 0xffd2245ff2d3586b,
    0xff0512ea2f0075eb, 0xfec89aabfb42656b, 0xfedd87bf1eb45e6d, 0xff80f3e7807ac46f,
    0xfebf1983e61094ef, 0xff202d84f19d1df1, 0xfecf967b4570d1f3, 0xffe472b51dac98f7,
];

/// Lowest limb first.
type Number = [u64; LIMBS];

/// The signature of `message` (RSASSA-PKCS1-v1_5 with SHA-384, RFC 8017 §8.2).
pub(super) fn sign(message: &[u8]) -> [u8; SIGNATURE] {
    let mut hash = [0; 6];
    for (limb, bytes) in hash.iter_mut().zip(Sha384::digest(message).chunks_exact(8)) {
        *limb = bytes.iter().fold(0, |limb, byte| limb << 8 | u64::from(*byte));
    }
    let mut sum = [0; LIMBS + 1];
    for prime in &key().primes {
        let Prime { p, d, padding, .. } = *prime;
        let hash = hash.iter().fold(0, |rest, limb| reduce(rest, *limb, p));
        let root = power(add(padding, hash, p), d, p);
        add_product(&mut sum, &prime.others, multiply(root, prime.coefficient, p));
    }
    let signature = remainder(sum, &key().modulus);
    let mut bytes = [0; SIGNATURE];
    for (bytes, limb) in bytes.chunks_exact_mut(8).zip(signature.iter().rev()) {
        bytes.copy_from_slice(&limb.to_be_bytes());
    }
    bytes
}

/// The public key as a JSON Web Key (RFC 7517).
pub(super) fn jwk() -> serde_json::Value {
    serde_json::json!({
        "kty": "RSA", "use": "sig", "alg": "RS384", "kid": KEY_ID,
        "n": URL_SAFE_NO_PAD.encode(modulus_bytes()), "e": URL_SAFE_NO_PAD.encode([1, 0, 1]),
    })
}

/// The public key in PEM (a SubjectPublicKeyInfo, RFC 5280 §4.1).
pub(super) fn pem() -> String {
    let mut der = vec![0x30, 0x82, 0x02, 0x22, 0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
    der.extend([0x01, 0x05, 0x00, 0x03, 0x82, 0x02, 0x0f, 0x00, 0x30, 0x82, 0x02, 0x0a, 0x02, 0x82, 0x02, 0x01, 0x00]);
    der.extend(modulus_bytes());
    der.extend([0x02, 0x03, 0x01, 0x00, 0x01]);
    let text = STANDARD.encode(der);
    let lines: String = text.as_bytes().chunks(64).map(|line| format!("{}\n", String::from_utf8_lossy(line))).collect();
    format!("-----BEGIN PUBLIC KEY-----\n{lines}-----END PUBLIC KEY-----\n")
}

fn modulus_bytes() -> Vec<u8> {
    key().modulus.iter().rev().flat_map(|limb| limb.to_be_bytes()).collect()
}

struct Key {
    modulus: Number,
    primes: Vec<Prime>,
}

struct Prime {
    p: u64,
    /// The private exponent modulo `p - 1`.
    d: u64,
    /// The product of the other primes.
    others: Number,
    /// The inverse of `others` modulo `p`.
    coefficient: u64,
    /// The signed message modulo `p`, without the hash in its last 48 bytes.
    padding: u64,
}

fn key() -> &'static Key {
    static KEY: OnceLock<Key> = OnceLock::new();
    KEY.get_or_init(|| {
        let mut modulus = [0; LIMBS];
        modulus[0] = 1;
        for p in PRIMES {
            let one_less = modulus;
            modulus = [0; LIMBS];
            add_product(&mut modulus, &one_less, p);
        }
        let primes = PRIMES.iter().map(|p| Prime::new(*p, &modulus)).collect();
        Key { modulus, primes }
    })
}

impl Prime {
    fn new(p: u64, modulus: &Number) -> Self {
        let (others, _) = divide(modulus, p);
        let (_, rest) = divide(&others, p);
        let (_, padding) = divide(&padding(), p);
        Self { p, d: inverse(EXPONENT, p - 1), others, coefficient: inverse(rest, p), padding }
    }
}

/// EMSA-PKCS1-v1_5 (RFC 8017 §9.2) of an all-zero hash.
fn padding() -> Number {
    let information = [
        0x30, 0x41, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02, 0x05, 0x00, 0x04,
        0x30,
    ];
    let mut bytes = [0xff_u8; SIGNATURE];
    bytes[..2].copy_from_slice(&[0, 1]);
    bytes[SIGNATURE - 48 - information.len() - 1] = 0;
    bytes[SIGNATURE - 48 - information.len()..SIGNATURE - 48].copy_from_slice(&information);
    bytes[SIGNATURE - 48..].fill(0);
    let mut number = [0; LIMBS];
    for (limb, bytes) in number.iter_mut().rev().zip(bytes.chunks_exact(8)) {
        *limb = bytes.iter().fold(0, |limb, byte| limb << 8 | u64::from(*byte));
    }
    number
}

#[allow(clippy::cast_possible_truncation, reason = "a remainder is smaller than its divisor")]
fn reduce(high: u64, low: u64, p: u64) -> u64 {
    ((u128::from(high) << 64 | u128::from(low)) % u128::from(p)) as u64
}

#[allow(clippy::cast_possible_truncation, reason = "a remainder is smaller than its divisor")]
fn multiply(a: u64, b: u64, p: u64) -> u64 {
    (u128::from(a).wrapping_mul(u128::from(b)) % u128::from(p)) as u64
}

#[allow(clippy::cast_possible_truncation, reason = "a remainder is smaller than its divisor")]
fn add(a: u64, b: u64, p: u64) -> u64 {
    ((u128::from(a) + u128::from(b)) % u128::from(p)) as u64
}

fn power(base: u64, mut exponent: u64, p: u64) -> u64 {
    let (mut square, mut result) = (base, 1);
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = multiply(result, square, p);
        }
        square = multiply(square, square, p);
        exponent >>= 1;
    }
    result
}

/// The inverse of `a` modulo `m`, by the extended Euclidean algorithm.
fn inverse(a: u64, m: u64) -> u64 {
    let m = i128::from(m);
    let (mut rest, mut next_rest) = (m, i128::from(a) % m);
    let (mut factor, mut next_factor) = (0, 1);
    while next_rest != 0 {
        let quotient = rest / next_rest;
        (rest, next_rest) = (next_rest, rest - quotient * next_rest);
        (factor, next_factor) = (next_factor, factor - quotient * next_factor);
    }
    u64::try_from(factor.rem_euclid(m)).unwrap_or_default()
}

/// The quotient and the remainder.
#[allow(
    clippy::cast_possible_truncation,
    reason = "the remainder is smaller than the divisor, so a quotient is a limb"
)]
fn divide(number: &Number, divisor: u64) -> (Number, u64) {
    let (mut quotient, mut rest) = ([0; LIMBS], 0);
    for (quotient, limb) in quotient.iter_mut().zip(number).rev() {
        let part = u128::from(rest) << 64 | u128::from(*limb);
        *quotient = (part / u128::from(divisor)) as u64;
        rest = (part % u128::from(divisor)) as u64;
    }
    (quotient, rest)
}

/// Adds `number` times `factor` to `sum`.
#[allow(clippy::cast_possible_truncation, reason = "a limb is the lower half")]
fn add_product(sum: &mut [u64], number: &Number, factor: u64) {
    let mut carry = 0;
    let mut at = 0;
    // No iterators: this loop dominates the cost of signing in an unoptimised build.
    while at < sum.len() {
        let limb = if at < LIMBS { number[at] } else { 0 };
        let part = (limb as u128).wrapping_mul(factor as u128).wrapping_add(sum[at] as u128).wrapping_add(carry);
        sum[at] = part as u64;
        carry = part >> 64;
        at += 1;
    }
}

/// `sum` modulo `modulus`.
fn remainder(mut sum: [u64; LIMBS + 1], modulus: &Number) -> Number {
    let is_less = |sum: &[u64; LIMBS + 1]| sum[LIMBS] == 0 && sum[..LIMBS].iter().rev().lt(modulus.iter().rev());
    while !is_less(&sum) {
        // Never above the true quotient, and at most one below it.
        let top = u128::from(sum[LIMBS]) << 64 | u128::from(sum[LIMBS - 1]);
        let quotient = u64::try_from(top / (u128::from(modulus[LIMBS - 1]) + 1)).unwrap_or(u64::MAX);
        subtract_product(&mut sum, modulus, quotient.max(1));
    }
    let mut rest = [0; LIMBS];
    rest.copy_from_slice(&sum[..LIMBS]);
    rest
}

/// Subtracts `number` times `factor` from `sum`, which is at least as large.
#[allow(clippy::cast_possible_truncation, reason = "a limb is the lower half")]
fn subtract_product(sum: &mut [u64; LIMBS + 1], number: &Number, factor: u64) {
    let mut borrow = 0_u128;
    let mut at = 0;
    while at <= LIMBS {
        let limb = if at < LIMBS { number[at] } else { 0 };
        let part = (limb as u128).wrapping_mul(factor as u128).wrapping_add(borrow);
        let (less, under) = sum[at].overflowing_sub(part as u64);
        sum[at] = less;
        borrow = (part >> 64) + under as u128;
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA384, UnparsedPublicKey};

    use super::*;

    #[test]
    fn what_is_signed_verifies_under_the_public_key_and_nothing_else_does() {
        let pem = pem();
        let text: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        let public_key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA384, STANDARD.decode(text).unwrap());
        for number in 0..50_u32 {
            let message = number.to_be_bytes();
            let signature = sign(&message);

            assert!(public_key.verify(&message, &signature).is_ok(), "{number}");
            assert!(public_key.verify(b"another", &signature).is_err());
        }
    }

    #[test]
    fn the_json_web_key_is_the_same_key() {
        let jwk = jwk();
        assert_eq!(URL_SAFE_NO_PAD.decode(jwk["n"].as_str().unwrap()).unwrap(), modulus_bytes());
        assert_eq!((jwk["e"].as_str(), jwk["alg"].as_str()), (Some("AQAB"), Some("RS384")));
    }
}
