//! What a connection may say.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::world::World;

async fn serve(world: &World) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(company_manager::serve(listener, world.app.clone(), std::future::pending()));
    address
}

/// Sends these bytes and reads until the server closes; a reset is an end like any other.
async fn exchange(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    answer
}

#[tokio::test]
async fn http_2_is_not_spoken_with_whoever_begins_with_it() {
    let world = World::new().await;
    let address = serve(&world).await;
    // The preface, empty SETTINGS, and a GET of /healthz (RFC 9113 §3.4; HPACK's static table).
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend([0, 0, 0, 4, 0, 0, 0, 0, 0]);
    let path = b"/healthz";
    let mut fields = vec![0x82, 0x86, 0x04, u8::try_from(path.len()).unwrap()];
    fields.extend(path);
    bytes.extend([0, 0, u8::try_from(fields.len()).unwrap(), 1, 5, 0, 0, 0, 1]);
    bytes.extend(fields);

    // A server that speaks it keeps the connection, so its first bytes have to do.
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&bytes).await.unwrap();
    let mut answer = vec![0; 64];
    let length = stream.read(&mut answer).await.unwrap_or(0);
    answer.truncate(length);

    // An HTTP/2 server's first frame is its SETTINGS: type 4.
    assert!(answer.get(3) != Some(&4), "{answer:?}");
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{answer:?}");
    let upgrade = "GET /healthz HTTP/1.1\r\nhost: 127.0.0.1:3000\r\nconnection: upgrade, http2-settings, close\r\n\
                   upgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\r\n";
    assert!(exchange(address, upgrade.as_bytes()).await.starts_with(b"HTTP/1.1 200"));
}

#[tokio::test]
async fn a_body_that_is_broken_is_not_told_as_too_long() {
    let world = World::new().await;
    let browser = world.company_admin().await;
    let address = serve(&world).await;
    let cookie = format!("session={}", browser.session().unwrap().expose_secret());
    let post = async |framing: &str, body: &[u8]| {
        let head = format!(
            "POST /companies/new HTTP/1.1\r\nhost: 127.0.0.1:3000\r\ncookie: {cookie}\r\nconnection: close\r\n\
             content-type: application/x-www-form-urlencoded\r\n{framing}\r\n\r\n"
        );
        let answer = exchange(address, &[head.as_bytes(), body].concat()).await;
        String::from_utf8_lossy(&answer).into_owned()
    };

    for body in
        [&b"zz\r\nabc\r\n0\r\n\r\n"[..], b"5\r\nabc\r\n0\r\n\r\n0\r\n\r\n", b"-1\r\n", b"ffffffffffffffffff\r\nx"]
    {
        let answer = post("transfer-encoding: chunked", body).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{}: {answer}", String::from_utf8_lossy(body));
        assert!(!answer.contains("Too much"), "{answer}");
    }
    let long = format!("{:x}\r\n{}\r\n0\r\n\r\n", 20_000, "x".repeat(20_000));
    assert!(post("transfer-encoding: chunked", long.as_bytes()).await.starts_with("HTTP/1.1 413"));
}
