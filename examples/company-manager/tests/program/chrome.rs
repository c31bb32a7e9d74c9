//! A headless Chromium, driven by chromedriver over the WebDriver protocol (W3C). A missing browser fails the test.

use std::{
    fs,
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::Method;
use serde_json::{Value, json};

/// How long the driver looks for something before it says that it is not there.
const PATIENCE: Duration = Duration::from_secs(15);
/// The name under which an element's id is passed (W3C WebDriver §12.2).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

pub(crate) struct Chrome {
    driver: Child,
    _stdout: BufReader<ChildStdout>,
    profile: PathBuf,
    http: reqwest::Client,
    session: String,
}

impl Chrome {
    /// Starts a driver on a free port, and a browser with a new profile.
    pub(crate) async fn start() -> Self {
        let mut driver = match Command::new("chromedriver").arg("--port=0").stdout(Stdio::piped()).spawn() {
            Ok(driver) => driver,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                panic!("chromedriver is missing: install the Debian packages chromium and chromium-driver")
            }
            Err(error) => panic!("chromedriver does not start: {error}"),
        };
        let mut stdout = BufReader::new(driver.stdout.take().unwrap());
        let mut said = String::new();
        let port = loop {
            assert!(stdout.read_line(&mut said).unwrap() > 0, "chromedriver ended: {said}");
            let port = said.rsplit_once("successfully on port ").and_then(|(_, port)| port.trim().strip_suffix('.'));
            if let Some(port) = port {
                break port.to_owned();
            }
        };
        let profile =
            PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("chromium-{:032x}", rand::random::<u128>()));
        fs::create_dir_all(&profile).unwrap();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut chrome =
            Self { driver, _stdout: stdout, profile, http, session: format!("http://127.0.0.1:{port}/session") };
        let profile = format!("--user-data-dir={}", chrome.profile.display());
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--no-first-run",
            "--no-proxy-server",
            "--window-size=1280,900",
            &profile,
        ];
        let capabilities = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
            "timeouts": { "implicit": PATIENCE.as_millis() as u64 },
        } } });
        // Where there is a driver and no browser, its answer says so.
        let session = chrome.ask(Method::POST, "", capabilities).await;
        chrome.session = format!("{}/{}", chrome.session, session["sessionId"].as_str().unwrap());
        chrome
    }

    pub(crate) async fn open(&self, url: impl AsRef<str>) {
        self.ask(Method::POST, "/url", json!({ "url": url.as_ref() })).await;
    }

    /// Opens another tab of the same browser and goes there; the handles of the one before and of the new one.
    pub(crate) async fn open_tab(&self) -> (String, String) {
        let before = self.ask(Method::GET, "/window", Value::Null).await.as_str().unwrap().to_owned();
        let opened = self.ask(Method::POST, "/window/new", json!({ "type": "tab" })).await;
        let opened = opened["handle"].as_str().unwrap().to_owned();
        self.go_to_tab(&opened).await;
        (before, opened)
    }

    pub(crate) async fn go_to_tab(&self, handle: &str) {
        self.ask(Method::POST, "/window", json!({ "handle": handle })).await;
    }

    /// Sets a cookie for the host of the current page.
    pub(crate) async fn keep_cookie(&self, name: &str, value: &str) {
        self.ask(Method::POST, "/cookie", json!({ "cookie": { "name": name, "value": value } })).await;
    }

    /// Forgets the cookie with this name.
    pub(crate) async fn forget_cookie(&self, name: &str) {
        self.ask(Method::DELETE, &format!("/cookie/{name}"), Value::Null).await;
    }

    pub(crate) async fn address(&self) -> url::Url {
        self.ask(Method::GET, "/url", Value::Null).await.as_str().unwrap().parse().unwrap()
    }

    /// The referrer that the page sees.
    pub(crate) async fn referrer(&self) -> String {
        let script = json!({ "script": "return document.referrer", "args": [] });
        self.ask(Method::POST, "/execute/sync", script).await.as_str().unwrap().to_owned()
    }

    /// Waits until the page shows this text.
    pub(crate) async fn see(&self, text: &str) {
        self.find("xpath", &format!("//body//*[contains(normalize-space(.), \"{text}\")]")).await;
    }

    /// The text of the page.
    pub(crate) async fn text(&self) -> String {
        let body = self.find("css selector", "body").await;
        self.ask(Method::GET, &format!("/element/{body}/text"), Value::Null).await.as_str().unwrap().to_owned()
    }

    /// Types into the field with this label, in place of what is there.
    pub(crate) async fn fill(&self, label: &str, text: &str) {
        let field = format!("//*[@id=//label[starts-with(normalize-space(.), \"{label}\")]/@for]");
        let field = self.find("xpath", &field).await;
        self.ask(Method::POST, &format!("/element/{field}/clear"), json!({})).await;
        self.ask(Method::POST, &format!("/element/{field}/value"), json!({ "text": text })).await;
    }

    /// Ticks the box with this label.
    pub(crate) async fn tick(&self, label: &str) {
        let field = format!("//input[@id=//label[starts-with(normalize-space(.), \"{label}\")]/@for]");
        self.click(&field).await;
    }

    /// Presses the button that says this.
    pub(crate) async fn press(&self, words: &str) {
        self.click(&format!("//button[normalize-space(.)=\"{words}\"]")).await;
    }

    /// Presses the button, and again after 0.5 s, 1 s, 2 s and so on, until the next page is there.
    pub(crate) async fn press_until_it_is_gone(&self, words: &str) {
        let button = self.find("xpath", &format!("//button[normalize-space(.)=\"{words}\"]")).await;
        let script = "const press = (button, wait) => { button.click(); setTimeout(press, wait, button, 2 * wait); }; \
                      setTimeout(press, 0, arguments[0], 500);";
        self.ask(Method::POST, "/execute/sync", json!({ "script": script, "args": [{ ELEMENT: button }] })).await;
    }

    /// Follows the link, or opens the menu, that says this.
    pub(crate) async fn follow(&self, words: &str) {
        self.click(&format!("//*[self::a or self::summary][starts-with(normalize-space(.), \"{words}\")]")).await;
    }

    /// Sends keys to whatever has the focus.
    pub(crate) async fn keys(&self, keys: &str) {
        let focused = self.ask(Method::GET, "/element/active", Value::Null).await;
        let focused = focused.as_object().unwrap().values().next().unwrap().as_str().unwrap().to_owned();
        self.ask(Method::POST, &format!("/element/{focused}/value"), json!({ "text": keys })).await;
    }

    /// Whether the page fits a screen of this many pixels, without scrolling sideways.
    pub(crate) async fn fits(&self, width: u32) -> bool {
        self.resize(width).await;
        let script = "return document.documentElement.scrollWidth <= document.documentElement.clientWidth";
        let fits = self.ask(Method::POST, "/execute/sync", json!({ "script": script, "args": [] })).await;
        self.resize(1280).await;
        fits.as_bool().unwrap()
    }

    /// The whole page as PNG.
    pub(crate) async fn picture(&self) -> Vec<u8> {
        let ask = json!({ "cmd": "Page.captureScreenshot", "params": { "captureBeyondViewport": true } });
        let answer = self.ask(Method::POST, "/goog/cdp/execute", ask).await;
        STANDARD.decode(answer["data"].as_str().unwrap()).unwrap()
    }

    /// What the browser complained about: a blocked redirect, style or picture would be here.
    pub(crate) async fn complaints(&self) -> Vec<String> {
        let log = self.ask(Method::POST, "/se/log", json!({ "type": "browser" })).await;
        let entries = log.as_array().unwrap().iter();
        entries.map(|entry| entry["message"].as_str().unwrap().to_owned()).collect()
    }

    async fn resize(&self, width: u32) {
        let screen = json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false });
        let ask = json!({ "cmd": "Emulation.setDeviceMetricsOverride", "params": screen });
        self.ask(Method::POST, "/goog/cdp/execute", ask).await;
    }

    async fn click(&self, xpath: &str) {
        let element = self.find("xpath", xpath).await;
        self.ask(Method::POST, &format!("/element/{element}/click"), json!({})).await;
    }

    async fn find(&self, using: &str, value: &str) -> String {
        let found = self.try_ask(Method::POST, "/element", json!({ "using": using, "value": value })).await;
        match found {
            Ok(found) => found.as_object().unwrap().values().next().unwrap().as_str().unwrap().to_owned(),
            Err(error) => {
                let source = self.try_ask(Method::GET, "/source", Value::Null).await;
                panic!("{error}\nat {}\n{source:?}", self.address().await)
            }
        }
    }

    async fn ask(&self, method: Method, path: &str, body: Value) -> Value {
        self.try_ask(method, path, body).await.unwrap_or_else(|error| panic!("{error}"))
    }

    async fn try_ask(&self, method: Method, path: &str, body: Value) -> Result<Value, String> {
        let mut request = self.http.request(method, format!("{}{path}", self.session));
        if !body.is_null() {
            request = request.json(&body);
        }
        let mut answer: Value = request.send().await.unwrap().json().await.unwrap();
        let value = answer["value"].take();
        match value.get("error") {
            Some(error) => Err(format!("{error}: {}", value["message"])),
            None => Ok(value),
        }
    }
}

impl Drop for Chrome {
    /// Ends the session first: a driver that is killed leaves its browser behind.
    fn drop(&mut self) {
        let _ = self.end_session();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
        let _ = fs::remove_dir_all(&self.profile);
    }
}

impl Chrome {
    /// Without the runtime, which may be gone when a test has failed.
    fn end_session(&self) -> std::io::Result<()> {
        let session: url::Url = self.session.parse().map_err(std::io::Error::other)?;
        let address = &session[url::Position::BeforeHost..url::Position::AfterPort];
        let mut stream = std::net::TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "DELETE {} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n", session.path())?;
        // It answers when the browser has ended, and keeps the connection.
        stream.read(&mut [0; 512]).map(drop)
    }
}
