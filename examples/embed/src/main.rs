//! A service that asks for tokens and acts on every kind of answer.
//!
//! ```sh
//! cargo run -p embed
//! ```
//! UPS is the fake one here, so that it runs anywhere and comes to its end; a real service says
//! `BatchSuiteAuth::builder(Environment::Production, client)` and keeps its opt-ins in a database.

use std::{error::Error, time::Duration};

use batchsuite_auth::{ActorId, BatchSuiteAuth, CompanyId, error::TokenError, fake_ups::FakeUps};
use batchsuite_store::MemoryStore;

/// What the service does with a company's token; it holds a clone of the one authenticator.
#[derive(Clone, Debug)]
struct Shipping {
    auth: BatchSuiteAuth,
}

/// What the service's own caller gets.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// It went through.
    Shipped,
    /// An administrator of the company has to authenticate it; in words for that person.
    AskAdministrator(String),
    /// Try again after this long.
    TryAgain(Duration),
    /// An operator of the service has to look.
    OutOfOrder,
}

impl Shipping {
    async fn ship(&self, company: &CompanyId) -> Answer {
        match self.auth.access_token(company).await {
            // Here the request to UPS would be sent, with `token.header()` as its `Authorization`.
            Ok(_token) => Answer::Shipped,
            Err(error) => Self::explain(&error),
        }
    }

    fn explain(error: &TokenError) -> Answer {
        if error.needs_reauthorization() {
            Answer::AskAdministrator(error.to_string())
        } else if error.is_transient() {
            Answer::TryAgain(error.retry_after().unwrap_or(Duration::from_secs(1)))
        } else {
            Answer::OutOfOrder
        }
    }
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "a program for the terminal")]
async fn main() -> Result<(), Box<dyn Error>> {
    let ups = FakeUps::start().await;
    let auth = ups.authenticator().store(MemoryStore::with_clock(ups.clock())).build()?;
    let shipping = Shipping { auth: auth.clone() };
    let (company, administrator) = (CompanyId::new("acme")?, ActorId::new("ada")?);
    println!("before the opt-in:         {:?}", shipping.ship(&company).await);

    // In a browser: Authenticate, UPS.com, and back at the callback.
    let trip = auth.authenticate(&company, &administrator).await?;
    let query = ups.consent(&trip.url, FakeUps::USER).await;
    auth.callback(&administrator, &query, &trip.browser_secret).await?;
    println!("after it:                  {:?}", shipping.ship(&company).await);

    ups.clock().advance(Duration::from_secs(5 * 3600));
    println!("five hours later:          {:?}", shipping.ship(&company).await);

    ups.change_password(FakeUps::USER);
    ups.clock().advance(Duration::from_secs(5 * 3600));
    println!("after a password change:   {:?}", shipping.ship(&company).await);

    auth.shutdown().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use batchsuite_auth::error::Unavailable;

    use super::*;

    #[test]
    fn every_kind_of_error_has_its_answer() {
        let after = Duration::from_secs(7);

        assert!(matches!(Shipping::explain(&TokenError::NotAuthenticated), Answer::AskAdministrator(_)));
        let busy = TokenError::Unavailable { reason: Unavailable::RateLimited, retry_after: after };
        assert_eq!(Shipping::explain(&busy), Answer::TryAgain(after));
        assert_eq!(Shipping::explain(&TokenError::ShutDown), Answer::OutOfOrder);
    }
}
