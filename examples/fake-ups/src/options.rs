//! The command line.

use std::{path::PathBuf, time::Duration};

use batchsuite_auth::fake_ups::{FakeUpsState, SettingsError};
use clap::Parser;
use fake_ups::{Tls, TlsError};

/// A fake UPS for tests and demos: UPS's OAuth endpoints, sign-in pages and one protected API.
///
/// Switches for users, passwords and faults are under /__fake/.
#[derive(Debug, Parser)]
#[command(name = "fake-ups", version)]
pub(crate) struct Options {
    /// Address and port to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:4010")]
    pub(crate) listen: String,
    /// The client's id
    #[arg(long, value_name = "ID", default_value = FakeUpsState::CLIENT_ID)]
    pub(crate) client_id: String,
    /// The client's secret
    #[arg(long, value_name = "SECRET", default_value = FakeUpsState::CLIENT_SECRET)]
    client_secret: String,
    /// A registered redirect URI, in exactly the client's spelling; may be given several times
    #[arg(long, value_name = "URI", default_value = "http://localhost:3000/oauth/ups/callback")]
    redirect_uri: Vec<String>,
    /// A UPS.com user; may be given several times
    #[arg(long, value_name = "NAME:PASSWORD", value_parser = name_and_password, default_value = "demo@example.com:fake-ups-password")]
    user: Vec<(String, String)>,
    /// The lifetime of an access token
    #[arg(long, value_name = "SECONDS", default_value_t = 3_599)]
    access_lifetime: u64,
    /// The lifetime of a refresh token
    #[arg(long, value_name = "SECONDS", default_value_t = 5_183_999)]
    refresh_lifetime: u64,
    /// The lifetime of an authorization code
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    code_lifetime: u64,
    /// The application name, shown to the user and in access tokens
    #[arg(long, value_name = "NAME", default_value = "Batch Suite")]
    application_name: String,
    /// Require the client's secret even with a PKCE challenge
    #[arg(long)]
    pkce_requires_secret: bool,
    /// Add "scope" (empty) and "refresh_count" to the ten fields of a pair
    #[arg(long)]
    twelve_fields: bool,
    /// A host to answer for, besides localhost, 127.0.0.0/8, [::1] and the host of --listen; may be given several times
    #[arg(long, value_name = "HOST")]
    allow_host: Vec<String>,
    /// Speak TLS with this certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
}

impl Options {
    /// The UPS that these options describe.
    pub(crate) fn ups(&self) -> Result<FakeUpsState, SettingsError> {
        let mut builder = FakeUpsState::builder()
            .client(&self.client_id, &self.client_secret)
            .access_lifetime(Duration::from_secs(self.access_lifetime))
            .refresh_lifetime(Duration::from_secs(self.refresh_lifetime))
            .code_lifetime(Duration::from_secs(self.code_lifetime));
        builder = builder.application_name(&self.application_name);
        if self.pkce_requires_secret {
            builder = builder.pkce_needs_secret();
        }
        if self.twelve_fields {
            builder = builder.twelve_fields();
        }
        // A host that the server listens on must also be answered for.
        let listen = self.listen.rsplit_once(':').map(|(host, _)| host).filter(|host| !host.is_empty());
        for host in self.allow_host.iter().map(String::as_str).chain(listen) {
            builder = builder.allow_host(host);
        }
        for uri in &self.redirect_uri {
            builder = builder.redirect_uri(uri);
        }
        for (name, password) in &self.user {
            builder = builder.user(name, password);
        }
        builder.build()
    }

    /// The certificate, if TLS is enabled.
    pub(crate) fn tls(&self) -> Result<Option<Tls>, TlsError> {
        match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => Tls::from_files(certificate, key).map(Some),
            _ => Ok(None),
        }
    }
}

fn name_and_password(text: &str) -> Result<(String, String), &'static str> {
    let (name, password) = text.split_once(':').ok_or("NAME:PASSWORD is needed")?;
    Ok((name.to_owned(), password.to_owned()))
}
