//! The code that a user of the `oauth2` crate writes to keep tokens at UPS.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use batchsuite_auth::CompanyId;
use batchsuite_benches::companies::text;
use oauth2::{AccessToken, RefreshToken, basic::BasicTokenType};

use crate::{
    oauth::{Http, Pair, Ups},
    server::Server,
};

/// The client and its tokens, in memory.
#[derive(Clone)]
pub(super) struct Peer {
    ups: Ups,
    tokens: Arc<Mutex<HashMap<CompanyId, Pair>>>,
}

impl Peer {
    pub(super) fn new(server: &Server, http: Http) -> Self {
        Self { ups: Ups::at(server, http), tokens: Arc::default() }
    }

    /// Opts companies in.
    pub(super) fn opt_in(&self, companies: &[CompanyId]) {
        let pair = || Pair {
            access_token: AccessToken::new(text()),
            token_type: BasicTokenType::Bearer,
            expires_in: "0".to_owned(),
            // The server numbers its tokens from the same start.
            refresh_token: RefreshToken::new(text().replace("token", "first")),
            refresh_token_expires_in: "7776000".to_owned(),
        };
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.extend(companies.iter().map(|company| (company.clone(), pair())));
    }

    /// Fetches a company's next pair and keeps it.
    pub(super) async fn refresh(&self, company: &CompanyId) {
        let spent = {
            let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
            tokens[company].refresh_token.clone()
        };
        let pair = self.ups.refreshed(&spent).await;
        assert!(pair.refresh_token.secret() != spent.secret(), "another token");
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).insert(company.clone(), pair);
    }
}
