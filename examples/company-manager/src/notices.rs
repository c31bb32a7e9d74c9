//! Tells people and programs of what happens, beside the pages: mails to a company's administrators, and a webhook.
//!
//! Both are deliveries of the library: all instances call [`begin`], one of them tells each event, and what a mail server
//! or a receiver did not take is told again later.

mod mails;

use std::{sync::Arc, time::Duration};

use batchsuite_auth::{
    BatchSuiteAuth, DeliveryHandle,
    adapters::webhook::{Webhook, WebhookSecret},
    error::chain,
};
use secrecy::ExposeSecret as _;
use url::Url;

use crate::{
    config::{Notices, WebhookSettings, is_loopback},
    directory::Directory,
};

/// How long a mail server or a receiver may take; shorter than the default time to stop.
const TIME_LIMIT: Duration = Duration::from_secs(8);

/// Begins the deliveries that are configured. They end with `auth`.
///
/// # Errors
/// One line for the terminal: a setting cannot be used.
pub fn begin(
    notices: Notices,
    auth: &BatchSuiteAuth,
    directory: Arc<dyn Directory>,
    public_url: &Url,
) -> Result<Vec<DeliveryHandle>, String> {
    let mut begun = Vec::new();
    if let Some(settings) = notices.webhook {
        begun.push(auth.deliver("company-manager-webhook", webhook(settings)?));
    }
    if let Some(settings) = notices.mails {
        let mails = mails::Mails::new(&settings, auth.clone(), directory, public_url.clone())?;
        begun.push(auth.deliver("company-manager-mails", mails));
    }
    begun.into_iter().collect::<Result<_, _>>().map_err(|error| error.to_string())
}

fn webhook(settings: WebhookSettings) -> Result<Webhook, String> {
    let secret = WebhookSecret::new(settings.secret.expose_secret()).map_err(|error| error.to_string())?;
    let plain = is_loopback(&settings.url);
    let builder = Webhook::builder(settings.url, secret).deadline(TIME_LIMIT);
    let builder = if plain { builder.allow_loopback_http() } else { builder };
    builder.build().map_err(|error| chain(&error).to_string())
}
