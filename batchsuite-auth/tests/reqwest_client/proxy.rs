use std::process::Command;

use batchsuite_auth::http::{HttpClient, HttpErrorKind, ReqwestClient};
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;

use crate::server::{Server, answer, assert_kind, client, refresh};
use crate::tls::Authority;

/// Set in the child process only.
const CHILD: &str = "REQWEST_CLIENT_PROXY_CHILD";

#[tokio::test]
async fn a_proxy_in_the_environment_is_not_used() {
    if std::env::var_os(CHILD).is_some() {
        return no_connection_goes_to_the_environments_proxy().await;
    }
    // Its environment cannot be changed while other tests run, so the test runs itself once more.
    let proxy = Server::answering(answer("502 Bad Gateway", "", b"")).await;
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "proxy::a_proxy_in_the_environment_is_not_used", "--nocapture"]).env(CHILD, "1");
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        for name in [name.to_owned(), name.to_ascii_lowercase()] {
            child.env(name, format!("http://127.0.0.1:{}", proxy.port()));
        }
    }
    for name in ["NO_PROXY", "no_proxy", "REQUEST_METHOD"] {
        child.env_remove(name);
    }

    let output = tokio::task::spawn_blocking(move || child.output()).await.unwrap().unwrap();

    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "the child ran no test");
    assert_eq!(proxy.connections(), 0);
}

async fn no_connection_goes_to_the_environments_proxy() {
    let authority = Authority::new();
    let plain = Server::answering(answer("200 OK", "", b"{}")).await;
    let encrypted = authority.server("localhost", |_| {}).await;
    let client = client().root_certificate(authority.pem()).build().unwrap();

    let over_http = client.send(refresh(plain.url())).await.unwrap();
    let over_https = client.send(refresh(format!("https://localhost:{}/", encrypted.port()))).await.unwrap();

    assert_eq!((over_http.status().as_u16(), over_https.status().as_u16()), (200, 200));
    assert_eq!((plain.requests(), encrypted.requests()), (1, 1));
}

#[tokio::test]
async fn a_proxy_that_the_host_names_is_used_as_a_tunnel() {
    let authority = Authority::new();
    let ups = authority.server("ups.example", |_| {}).await;
    let ups_port = ups.port();
    let proxy = Server::start(move |mut connection, _| async move {
        let request = connection.request().await.unwrap();
        assert!(request.starts_with("CONNECT ups.example:443 HTTP/1.1\r\n"), "{request}");
        assert!(!request.contains("Y2xpZW50OnNlY3JldA=="), "the proxy saw the client secret: {request}");
        connection.write(b"HTTP/1.1 200 Connection established\r\n\r\n").await;
        let mut target = TcpStream::connect(("127.0.0.1", ups_port)).await.unwrap();
        connection
            .upgrade(|mut stream| async move { copy_bidirectional(&mut stream, &mut target).await.map(|_| stream) })
            .await
            .ok();
    })
    .await;
    let client = ReqwestClient::builder().root_certificate(authority.pem()).proxy(at(&proxy)).build().unwrap();

    let answer = client.send(refresh("https://ups.example/")).await.unwrap();

    assert_eq!(answer.status(), 200);
    assert_eq!((proxy.requests(), ups.requests()), (1, 1));
}

#[tokio::test]
async fn a_proxy_that_refuses_the_tunnel_is_not_sent() {
    let proxy = Server::answering(answer("407 Proxy Authentication Required", "", b"")).await;
    let client = ReqwestClient::builder().proxy(at(&proxy)).build().unwrap();

    let outcome = client.send(refresh("https://ups.example/")).await;

    assert_kind(outcome, HttpErrorKind::Connect);
}

#[tokio::test]
async fn plain_http_to_this_machine_does_not_leave_it_by_the_proxy() {
    let proxy = Server::answering(answer("502 Bad Gateway", "", b"")).await;
    let server = Server::answering(answer("200 OK", "", b"{}")).await;
    let client = client().proxy(at(&proxy)).build().unwrap();

    for host in ["127.0.0.1", "localhost"] {
        let answer = client.send(refresh(format!("http://{host}:{}/", server.port()))).await.unwrap();

        assert_eq!(answer.status(), 200, "{host}");
    }
    assert_eq!(proxy.connections(), 0);
}

#[test]
fn a_proxy_that_is_no_http_url_is_refused_at_build() {
    for uri in ["socks5://127.0.0.1:1080", "/proxy", "127.0.0.1:8080"] {
        assert!(ReqwestClient::builder().proxy(uri.parse().unwrap()).build().is_err(), "{uri}");
    }
}

fn at(proxy: &Server) -> http::Uri {
    format!("http://127.0.0.1:{}", proxy.port()).parse().unwrap()
}
