//! The demo: a fake UPS inside this process, and initial people and companies.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use argon2::password_hash;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use batchsuite_auth::{
    Client,
    clock::{Clock, Timestamp},
    fake_ups::{FakeUpsState, SettingsError},
};
use secrecy::{ExposeSecret, SecretString};
use tokio::net::TcpListener;
use url::Url;

use crate::{
    directory::{CompanyName, Directory, DirectoryError, MemoryDirectory, Newcomer, Person, Role, SqlDirectory},
    passwords,
};

/// The sign-in name of the company admin.
pub const COMPANY_ADMIN: &str = "company.admin";
/// The sign-in name of the admin user.
pub const ADMIN_USER: &str = "admin";
/// The fake's UPS.com user.
pub const UPS_USER: &str = FakeUpsState::USER;

const SOMEBODY_ELSE: &str = "somebody.else";
const COMPANIES: [&str; 3] = ["Alder Creek Outfitters", "Harbor & Hill Books", "Northgate Supply Co."];
const OTHERS_COMPANIES: [&str; 2] = ["Lakeside Ceramics", "Mesa Verde Pharmacy"];

/// A password of 96 random bits, easy to type.
pub fn random_password() -> SecretString {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 12]>()).into()
}

/// Fills an empty directory: two sign-ins with a password each, three companies of the company admin, and two companies
/// of a person who cannot sign in.
///
/// # Errors
/// [`SeedError`]
pub async fn seed(
    directory: &MemoryDirectory,
    company_admin_password: &SecretString,
    admin_user_password: &SecretString,
) -> Result<(Person, Person), SeedError> {
    let company_admin =
        directory.add_person(COMPANY_ADMIN, Role::CompanyAdmin, passwords::hash(company_admin_password)?);
    let admin_user = directory.add_person(ADMIN_USER, Role::AdminUser, passwords::hash(admin_user_password)?);
    let nobody_s_password = passwords::hash(&random_password())?;
    let somebody_else = directory.add_person(SOMEBODY_ELSE, Role::CompanyAdmin, nobody_s_password);
    for (names, owner) in [(&COMPANIES[..], &company_admin), (&OTHERS_COMPANIES[..], &somebody_else)] {
        for name in names.iter().filter_map(|name| CompanyName::new(name)) {
            directory.add_company(name, &owner.id).await?;
        }
    }
    Ok((company_admin, admin_user))
}

/// Seeds a database, once: existing people and the current state of their companies are kept. A changed password ends
/// the sessions begun with the previous one.
///
/// # Errors
/// [`DirectoryError`]
pub async fn welcome(directory: &SqlDirectory, password: &SecretString) -> Result<(), DirectoryError> {
    let named = |names: &[&str]| names.iter().filter_map(|name| CompanyName::new(name)).collect();
    let newcomer = |sign_in_name, role, password, companies| Newcomer { sign_in_name, role, password, companies };
    directory
        .welcome(&[
            newcomer(COMPANY_ADMIN, Role::CompanyAdmin, Some(password), named(&COMPANIES)),
            newcomer(ADMIN_USER, Role::AdminUser, Some(password), Vec::new()),
            newcomer(SOMEBODY_ELSE, Role::CompanyAdmin, None, named(&OTHERS_COMPANIES)),
        ])
        .await
}

/// The initial data could not be created.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SeedError {
    /// argon2 rejects the password.
    #[error("a password cannot be used: {0}")]
    Password(password_hash::Error),
    /// The directory cannot be written.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
}

impl From<password_hash::Error> for SeedError {
    fn from(error: password_hash::Error) -> Self {
        Self::Password(error)
    }
}

/// A fake UPS, ready to be served.
#[derive(Debug)]
pub struct DemoUps {
    /// The fake's state, which answers the requests.
    pub state: Arc<FakeUpsState>,
    /// The fake's listener.
    pub listener: TcpListener,
    /// The fake's URL in browsers.
    pub base_url: Url,
    /// The application's client at the fake.
    pub client: Client,
}

impl DemoUps {
    /// Sets up a fake UPS for the application at `application`, whose callback is `redirect_uri`.
    ///
    /// The fake uses a different host name from the application, not only a different port: cookies ignore ports, and
    /// the browser's return must be a cross-site navigation, as from UPS.com.
    ///
    /// # Errors
    /// If `listen` cannot be bound.
    pub async fn bind(
        listen: SocketAddr,
        application: SocketAddr,
        redirect_uri: &Url,
        password: &SecretString,
    ) -> io::Result<Self> {
        let secret = random_password();
        let state = FakeUpsState::builder()
            .client(FakeUpsState::CLIENT_ID, secret.expose_secret())
            .user(UPS_USER, password.expose_secret())
            .redirect_uri(redirect_uri.as_str())
            // Usually loopback; on another address, the fake must accept requests for that address.
            .allow_host(listen.ip().to_string())
            .build()
            .map_err(|error: SettingsError| io::Error::other(error))?;
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let host = if address.ip() == Ipv4Addr::LOCALHOST && application.ip() == Ipv4Addr::LOCALHOST {
            format!("localhost:{}", address.port())
        } else {
            address.to_string()
        };
        let base_url = Url::parse(&format!("http://{host}/")).map_err(io::Error::other)?;
        let client = Client::new(FakeUpsState::CLIENT_ID, secret.expose_secret());
        Ok(Self { state: Arc::new(state), listener, base_url, client })
    }

    /// The fake's clock, for the whole demo: advancing it on the fake's page advances everything.
    pub fn clock(&self) -> impl Clock + Clone {
        DemoClock(self.state.clone())
    }

    /// The page for changing the UPS.com password.
    pub fn page(&self) -> Url {
        let mut page = self.base_url.clone();
        page.set_path("/__fake/");
        page
    }
}

#[derive(Clone, Debug)]
struct DemoClock(Arc<FakeUpsState>);

impl Clock for DemoClock {
    fn now(&self) -> Timestamp {
        self.0.now()
    }
}
