//! The alphanumerics that tokens, codes and passwords consist of.

use crate::random;

/// A letter's index is its value as a digit.
pub(super) const ALL: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// `N` random letters.
pub(super) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    random::fill(&mut bytes);
    bytes.map(letter)
}

/// One letter for each byte of a digest.
pub(super) fn of_digest(digest: &[u8; 32]) -> [u8; 32] {
    digest.map(letter)
}

/// The number that the letters encode in base 62, lowest digit first.
pub(super) fn number(letters: &[u8]) -> Option<u64> {
    letters.iter().rev().try_fold(0_u64, |number, letter| {
        let digit = ALL.iter().position(|other| other == letter)?;
        number.checked_mul(62)?.checked_add(digit as u64)
    })
}

fn letter(byte: u8) -> u8 {
    ALL[usize::from(byte) % ALL.len()]
}
