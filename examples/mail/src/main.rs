//! How does a company's administrator hear that it must authenticate again?
//!
//! ```sh
//! SMTP_URL=smtp://127.0.0.1:1025 cargo run -p example-mail    # e.g. with a mail catcher such as Mailpit
//! ```
//! Each process calls `deliver`, and one of them sends the mail, also for events of the others. While the mail server is away, the
//! delivery waits for it. A crash in between repeats a mail under the same `Message-ID`.

#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::error::Error;

use batchsuite_auth::deliveries::{EventHandler, Gap, HandlerError};
use batchsuite_auth::{ActorId, BatchSuiteAuth, CompanyId, Event, EventKind, Status, async_trait, fake_ups::FakeUps};
use batchsuite_store::MemoryStore;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor, message::Mailbox};

struct Mails {
    auth: BatchSuiteAuth,
    server: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

#[async_trait]
impl EventHandler for Mails {
    fn wants(&self, event: &Event) -> bool {
        use EventKind::{Authenticated, ExpiringSoon, Recovered};
        event.kind.needs_reauthorization() || matches!(event.kind, Authenticated | ExpiringSoon | Recovered)
    }

    async fn handle(&self, event: &Event) -> Result<(), HandlerError> {
        // Events without a company are for operators.
        let Some(company) = &event.company else { return Ok(()) };
        let (subject, text) = match (event.kind, event.cause, self.auth.status(company).await?.status) {
            (EventKind::ExpiringSoon, _, Status::Authenticated { refresh_expires_at: Some(end), .. }) => {
                let days = (end - event.at).num_hours().div_euclid(24) + 1;
                (format!("expires in {days} days"), "A company administrator has to authenticate again.".to_owned())
            }
            (EventKind::ExpiringSoon, ..) => return Ok(()), // It is over; the event that says so follows.
            (_, Some(cause), _) => ("authenticate again".to_owned(), cause.to_string()),
            _ if event.revision.epoch > 1 || event.kind == EventKind::Recovered => {
                ("works again".to_owned(), String::new())
            }
            _ => ("works".to_owned(), String::new()),
        };
        let id = format!("<{}@{}>", event.stable_id(), self.from.email.domain());
        // A service has the addresses in its own tables.
        let to = Mailbox::new(None, format!("admin@{}.example", company.path_segment()).parse()?);
        let mail = Message::builder().from(self.from.clone()).to(to).message_id(Some(id));
        let mail = mail.subject(format!("UPS authorization of {company}: {subject}"));
        self.server.send(mail.body(format!("{text}\nhttps://batch.example/companies\n"))?).await?;
        Ok(())
    }

    async fn missed(&self, _: Gap) -> Result<(), HandlerError> {
        Ok(()) // The log has an error line. Whoever opens the list of companies sees their state.
    }
}

/// A company opts in and loses its opt-in by a password change, twice.
async fn run(smtp_url: &str, until: impl Future) -> Result<(), Box<dyn Error>> {
    let ups = FakeUps::start().await;
    let auth = ups.authenticator().store(MemoryStore::with_clock(ups.clock())).build()?;
    let server = AsyncSmtpTransport::<Tokio1Executor>::from_url(smtp_url)?.build();
    let mails = Mails { auth: auth.clone(), server, from: "Batch Suite <no-reply@batch.example>".parse()? };
    auth.deliver("mails", mails)?.begun().await;
    let (company, administrator) = (CompanyId::new("acme")?, ActorId::new("ada")?);
    for _ in 0..2 {
        let trip = auth.authenticate(&company, &administrator).await?;
        let query = ups.consent(&trip.url, FakeUps::USER).await;
        auth.callback(&administrator, &query, &trip.browser_secret).await?;
        let token = auth.access_token(&company).await?;
        ups.change_password(FakeUps::USER);
        let _ = auth.report_rejected(&company, &token).await;
    }
    until.await;
    auth.shutdown().await;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::var("SMTP_URL").unwrap_or_else(|_| "smtp://127.0.0.1:1025".to_owned());
    println!("mails go out; Ctrl-C ends this");
    run(&url, tokio::signal::ctrl_c()).await
}

#[cfg(test)]
mod tests;
