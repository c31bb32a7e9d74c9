//! The default pages.

use crate::world::World;

#[tokio::test]
async fn every_plain_page_is_locked_down_and_repeats_nothing_of_its_request() {
    let world = World::new().await;
    let browser = world.ada();
    let departure = browser.press("/companies/acme/authenticate").await;
    let state = departure.location().split("state=").nth(1).unwrap().split('&').next().unwrap().to_owned();
    let link = world.link("other").await;
    let script = "%3Cscript%3Ealert(1)";

    let mut pages = vec![
        browser.get(&format!("/oauth/ups/callback?code=canary-code&state=canary{script}")).await,
        browser
            .get(&format!("/oauth/ups/callback?error={script}&error_description={script}canary&state={state}"))
            .await,
        browser.get("/oauth/ups/callback").await,
        browser.press("/companies/canary/authenticate").await,
        browser.press(&format!("/companies/{script}/authenticate")).await,
        browser.press("/companies/acme/connect-link").await,
        browser.get(&format!("/connect/canary{script}")).await,
        browser.send("POST", "/oauth/ups/callback", &[]).await,
        world.browser().get("/oauth/ups/callback?code=canary&state=canary").await,
    ];
    let opened = browser.get(&link).await;
    let form_action = format!("form-action {}; ", world.auth.form_action());
    assert!(opened.header("content-security-policy").contains(&form_action), "{opened:?}");
    assert!(form_action.contains(world.ups.base_url().as_str().trim_end_matches('/')), "{form_action}");
    // Its form must send its origin.
    assert_eq!(opened.header("referrer-policy"), "strict-origin");

    for page in &pages {
        assert_eq!(page.header("referrer-policy"), "no-referrer");
    }
    pages.push(opened);
    for page in &pages {
        assert_eq!(page.header("content-type"), "text/html; charset=utf-8", "{page:?}");
        assert_eq!(page.header("cache-control"), "no-store", "{page:?}");
        assert_eq!(page.header("x-content-type-options"), "nosniff");
        let policy = page.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; form-action "), "{policy}");
        assert!(policy.ends_with("; frame-ancestors 'none'; base-uri 'none'"), "{policy}");
        for never in ["canary", "<script", &state, &link[9..]] {
            assert!(!page.body.contains(never), "{never}: {}", page.body);
        }
    }
}
