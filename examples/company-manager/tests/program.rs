//! The program itself: how it starts, refuses bad settings, and ends.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod program {
    pub(crate) mod process;
}

use std::{process::Stdio, time::Duration};

use batchsuite_tests::WebhookReceiver;
use company_manager::{demo::COMPANY_ADMIN, sessions::SessionId};
use program::process::{Program, command};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use url::{Url, form_urlencoded};

#[tokio::test]
async fn bad_settings_end_it_with_one_clear_line_and_a_non_zero_status() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let real =
        [("UPS_CLIENT_ID", "id"), ("UPS_CLIENT_SECRET", "canary-secret"), ("PUBLIC_URL", "https://batch.example.com")];
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&real, "DEMO_PASSWORD is missing"),
        (&real[..2], "PUBLIC_URL is missing"),
        (&[("LISTEN", "nonsense")], "LISTEN must be"),
        (&[("STOP_TIMEOUT", "soon")], "STOP_TIMEOUT must be"),
        (&[("WEBHOOK_URL", "https://hooks.example/canary")], "WEBHOOK_SECRET is missing"),
        (&[("SMTP_URL", "smtps://user:canary@mail.example")], "MAIL_FROM is missing"),
        (&[("LISTEN", "0.0.0.0:0")], "LISTEN is not a loopback address"),
        (&[("DATABASE_URL", "postgres://canary@localhost/x")], "BATCHSUITE_KEYS is missing"),
        (&[("LISTEN", &taken)], "LISTEN: cannot listen on"),
        (&[("LISTEN", "127.0.0.1:0"), ("FAKE_UPS_LISTEN", &taken)], "FAKE_UPS_LISTEN: cannot listen on"),
    ];
    for (variables, expected) in cases {
        let output = command(variables).output().await.unwrap();

        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{variables:?}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(stderr.starts_with("company-manager: ") && stderr.contains(expected), "{stderr}");
        assert!(!stderr.contains("canary"), "{stderr}");
    }
    let argument = command(&[]).arg("--port").output().await.unwrap();
    assert!(!argument.status.success());
}

#[tokio::test]
async fn without_any_setting_but_a_free_port_it_is_a_demo_that_says_how_to_get_in() {
    let program = Program::start(&[]).await;

    for expected in ["Open          http://127.0.0.1:", "company.admin  ", "admin          ", "demo@example.com  "] {
        assert!(program.said.contains(expected), "{}", program.said);
    }
    assert_ne!(program.url.host_str(), program.fake.host_str(), "another site, not just another port");
    assert!(program.said.contains(&format!("{}__fake/", program.fake)), "{}", program.said);
    assert!(!program.said.contains("DEMO_PASSWORD"));
    assert!(get(&program, "/healthz").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn it_speaks_http_1_alone_whatever_the_build_has_switched_on() {
    let program = Program::start(&[]).await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    for cut in [0, 3, 14] {
        let mut stream = program.connect().await;
        stream.write_all(&preface[..cut]).await.unwrap();
        // The rest may come when the connection has ended already.
        let _ = stream.write_all(&preface[cut..]).await;

        let mut told = Vec::new();
        let _ = timeout(Duration::from_secs(10), stream.read_to_end(&mut told)).await.expect("it ends");

        assert!(told.is_empty() || told.starts_with(b"HTTP/1.1 400"), "{told:?}");
    }
    assert!(get(&program, "/healthz").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_password_that_was_set_is_not_shown() {
    let program = Program::start(&[("DEMO_PASSWORD", "canary-demo-password")]).await;

    assert!(!program.said.contains("canary"), "{}", program.said);
    assert!(program.said.contains("(the password in DEMO_PASSWORD)"));
}

#[tokio::test]
async fn the_program_tells_its_webhook_of_a_trip() {
    let receiver = WebhookReceiver::start().await;
    let url = receiver.url();
    let password = "canary-demo-password";
    let secret = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let program =
        Program::start(&[("DEMO_PASSWORD", password), ("WEBHOOK_URL", url.as_str()), ("WEBHOOK_SECRET", secret)]).await;
    let mut visitor = Visitor { program: &program, session: String::new() };

    visitor.get("/login").await;
    visitor.post("/login", &[("sign_in_name", COMPANY_ADMIN), ("password", password)]).await;
    let list = visitor.get("/companies").await;
    let ids = list.split("\"/companies/").filter_map(|rest| rest.get(..36));
    let company = ids.into_iter().find(|id| id.parse::<uuid::Uuid>().is_ok()).unwrap();
    visitor.post(&format!("/companies/{company}/authenticate"), &[]).await;

    assert_eq!(receiver.reached(1).await[0].json()["kind"], "started");
}

/// A browser with one cookie.
struct Visitor<'a> {
    program: &'a Program,
    session: String,
}

impl Visitor<'_> {
    async fn get(&mut self, path: &str) -> String {
        self.send(self.client().get(self.url(path))).await
    }

    async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> String {
        let token = SessionId::from_cookie(&self.session).map(|session| session.csrf_token());
        let mut form = form_urlencoded::Serializer::new(String::new());
        let form = form.extend_pairs(fields).append_pair("csrf_token", &token.unwrap_or_default()).finish();
        let request = self.client().post(self.url(path)).body(form);
        self.send(request.header("content-type", "application/x-www-form-urlencoded")).await
    }

    fn client(&self) -> reqwest::Client {
        reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap()
    }

    fn url(&self, path: &str) -> Url {
        self.program.url.join(path).unwrap()
    }

    async fn send(&mut self, request: reqwest::RequestBuilder) -> String {
        let answer = request.header("cookie", format!("session={}", self.session)).send().await.unwrap();
        let status = answer.status();
        for cookie in answer.headers().get_all("set-cookie") {
            if let Some(value) = cookie.to_str().unwrap().strip_prefix("session=") {
                self.session = value.split(';').next().unwrap().to_owned();
            }
        }
        let body = answer.text().await.unwrap();
        assert!(status.is_success() || status.is_redirection(), "{status}: {body}");
        body
    }
}

#[tokio::test]
async fn against_ups_itself_no_password_is_shown_and_no_fake_runs() {
    let directory = std::env::temp_dir().join(format!("company-manager-{:016x}", rand::random::<u64>()));
    let mut child = command(&[
        ("LISTEN", "127.0.0.1:0"),
        ("DATABASE_URL", &format!("sqlite:{}/batchsuite.db", directory.display())),
        ("UPS_CLIENT_ID", "id"),
        ("UPS_CLIENT_SECRET", "canary-secret"),
        ("PUBLIC_URL", "https://batch.example.com"),
        ("DEMO_PASSWORD", "canary-password"),
    ])
    .stdout(Stdio::piped())
    .spawn()
    .unwrap();
    let mut said = [0; 4096];

    let length =
        timeout(Duration::from_secs(20), child.stdout.as_mut().unwrap().read(&mut said)).await.unwrap().unwrap();

    let said = String::from_utf8_lossy(&said[..length]).into_owned();
    assert!(said.contains("for https://batch.example.com/"), "{said}");
    assert!(!said.contains("canary") && !said.contains("__fake"), "{said}");
    child.kill().await.unwrap();
    std::fs::remove_dir_all(directory).unwrap();
}

#[tokio::test]
async fn sigterm_lets_a_request_that_is_under_way_finish_and_ends_with_status_0() {
    let mut program = Program::start(&[]).await;
    let mut stream = half_open_request(&program).await;

    program.terminate();
    while program.accepts().await {}
    stream.write_all(b"a=b&").await.unwrap();

    let mut answer = String::new();
    timeout(Duration::from_secs(20), stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    let status = timeout(Duration::from_secs(20), program.child.wait()).await.unwrap().unwrap();
    assert!(status.success(), "{status}");
}

#[tokio::test]
async fn a_half_open_request_does_not_keep_it_from_ending_in_its_time_with_status_0() {
    let mut program = Program::start(&[("STOP_TIMEOUT", "2")]).await;
    let half_open = half_open_request(&program).await;

    program.terminate();
    while program.accepts().await {}
    // Nobody ever sends the rest. (It ends within two seconds; a loaded machine gets more.)
    let status = timeout(Duration::from_secs(8), program.child.wait()).await.unwrap().unwrap();

    assert!(status.success(), "{status}");
    drop(half_open);
}

/// A request whose head the program has read: it waits for the body.
async fn half_open_request(program: &Program) -> TcpStream {
    let mut stream = program.connect().await;
    let head = format!(
        "POST /login HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-length: 4\r\nexpect: 100-continue\r\n\r\n",
        program.host()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut waits = [0; b"HTTP/1.1 100 Continue\r\n\r\n".len()];
    timeout(Duration::from_secs(20), stream.read_exact(&mut waits)).await.expect("it answers").unwrap();
    assert_eq!(String::from_utf8_lossy(&waits), "HTTP/1.1 100 Continue\r\n\r\n");
    stream
}

async fn get(program: &Program, path: &str) -> String {
    let mut stream = program.connect().await;
    let head = format!("GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", program.host());
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}
