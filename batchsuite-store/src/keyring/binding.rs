//! The context that a ciphertext is bound to, and its encoding as associated data.

use std::io::{self, Write};

use batchsuite_auth::{CompanyId, Environment, ids::ConsentId, ids::Revision, store::GrantKey};

/// The context that a ciphertext is bound to. It opens with the same binding only.
///
/// A ciphertext that is copied to another company, another field or another revision of its grant does not open: its
/// associated data (RFC 5116 §2.1) name the environment, the company, the field, and the grant or consent it belongs
/// to. So a company's older tokens do not open beside its current grant.
///
/// If a company's grant *and* its tokens are set back together, as by a restored backup, the tokens open. Nothing
/// outside the database knows the latest revision; keeping it elsewhere would need a second durable store for every
/// write. After a restore, `BatchSuiteAuth::after_restore` ensures that spent tokens are reported as lost.
///
/// A binding is not a secret and is not stored with the ciphertext: the caller that decrypts supplies it. A refresh
/// token that outlives its version (UPS sent none with the new pair) stays bound to the revision it was sealed for.
#[derive(Clone, Copy, Debug)]
pub struct Binding<'a> {
    environment: Environment,
    company: &'a CompanyId,
    field: Field,
}

#[derive(Clone, Copy, Debug)]
enum Field {
    AccessToken(Revision),
    RefreshToken(Revision),
    PkceVerifier(ConsentId),
    Host(HostField),
}

/// The name of a secret that the host stores, for [`Binding::host`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HostField(&'static str);

impl<'a> Binding<'a> {
    /// The grant's access token at this revision.
    #[must_use]
    pub fn access_token(key: &'a GrantKey, revision: Revision) -> Self {
        Self::of(key, Field::AccessToken(revision))
    }

    /// The grant's refresh token at this revision.
    #[must_use]
    pub fn refresh_token(key: &'a GrantKey, revision: Revision) -> Self {
        Self::of(key, Field::RefreshToken(revision))
    }

    /// The PKCE verifier (RFC 7636 §4.1) of this consent. A consent precedes its opt-in and has no epoch yet, so its
    /// own id takes the place of the revision.
    #[must_use]
    pub fn pkce_verifier(key: &'a GrantKey, consent: ConsentId) -> Self {
        Self::of(key, Field::PkceVerifier(consent))
    }

    /// A company's secret that the host stores under the same keys. It never opens as one of the library's tokens, nor
    /// they as it.
    #[must_use]
    pub fn host(key: &'a GrantKey, field: HostField) -> Self {
        Self::of(key, Field::Host(field))
    }

    fn of(key: &'a GrantKey, field: Field) -> Self {
        Self { environment: key.environment, company: &key.company, field }
    }

    /// The associated data: the ciphertext's header, then each part prefixed with its length, so that no two bindings
    /// have the same encoding.
    pub(super) fn associated_data<'b>(&self, header: &[u8], buffer: &'b mut AssociatedData) -> io::Result<&'b [u8]> {
        let mut rest = &mut buffer[..];
        rest.write_all(header)?;
        let mut part = |part: &[u8]| {
            let length = u16::try_from(part.len()).map_err(io::Error::other)?;
            rest.write_all(&length.to_be_bytes())?;
            rest.write_all(part)
        };
        part(self.environment.name().as_bytes())?;
        part(self.company.as_str().as_bytes())?;
        part(self.field.name().as_bytes())?;
        match self.field {
            Field::AccessToken(revision) | Field::RefreshToken(revision) => {
                part(&revision.epoch.to_be_bytes())?;
                part(&revision.version.to_be_bytes())?;
            }
            Field::PkceVerifier(consent) => part(&consent.to_bits().to_be_bytes())?,
            Field::Host(field) => part(field.0.as_bytes())?,
        }
        let length = CAPACITY - rest.len();
        Ok(&buffer[..length])
    }
}

impl Field {
    /// Part of the stored format: changing a name makes stored ciphertexts unreadable.
    fn name(self) -> &'static str {
        match self {
            Self::AccessToken(_) => "access_token",
            Self::RefreshToken(_) => "refresh_token",
            Self::PkceVerifier(_) => "pkce_verifier",
            Self::Host(_) => "host",
        }
    }
}

impl HostField {
    /// Names a secret of the host. The name is part of the stored ciphertext and must never change.
    ///
    /// # Panics
    /// If the name is empty or longer than 64 bytes. In a constant, that is a compile-time error.
    #[must_use]
    pub const fn from_static(name: &'static str) -> Self {
        assert!(!name.is_empty() && name.len() <= 64, "the name of a host's field has 1 to 64 bytes");
        Self(name)
    }
}

/// A stack buffer for associated data, so that a call allocates nothing but the ciphertext.
pub(super) type AssociatedData = [u8; CAPACITY];

/// Above the maximum: header 34, environment 2 + 10, company 2 + 128, field 2 + 13, host's name 2 + 64.
pub(super) const CAPACITY: usize = 288;
