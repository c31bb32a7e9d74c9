//! The settings: environment variables, and the files that they name. Secrets come from nowhere else.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use batchsuite_auth::Environment;
use batchsuite_store::{
    Keyring,
    keyring::{EnvKeySource, FileKeySource},
};
use secrecy::SecretString;

use crate::{failure::Failure, options::Options};

/// The settings of one run.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) environment: Environment,
    pub(crate) place: Place,
    pub(crate) schema: Option<String>,
    keys: Keys,
    /// The client id, if it is set.
    pub(crate) client_id: Option<String>,
}

/// The database.
#[derive(Debug)]
pub(crate) enum Place {
    /// The URL. It contains a password.
    Postgres(SecretString),
    Sqlite(PathBuf),
}

#[derive(Debug)]
enum Keys {
    Environment,
    File(PathBuf),
}

impl Settings {
    /// Reads the settings; `variable` is [`std::env::var_os`] outside of tests.
    pub(crate) fn read(options: &Options, variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, Failure> {
        let given = |name: &str| -> Result<Option<String>, Failure> {
            let Some(value) = variable(name) else { return Ok(None) };
            let value = value.into_string().map_err(|_| Failure::new(format!("{name} is not UTF-8")))?;
            if value.trim().is_empty() {
                return Err(Failure::new(format!("{name} is set but empty; give it a value, or unset it")));
            }
            Ok(Some(value))
        };
        let environment = match (options.environment, given("UPS_ENVIRONMENT")?.as_deref()) {
            (Some(environment), _) => environment,
            (None, Some(name)) => {
                name.parse().map_err(|_| Failure::new("UPS_ENVIRONMENT must be cie or production"))?
            }
            (None, None) => {
                let line =
                    "which UPS environment? Add --environment cie or --environment production, or set UPS_ENVIRONMENT";
                return Err(Failure::new(line));
            }
        };
        let place = place(given("DATABASE_URL")?, given("DATABASE_URL_FILE")?)?;
        if options.schema.is_some() && matches!(place, Place::Sqlite(_)) {
            return Err(Failure::new("--schema is for Postgres, but DATABASE_URL names a file; leave it out"));
        }
        let keys = keys(&place, given("BATCHSUITE_KEYS")?.is_some(), given("BATCHSUITE_KEYS_FILE")?)?;
        Ok(Self { environment, place, schema: options.schema.clone(), keys, client_id: given("UPS_CLIENT_ID")? })
    }

    /// Loads the keys.
    pub(crate) async fn keyring(&self) -> Result<Keyring, Failure> {
        match &self.keys {
            Keys::Environment => Keyring::load(EnvKeySource::default())
                .await
                .map_err(|error| Failure::new("BATCHSUITE_KEYS cannot be used").because(&error)),
            Keys::File(path) => Keyring::load(FileKeySource::new(path)).await.map_err(|error| {
                Failure::new(format!("the keys in {} cannot be used", path.display())).because(&error)
            }),
        }
    }
}

fn place(url: Option<String>, file: Option<String>) -> Result<Place, Failure> {
    let url = match (url, file) {
        (Some(_), Some(_)) => {
            return Err(Failure::new("DATABASE_URL and DATABASE_URL_FILE are both set; unset one of them"));
        }
        (Some(url), None) => url,
        (None, Some(file)) => {
            let unusable = |error| Failure::new("the file of DATABASE_URL_FILE cannot be read").because(&error);
            fs::read_to_string(file).map_err(unusable)?.trim().to_owned()
        }
        (None, None) => {
            let line = "DATABASE_URL is missing; set it to postgres://user:password@host/database or sqlite:PATH";
            return Err(Failure::new(line));
        }
    };
    if let Some(path) = url.strip_prefix("sqlite:") {
        // Other programs accept a host or parameters there.
        if path.is_empty() || path.starts_with("//") || path.starts_with(':') || path.contains('?') {
            let line = "DATABASE_URL must name a file as sqlite:PATH, without // and without settings behind it";
            return Err(Failure::new(line));
        }
        return Ok(Place::Sqlite(path.into()));
    }
    // Postgres also accepts name=value, with any value.
    let scheme = url.split_once("://").map(|(scheme, _)| scheme).filter(|scheme| !scheme.contains('='));
    if !scheme.map_or(url.contains('='), |scheme| matches!(scheme, "postgres" | "postgresql")) {
        return Err(Failure::new("DATABASE_URL must be postgres://user:password@host/database or sqlite:PATH"));
    }
    Ok(Place::Postgres(url.into()))
}

fn keys(place: &Place, has_variable: bool, file: Option<String>) -> Result<Keys, Failure> {
    match (has_variable, file, place) {
        (true, Some(_), _) => {
            Err(Failure::new("BATCHSUITE_KEYS and BATCHSUITE_KEYS_FILE are both set; unset one of them"))
        }
        (true, None, _) => Ok(Keys::Environment),
        (false, Some(file), _) => Ok(Keys::File(file.into())),
        (false, None, Place::Sqlite(path)) if key_file(path).exists() => Ok(Keys::File(key_file(path))),
        (false, None, _) => Err(Failure::new(
            "the service's keys are missing; set BATCHSUITE_KEYS to name:key, or BATCHSUITE_KEYS_FILE to a file of such lines",
        )),
    }
}

/// Where a service may keep its keys beside an SQLite file.
fn key_file(database: &Path) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(".keys");
    path.into()
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn read(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Settings, String> {
        let options = Options::parse_from([&["batchsuite"], arguments, &["check"]].concat());
        let variable = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into());
        Settings::read(&options, variable).map_err(|failure| failure.line)
    }

    const URL: (&str, &str) = ("DATABASE_URL", "postgres://batchsuite:canary-password@db/batchsuite");
    const KEYS: (&str, &str) = ("BATCHSUITE_KEYS", "test:canary-key");
    const CIE: (&str, &str) = ("UPS_ENVIRONMENT", "cie");

    #[test]
    fn settings_come_from_the_environment_and_the_command_line_wins() {
        let settings = read(&["--environment", "production"], &[URL, KEYS, CIE]).unwrap();

        assert_eq!(settings.environment, Environment::Production);
        assert!(matches!(settings.place, Place::Postgres(_)));
        assert_eq!(read(&[], &[URL, KEYS, CIE]).unwrap().environment, Environment::Cie);
        assert!(!format!("{settings:?}").contains("canary"));
    }

    #[test]
    fn postgres_is_named_by_a_url_or_by_names_and_values() {
        for url in ["postgresql://host/database", "host=h password=canary", "password=canary://b host=h"] {
            let settings = read(&[], &[("DATABASE_URL", url), KEYS, CIE]).unwrap();
            assert!(matches!(settings.place, Place::Postgres(_)), "{url}");
        }
    }

    #[test]
    fn a_setting_that_is_missing_or_wrong_is_named_and_not_shown() {
        let of = |name, value| (name, value);
        for (variables, words) in [
            (vec![URL, KEYS], "UPS environment"),
            (vec![URL, KEYS, of("UPS_ENVIRONMENT", "canary")], "UPS_ENVIRONMENT must be"),
            (vec![KEYS, CIE], "DATABASE_URL is missing"),
            (vec![KEYS, CIE, of("DATABASE_URL", " ")], "DATABASE_URL is set but empty"),
            (vec![KEYS, CIE, of("DATABASE_URL", "canary")], "DATABASE_URL must be"),
            (vec![KEYS, CIE, of("DATABASE_URL", "mysql://canary?a=b")], "DATABASE_URL must be"),
            (vec![KEYS, CIE, of("DATABASE_URL", "sqlite://canary")], "sqlite:PATH"),
            (vec![URL, KEYS, CIE, of("DATABASE_URL_FILE", "canary")], "both set"),
            (vec![KEYS, CIE, of("DATABASE_URL_FILE", "/canary")], "cannot be read"),
            (vec![URL, CIE], "keys are missing"),
            (vec![URL, KEYS, CIE, of("BATCHSUITE_KEYS_FILE", "canary")], "both set"),
        ] {
            let line = read(&[], &variables).unwrap_err();
            assert!(line.contains(words) && !line.contains("canary"), "{words}: {line}");
        }
        assert!(
            read(&["--schema", "s"], &[KEYS, CIE, of("DATABASE_URL", "sqlite:a.db")]).unwrap_err().contains("--schema")
        );
    }
}
