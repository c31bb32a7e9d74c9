//! The settings of a fake UPS before it starts.

use std::time::Duration;

use http::HeaderValue;
use url::Url;

use super::{
    FakeUpsState, hosts,
    settings::{RegisteredClient, Settings, User},
};
use crate::test_util::ManualClock;

/// Settings of a fake UPS; [`FakeUpsState::builder`] lists the defaults.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `start` or `build`"]
pub struct FakeUpsBuilder {
    settings: Settings,
    pub(super) clock: Option<ManualClock>,
}

/// Why a fake UPS cannot be built with these settings.
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
    /// An application name that is empty or not a valid header value.
    #[error("the application name {0:?} is empty or not a valid header value")]
    ApplicationName(String),
    /// A host with a scheme, a port or a path.
    #[error("the host {0:?} is not a bare name or address")]
    Host(String),
}

impl FakeUpsBuilder {
    fn new() -> Self {
        let settings = Settings {
            clients: Vec::new(),
            redirect_uris: Vec::new(),
            users: Vec::new(),
            access_lifetime: Duration::from_secs(3_599),
            refresh_lifetime: Duration::from_secs(5_183_999),
            code_lifetime: Duration::from_secs(60),
            pkce_needs_secret: false,
            application_name: "Batch Suite".to_owned(),
            twelve_fields: false,
            sign_access_tokens: true,
            allowed_hosts: Vec::new(),
        };
        Self { settings, clock: None }
    }

    /// The lifetime of an access token.
    pub fn access_lifetime(mut self, lifetime: Duration) -> Self {
        self.settings.access_lifetime = lifetime;
        self
    }

    /// The lifetime of a refresh token.
    pub fn refresh_lifetime(mut self, lifetime: Duration) -> Self {
        self.settings.refresh_lifetime = lifetime;
        self
    }

    /// The lifetime of an authorization code.
    pub fn code_lifetime(mut self, lifetime: Duration) -> Self {
        self.settings.code_lifetime = lifetime;
        self
    }

    /// Adds a UPS.com user. The first one replaces the default user.
    pub fn user(mut self, name: impl Into<String>, password: impl Into<String>) -> Self {
        self.settings.users.push(User { name: name.into(), password: password.into() });
        self
    }

    /// Adds a client. The first one replaces the default client.
    pub fn client(mut self, id: impl Into<String>, secret: impl Into<String>) -> Self {
        self.settings.clients.push(RegisteredClient { id: id.into(), secret: secret.into() });
        self
    }

    /// Registers a redirect URI for every client. The first one replaces the default. Clients must send it in exactly
    /// this spelling.
    pub fn redirect_uri(mut self, uri: impl Into<String>) -> Self {
        self.settings.redirect_uris.push(uri.into());
        self
    }

    /// Requires `Authorization: Basic` at `/token` even with a PKCE challenge, as one integrator has seen. UPS's
    /// description omits it in that case.
    pub fn pkce_needs_secret(mut self) -> Self {
        self.settings.pkce_needs_secret = true;
        self
    }

    /// Sets the application name, shown to the user, in `appname` and `displayname`, and in access tokens.
    pub fn application_name(mut self, name: impl Into<String>) -> Self {
        self.settings.application_name = name.into();
        self
    }

    /// Adds `scope` (empty) and `refresh_count` to every pair, as in UPS's description and a sample of 2022. The
    /// recorded answers have ten fields, without these two.
    pub fn twelve_fields(mut self) -> Self {
        self.settings.twelve_fields = true;
        self
    }

    /// Replaces the signature of access tokens by 512 bytes that never verify, for load tests: signing takes longer
    /// than the rest of a refresh.
    pub fn unsigned_access_tokens(mut self) -> Self {
        self.settings.sign_access_tokens = false;
        self
    }

    /// Also answers requests for this host: a name or an address, without a port. By default only `localhost`,
    /// 127.0.0.0/8 and `[::1]` are answered, so that no page on the internet can reach a fake under the page's own host
    /// name.
    pub fn allow_host(mut self, host: impl Into<String>) -> Self {
        self.settings.allowed_hosts.push(host.into());
        self
    }

    /// Uses this clock.
    pub fn manual_clock(mut self, clock: ManualClock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Builds only the state, for a server of your own. Without a [`manual_clock`](Self::manual_clock) it follows the
    /// system clock, and [`advance`](FakeUpsState::advance) moves it ahead of that.
    ///
    /// # Errors
    /// If a setting is invalid.
    pub fn build(self) -> Result<FakeUpsState, SettingsError> {
        Ok(FakeUpsState::new(self.settings.complete()?, self.clock))
    }
}

impl FakeUpsState {
    /// The settings of a fake UPS and their defaults.
    ///
    /// | setting | default |
    /// |---|---|
    /// | client | [`CLIENT_ID`](Self::CLIENT_ID), [`CLIENT_SECRET`](Self::CLIENT_SECRET) |
    /// | redirect URI | [`REDIRECT_URI`](Self::REDIRECT_URI) |
    /// | user | [`USER`](Self::USER), [`PASSWORD`](Self::PASSWORD) |
    /// | access token | 3,599 s: one hour, as seen since April 2026 |
    /// | refresh token | 5,183,999 s: sixty days; every rotation restarts them |
    /// | authorization code | 60 s |
    /// | application name | `Batch Suite` |
    /// | hosts | `localhost`, 127.0.0.0/8, `[::1]` |
    /// | clock | a [`ManualClock`] that stands at 2026-01-01 for [`start`](FakeUpsBuilder::start), the system clock for [`build`](FakeUpsBuilder::build) |
    pub fn builder() -> FakeUpsBuilder {
        FakeUpsBuilder::new()
    }
}

impl Settings {
    fn complete(mut self) -> Result<Self, SettingsError> {
        if self.clients.is_empty() {
            self.clients.push(RegisteredClient {
                id: FakeUpsState::CLIENT_ID.to_owned(),
                secret: FakeUpsState::CLIENT_SECRET.to_owned(),
            });
        }
        if self.redirect_uris.is_empty() {
            self.redirect_uris.push(FakeUpsState::REDIRECT_URI.to_owned());
        }
        if self.users.is_empty() {
            self.users.push(User { name: FakeUpsState::USER.to_owned(), password: FakeUpsState::PASSWORD.to_owned() });
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
        let name = &self.application_name;
        if name.trim().is_empty() || HeaderValue::from_str(name).is_err() {
            return Err(SettingsError::ApplicationName(name.clone()));
        }
        if let Some(host) = self.allowed_hosts.iter().find(|host| !hosts::is_bare(host)) {
            return Err(SettingsError::Host(host.clone()));
        }
        Ok(self)
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
            (new().application_name(" "), "application name"),
            (new().application_name("a\r\nset-cookie: b"), "application name"),
            (new().allow_host("https://onlinetools.ups.com"), "host"),
            (new().allow_host("ups.test:443"), "host"),
            (new().allow_host(""), "host"),
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
        assert_eq!(settings.redirect_uris, [FakeUpsState::REDIRECT_URI]);
    }
}
