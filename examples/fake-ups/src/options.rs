//! The command line.

use std::time::Duration;

use batchsuite_auth::fake_ups::{FakeUps, FakeUpsState, SettingsError};
use clap::Parser;

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
    #[arg(long, value_name = "ID", default_value = FakeUps::CLIENT_ID)]
    pub(crate) client_id: String,
    /// The client's secret
    #[arg(long, value_name = "SECRET", default_value = FakeUps::CLIENT_SECRET)]
    client_secret: String,
    /// A registered redirect URI, in exactly the client's spelling; may be given several times
    #[arg(long, value_name = "URI", default_value = "http://localhost:3000/oauth/ups/callback")]
    redirect_uri: Vec<String>,
    /// A UPS.com user; may be given several times
    #[arg(long, value_name = "NAME:PASSWORD", value_parser = name_and_password, default_value = "demo@example.com:fake-ups-password")]
    user: Vec<(String, String)>,
    /// How long an access token is good
    #[arg(long, value_name = "SECONDS", default_value_t = 3_599)]
    access_lifetime: u64,
    /// How long a refresh token is good
    #[arg(long, value_name = "SECONDS", default_value_t = 5_183_999)]
    refresh_lifetime: u64,
    /// How long an authorization code is good
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    code_lifetime: u64,
}

impl Options {
    /// The UPS that these options describe.
    pub(crate) fn ups(&self) -> Result<FakeUpsState, SettingsError> {
        let mut builder = FakeUps::builder()
            .client(&self.client_id, &self.client_secret)
            .access_lifetime(Duration::from_secs(self.access_lifetime))
            .refresh_lifetime(Duration::from_secs(self.refresh_lifetime))
            .code_lifetime(Duration::from_secs(self.code_lifetime));
        for uri in &self.redirect_uri {
            builder = builder.redirect_uri(uri);
        }
        for (name, password) in &self.user {
            builder = builder.user(name, password);
        }
        builder.build()
    }
}

fn name_and_password(text: &str) -> Result<(String, String), &'static str> {
    let (name, password) = text.split_once(':').ok_or("NAME:PASSWORD is needed")?;
    Ok((name.to_owned(), password.to_owned()))
}
