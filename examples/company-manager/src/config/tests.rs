use super::*;

fn read(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    Config::read(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value)))
}

const REAL: [(&str, &str); 4] = [
    ("UPS_CLIENT_ID", "id"),
    ("UPS_CLIENT_SECRET", "canary-secret"),
    ("PUBLIC_URL", "https://batch.example.com"),
    ("DEMO_PASSWORD", "canary-password"),
];

fn real_with(more: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    let mut variables: Vec<_> =
        REAL.into_iter().filter(|(name, _)| more.iter().all(|(other, _)| other != name)).collect();
    variables.extend(more);
    variables
}

#[test]
fn without_any_setting_it_is_a_demo_on_loopback() {
    let config = read(&[]).unwrap();

    assert_eq!(config.listen.to_string(), "127.0.0.1:3000");
    assert!(config.demo_password.is_none());
    assert!(matches!(config.ups, Ups::Demo { fake_listen } if fake_listen.to_string() == "127.0.0.1:0"));
}

#[test]
fn a_demo_may_choose_its_addresses_and_password() {
    let config =
        read(&[("LISTEN", "[::1]:8080"), ("FAKE_UPS_LISTEN", "127.0.0.1:4000"), ("DEMO_PASSWORD", "demo")]).unwrap();

    assert_eq!(config.listen.port(), 8080);
    assert!(config.demo_password.is_some());
    assert!(matches!(config.ups, Ups::Demo { fake_listen } if fake_listen.port() == 4000));
}

#[test]
fn client_id_and_secret_lead_to_ups_itself() {
    for (environment, base_url) in [
        (None, "https://wwwcie.ups.com/"),
        (Some("cie"), "https://wwwcie.ups.com/"),
        (Some("production"), "https://onlinetools.ups.com/"),
    ] {
        let more: Vec<_> = environment.map(|name| ("UPS_ENVIRONMENT", name)).into_iter().collect();

        let config = read(&real_with(&more)).unwrap();

        let Ups::Real(ups, _) = config.ups else { panic!("a demo") };
        assert_eq!(ups.base_url.as_str(), base_url);
        assert_eq!(ups.public_url.as_str(), "https://batch.example.com/");
    }
}

#[test]
fn the_client_s_authentication_can_be_chosen_and_is_the_secret_otherwise() {
    let name = "UPS_CLIENT_AUTHENTICATION";
    for (more, expected) in [
        (&[][..], "Secret"),
        (&[(name, "secret")], "Secret"),
        (&[(name, "pkce")], "Pkce"),
        (&[(name, "pkce-with-secret")], "PkceWithSecret"),
    ] {
        let Ups::Real(ups, _) = read(&real_with(more)).unwrap().ups else { panic!("a demo") };

        assert!(format!("{:?}", ups.client).ends_with(&format!("authentication: {expected} }}")), "{:?}", ups.client);
    }
}

#[test]
fn no_proxy_is_believed_unless_it_is_counted() {
    let proxies = |more: &[(&'static str, &'static str)]| read(&real_with(more)).unwrap().proxies;

    assert_eq!(proxies(&[]), Proxies::NONE);
    assert_eq!(proxies(&[("FORWARDED_FOR_HOPS", "0")]), Proxies::NONE);
    assert_eq!(Some(proxies(&[("FORWARDED_FOR_HOPS", "2")])), Proxies::new(2));
    assert_eq!(Some(read(&[("FORWARDED_FOR_HOPS", "1")]).unwrap().proxies), Proxies::new(1));
}

fn kept_in(more: &[(&'static str, &'static str)]) -> KeptIn {
    let config = read(&real_with(more)).unwrap();
    assert!(!format!("{config:?}").contains("canary"), "{config:?}");
    let Ups::Real(_, kept_in) = config.ups else { panic!("a demo") };
    kept_in
}

#[test]
fn a_database_comes_with_keys() {
    const URL: (&str, &str) = ("DATABASE_URL", "postgres://app:canary@localhost/x");
    let keys = |variable| {
        let Place::Postgres { keys, .. } = kept_in(&[URL, variable]).place else { panic!("a file") };
        keys
    };

    assert!(matches!(keys(("BATCHSUITE_KEYS", "a:canary")), Keys::Environment));
    assert!(matches!(keys(("BATCHSUITE_KEYS_FILE", "/keys")), Keys::File(path) if path.as_os_str() == "/keys"));
    for (more, days) in [(&[][..], 400), (&[("EVENTS_KEPT_DAYS", "30")], 30)] {
        for database in [&[URL, ("BATCHSUITE_KEYS", "a:b")][..], &[]] {
            assert_eq!(kept_in(&[database, more].concat()).events_kept, Duration::from_secs(days * 86_400));
        }
    }
}

#[test]
fn without_a_server_everything_is_kept_in_a_file_whose_keys_are_beside_it_or_elsewhere() {
    let file = |more: &[(&'static str, &'static str)]| {
        let Place::File { path, keys } = kept_in(more).place else { panic!("a server") };
        (path.to_str().unwrap().to_owned(), keys)
    };

    assert!(matches!(file(&[]), (path, None) if path == "batchsuite-data/batchsuite.db"));
    let url = ("DATABASE_URL", "sqlite:/var/lib/batch suite/x.db");
    assert!(matches!(file(&[url]), (path, None) if path == "/var/lib/batch suite/x.db"));
    for variable in [("BATCHSUITE_KEYS", "a:canary"), ("BATCHSUITE_KEYS_FILE", "/keys")] {
        assert!(file(&[variable]).1.is_some() && file(&[url, variable]).1.is_some());
    }
    for url in ["sqlite:", "sqlite::memory:", "sqlite://x.db", "sqlite:///x.db", "sqlite:x.db?mode=ro"] {
        let message = read(&real_with(&[("DATABASE_URL", url)])).unwrap_err().to_string();
        assert!(message.starts_with("DATABASE_URL must name a file, such as sqlite:"), "{url}: {message}");
    }
}

#[test]
fn a_database_that_is_neither_a_url_nor_a_file_is_told_which_it_can_be() {
    let message = read(&real_with(&[("DATABASE_URL", "batch.db")])).unwrap_err().to_string();
    assert_eq!(message, "DATABASE_URL must be postgres://user:password@host/database or sqlite:PATH");
}

#[test]
fn the_time_to_stop_is_docker_s_unless_it_is_set() {
    assert_eq!(read(&REAL).unwrap().stop_timeout, Duration::from_secs(10));
    assert_eq!(read(&[("STOP_TIMEOUT", "40")]).unwrap().stop_timeout, Duration::from_secs(40));
    for nonsense in ["0", "-1", "3601", "10s", "1.5", "99999999999999999999"] {
        assert!(read(&[("STOP_TIMEOUT", nonsense)]).is_err(), "{nonsense}");
    }
}

#[test]
fn another_ups_is_https_or_loopback() {
    for (base_url, accepted) in [
        ("https://ups.example", true),
        ("http://127.0.0.1:4000", true),
        ("http://localhost:4000", true),
        ("http://ups.example", false),
        ("ftp://localhost", false),
        ("https://ups.example/path", false),
        ("https://ups.example?x=1", false),
        ("https://user@ups.example", false),
        ("ups.example", false),
    ] {
        assert_eq!(read(&real_with(&[("UPS_BASE_URL", base_url)])).is_ok(), accepted, "{base_url}");
    }
}

#[test]
fn anything_half_set_is_an_error_that_names_the_variable() {
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[("LISTEN", "0.0.0.0:3000")], "LISTEN is not a loopback address"),
        (&[("LISTEN", "3000")], "LISTEN must be"),
        (&[("LISTEN", "")], "LISTEN is set but empty"),
        (&[("DATABASE_URL", "postgres://localhost/x")], "BATCHSUITE_KEYS is missing"),
        (&[("DATABASE_URL", "postgres://localhost/x"), ("BATCHSUITE_KEYS", "k")], "DATABASE_URL is not for the demo"),
        (&[("DATABASE_URL", ""), ("BATCHSUITE_KEYS", "k")], "DATABASE_URL is set but empty"),
        (&[("DATABASE_URL", "sqlite:x.db")], "DATABASE_URL is not for the demo"),
        (&[("BATCHSUITE_KEYS", "k")], "BATCHSUITE_KEYS is not for the demo"),
        (&[("BATCHSUITE_KEYS_FILE", "keys")], "BATCHSUITE_KEYS_FILE is not for the demo"),
        (&[("BATCHSUITE_KEYS", "k"), ("BATCHSUITE_KEYS_FILE", "keys")], "both set"),
        (&[("EVENTS_KEPT_DAYS", "30")], "EVENTS_KEPT_DAYS is not for the demo"),
        (&[("EVENTS_KEPT_DAYS", "0")], "EVENTS_KEPT_DAYS must be"),
        (&[("EVENTS_KEPT_DAYS", "1.5")], "EVENTS_KEPT_DAYS must be"),
        (&[("EVENTS_KEPT_DAYS", "99999999999")], "EVENTS_KEPT_DAYS must be"),
        (&[("UPS_CLIENT_ID", "id")], "UPS_CLIENT_SECRET is missing"),
        (&[("UPS_CLIENT_SECRET", "s")], "UPS_CLIENT_ID is missing"),
        (&[("UPS_ENVIRONMENT", "cie")], "UPS_CLIENT_ID is missing"),
        (&[("UPS_BASE_URL", "https://ups.example")], "UPS_CLIENT_ID is missing"),
        (&[("UPS_CLIENT_AUTHENTICATION", "pkce")], "UPS_CLIENT_ID is missing"),
        (&[("FORWARDED_FOR_HOPS", "11")], "FORWARDED_FOR_HOPS must be"),
        (&[("FORWARDED_FOR_HOPS", "-1")], "FORWARDED_FOR_HOPS must be"),
        (&[("FORWARDED_FOR_HOPS", "yes")], "FORWARDED_FOR_HOPS must be"),
        (&[("PUBLIC_URL", "https://batch.example.com")], "UPS_CLIENT_ID is missing"),
        (&[("UPS_CLIENT_ID", "id"), ("UPS_CLIENT_SECRET", "s")], "PUBLIC_URL is missing"),
        (&[("UPS_CLIENT_ID", " ")], "UPS_CLIENT_ID is set but empty"),
        (&[("DEMO_PASSWORD", "")], "DEMO_PASSWORD is set but empty"),
        (&[("FAKE_UPS_LISTEN", "0.0.0.0:1")], "FAKE_UPS_LISTEN must be a loopback"),
        (&[("FAKE_UPS_LISTEN", "x")], "FAKE_UPS_LISTEN must be an IP address"),
        (&REAL[..3], "DEMO_PASSWORD is missing"),
    ];
    for (variables, expected) in cases {
        let message = read(variables).unwrap_err().to_string();
        assert!(message.contains(expected), "{variables:?}: {message}");
        assert_eq!(message.lines().count(), 1);
    }
}

#[test]
fn a_real_ups_takes_no_bad_value() {
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[("UPS_ENVIRONMENT", "test")], "UPS_ENVIRONMENT must be"),
        (&[("UPS_CLIENT_AUTHENTICATION", "PKCE")], "UPS_CLIENT_AUTHENTICATION must be"),
        (&[("UPS_CLIENT_ID", "i d")], "UPS_CLIENT_ID has a space"),
        (&[("UPS_CLIENT_SECRET", "canary\n")], "UPS_CLIENT_SECRET has a space"),
        (&[("PUBLIC_URL", "http://batch.example.com")], "PUBLIC_URL must begin with https"),
        (&[("PUBLIC_URL", "https://batch.example.com/app")], "PUBLIC_URL must be a scheme and a host only"),
        (&[("PUBLIC_URL", "http://localhost:3000"), ("LISTEN", "0.0.0.0:3000")], "PUBLIC_URL is plain http"),
        (&[("FAKE_UPS_LISTEN", "127.0.0.1:1")], "FAKE_UPS_LISTEN is for the demo"),
    ];
    for (more, expected) in cases {
        let message = read(&real_with(more)).unwrap_err().to_string();
        assert!(message.contains(expected), "{more:?}: {message}");
        assert!(!message.contains("canary"), "{message}");
    }
}

#[test]
fn debug_shows_no_secret() {
    let shown = format!("{:?}", read(&REAL).unwrap());

    assert!(!shown.contains("canary"), "{shown}");
}

#[cfg(unix)]
#[test]
fn a_value_that_is_not_utf8_is_an_error() {
    use std::os::unix::ffi::OsStringExt;
    let message =
        Config::read(|name| (name == "LISTEN").then(|| OsString::from_vec(vec![0xff]))).unwrap_err().to_string();

    assert_eq!(message, "LISTEN is not UTF-8");
}
