//! The program from its users' side: started with options, called over real connections, stopped with signals.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::{
    io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _},
    net::TcpStream,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use reqwest::{Client, Response, header, redirect};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

const CALLBACK: &str = "http://localhost:3000/callback";

struct Program {
    child: Child,
    address: String,
    client: Client,
}

impl Program {
    fn start(options: &[&str]) -> Self {
        let mut child = program(&["--listen", "127.0.0.1:0", "--client-id", "id", "--client-secret", "secret"])
            .args(["--redirect-uri", CALLBACK, "--redirect-uri", "http://localhost/second"])
            .args(["--user", "one@example.com:p:1", "--user", "two:p2"])
            .args(options)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.split_once("http://").unwrap().1.split(' ').next().unwrap().to_owned();
        let client = Client::builder().redirect(redirect::Policy::none()).no_proxy().build().unwrap();
        Self { child, address, client }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    async fn post(&self, path: &str, form: &[(&str, &str)]) -> Result<Response, reqwest::Error> {
        self.client.post(self.url(path)).basic_auth("id", Some("secret")).form(form).send().await
    }

    async fn control(&self, path: &str, input: Value) {
        let response = self.client.post(self.url(path)).json(&input).send().await.unwrap();
        assert_eq!(response.status(), 200, "{}", response.text().await.unwrap());
    }

    async fn refresh(&self, token: &str) -> Result<Response, reqwest::Error> {
        self.post("/security/v1/oauth/refresh", &[("grant_type", "refresh_token"), ("refresh_token", token)]).await
    }

    /// Walks through the pages as a browser does; returns the code.
    async fn consent(&self, user: &str, password: &str) -> String {
        let asked = [("client_id", "id"), ("redirect_uri", CALLBACK), ("response_type", "code"), ("state", "s")];
        let response = self.client.get(self.url("/security/v1/oauth/authorize")).query(&asked).send().await.unwrap();
        let sign_in = location(&response);
        assert_eq!(self.client.get(sign_in.as_str()).send().await.unwrap().status(), 200);
        let mut form = asked.to_vec();
        form.extend([("username", user), ("agree", "yes"), ("password", password)]);
        let back = location(&self.client.post(self.url("/lasso/signin")).form(&form).send().await.unwrap());
        assert!(back.as_str().starts_with(CALLBACK) && back.as_str().ends_with("&scope=read&state=s"), "{back}");
        back.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned()
    }

    async fn pair(&self) -> Value {
        let code = self.consent("one@example.com", "p:1").await;
        let form = [("grant_type", "authorization_code"), ("code", code.as_str()), ("redirect_uri", CALLBACK)];
        self.post("/security/v1/oauth/token", &form).await.unwrap().json().await.unwrap()
    }

    async fn track(&self, access_token: &str) -> u16 {
        let request = self.client.get(self.url("/api/track/v1/details/1Z999AA10123456784")).bearer_auth(access_token);
        let request = request.header("transId", "t-1").header("transactionSrc", "test");
        request.send().await.unwrap().status().as_u16()
    }

    /// The answer to a request on its own connection, and how that connection ended.
    fn ask(&self) -> (String, Option<ErrorKind>) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let request = "GET /api/track/v1/details/1Z HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        // A reset is reported once, to whichever call comes first.
        let mut bytes = Vec::new();
        let written = stream.write_all(request.as_bytes());
        let end = written.and_then(|()| stream.read_to_end(&mut bytes)).err().map(|error| error.kind());
        (String::from_utf8(bytes).unwrap(), end)
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program(options: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fake-ups"));
    command.args(options).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn location(response: &Response) -> reqwest::Url {
    assert_eq!(response.status(), 302);
    response.headers()[header::LOCATION].to_str().unwrap().parse().unwrap()
}

fn text<'a>(json: &'a Value, name: &str) -> &'a str {
    json[name].as_str().unwrap_or_else(|| panic!("{name} in {json}"))
}

#[tokio::test]
async fn an_ordinary_client_gets_a_pair_keeps_it_alive_and_uses_it() {
    let ups = Program::start(&["--access-lifetime", "100", "--refresh-lifetime", "2000"]);

    let first = ups.pair().await;
    assert_eq!((text(&first, "expires_in"), text(&first, "refresh_token_expires_in")), ("100", "2000"));
    assert_eq!(ups.track(text(&first, "access_token")).await, 200);

    ups.control("/__fake/clock", json!({"advance_seconds": 101})).await;
    assert_eq!(ups.track(text(&first, "access_token")).await, 401);
    let second: Value = ups.refresh(text(&first, "refresh_token")).await.unwrap().json().await.unwrap();
    assert_eq!(ups.track(text(&second, "access_token")).await, 200);
    assert_eq!(ups.refresh(text(&first, "refresh_token")).await.unwrap().status(), 400);

    ups.control("/__fake/password", json!({"user": "one@example.com", "password": "new"})).await;
    assert_eq!(ups.refresh(text(&second, "refresh_token")).await.unwrap().status(), 400);
    ups.consent("one@example.com", "new").await;
    ups.consent("two", "p2").await;

    let counts: Value = ups.client.get(ups.url("/__fake/requests")).send().await.unwrap().json().await.unwrap();
    assert_eq!(counts["refresh"], json!({"ok": 1, "spent_refresh_token": 1, "opt_in_ended": 1}));
    assert_eq!(counts["sign_in"], json!({"ok": 3, "consented": 3}));
}

#[tokio::test]
async fn a_code_ends_with_its_lifetime() {
    let ups = Program::start(&["--code-lifetime", "5"]);
    let code = ups.consent("two", "p2").await;

    ups.control("/__fake/clock", json!({"advance_seconds": 5})).await;

    let form = [("grant_type", "authorization_code"), ("code", code.as_str()), ("redirect_uri", CALLBACK)];
    assert_eq!(ups.post("/security/v1/oauth/token", &form).await.unwrap().status(), 400);
}

#[tokio::test]
async fn faults_on_the_wire_happen_here_too() {
    let ups = Program::start(&[]);
    for (endpoint, fault, end, answered) in [
        ("track", json!("reset"), Some(ErrorKind::ConnectionReset), ""),
        ("track", json!("drop_answer"), Some(ErrorKind::ConnectionReset), ""),
        ("track", json!("close"), None, ""),
        ("connection", json!("reset"), Some(ErrorKind::ConnectionReset), ""),
        ("track", json!({"truncate": {"keep_bytes": 11}}), None, "\r\n\r\n{\"response\""),
        ("track", json!({"trickle": {"milliseconds": 1}}), None, "}]}}"),
        ("track", json!({"delay": {"milliseconds": 1}}), None, "}]}}"),
    ] {
        ups.control("/__fake/faults", json!({"endpoint": endpoint, "fault": fault})).await;
        // The client's own connection is kept alive, so the next accepted connection is the one made here.
        let (text, how) = ups.ask();
        assert_eq!(how, end, "{fault}: {text}");
        assert!(text.ends_with(answered) && text.is_empty() == answered.is_empty(), "{fault}: {text}");
        assert!(!text.contains("fake"), "{text}");
    }
}

#[tokio::test]
async fn a_dropped_answer_has_rotated_the_token() {
    let ups = Program::start(&[]);
    let pair = ups.pair().await;
    ups.control("/__fake/faults", json!({"endpoint": "refresh", "fault": "drop_answer"})).await;

    let error = ups.refresh(text(&pair, "refresh_token")).await.unwrap_err();

    assert!(!error.is_connect() && !error.is_timeout(), "{error:?}");
    let again: Value = ups.refresh(text(&pair, "refresh_token")).await.unwrap().json().await.unwrap();
    assert_eq!(again["response"]["errors"][0]["message"], "Invalid Refresh Token");
}

#[tokio::test]
async fn a_request_that_is_too_large_gets_413_and_the_server_goes_on() {
    let ups = Program::start(&[]);
    let body = "x".repeat(fake_ups::LONGEST_BODY + 1);

    let response = ups.client.post(ups.url("/security/v1/oauth/token")).body(body).send().await.unwrap();

    assert_eq!(response.status(), 413);
    assert!(response.text().await.unwrap().contains("413 Payload Too Large"));
    assert_eq!(ups.ask().1, None);
}

#[tokio::test]
async fn a_body_without_sound_chunks_gets_400_and_the_server_goes_on() {
    let ups = Program::start(&[]);
    let mut stream = TcpStream::connect(&ups.address).unwrap();
    let head = "POST /security/v1/oauth/token HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n";

    stream.write_all(format!("{head}zz\r\n").as_bytes()).unwrap();

    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
    assert_eq!(ups.ask().1, None);
}

#[tokio::test]
async fn an_answer_has_the_framing_that_a_fault_asks_for() {
    let ups = Program::start(&[]);
    for (name, value, body) in [
        ("transfer-encoding", "chunked", "2\r\n{}\r\n0\r\n\r\n"),
        ("transfer-encoding", "gzip", "{}"),
        ("content-length", "1", "{}"),
        ("content-length", "3", "{}"),
    ] {
        let fault = json!({"answer": {"headers": {name: value}, "body": "{}"}});
        ups.control("/__fake/faults", json!({"endpoint": "track", "fault": fault})).await;
        let mut stream = TcpStream::connect(&ups.address).unwrap();

        stream.write_all(b"GET /api/track/v1/details/1Z HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();

        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, sent) = answer.split_once("\r\n\r\n").unwrap_or_default();
        assert!(head.contains(&format!("\r\n{name}: {value}")), "{name}: {value}: {answer:?}");
        assert_eq!(sent, body, "{name}: {value}");
    }
    assert_eq!(ups.ask().1, None);
}

#[tokio::test]
async fn http_2_is_refused_and_meets_no_fault() {
    let ups = Program::start(&[]);
    ups.control("/__fake/faults", json!({"endpoint": "track", "fault": "drop_answer"})).await;
    let mut stream = TcpStream::connect(&ups.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();

    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();

    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    assert!(bytes.starts_with(b"HTTP/1.1 505 "), "{}", String::from_utf8_lossy(&bytes));
    assert_eq!(ups.ask().1, Some(ErrorKind::ConnectionReset), "the fault is still to happen");
}

#[tokio::test]
async fn another_host_is_answered_only_where_it_is_allowed() {
    for (options, status) in [(&[][..], 421), (&["--allow-host", "ups.test"][..], 200)] {
        let ups = Program::start(options);
        let asked = ups.client.get(ups.url("/__fake/")).header("host", "ups.test").send().await.unwrap();
        assert_eq!(asked.status(), status);
        assert_eq!(asked.text().await.unwrap().contains("p:1"), status == 200);
    }
}

#[tokio::test]
async fn options_say_what_is_not_known_of_ups() {
    let ups = Program::start(&["--application-name", "My Shop", "--pkce-requires-secret", "--twelve-fields"]);
    let asked = [("client_id", "id"), ("redirect_uri", CALLBACK), ("response_type", "code")];
    let response = ups.client.get(ups.url("/security/v1/oauth/authorize")).query(&asked).send().await.unwrap();
    assert_eq!(response.headers()["displayname"], "My Shop");

    let pair = ups.pair().await;
    assert_eq!((text(&pair, "scope"), text(&pair, "refresh_count"), pair.as_object().unwrap().len()), ("", "0", 12));

    let form = [("grant_type", "authorization_code"), ("code_verifier", "v"), ("client_id", "id")];
    let refused = ups.client.post(ups.url("/security/v1/oauth/token")).form(&form).send().await.unwrap();
    assert!(refused.text().await.unwrap().contains("Invalid/Missing Authorization Header"));
}

#[tokio::test]
async fn a_client_without_a_browser_gets_its_consent_and_a_reset_forgets_it() {
    let ups = Program::start(&[]);
    let url = format!(
        "{}?client_id=id&redirect_uri={CALLBACK}&response_type=code&state=s",
        ups.url("/security/v1/oauth/authorize")
    );
    let input = json!({"authorize_url": url, "user": "two"});

    let told: Value =
        ups.client.post(ups.url("/__fake/consent")).json(&input).send().await.unwrap().json().await.unwrap();

    let callback: reqwest::Url = text(&told, "callback").parse().unwrap();
    let code = callback.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
    let form = [("grant_type", "authorization_code"), ("code", code.as_str()), ("redirect_uri", CALLBACK)];
    let pair: Value = ups.post("/security/v1/oauth/token", &form).await.unwrap().json().await.unwrap();
    ups.control("/__fake/clock", json!({"advance_seconds": "-60"})).await;
    ups.control("/__fake/reset", json!({})).await;
    assert_eq!(ups.refresh(text(&pair, "refresh_token")).await.unwrap().status(), 400);
    let counts: Value = ups.client.get(ups.url("/__fake/requests")).send().await.unwrap().json().await.unwrap();
    assert_eq!((&counts["token"], &counts["sign_in"]), (&json!({}), &json!({})));
}

#[tokio::test]
async fn a_signal_lets_answers_under_way_arrive_and_ends_the_program_well() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut ups = Program::start(&[]);
        ups.control("/__fake/faults", json!({"endpoint": "track", "fault": {"delay": {"milliseconds": 400}}})).await;
        let mut stream = TcpStream::connect(&ups.address).unwrap();
        stream.write_all(b"GET /api/track/v1/details/1Z HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
        // A request is in progress once it is counted.
        while ups.client.get(ups.url("/__fake/requests")).send().await.unwrap().json::<Value>().await.unwrap()["track"]
            == json!({})
        {}

        ups.signal(signal);

        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 401 ") && answer.ends_with("}]}}"), "{answer}");
        assert!(ups.child.wait().unwrap().success());
    }
}

#[tokio::test]
async fn a_hanging_connection_does_not_keep_the_program_from_ending() {
    let mut ups = Program::start(&[]);
    ups.control("/__fake/faults", json!({"endpoint": "track", "fault": "hang"})).await;
    let mut stream = TcpStream::connect(&ups.address).unwrap();
    stream.write_all(b"GET /api/track/v1/details/1Z HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    while ups.client.get(ups.url("/__fake/requests")).send().await.unwrap().json::<Value>().await.unwrap()["track"]
        == json!({})
    {}
    let started = tokio::time::Instant::now();

    ups.signal(Signal::TERM);

    assert!(ups.child.wait().unwrap().success());
    assert!(started.elapsed() < fake_ups::DRAIN + Duration::from_secs(5));
}

#[test]
fn bad_configuration_ends_with_one_clear_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (options, words) in [
        (vec!["--listen", "nowhere"], "cannot listen on nowhere"),
        (vec!["--listen", &taken], "in use"),
        (vec!["--redirect-uri", "/callback"], "redirect URI \"/callback\""),
        (vec!["--user", "nameonly"], "NAME:PASSWORD"),
        (vec!["--user", "a:b", "--user", "A:c"], "a user needs a name of their own"),
        (vec!["--client-id", ""], "a client needs an id"),
        (vec!["--access-lifetime", "0"], "at least one second"),
        (vec!["--code-lifetime", "soon"], "--code-lifetime"),
        (vec!["--client-secret"], "--client-secret"),
        (vec!["--application-name", ""], "application name"),
        (vec!["--allow-host", "https://onlinetools.ups.com"], "not a bare name"),
        (vec!["--tls-cert", "/nowhere"], "--tls-key"),
        (vec!["--listen", "127.0.0.1:0", "--tls-cert", "/nowhere", "--tls-key", "/nowhere"], "/nowhere"),
        (vec!["--surprise"], "--surprise"),
    ] {
        let Output { status, stdout, stderr } = program(&options).output().unwrap();
        let told = String::from_utf8(stderr).unwrap();
        assert!(!status.success(), "{options:?}");
        assert!(told.starts_with("fake-ups: ") && told.contains(words), "{options:?}: {told}");
        assert_eq!((told.lines().count(), stdout.len()), (1, 0), "{told}");
    }
}

#[test]
fn help_tells_every_option() {
    let help = String::from_utf8(program(&["--help"]).output().unwrap().stdout).unwrap();
    for option in [
        "--listen",
        "--client-id",
        "--client-secret",
        "--redirect-uri",
        "--user",
        "--access-lifetime",
        "--refresh-lifetime",
        "--code-lifetime",
        "--application-name",
        "--pkce-requires-secret",
        "--twelve-fields",
        "--allow-host",
        "--tls-cert",
        "--tls-key",
    ] {
        assert!(help.contains(option), "{option}");
    }
}
