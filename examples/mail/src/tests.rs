use batchsuite_auth::{Environment, EventId, Revision, clock::earlier, events::EventContent};
use batchsuite_tests::{DAY, MailSink, acme, ada, opt_in};

use super::*;

#[tokio::test]
async fn the_administrator_hears_of_each_change_also_after_an_outage_of_the_mail_server() {
    let sink = MailSink::start().await;
    sink.refuse(1);

    run(&sink.url(), sink.reached(4)).await.unwrap();

    let mails = sink.mails();
    let subjects: Vec<_> = mails.iter().map(|mail| mail.header("subject")).collect();
    let told = ["works", "authenticate again", "works again", "authenticate again"];
    assert_eq!(subjects, told.map(|told| format!("UPS authorization of acme: {told}")));
    assert!(mails[1].text.contains("password was changed"), "{}", mails[1].text);
    assert_eq!(mails[0].envelope, ["no-reply@batch.example", "admin@acme.example"]);
    let ids: std::collections::HashSet<_> = mails.iter().map(|mail| mail.header("message-id")).collect();
    assert_eq!((ids.len(), sink.refused()), (4, 1));
}

#[tokio::test]
async fn the_administrator_is_warned_with_the_days_that_are_left() {
    let (ups, sink) = (FakeUps::start().await, MailSink::start().await);
    let auth = ups.authenticator().store(MemoryStore::with_clock(ups.clock())).build().unwrap();
    opt_in(&auth, &ups, &acme()).await;
    let status = auth.status(&acme()).await.unwrap();
    let Status::Authenticated { refresh_expires_at: Some(end), .. } = status.status else { panic!("{status:?}") };
    let server = AsyncSmtpTransport::<Tokio1Executor>::from_url(&sink.url()).unwrap().build();
    let mails = Mails { auth, server, from: "no-reply@batch.example".parse().unwrap() };
    let content = EventContent::new(EventKind::ExpiringSoon).with_actor(ada());
    let at = earlier(end, 7 * DAY - DAY / 100);
    let event = Event::new(EventId::new(9), at, Environment::Cie, Some(acme()), Revision::default(), content);

    mails.handle(&event).await.unwrap();

    let subject = sink.reached(1).await[0].header("subject").to_owned();
    assert_eq!(subject, "UPS authorization of acme: expires in 7 days");
}
