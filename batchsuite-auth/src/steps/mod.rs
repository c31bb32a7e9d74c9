//! The guide's verbs, one file each. Each loads, asks the machine, executes its decision and stores.

mod access_token;
mod authenticate;
mod callback;
mod connect_link;
mod diagnose;
mod exchange;
mod import;
mod remove_auth;
mod repeats;

use std::sync::Arc;

use url::Url;

pub(crate) use self::authenticate::Options as AuthenticateOptions;
use self::repeats::Repeats;
use crate::{
    consent::OptInCheck,
    error::OptInRefused,
    ids::{ActorId, CompanyId},
    rotation::Engine,
};

/// The dependencies of the consent verbs besides the engine.
#[derive(Debug)]
pub(crate) struct Consents {
    engine: Arc<Engine>,
    pub(crate) redirect_uri: Url,
    opt_in_checks: Vec<Arc<dyn OptInCheck>>,
    repeats: Repeats,
}

impl Consents {
    pub(crate) fn new(engine: Arc<Engine>, redirect_uri: Url, opt_in_check: Option<Arc<dyn OptInCheck>>) -> Self {
        Self { engine, redirect_uri, opt_in_checks: opt_in_check.into_iter().collect(), repeats: Repeats::default() }
    }

    /// Returns the same with one more check.
    pub(crate) fn with_check(&self, check: Arc<dyn OptInCheck>) -> Self {
        Self {
            engine: Arc::clone(&self.engine),
            redirect_uri: self.redirect_uri.clone(),
            opt_in_checks: self.opt_in_checks.iter().cloned().chain([check]).collect(),
            repeats: self.repeats.clone(),
        }
    }

    /// Asks the host whether this person may authenticate this company, before anything is sent.
    async fn ask_before_sending(&self, company: &CompanyId, actor: &ActorId) -> Result<(), OptInRefused> {
        for check in &self.opt_in_checks {
            if let Err(refused) = check.before_sending(company, actor).await {
                tracing::warn!(%company, %actor, "the host refuses this person; nothing was sent");
                return Err(refused);
            }
        }
        Ok(())
    }
}
