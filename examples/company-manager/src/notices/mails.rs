//! Mails to a company's administrators: it expires soon, authenticate again and why, it works again.

use std::{error::Error as _, sync::Arc};

use async_trait::async_trait;
use batchsuite_auth::{
    BatchSuiteAuth, Event, EventKind, Status,
    deliveries::{EventHandler, Gap, HandlerError},
    error::chain,
};
use lettre::{
    AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor,
    message::{Mailbox, header::ContentType},
    transport::smtp,
};
use secrecy::ExposeSecret as _;
use url::Url;

use super::TIME_LIMIT;
use crate::{
    config::MailSettings,
    directory::{Company, Directory},
};

/// Mails the administrators of the company that an event concerns.
pub(super) struct Mails {
    server: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    domain: String,
    auth: BatchSuiteAuth,
    directory: Arc<dyn Directory>,
    public_url: Url,
}

impl Mails {
    pub(super) fn new(
        settings: &MailSettings,
        auth: BatchSuiteAuth,
        directory: Arc<dyn Directory>,
        public_url: Url,
    ) -> Result<Self, String> {
        let server = AsyncSmtpTransport::<Tokio1Executor>::from_url(settings.server.expose_secret())
            .map_err(|_| "SMTP_URL cannot be used".to_owned())?
            .timeout(Some(TIME_LIMIT))
            .build();
        let (from, domain) = (settings.from.clone(), settings.domain.clone());
        Ok(Self { server, from, domain, auth, directory, public_url })
    }

    /// The addresses of the company's administrators: a sign-in name that is no address is one of our domain.
    async fn recipients(&self, company: &Company) -> Result<Vec<Mailbox>, HandlerError> {
        let mut recipients = Vec::new();
        for admin in &company.admins {
            let Some(person) = self.directory.person(admin).await? else { continue };
            let name = person.sign_in_name;
            match name.parse().or_else(|_| format!("{name}@{}", self.domain).parse()) {
                Ok(address) => recipients.push(Mailbox::new(None, address)),
                Err(_) => tracing::warn!(person = %admin, "the sign-in name makes no mail address; no mail is sent"),
            }
        }
        Ok(recipients)
    }

    /// The subject and the text; `None`: nothing to tell.
    async fn words(&self, event: &Event, company: &Company) -> Result<Option<(String, String)>, HandlerError> {
        let name = &company.name;
        let again = "Please sign in and press Authenticate.";
        Ok(match (event.kind, event.cause) {
            (EventKind::ExpiringSoon, _) => match self.auth.status(&company.id).await?.status {
                Status::Authenticated { refresh_expires_at: Some(end), .. } => {
                    // Rounded up.
                    let days = (end - event.at).num_seconds().div_euclid(86_400) + 1;
                    let ends = format!("The authorization at UPS expires on {} UTC. {again}", end.format("%F %T"));
                    Some((format!("{name}: the authorization at UPS expires in {days} days"), ends))
                }
                // It was renewed or has ended meanwhile, which has an event of its own.
                _ => None,
            },
            (_, Some(cause)) => Some((format!("{name}: authenticate again at UPS"), format!("{cause} {again}"))),
            _ if event.revision.epoch > 1 || event.kind == EventKind::Recovered => {
                Some((format!("{name}: UPS works again"), "There is nothing to do.".to_owned()))
            }
            _ => Some((format!("{name}: UPS works"), "The company is authenticated.".to_owned())),
        })
    }
}

#[async_trait]
impl EventHandler for Mails {
    fn wants(&self, event: &Event) -> bool {
        use EventKind::{Authenticated, ExpiringSoon, Recovered};
        event.company.is_some()
            && (event.kind.needs_reauthorization() || matches!(event.kind, Authenticated | ExpiringSoon | Recovered))
    }

    async fn handle(&self, event: &Event) -> Result<(), HandlerError> {
        let Some(company) = &event.company else { return Ok(()) };
        let Some(company) = self.directory.company(company).await? else { return Ok(()) };
        let recipients = self.recipients(&company).await?;
        let Some((subject, text)) = self.words(event, &company).await? else { return Ok(()) };
        if recipients.is_empty() {
            return Ok(());
        }
        let page = self.public_url.join(&format!("/companies/{}", company.id.path_segment()))?;
        let id = format!("<{}@{}>", event.stable_id(), self.domain);
        let mail = Message::builder().from(self.from.clone()).subject(subject).message_id(Some(id));
        let mail = recipients.into_iter().fold(mail, |mail, recipient| mail.to(recipient));
        let mail = mail.header(ContentType::TEXT_PLAIN).body(format!("{text}\n\n{page}\n"))?;
        match self.server.send(mail).await {
            Ok(_) => Ok(()),
            // No later try helps, and the mails of other companies must not wait.
            Err(error) if is_refused(&error) => {
                tracing::warn!(company = %company.id, "the mail server knows no such address; no mail is sent");
                Ok(())
            }
            Err(error) => Err(failed(&error)),
        }
    }

    async fn missed(&self, gap: Gap) -> Result<(), HandlerError> {
        tracing::error!(%gap, "administrators get no mail about these events; look at the list of companies");
        Ok(())
    }
}

/// Whether the server refuses the recipient for good (RFC 5321 §4.2.3).
fn is_refused(error: &smtp::Error) -> bool {
    error.status().is_some_and(|code| (550..=553).contains(&u16::from(code)))
}

/// The code alone: a server's text may quote the mail or the credentials.
fn failed(error: &smtp::Error) -> HandlerError {
    match (error.status(), error.source()) {
        (Some(code), _) => HandlerError::new(format!("the mail server answered {code}")),
        (None, Some(source)) => HandlerError::new(format!("the mail server cannot be used: {}", chain(source))),
        (None, None) => HandlerError::new("the mail server cannot be used"),
    }
}
