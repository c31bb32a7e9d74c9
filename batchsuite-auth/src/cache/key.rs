//! The keys of the cache's map. A company carries its hash, so a look-up neither reads nor hashes the text to find its
//! slot.

use std::{
    borrow::Borrow,
    hash::{BuildHasherDefault, Hash, Hasher},
    ptr,
};

use papaya::Equivalent;

use crate::ids::CompanyId;

/// A company that is found by the hash it carries; owned as a key, borrowed for a look-up.
#[derive(Debug)]
pub(super) struct Key<C>(pub(super) C);

impl<C: Borrow<CompanyId>> Key<C> {
    #[inline]
    fn is<D: Borrow<CompanyId>>(&self, other: &Key<D>) -> bool {
        let (one, other) = (self.0.borrow(), other.0.borrow());
        // A host that keeps its ids asks with the same allocation as the key. No two texts share an address, because
        // none is empty.
        ptr::addr_eq(one.as_str(), other.as_str()) || have_same_text(one, other)
    }
}

/// Out of line, to keep the look-up of a host that keeps its ids short.
#[inline(never)]
fn have_same_text(one: &CompanyId, other: &CompanyId) -> bool {
    one.known_hash() == other.known_hash() && one == other
}

impl<C: Borrow<CompanyId>> Hash for Key<C> {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.borrow().known_hash());
    }
}

impl PartialEq for Key<CompanyId> {
    fn eq(&self, other: &Self) -> bool {
        self.is(other)
    }
}

impl Eq for Key<CompanyId> {}

impl Equivalent<Key<CompanyId>> for Key<&CompanyId> {
    #[inline]
    fn equivalent(&self, key: &Key<CompanyId>) -> bool {
        self.is(key)
    }
}

/// Uses a key's own hash unchanged.
pub(super) type KnownHash = BuildHasherDefault<AsKnown>;

#[derive(Debug, Default)]
pub(super) struct AsKnown(u64);

impl Hasher for AsKnown {
    /// Never called for a [`Key`]; other values would be hashed correctly, but badly.
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    #[inline]
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher;

    use super::*;

    fn is_found(asked: &str, key: &str) -> bool {
        let (asked, key) = (CompanyId::new(asked).unwrap(), CompanyId::new(key).unwrap());
        Key(&asked).equivalent(&Key(key))
    }

    #[test]
    fn a_company_is_found_by_its_text() {
        assert!(is_found("acme", "acme"));
        assert!(!is_found("acme", "acm"));
        assert!(!is_found("acme", "acmf"));
        let acme = CompanyId::new("acme").unwrap();
        assert!(Key(&acme).equivalent(&Key(acme.clone())), "by the same allocation");
    }

    #[test]
    fn two_companies_with_the_same_hash_are_told_apart() {
        let acme = CompanyId::new("acme").unwrap();
        let bolt = CompanyId::new("bolt").unwrap().colliding_with(&acme);

        assert!(!Key(&bolt).equivalent(&Key(acme.clone())));
        assert_ne!(Key(bolt), Key(acme));
    }

    #[test]
    fn a_key_is_hashed_as_its_company_is_known() {
        let acme = CompanyId::new("acme").unwrap();

        assert_eq!(KnownHash::default().hash_one(Key(&acme)), acme.known_hash());
        assert_eq!(KnownHash::default().hash_one(Key(acme.clone())), acme.known_hash());
    }

    #[test]
    fn keys_are_equal_if_their_texts_are() {
        let key = |text| Key(CompanyId::new(text).unwrap());
        assert_eq!(key("acme"), key("acme"));
        assert_ne!(key("acme"), key("bolt"));
    }

    #[test]
    fn other_values_are_hashed_byte_by_byte() {
        let hash = |bytes: &[u8]| {
            let mut hasher = AsKnown::default();
            hasher.write(bytes);
            hasher.finish()
        };
        assert_eq!((hash(&[1]), hash(&[1, 2])), (1, 0x102));
        assert_eq!(hash(&[0xff; 9]), 0xffff_ffff_ffff_ff00);
    }
}
