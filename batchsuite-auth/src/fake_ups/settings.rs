//! The settings of a fake UPS.

use std::time::Duration;

/// All settings that never change.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) clients: Vec<RegisteredClient>,
    pub(super) redirect_uris: Vec<String>,
    pub(super) users: Vec<User>,
    pub(super) access_lifetime: Duration,
    pub(super) refresh_lifetime: Duration,
    pub(super) code_lifetime: Duration,
    pub(super) pkce_needs_secret: bool,
    pub(super) application_name: String,
    pub(super) twelve_fields: bool,
    pub(super) sign_access_tokens: bool,
    pub(super) allowed_hosts: Vec<String>,
}

#[derive(Clone)]
pub(super) struct RegisteredClient {
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

impl std::fmt::Debug for RegisteredClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RegisteredClient").field("id", &self.id).finish_non_exhaustive()
    }
}
