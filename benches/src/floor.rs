//! The floor: the least code that a developer would write by hand to get an unexpired token. It has no change feed, no
//! early window and no record of use, and it is filled once.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use batchsuite_auth::CompanyId;

/// A frozen map of tokens.
#[derive(Debug)]
pub struct Floor(hashbrown::HashMap<CompanyId, Arc<Token>, foldhash::fast::RandomState>);

/// A token and its expiry.
#[derive(Debug)]
pub struct Token {
    /// Ready to send.
    pub header: String,
    expires_at: Instant,
}

impl Floor {
    /// One token for each company.
    #[expect(clippy::disallowed_methods, reason = "the floor's clock")]
    pub fn of(companies: &[CompanyId]) -> Self {
        let expires_at = Instant::now() + Duration::from_secs(4 * 3600);
        let token = |company: &CompanyId| {
            (company.clone(), Arc::new(Token { header: format!("Bearer {}", crate::companies::text()), expires_at }))
        };
        Self(companies.iter().map(token).collect())
    }

    /// The company's token.
    #[expect(clippy::disallowed_methods, reason = "the floor's clock")]
    pub fn token(&self, company: &CompanyId) -> Option<Arc<Token>> {
        let token = self.0.get(company)?;
        (token.expires_at > Instant::now()).then(|| Arc::clone(token))
    }
}
