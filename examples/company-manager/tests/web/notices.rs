//! Mails to administrators and the webhook, at real servers on this machine.

use std::time::Duration;

use batchsuite_tests::{DAY, MailSink, WebhookReceiver, eventually};
use company_manager::{
    config::{Config, Notices},
    demo::UPS_USER,
    directory::Directory as _,
    notices,
};
use tokio::time::{sleep, timeout};

use crate::world::World;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// The settings of a mail server and a webhook.
fn configured(mail: Option<&MailSink>, webhook: Option<&WebhookReceiver>) -> Notices {
    let mut variables = Vec::new();
    if let Some(mail) = mail {
        let domain = "batch.example".to_owned();
        variables.extend([
            ("SMTP_URL", mail.url()),
            ("MAIL_FROM", format!("no-reply@{domain}")),
            ("MAIL_DOMAIN", domain),
        ]);
    }
    if let Some(webhook) = webhook {
        variables.extend([("WEBHOOK_URL", webhook.url().to_string()), ("WEBHOOK_SECRET", SECRET.to_owned())]);
    }
    let value = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into());
    Config::read(value).unwrap().notices
}

impl World {
    async fn tells(&self, notices: Notices) {
        let begun = notices::begin(notices, &self.auth, self.directory.clone(), &self.public_url).unwrap();
        for delivery in begun {
            delivery.begun().await;
        }
    }
}

#[tokio::test]
async fn a_companys_administrator_gets_a_mail_when_it_must_authenticate_again_and_when_it_works_again() {
    let (world, sink) = (World::new().await, MailSink::start().await);
    world.tells(configured(Some(&sink), None)).await;
    let company = &world.companies().await[0];
    let name = world.directory.company(company).await.unwrap().unwrap().name;
    let browser = world.company_admin().await;
    sink.refuse(1);

    world.authenticate(&browser, company).await;
    let token = world.auth.access_token(company).await.unwrap();
    world.ups.change_password(UPS_USER);
    world.auth.report_rejected(company, &token).await.unwrap_err();
    world.authenticate(&browser, company).await;
    let mails = sink.reached(3).await;

    let subjects: Vec<_> = mails.iter().map(|mail| mail.header("subject").to_owned()).collect();
    let told = ["UPS works", "authenticate again at UPS", "UPS works again"];
    assert_eq!(subjects, told.map(|told| format!("{name}: {told}")));
    let why = mails[1].text.replace("=\r\n", "");
    assert!(
        why.contains("The UPS.com password was changed") && why.contains(&format!("/companies/{company}")),
        "{why}"
    );
    for mail in &mails {
        assert_eq!(mail.envelope, ["no-reply@batch.example", "company.admin@batch.example"]);
        assert!(mail.header("message-id").starts_with("<cie_"), "{}", mail.text);
    }
    assert_eq!(sink.refused(), 1, "a mail that was not taken is sent again");
}

#[tokio::test]
async fn a_companys_administrator_is_warned_before_the_authorization_expires() {
    let (world, sink) = (World::new().await, MailSink::start().await);
    world.tells(configured(Some(&sink), None)).await;
    let company = &world.companies().await[0];
    world.authenticate(&world.company_admin().await, company).await;
    let ends = world.refresh_expires(company).await;

    world.clock().advance(53 * DAY + DAY / 2);
    let _keeper = world.keeper_with(|policy| policy.keep_alive_before_end = Duration::ZERO);
    let mails = timeout(Duration::from_secs(60), sink.reached(2)).await.unwrap();

    let subject = mails[1].header("subject");
    assert!(subject.ends_with("the authorization at UPS expires in 7 days"), "{subject}");
    assert!(mails[1].text.replace("=\r\n", "").contains(&format!("expires on {ends} UTC")), "{}", mails[1].text);
}

#[tokio::test]
async fn the_webhook_gets_each_event_and_without_settings_nobody_is_told() {
    let (world, receiver) = (World::new().await, WebhookReceiver::start().await);
    let (silent, sink) = (World::new().await, MailSink::start().await);
    silent.tells(configured(None, None)).await;
    world.tells(configured(None, Some(&receiver))).await;

    for world in [&silent, &world] {
        world.authenticate(&world.company_admin().await, &world.companies().await[0]).await;
    }
    let posted = receiver.reached(2).await;
    sleep(Duration::from_millis(100)).await;

    let kinds: Vec<_> = posted.iter().map(|posted| posted.json()["kind"].clone()).collect();
    assert_eq!(kinds, ["started", "authenticated"]);
    assert!(posted[0].header("webhook-signature").starts_with("v1,"));
    assert_eq!((receiver.requests().len(), sink.mails().len()), (2, 0));
}

#[tokio::test]
async fn an_address_that_the_mail_server_does_not_know_keeps_no_other_mail_back() {
    let (world, sink) = (World::new().await, MailSink::start().await);
    world.tells(configured(Some(&sink), None)).await;
    let companies = world.companies().await;
    let browser = world.company_admin().await;
    sink.refuse_for_good(1);

    for company in &companies[..2] {
        world.authenticate(&browser, company).await;
    }
    let mails = sink.reached(1).await;

    let name = world.directory.company(&companies[1]).await.unwrap().unwrap().name;
    assert_eq!(mails[0].header("subject"), format!("{name}: UPS works"));
    eventually("one refusal", async || sink.refused() == 1).await;
}
