//! No token, secret, code, state, password or session id in a log, a page, a cookie or an address; but for those that must carry one.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

#[path = "web/world.rs"]
#[allow(dead_code, reason = "shared with the other tests, which need more of it")]
mod world;

use batchsuite_auth::fake_ups::{AccessTokens, FakeUps};
use batchsuite_tests::{MailSink, WebhookReceiver, eventually, log::Log};
use company_manager::{config::Config, demo::UPS_USER, notices};
use http::{Request, StatusCode, header};
use url::{Url, form_urlencoded};

use world::{Browser, PASSWORD, TRACKING_NUMBER, World};

/// Everything that a person can see of the application.
async fn look_around(browser: &Browser, company: &str) -> String {
    let mut seen = String::new();
    for path in [
        "/".to_owned(),
        "/companies".to_owned(),
        "/batch-track".to_owned(),
        format!("/companies/{company}"),
        format!("/companies/{company}/history"),
    ] {
        let answer = browser.get(&path).await;
        seen += &answer.body;
        seen += &format!("{:?}", answer.headers);
    }
    seen
}

/// A connect link, from the page that shows it to the one that says it was used; everything that the colleague sees.
async fn follow_connect_link(world: &World, browser: &Browser, id: &str, secrets: &mut Vec<String>) -> String {
    let made = browser.post(&format!("/companies/{id}/connect-link"), &[]).await.body;
    let link = &made[made.find("/connect/").expect("an address")..];
    let link = link.split('<').next().unwrap();
    secrets.push(link["/connect/".len()..].to_owned());
    let colleague = world.browser();
    let press = async || {
        let request =
            Request::post(link).header(header::HOST, "127.0.0.1:3000").header("sec-fetch-site", "same-origin");
        colleague.request(request, String::new()).await
    };
    let mut seen = colleague.get(link).await.body;
    let departure = press().await;
    let query = world.ups.consent(&departure.location().parse().unwrap(), UPS_USER).await;
    secrets.extend(["code", "state"].map(|name| parameter(&query, name)));
    let done = colleague.get(&format!("/oauth/ups/callback?{query}")).await;
    assert!(done.body.contains("is authenticated"), "{}", done.body);
    seen += &format!("{}{:?}", done.body, done.headers);
    for used in [colleague.get(link).await, press().await] {
        assert_eq!(used.status, StatusCode::GONE);
        seen += &format!("{}{:?}", used.body, used.headers);
    }
    let cookies = colleague.cookies.lock().unwrap().clone();
    let of_link = cookies.iter().find(|(name, _)| name.starts_with("ups-link-")).expect("the cookie of the link");
    secrets.extend(of_link.1.split('.').map(str::to_owned));
    seen
}

fn parameter(query: &str, name: &str) -> String {
    form_urlencoded::parse(query.as_bytes()).find(|(found, _)| found == name).unwrap().1.into_owned()
}

/// Begins mails and a webhook, which fail at first. Returns their secrets.
async fn told(world: &World, sink: &MailSink, receiver: &WebhookReceiver) -> [String; 3] {
    sink.refuse(1);
    receiver.answer_status(500);
    let [password, key] = ["canary-mail-password", "canary-webhook-key"].map(str::to_owned);
    let secret = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned();
    let value = |name: &str| match name {
        "SMTP_URL" => Some(sink.url().replace("//", &format!("//user:{password}@"))),
        "MAIL_FROM" => Some("no-reply@batch.example".to_owned()),
        "MAIL_DOMAIN" => Some("batch.example".to_owned()),
        "WEBHOOK_URL" => Some(format!("{}?key={key}", receiver.url())),
        "WEBHOOK_SECRET" => Some(secret.clone()),
        _ => None,
    };
    let config = Config::read(|name| value(name).map(Into::into)).unwrap();
    tracing::info!(?config, "what is logged here must show none of them");
    let begun = notices::begin(config.notices, &world.auth, world.directory.clone(), &world.public_url).unwrap();
    for delivery in begun {
        delivery.begun().await;
    }
    [password, key, secret]
}

#[tokio::test]
async fn no_secret_is_seen_in_a_log_at_trace_a_page_a_cookie_or_an_address() {
    // For the whole process, so this is its only test: every thread's log counts.
    let log = Log::default();
    tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_ansi(false).with_writer(log.clone()).init();
    let world = World::new().await;
    let browser = world.company_admin().await;
    let company = world.companies().await.remove(0);
    let id = company.as_str();
    let mut secrets = vec![PASSWORD.to_owned(), FakeUps::CLIENT_SECRET.to_owned(), "CANARYKEY0123456".to_owned()];
    secrets.push(browser.session().unwrap().expose_secret().to_owned());

    let (sink, receiver) = (MailSink::start().await, WebhookReceiver::start().await);
    secrets.extend(told(&world, &sink, &receiver).await);

    // A trip that succeeds, one that is refused, one that is declined.
    let callback = world.trip(&browser, &company).await;
    let url = Url::parse("http://localhost/").unwrap().join(&callback).unwrap();
    secrets.extend(url.query_pairs().filter(|(name, _)| name != "scope").map(|(_, value)| value.into_owned()));
    let done = browser.get(&callback).await;
    let mut seen = format!("{}{:?}", done.body, done.headers);
    seen += &browser.get(&callback).await.body;
    let declined = world.depart(&browser, &company).await;
    let state = declined.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    seen += &browser.get(&format!("/oauth/ups/callback?error=access_denied&state={state}")).await.body;
    secrets.push(state);
    seen += &follow_connect_link(&world, &browser, id, &mut secrets).await;
    // A token at work, renewed, and refused.
    secrets.push(world.auth.access_token(&company).await.unwrap().expose_secret().to_owned());
    let track = format!("/companies/{id}/track");
    seen += &browser.post(&track, &[("number", TRACKING_NUMBER)]).await.body;
    browser.post(&format!("/companies/{id}/access-key"), &[("access_key", "CANARYKEY0123456")]).await;
    seen += &look_around(&browser, id).await;
    world.ups.change_password_with(UPS_USER, AccessTokens::Die);
    seen += &browser.post(&track, &[("number", TRACKING_NUMBER)]).await.body;
    seen += &look_around(&browser, id).await;
    secrets.push(browser.cookies.lock().unwrap()["ups-trip"].clone());

    sink.reached(2).await;
    eventually("the webhook has the last event", async || {
        receiver.requests().iter().any(|posted| posted.json()["kind"] == "invalidated")
    })
    .await;
    assert!(sink.refused() == 1 && sink.sign_ins() >= 3, "the password was used");
    seen += &sink.mails().iter().map(|mail| mail.text.replace("=\r\n", "")).collect::<String>();
    seen += &receiver.requests().iter().map(|posted| posted.body.clone()).collect::<String>();

    let logged = log.text();
    assert!(logged.contains("/companies/{id}/track"), "the log is there: {logged:.500}");
    for secret in &secrets {
        assert!(secret.len() >= 12);
        assert!(!logged.contains(secret.as_str()), "{secret} in the log");
        assert!(!seen.contains(secret.as_str()), "{secret} on a page");
        let encoded: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        assert!(!logged.contains(&encoded) && !seen.contains(&encoded), "{secret}, encoded");
    }
}
