//! The verbs of the guide, one file a verb. Each reads "load, ask the machine, do as it says, store".

mod access_token;
mod authenticate;
mod callback;
mod exchange;
mod import;
mod remove_auth;
mod repeats;

use std::sync::Arc;

use url::Url;

pub(crate) use self::authenticate::Options as AuthenticateOptions;
use self::repeats::Repeats;
use crate::{consent::OptInCheck, rotation::Engine};

/// What the verbs of a consent need besides the engine.
#[derive(Debug)]
pub(crate) struct Consents {
    engine: Arc<Engine>,
    pub(crate) redirect_uri: Url,
    opt_in_check: Option<Arc<dyn OptInCheck>>,
    repeats: Repeats,
}

impl Consents {
    pub(crate) fn new(engine: Arc<Engine>, redirect_uri: Url, opt_in_check: Option<Arc<dyn OptInCheck>>) -> Self {
        Self { engine, redirect_uri, opt_in_check, repeats: Repeats::default() }
    }
}
