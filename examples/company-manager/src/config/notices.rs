//! The settings of the webhook and the mails. Both are off by default.

use std::fmt;

use batchsuite_auth::adapters::webhook::WebhookSecret;
use lettre::message::Mailbox;
use secrecy::SecretString;
use url::Url;

use super::{ConfigError, error, is_loopback};

/// Who is told of what happens, beside the pages.
#[derive(Clone, Debug, Default)]
pub struct Notices {
    /// The webhook that gets each event.
    pub webhook: Option<WebhookSettings>,
    /// The mails to companies' administrators.
    pub mails: Option<MailSettings>,
}

/// A webhook.
#[derive(Clone)]
pub struct WebhookSettings {
    /// Its URL, which may hold a secret.
    pub url: Url,
    /// The secret that signs.
    pub secret: SecretString,
}

/// A mail server, and the addresses.
#[derive(Clone)]
pub struct MailSettings {
    /// The server's URL, which may hold a password.
    pub server: SecretString,
    /// The sender.
    pub from: Mailbox,
    /// The domain of people whose sign-in name is no mail address.
    pub domain: String,
}

// The URL may hold a secret.
impl fmt::Debug for WebhookSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookSettings").finish_non_exhaustive()
    }
}

impl fmt::Debug for MailSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MailSettings").field("domain", &self.domain).finish_non_exhaustive()
    }
}

/// The names of the variables.
pub(super) const NAMES: [&str; 5] = ["WEBHOOK_URL", "WEBHOOK_SECRET", "SMTP_URL", "MAIL_FROM", "MAIL_DOMAIN"];

/// Reads the settings from the values of [`NAMES`], in their order.
pub(super) fn read(values: [Option<String>; 5]) -> Result<Notices, ConfigError> {
    let [url, secret, server, from, domain] = values;
    let webhook = match together([("WEBHOOK_URL", url), ("WEBHOOK_SECRET", secret)])? {
        Some([url, secret]) => Some(webhook(&url, secret)?),
        None => None,
    };
    let mails = match together([("SMTP_URL", server), ("MAIL_FROM", from), ("MAIL_DOMAIN", domain)])? {
        Some([server, from, domain]) => Some(mails(server, &from, domain)?),
        None => None,
    };
    Ok(Notices { webhook, mails })
}

/// All the values, or none.
fn together<const N: usize>(values: [(&str, Option<String>); N]) -> Result<Option<[String; N]>, ConfigError> {
    let Some((set, _)) = values.iter().find(|(_, value)| value.is_some()) else { return Ok(None) };
    if let Some((missing, _)) = values.iter().find(|(_, value)| value.is_none()) {
        return Err(error(format!("{missing} is missing, but {set} is set; set it too, or unset {set}")));
    }
    Ok(Some(values.map(|(_, value)| value.unwrap_or_default())))
}

fn webhook(url: &str, secret: String) -> Result<WebhookSettings, ConfigError> {
    let url = Url::parse(url).ok().filter(|url| url.scheme() == "https" || url.scheme() == "http" && is_loopback(url));
    let url = url.filter(|url| url.username().is_empty() && url.password().is_none() && url.fragment().is_none());
    let url = url.ok_or_else(|| {
        error("WEBHOOK_URL must be an https URL without a user (plain http is for this machine only)")
    })?;
    if WebhookSecret::new(&secret).is_err() {
        return Err(error("WEBHOOK_SECRET must be the base64 of 24 to 64 bytes; openssl rand -base64 32 makes one"));
    }
    Ok(WebhookSettings { url, secret: secret.into() })
}

fn mails(server: String, from: &str, domain: String) -> Result<MailSettings, ConfigError> {
    let url = Url::parse(&server).ok().filter(Url::has_host);
    let is_encrypted = |url: &Url| match url.scheme() {
        "smtps" => true,
        "smtp" => url.query() == Some("tls=required") || is_this_machine(url),
        _ => false,
    };
    if !url.is_some_and(|url| is_encrypted(&url)) {
        return Err(error(
            "SMTP_URL must be smtps://user:password@host or smtp://user:password@host?tls=required (without TLS for this machine only)",
        ));
    }
    let from = from.parse().map_err(|_| error("MAIL_FROM must be a mail address, such as no-reply@batch.example"))?;
    if format!("x@{domain}").parse::<lettre::Address>().is_err() {
        return Err(error("MAIL_DOMAIN must be a domain, such as batch.example"));
    }
    Ok(MailSettings { server: server.into(), from, domain })
}

/// Of a URL whose scheme is not http, the host stays a text.
fn is_this_machine(url: &Url) -> bool {
    matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn read_of(variables: &[(&str, &str)]) -> Result<Notices, ConfigError> {
        let value =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        read(NAMES.map(value))
    }

    #[test]
    fn both_are_off_by_default_and_each_can_be_on_alone() {
        let webhook = [("WEBHOOK_URL", "https://hooks.example/x?key=1"), ("WEBHOOK_SECRET", SECRET)];
        let mails = [
            ("SMTP_URL", "smtps://user:canary-password@mail.example"),
            ("MAIL_FROM", "UPS <no-reply@batch.example>"),
            ("MAIL_DOMAIN", "batch.example"),
        ];
        for (variables, expected) in [
            (vec![], (false, false)),
            (webhook.to_vec(), (true, false)),
            (mails.to_vec(), (false, true)),
            ([&webhook[..], &mails].concat(), (true, true)),
        ] {
            let notices = read_of(&variables).unwrap();

            assert_eq!((notices.webhook.is_some(), notices.mails.is_some()), expected);
            let shown = format!("{notices:?} {notices:#?}");
            assert!(!shown.contains("canary") && !shown.contains("key=1") && !shown.contains("MfKQ9r"), "{shown}");
        }
    }

    #[test]
    fn an_incomplete_setting_names_what_is_missing() {
        for (variables, missing) in [
            (&[("WEBHOOK_URL", "https://hooks.example/")][..], "WEBHOOK_SECRET"),
            (&[("WEBHOOK_SECRET", SECRET)], "WEBHOOK_URL"),
            (&[("SMTP_URL", "smtp://localhost")], "MAIL_FROM"),
            (&[("MAIL_FROM", "a@b.example"), ("MAIL_DOMAIN", "b.example")], "SMTP_URL"),
            (&[("SMTP_URL", "smtp://localhost"), ("MAIL_FROM", "a@b.example")], "MAIL_DOMAIN"),
        ] {
            let line = read_of(variables).unwrap_err().to_string();

            assert!(line.starts_with(&format!("{missing} is missing, but {}", variables[0].0)), "{line}");
        }
    }

    #[test]
    fn a_wrong_setting_is_named_without_its_value() {
        let mail = |server| [("SMTP_URL", server), ("MAIL_FROM", "a@b.example"), ("MAIL_DOMAIN", "b.example")].to_vec();
        let hook = |url| [("WEBHOOK_URL", url), ("WEBHOOK_SECRET", SECRET)].to_vec();
        for (variables, name) in [
            (hook("http://hooks.example/canary"), "WEBHOOK_URL"),
            (hook("https://canary@hooks.example/"), "WEBHOOK_URL"),
            (hook("canary"), "WEBHOOK_URL"),
            (vec![("WEBHOOK_URL", "https://hooks.example/"), ("WEBHOOK_SECRET", "canary")], "WEBHOOK_SECRET"),
            (mail("smtp://user:canary@mail.example"), "SMTP_URL"),
            (mail("smtp://user:canary@mail.example?tls=opportunistic"), "SMTP_URL"),
            (mail("http://canary.example"), "SMTP_URL"),
            (mail("smtps:canary"), "SMTP_URL"),
            (
                [&mail("smtp://[::1]:25")[..1], &[("MAIL_FROM", "canary"), ("MAIL_DOMAIN", "b.example")]].concat(),
                "MAIL_FROM",
            ),
            ([&mail("smtp://127.0.0.1")[..2], &[("MAIL_DOMAIN", "@canary")]].concat(), "MAIL_DOMAIN"),
        ] {
            let line = read_of(&variables).unwrap_err().to_string();

            assert!(line.starts_with(name) && !line.contains("canary"), "{line}");
        }
        for server in ["smtp://127.0.0.1:2525", "smtp://[::1]:25", "smtp://a:b@mail.example:587?tls=required"] {
            assert!(read_of(&mail(server)).is_ok(), "{server}");
        }
    }
}
