//! What a ciphertext is bound to, and how that becomes associated data.

use std::io::{self, Write};

use batchsuite_auth::{CompanyId, Environment, ids::ConsentId, ids::Revision, store::GrantKey};

/// What a ciphertext is bound to: it opens with this very binding only.
///
/// A ciphertext that is copied to another company, to another field or to another revision of its grant does not open: its
/// associated data (RFC 5116 §2.1) name environment, company, field, and which grant or consent it belongs to. So a company's
/// older tokens do not open beside its present grant.
///
/// If grant *and* tokens of a company are put back together, as a restored backup does, they open: nothing outside the
/// database knows which revision is the latest, and to keep that outside would take a second durable store for each write.
/// After a restore, `BatchSuiteAuth::after_restore` makes sure that spent tokens are told as lost.
///
/// A binding is not a secret. It is not stored with the ciphertext either: whoever opens says what it must be. A refresh
/// token that outlives its version (UPS sent none with the new pair) stays bound to the revision that it was sealed for.
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

/// The name of a secret of the host's own, for [`Binding::host`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HostField(&'static str);

impl<'a> Binding<'a> {
    /// An access token of the grant, at this revision of it.
    #[must_use]
    pub fn access_token(key: &'a GrantKey, revision: Revision) -> Self {
        Self::of(key, Field::AccessToken(revision))
    }

    /// A refresh token of the grant, at this revision of it.
    #[must_use]
    pub fn refresh_token(key: &'a GrantKey, revision: Revision) -> Self {
        Self::of(key, Field::RefreshToken(revision))
    }

    /// The PKCE verifier (RFC 7636 §4.1) of this consent. A consent comes before there is an epoch: its own id takes the
    /// place of the revision.
    #[must_use]
    pub fn pkce_verifier(key: &'a GrantKey, consent: ConsentId) -> Self {
        Self::of(key, Field::PkceVerifier(consent))
    }

    /// A secret of a company that the host itself keeps, under the same keys. No token of ours opens as one, nor the reverse.
    #[must_use]
    pub fn host(key: &'a GrantKey, field: HostField) -> Self {
        Self::of(key, Field::Host(field))
    }

    fn of(key: &'a GrantKey, field: Field) -> Self {
        Self { environment: key.environment, company: &key.company, field }
    }

    /// The associated data: the ciphertext's own header, then each part behind its length, so that no two bindings share
    /// their bytes.
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
    /// Part of the format: a name that changes makes what is stored unreadable.
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
    /// Names a secret of the host's own; the name is part of what is stored, and must never change.
    ///
    /// # Panics
    /// If the name is empty or longer than 64 bytes. In a constant, that is an error of the compiler.
    #[must_use]
    pub const fn from_static(name: &'static str) -> Self {
        assert!(!name.is_empty() && name.len() <= 64, "the name of a host's field has 1 to 64 bytes");
        Self(name)
    }
}

/// Room for associated data, on the caller's stack: the ciphertext is the one allocation of a call.
pub(super) type AssociatedData = [u8; CAPACITY];

/// More than the longest: header 34, environment 2 + 10, company 2 + 128, field 2 + 13, host's name 2 + 64.
pub(super) const CAPACITY: usize = 288;
