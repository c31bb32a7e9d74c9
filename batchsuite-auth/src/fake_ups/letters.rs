//! Letters and digits, of which tokens, codes and passwords are made.

use crate::random;

/// All of them; the place of each is its value as a digit.
pub(super) const ALL: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// So many at random.
pub(super) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    random::fill(&mut bytes);
    bytes.map(letter)
}

/// One for each byte of a digest.
pub(super) fn of_digest(digest: &[u8; 32]) -> [u8; 32] {
    digest.map(letter)
}

/// The number that they write with base 62, the lowest digit first.
pub(super) fn number(letters: &[u8]) -> Option<u64> {
    letters.iter().rev().try_fold(0_u64, |number, letter| {
        let digit = ALL.iter().position(|other| other == letter)?;
        number.checked_mul(62)?.checked_add(digit as u64)
    })
}

fn letter(byte: u8) -> u8 {
    ALL[usize::from(byte) % ALL.len()]
}
