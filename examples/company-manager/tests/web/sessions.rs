//! Signing in and out, CSRF tokens, the headers of every answer, and the host name.

use std::time::Duration;

use http::{Method, Request, StatusCode, header};

use crate::world::{PASSWORD, World};

#[tokio::test]
async fn the_session_id_changes_at_sign_in_and_the_old_one_opens_nothing() {
    let world = World::new().await;
    let browser = world.browser();
    let answer = browser.get("/login").await;
    assert!(answer.headers[header::SET_COOKIE].to_str().unwrap().ends_with("; Path=/; HttpOnly; SameSite=Lax"));
    let before = browser.session().unwrap();

    browser.post("/login", &[("sign_in_name", "Company.Admin"), ("password", PASSWORD)]).await;

    let after = browser.session().unwrap();
    assert_ne!(before.expose_secret(), after.expose_secret());
    assert_eq!(browser.get("/companies").await.status, StatusCode::OK);
    browser.cookies.lock().unwrap().insert("session".into(), before.expose_secret().into());
    assert_eq!(browser.get("/companies").await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_second_sign_in_ends_the_first_session_of_that_browser() {
    let world = World::new().await;
    let browser = world.company_admin().await;
    let first = browser.session().unwrap();
    browser.post("/login", &[("sign_in_name", "admin"), ("password", PASSWORD)]).await;

    browser.cookies.lock().unwrap().insert("session".into(), first.expose_secret().into());

    assert_eq!(browser.get("/companies").await.location(), "/login?next=%2Fcompanies");
}

#[tokio::test]
async fn wrong_names_and_passwords_are_told_alike_and_slowed_down() {
    let world = World::new().await;
    let browser = world.browser();
    browser.get("/login").await;
    let wrong = "The Sign In name or the Password is wrong.";
    for (name, password) in [("company.admin", "wrong"), ("nobody", PASSWORD), ("", "x"), ("company.admin", "")] {
        let answer = browser.post("/login", &[("sign_in_name", name), ("password", password)]).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(answer.body.contains(wrong), "{}", answer.body);
        assert!(!answer.body.contains(PASSWORD));
    }

    for _ in 0..5 {
        browser.post("/login", &[("sign_in_name", "admin"), ("password", "wrong")]).await;
    }
    let right = [("sign_in_name", "admin"), ("password", PASSWORD)];
    let slowed = browser.post("/login", &right).await;
    assert_eq!(slowed.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(slowed.headers[header::RETRY_AFTER], "301");
    world.clock().advance(Duration::from_secs(300));
    assert_eq!(browser.post("/login", &right).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_sign_in_leads_back_to_the_page_that_was_asked_for() {
    let world = World::new().await;
    let browser = world.browser();
    assert_eq!(browser.get("/sigview").await.location(), "/login?next=%2Fsigview");
    let page = browser.get("/login?next=%2Fsigview").await.body;
    assert!(page.contains("name=\"next\" value=\"/sigview\""), "{page}");

    for (next, gone_to) in [("/sigview", "/sigview"), ("https://evil.example/", "/"), ("//evil.example", "/")] {
        let fields = [("sign_in_name", "admin"), ("password", PASSWORD), ("next", next)];
        assert_eq!(browser.post("/login", &fields).await.location(), gone_to, "{next}");
    }
}

#[tokio::test]
async fn a_session_ends_by_signing_out_and_by_idling() {
    let world = World::new().await;
    let browser = world.company_admin().await;
    let session = browser.session().unwrap();
    let out = browser.post("/logout", &[]).await;
    assert_eq!(out.status, StatusCode::SEE_OTHER);
    assert!(browser.session().is_none());
    browser.cookies.lock().unwrap().insert("session".into(), session.expose_secret().into());
    assert_eq!(browser.get("/companies").await.status, StatusCode::SEE_OTHER, "the id is dead at the server, too");
    let no_get = browser.get("/logout").await;
    assert_eq!(
        (no_get.status, no_get.headers[header::ALLOW].as_bytes()),
        (StatusCode::METHOD_NOT_ALLOWED, &b"POST"[..])
    );

    let idle = world.company_admin().await;
    world.clock().advance(Duration::from_secs(30 * 60));
    assert_eq!(idle.get("/companies").await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn every_post_needs_the_csrf_token_of_its_session() {
    let world = World::new().await;
    let (browser, other) = (world.company_admin().await, world.company_admin().await);
    let company = world.companies().await.remove(0);
    let stolen = format!("csrf_token={}&name=x&confirm=yes", other.session().unwrap().csrf_token());
    for path in ["settings", "access-key", "authenticate", "remove-auth", "track"]
        .map(|action| format!("/companies/{company}/{action}"))
        .into_iter()
        .chain(["/login", "/logout", "/companies/new"].map(String::from))
    {
        for form in ["", "name=x", "csrf_token=", &stolen] {
            let answer = browser.send(Method::POST, &path, form.to_owned()).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path} with {form:?}");
        }
    }
    assert_eq!(browser.get("/companies").await.status, StatusCode::OK, "still signed in");
    let without_cookie = world.browser().post("/login", &[("sign_in_name", "admin"), ("password", PASSWORD)]).await;
    assert_eq!(without_cookie.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn every_answer_has_the_security_headers() {
    let world = World::at("https://batch.example.com/").await;
    let browser = world.company_admin().await;
    let company = world.companies().await.remove(0);
    let policy = format!(
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self' {} https://www.ups.com; \
         frame-ancestors 'none'; base-uri 'none'",
        world.ups.base_url().origin().ascii_serialization()
    );
    for path in ["/", "/login", "/nothing", "/style.css", "/healthz", "/companies", &format!("/companies/{company}")] {
        let headers = browser.get(path).await.headers;
        assert_eq!(headers[header::CONTENT_SECURITY_POLICY], policy, "{path}");
        assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff", "{path}");
        assert_eq!(headers[header::REFERRER_POLICY], "no-referrer", "{path}");
        assert_eq!(headers["cross-origin-opener-policy"], "same-origin", "{path}");
        assert_eq!(headers[header::STRICT_TRANSPORT_SECURITY], "max-age=31536000", "{path}");
        let is_public = path == "/style.css";
        assert_eq!(headers[header::CACHE_CONTROL] != "no-store", is_public, "{path}");
    }
}

#[tokio::test]
async fn over_https_cookies_are_secure_and_of_this_host_alone() {
    let world = World::at("https://batch.example.com/").await;
    let browser = world.company_admin().await;
    let company = world.companies().await.remove(0);

    world.authenticate(&browser, &company).await;

    let cookies: Vec<_> = browser.cookies.lock().unwrap().keys().cloned().collect();
    assert_eq!(cookies, ["__Host-session", "__Host-ups-trip"]);
    let plain = World::new().await;
    let answer = plain.browser().get("/nothing").await;
    assert!(!answer.headers.contains_key(header::STRICT_TRANSPORT_SECURITY));
}

#[tokio::test]
async fn another_host_name_leads_to_the_public_url_or_nowhere() {
    let world = World::at("https://batch.example.com/").await;
    let browser = world.browser();
    let send = async |method: Method, host: &str, forwarded: Option<&str>| {
        let mut request = Request::builder().method(method).uri("/companies?after=1").header(header::HOST, host);
        if let Some(scheme) = forwarded {
            request = request.header("x-forwarded-proto", scheme);
        }
        browser.request(request, String::new()).await
    };

    for (host, forwarded) in [
        ("127.0.0.1:3000", None),
        ("evil.example", None),
        ("batch.example.com.evil.example", None),
        ("batch.example.com:8080", None),
        ("batch.example.com", Some("http")),
    ] {
        let answer = send(Method::GET, host, forwarded).await;
        assert_eq!(answer.status, StatusCode::FOUND, "{host}");
        assert_eq!(answer.location(), "https://batch.example.com/companies?after=1", "{host}");
        assert_eq!(send(Method::POST, host, forwarded).await.status, StatusCode::MISDIRECTED_REQUEST, "{host}");
    }
    for host in ["batch.example.com", "BATCH.example.com", "batch.example.com:443"] {
        assert_eq!(send(Method::GET, host, Some("https")).await.status, StatusCode::SEE_OTHER, "{host}");
    }
    let health = Request::builder().uri("/healthz").header(header::HOST, "10.0.0.7:3000");
    assert_eq!(browser.request(health, String::new()).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_form_that_is_too_large_is_refused() {
    let world = World::new().await;
    let browser = world.company_admin().await;

    let answer = browser.post("/companies/new", &[("name", &"x".repeat(17 * 1024))]).await;

    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn cookies_hold_the_session_id_and_the_browser_secret_and_nothing_else() {
    let world = World::new().await;
    let browser = world.company_admin().await;
    let company = world.companies().await.remove(0);

    let answer = browser.post(&format!("/companies/{company}/authenticate"), &[]).await;

    let set: Vec<_> =
        answer.headers.get_all(header::SET_COOKIE).iter().map(|cookie| cookie.to_str().unwrap()).collect();
    assert_eq!(set.len(), 1);
    assert!(set[0].starts_with("ups-trip=") && set[0].ends_with("; HttpOnly; SameSite=Lax"), "{set:?}");
    assert!(!answer.location().contains(&browser.cookies.lock().unwrap()["ups-trip"]));
    for value in browser.cookies.lock().unwrap().values() {
        assert_eq!(value.len(), 43, "256 random bits");
    }
}
