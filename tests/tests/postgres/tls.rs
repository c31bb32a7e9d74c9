//! TLS, as far as `sslmode` asks for it.

use std::net::TcpListener;

use batchsuite_auth::store::StoreErrorKind;
use batchsuite_store::PostgresStore;
use batchsuite_tests::postgres::{Log, Server, keyring};

#[tokio::test]
async fn the_mode_decides_whether_a_connection_is_encrypted_and_whose_certificate_is_checked() {
    // Arrange: a server whose certificate no platform knows.
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let certificate = certified.cert.pem();
    let files = [("server.pem", &*certificate), ("server.key", &*certified.signing_key.serialize_pem())];
    let settings = format!(
        "-c listen_addresses=127.0.0.1 -c port={port} -c ssl=on -c ssl_cert_file={{directory}}/server.pem \
         -c ssl_key_file={{directory}}/server.key"
    );
    let server = Server::start_with(Log::Normal, &files, &settings);
    let root = server.directory().unwrap().join("root.pem");
    std::fs::write(&root, &certificate).unwrap();
    let root = root.display();

    for (host, parameters, expected) in [
        ("localhost", "sslmode=disable".to_owned(), Ok(false)),
        ("localhost", "sslmode=prefer".to_owned(), Ok(true)),
        ("localhost", String::new(), Ok(true)),
        ("localhost", format!("sslmode=verify-full&sslrootcert={root}"), Ok(true)),
        ("localhost", format!("sslmode=require&sslrootcert={root}"), Ok(true)),
        ("localhost", "sslmode=require".to_owned(), Err(StoreErrorKind::Unavailable)),
        ("localhost", "sslmode=verify-full".to_owned(), Err(StoreErrorKind::Unavailable)),
        ("127.0.0.1", format!("sslmode=verify-full&sslrootcert={root}"), Err(StoreErrorKind::Unavailable)),
    ] {
        // Act
        let url = format!("postgres://postgres@{host}:{port}/postgres?application_name=tls-test&{parameters}");
        let connected = PostgresStore::connect(&url, keyring().await).await;

        // Assert
        let encrypted = match &connected {
            Err(error) => Err(error.kind()),
            Ok(_) => {
                let ssl = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
                    WHERE application_name = 'tls-test'";
                Ok(server.client().await.query_one(ssl, &[]).await.unwrap().get::<_, bool>(0))
            }
        };
        assert_eq!(encrypted, expected, "{host} {parameters}");
    }
}
