//! A browser on a raw connection: it keeps cookies and follows no redirects.

use std::{collections::BTreeMap, net::SocketAddr, sync::Mutex};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

#[derive(Debug)]
pub(crate) struct Browser {
    address: SocketAddr,
    pub(crate) cookies: Mutex<BTreeMap<String, String>>,
    /// Cookies of other applications, sent before ours.
    pub(crate) others: &'static [u8],
}

/// A response.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Page {
    /// The value of this header, or an empty string.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    pub(crate) fn location(&self) -> &str {
        self.header("location")
    }

    pub(crate) fn set_cookies(&self) -> impl Iterator<Item = &str> {
        self.headers.iter().filter(|(name, _)| name == "set-cookie").map(|(_, value)| value.as_str())
    }
}

impl Browser {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, cookies: Mutex::default(), others: b"" }
    }

    pub(crate) fn keep(&self, name: &str, value: &str) {
        self.cookies.lock().unwrap().insert(name.to_owned(), value.to_owned());
    }

    pub(crate) async fn get(&self, path: &str) -> Page {
        self.send("GET", path, &[]).await
    }

    /// Posts the form of one of the host's own pages.
    pub(crate) async fn press(&self, path: &str) -> Page {
        self.send("POST", path, &[("sec-fetch-site", "same-origin"), ("origin", "null")]).await
    }

    /// Sends a request and keeps the cookies of the response.
    pub(crate) async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Page {
        let mut stream = self.begin(method, path, headers).await;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let page = read(&answer);
        for cookie in page.set_cookies() {
            let (name, rest) = cookie.split_once('=').unwrap();
            self.keep(name, rest.split(';').next().unwrap());
        }
        page
    }

    /// Sends a request without reading the response.
    pub(crate) async fn begin(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> TcpStream {
        let mut request = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", self.address);
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        if method == "POST" {
            request += "content-type: application/x-www-form-urlencoded\r\ncontent-length: 0\r\n";
        }
        let mut request = request.into_bytes();
        request.extend_from_slice(b"cookie: ");
        request.extend_from_slice(self.others);
        for (name, value) in &*self.cookies.lock().unwrap() {
            request.extend_from_slice(format!("{name}={value}; ").as_bytes());
        }
        request.extend_from_slice(b"\r\n\r\n");
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(&request).await.unwrap();
        stream
    }
}

fn read(answer: &[u8]) -> Page {
    let text = String::from_utf8(answer.to_vec()).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines.map(|line| line.split_once(": ").unwrap());
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    Page { status, headers, body: body.to_owned() }
}
