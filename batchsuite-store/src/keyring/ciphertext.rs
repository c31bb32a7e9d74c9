//! The ciphertext format. The layout is in the docs of [`keyring`](super).

use aws_lc_rs::aead::{Aad, MAX_TAG_LEN, NONCE_LEN, Nonce};
use secrecy::zeroize::Zeroize as _;

use super::{
    binding::{Binding, CAPACITY},
    error::KeyringError,
    key::{Key, KeyId},
};

const FORMAT: u8 = 1;

/// A parsed ciphertext.
pub(super) struct Parts<'a> {
    /// Format version, length of the key's name, key's name.
    header: &'a [u8],
    pub(super) key_id: &'a [u8],
    nonce: &'a [u8; NONCE_LEN],
    sealed: &'a [u8],
    tag: &'a [u8],
}

impl<'a> Parts<'a> {
    pub(super) fn of(ciphertext: &'a [u8]) -> Result<Self, KeyringError> {
        let (&format, rest) = ciphertext.split_first().ok_or(KeyringError::Malformed)?;
        if format != FORMAT {
            return Err(KeyringError::UnsupportedFormat { version: format });
        }
        let (&length, rest) = rest.split_first().ok_or(KeyringError::Malformed)?;
        let (key_id, rest) = rest.split_at_checked(length.into()).ok_or(KeyringError::Malformed)?;
        let (nonce, rest) = rest.split_first_chunk().ok_or(KeyringError::Malformed)?;
        let sealed = rest.len().checked_sub(MAX_TAG_LEN).ok_or(KeyringError::Malformed)?;
        let (sealed, tag) = rest.split_at(sealed);
        Ok(Self { header: &ciphertext[..2 + key_id.len()], key_id, nonce, sealed, tag })
    }

    pub(super) fn open(&self, key: &Key, binding: &Binding<'_>) -> Result<Plaintext, KeyringError> {
        let mut data = [0; CAPACITY];
        let data = binding.associated_data(self.header, &mut data).map_err(|_| KeyringError::Cipher)?;
        let nonce = Nonce::assume_unique_for_key(*self.nonce);
        let mut plaintext = Plaintext(vec![0; self.sealed.len()]);
        key.aead()
            .open_separate_gather(nonce, Aad::from(data), self.sealed, self.tag, &mut plaintext.0)
            .map_err(|_| KeyringError::NotAuthentic)?;
        Ok(plaintext)
    }
}

/// A plaintext secret, exactly as long as its buffer. Wiped on drop, as one slice: `Zeroizing` wipes a `Vec` byte by
/// byte, which takes more than half as long as decrypting it.
pub(super) struct Plaintext(Vec<u8>);

impl Plaintext {
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Moves the buffer out; the receiver must wipe it.
    pub(super) fn into_bytes(mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }
}

impl Drop for Plaintext {
    fn drop(&mut self) {
        self.0.as_mut_slice().zeroize();
    }
}

/// The prefix of every ciphertext under this key.
pub(super) fn header(id: &KeyId) -> Vec<u8> {
    let id = id.as_str().as_bytes();
    let mut header = vec![0; 2 + id.len()];
    write_header(&mut header, id);
    header
}

fn write_header(header: &mut [u8], id: &[u8]) {
    header[0] = FORMAT;
    // A name is at most 32 bytes long.
    header[1] = id.len() as u8;
    header[2..].copy_from_slice(id);
}

pub(super) fn seal(
    key: &Key,
    binding: &Binding<'_>,
    nonce: [u8; NONCE_LEN],
    plaintext: &[u8],
) -> Result<Vec<u8>, KeyringError> {
    let id = key.id().as_str().as_bytes();
    let mut ciphertext = vec![0; 2 + id.len() + NONCE_LEN + plaintext.len() + MAX_TAG_LEN];
    let (header, rest) = ciphertext.split_at_mut(2 + id.len());
    let (nonce_bytes, rest) = rest.split_at_mut(NONCE_LEN);
    let (sealed, tag) = rest.split_at_mut(plaintext.len());

    write_header(header, id);
    nonce_bytes.copy_from_slice(&nonce);
    let mut data = [0; CAPACITY];
    let data = binding.associated_data(header, &mut data).map_err(|_| KeyringError::Cipher)?;
    // From one buffer into another, so that a failure leaves no plaintext in a buffer that is not wiped.
    key.aead()
        .seal_out_of_place_scatter(Nonce::assume_unique_for_key(nonce), Aad::from(data), plaintext, sealed, &[], tag)
        .map_err(|_| KeyringError::Cipher)?;
    Ok(ciphertext)
}
