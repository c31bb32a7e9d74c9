//! What can be set before a fake UPS starts.

use std::{sync::Arc, time::Duration};

use url::Url;

use super::{FakeUps, FakeUpsState};
use crate::test_util::ManualClock;

/// Settings of a fake UPS; see [`FakeUps::builder`]. What is not set is as in the table there.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `start` or `build`"]
pub struct FakeUpsBuilder {
    settings: Settings,
    clock: Option<ManualClock>,
}

/// Why there can be no fake UPS with these settings.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// A redirect URI that no client could use.
    #[error("the redirect URI {0:?} is not an absolute http or https URI without a fragment")]
    RedirectUri(String),
    /// An empty client id or secret, or the same id twice.
    #[error("a client needs an id of its own and a secret, neither empty")]
    Client,
    /// An empty user name or password, or the same name twice.
    #[error("a user needs a name of their own and a password, neither empty")]
    User,
    /// A lifetime of less than a second.
    #[error("a lifetime is at least one second")]
    Lifetime,
}

/// Nobody at this UPS has that name.
#[derive(Debug, thiserror::Error)]
#[error("nobody at this UPS is called {0:?}")]
pub struct UnknownUser(pub(super) String);

impl FakeUpsBuilder {
    pub(super) fn new() -> Self {
        let settings = Settings {
            clients: Vec::new(),
            redirect_uris: Vec::new(),
            users: Vec::new(),
            access_lifetime: Duration::from_secs(3_599),
            refresh_lifetime: Duration::from_secs(5_183_999),
            code_lifetime: Duration::from_secs(60),
            pkce_needs_secret: false,
        };
        Self { settings, clock: None }
    }

    /// How long an access token is good.
    pub fn access_lifetime(mut self, lifetime: Duration) -> Self {
        self.settings.access_lifetime = lifetime;
        self
    }

    /// How long a refresh token is good.
    pub fn refresh_lifetime(mut self, lifetime: Duration) -> Self {
        self.settings.refresh_lifetime = lifetime;
        self
    }

    /// How long an authorization code is good.
    pub fn code_lifetime(mut self, lifetime: Duration) -> Self {
        self.settings.code_lifetime = lifetime;
        self
    }

    /// Adds a UPS.com user. The first one takes the place of the default user.
    pub fn user(mut self, name: impl Into<String>, password: impl Into<String>) -> Self {
        self.settings.users.push(User { name: name.into(), password: password.into() });
        self
    }

    /// Adds a client. The first one takes the place of the default client.
    pub fn client(mut self, id: impl Into<String>, secret: impl Into<String>) -> Self {
        self.settings.clients.push(Client { id: id.into(), secret: secret.into() });
        self
    }

    /// Registers a redirect URI, for every client. The first one takes the place of the default; a client must send it in
    /// exactly this spelling.
    pub fn redirect_uri(mut self, uri: impl Into<String>) -> Self {
        self.settings.redirect_uris.push(uri.into());
        self
    }

    /// Asks for `Authorization: Basic` at `/token` even where there is a PKCE challenge, as one integrator saw it; UPS's
    /// description says that it is left out then.
    pub fn pkce_needs_secret(mut self) -> Self {
        self.settings.pkce_needs_secret = true;
        self
    }

    /// Lets this clock tell the time.
    pub fn manual_clock(mut self, clock: ManualClock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Starts the server on a free port of 127.0.0.1. Without a [`manual_clock`](Self::manual_clock) it gets a new one, so
    /// that time stands still until the test moves it.
    ///
    /// # Panics
    /// If the settings cannot be (the [`SettingsError`] is the message), or no port can be had.
    pub async fn start(self) -> FakeUps {
        let clock = self.clock.clone().unwrap_or_default();
        let state = self.manual_clock(clock.clone()).build().unwrap_or_else(|error| panic!("{error}"));
        FakeUps::serve(Arc::new(state), clock).await
    }

    /// The state alone, for a server of your own. Without a [`manual_clock`](Self::manual_clock) it goes by the system's
    /// time, and [`advance`](FakeUpsState::advance) moves it ahead of that.
    ///
    /// # Errors
    /// If the settings cannot be.
    pub fn build(self) -> Result<FakeUpsState, SettingsError> {
        Ok(FakeUpsState::new(self.settings.complete()?, self.clock))
    }
}

/// Everything that stays as it is.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) clients: Vec<Client>,
    pub(super) redirect_uris: Vec<String>,
    pub(super) users: Vec<User>,
    pub(super) access_lifetime: Duration,
    pub(super) refresh_lifetime: Duration,
    pub(super) code_lifetime: Duration,
    pub(super) pkce_needs_secret: bool,
}

#[derive(Clone)]
pub(super) struct Client {
    pub(super) id: String,
    pub(super) secret: String,
}

#[derive(Clone)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) password: String,
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("User").field("name", &self.name).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Settings {
    fn complete(mut self) -> Result<Self, SettingsError> {
        if self.clients.is_empty() {
            self.clients.push(Client { id: FakeUps::CLIENT_ID.to_owned(), secret: FakeUps::CLIENT_SECRET.to_owned() });
        }
        if self.redirect_uris.is_empty() {
            self.redirect_uris.push(FakeUps::REDIRECT_URI.to_owned());
        }
        if self.users.is_empty() {
            self.users.push(User { name: FakeUps::USER.to_owned(), password: FakeUps::PASSWORD.to_owned() });
        }
        let usable = |uri: &String| {
            Url::parse(uri).is_ok_and(|uri| matches!(uri.scheme(), "http" | "https") && uri.fragment().is_none())
        };
        if let Some(uri) = self.redirect_uris.iter().find(|uri| !usable(uri)) {
            return Err(SettingsError::RedirectUri(uri.clone()));
        }
        if has_blank_or_twin(self.clients.iter().map(|client| (client.id.clone(), &client.secret))) {
            return Err(SettingsError::Client);
        }
        if has_blank_or_twin(self.users.iter().map(|user| (user.name.trim().to_lowercase(), &user.password))) {
            return Err(SettingsError::User);
        }
        let lifetimes = [self.access_lifetime, self.refresh_lifetime, self.code_lifetime];
        if lifetimes.iter().any(|lifetime| lifetime.as_secs() == 0) {
            return Err(SettingsError::Lifetime);
        }
        Ok(self)
    }

    #[cfg(test)]
    pub(super) fn for_tests() -> Self {
        FakeUpsBuilder::new().settings.complete().unwrap()
    }
}

fn has_blank_or_twin<'a>(pairs: impl Iterator<Item = (String, &'a String)>) -> bool {
    let mut names = std::collections::HashSet::new();
    pairs.into_iter().any(|(name, secret)| name.is_empty() || secret.is_empty() || !names.insert(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_cannot_be_are_refused_in_words() {
        let new = FakeUpsBuilder::new;
        for (builder, words) in [
            (new().redirect_uri("/callback"), "redirect URI"),
            (new().redirect_uri("http://localhost/#here"), "redirect URI"),
            (new().redirect_uri("javascript:alert(1)"), "redirect URI"),
            (new().client("", "s"), "client"),
            (new().client("a", "s").client("a", "t"), "client"),
            (new().user("a", ""), "user"),
            (new().user("a@example.com", "p").user("A@example.com", "q"), "user"),
            (new().code_lifetime(Duration::ZERO), "lifetime"),
        ] {
            let message = builder.build().unwrap_err().to_string();
            assert!(message.contains(words), "{message}");
        }
    }

    #[test]
    fn what_is_given_takes_the_place_of_the_default() {
        let settings = FakeUpsBuilder::new().client("a", "b").user("c", "d").settings.complete().unwrap();

        assert_eq!(settings.clients.len(), 1);
        assert_eq!((settings.users.len(), settings.users[0].name.as_str()), (1, "c"));
        assert_eq!(settings.redirect_uris, [FakeUps::REDIRECT_URI]);
    }
}
