//! TLS as `sslmode` demands it, for the pool and for notifications.

use std::{net::TcpListener, time::Duration};

use batchsuite_auth::{
    Environment,
    store::{Store as _, StoreErrorKind},
};
use batchsuite_store::PostgresStore;
use batchsuite_tests::postgres::{Log, Server, keyring};

/// TCP clients must send a password, and may use channel binding.
const WITH_PASSWORDS: &str = "local all all trust
host all all 127.0.0.1/32 scram-sha-256
host all all ::1/128 scram-sha-256
";

/// A server with a certificate that no platform trusts. Returns its port and the certificate's path, too.
async fn server_with_certificate() -> (Server, u16, String) {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (certificate, key) = (certified.cert.pem(), certified.signing_key.serialize_pem());
    let settings = format!(
        "-c listen_addresses=127.0.0.1 -c port={port} -c ssl=on -c ssl_cert_file={{directory}}/server.pem \
         -c ssl_key_file={{directory}}/server.key -c hba_file={{directory}}/hba.conf"
    );
    let server = tokio::task::spawn_blocking(move || {
        let files = [("server.pem", &*certificate), ("server.key", &*key), ("hba.conf", WITH_PASSWORDS)];
        let server = Server::start_with(Log::Normal, &files, &settings);
        std::fs::write(server.directory().unwrap().join("root.pem"), &certificate).unwrap();
        server
    });
    let server = server.await.unwrap();
    let password = "SET password_encryption = 'scram-sha-256'; ALTER ROLE postgres PASSWORD 'canary'";
    server.client().await.batch_execute(password).await.unwrap();
    let root = server.directory().unwrap().join("root.pem").display().to_string();
    (server, port, root)
}

#[tokio::test]
async fn the_mode_decides_whether_a_connection_is_encrypted_and_whose_certificate_is_checked() {
    let (server, port, root) = server_with_certificate().await;

    for (host, parameters, expected) in [
        ("localhost", "sslmode=disable".to_owned(), Ok(false)),
        ("localhost", "sslmode=prefer".to_owned(), Ok(true)),
        ("localhost", String::new(), Ok(true)),
        ("localhost", format!("sslmode=verify-full&sslrootcert={root}"), Ok(true)),
        ("localhost", format!("sslmode=require&sslrootcert={root}"), Ok(true)),
        ("localhost", format!("sslmode=verify-ca&channel_binding=require&sslrootcert={root}"), Ok(true)),
        ("localhost", "sslmode=prefer&channel_binding=require".to_owned(), Ok(true)),
        ("localhost", "sslmode=disable&channel_binding=disable".to_owned(), Ok(false)),
        ("localhost", "sslmode=disable&channel_binding=require".to_owned(), Err(StoreErrorKind::Misconfigured)),
        ("localhost", "sslmode=require".to_owned(), Err(StoreErrorKind::Unavailable)),
        ("localhost", "sslmode=verify-full".to_owned(), Err(StoreErrorKind::Unavailable)),
        ("127.0.0.1", format!("sslmode=verify-full&sslrootcert={root}"), Err(StoreErrorKind::Unavailable)),
    ] {
        // Act
        let url = format!("postgres://postgres:canary@{host}:{port}/postgres?application_name=tls-test&{parameters}");
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

#[tokio::test]
async fn notifications_come_over_the_same_kind_of_connection() {
    let (server, port, root) = server_with_certificate().await;
    let client = server.client().await;
    for parameters in [
        format!("sslmode=verify-full&channel_binding=require&sslrootcert={root}"),
        "channel_binding=require".to_owned(),
    ] {
        let name = format!("tls-{:08x}", rand::random::<u32>());
        let url = format!("postgres://postgres:canary@localhost:{port}/postgres?application_name={name}&{parameters}");
        let store = PostgresStore::connect(&url, keyring().await).await.unwrap();
        store.migrate().await.unwrap();
        let start = store.changes(Environment::Cie, None, Duration::ZERO).await.unwrap().cursor;
        store.changes(Environment::Cie, Some(start), Duration::from_millis(200)).await.unwrap();

        let listens = format!(
            "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
            WHERE application_name = '{name}' AND query = 'LISTEN \"batchsuite_batchsuite\"'"
        );
        let encrypted = async {
            loop {
                if let Some(row) = client.query_opt(&listens, &[]).await.unwrap() {
                    return row.get::<_, bool>(0);
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        assert!(
            tokio::time::timeout(Duration::from_secs(30), encrypted).await.expect("the store listens"),
            "{parameters}"
        );
    }
}
