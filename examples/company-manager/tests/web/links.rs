//! Connect links: made by a company admin, followed in a browser where nobody is signed in.

use batchsuite_auth::CompanyId;
use batchsuite_auth::fake_ups::{Answer, Endpoint, Times};
use http::{Method, Request, StatusCode, header};

use company_manager::demo::UPS_USER;

use crate::world::{Answer as Page, Browser, World};

/// The address that a page shows, as a path.
fn address(page: &Page) -> String {
    assert_eq!(page.status, StatusCode::OK, "{}", page.body);
    let from = page.body.find("http://127.0.0.1:3000/connect/").expect("an address") + "http://127.0.0.1:3000".len();
    page.body[from..].split('<').next().unwrap().to_owned()
}

async fn make(browser: &Browser, company: &CompanyId) -> String {
    address(&browser.post(&format!("/companies/{company}/connect-link"), &[]).await)
}

/// Presses the button on a link's page, as a browser does.
async fn follow(browser: &Browser, link: &str, from: &str) -> Page {
    let request = Request::builder().method(Method::POST).uri(link).header(header::HOST, "127.0.0.1:3000");
    browser.request(request.header("sec-fetch-site", from), String::new()).await
}

async fn come_back(world: &World, departure: &Page) -> String {
    assert_eq!(departure.status, StatusCode::SEE_OTHER, "{}", departure.body);
    let query = world.ups.consent(&departure.location().parse().unwrap(), UPS_USER).await;
    format!("/oauth/ups/callback?{query}")
}

#[tokio::test]
async fn a_link_authenticates_the_company_once_in_a_browser_where_nobody_is_signed_in() {
    let world = World::new().await;
    let admin = world.company_admin().await;
    let company = world.companies().await.remove(0);
    let link = make(&admin, &company).await;
    assert!(admin.get(&format!("/companies/{company}")).await.body.contains("A connect link was made"));
    let colleague = world.browser();

    let page = colleague.get(&link).await;
    assert_eq!(page.status, StatusCode::OK);
    assert_eq!(page.headers[header::CACHE_CONTROL], "no-store");
    // With `no-referrer`, a browser that sends no `Sec-Fetch-Site` posts the form with `Origin: null`, and is refused.
    assert_eq!(page.headers[header::REFERRER_POLICY], "strict-origin");
    assert!(page.body.contains("Connect Alder Creek Outfitters with UPS.com"), "{}", page.body);
    let departure = follow(&colleague, &link, "same-origin").await;
    assert_eq!(follow(&world.browser(), &link, "same-origin").await.status, StatusCode::GONE);
    let callback = come_back(&world, &departure).await;
    for _ in 0..2 {
        let done = colleague.get(&callback).await;
        assert_eq!(done.status, StatusCode::OK);
        assert!(done.body.contains("Alder Creek Outfitters is authenticated"), "{}", done.body);
    }

    assert!(world.is_authenticated(&company).await);
    assert_eq!(world.exchanges(), 1);
    let history = admin.get(&format!("/companies/{company}/history")).await.body;
    for words in ["Made a connect link.", "Somebody followed the connect link.", "Authenticated the company."] {
        assert!(history.contains(words), "{history}");
    }
    assert!(!colleague.get(&link).await.body.contains("Continue to UPS.com"), "it worked once");
}

#[tokio::test]
async fn a_link_is_made_for_those_who_may_authenticate_and_nobody_else() {
    let world = World::new().await;
    let (admin, user) = (world.company_admin().await, world.admin_user().await);
    let company = world.companies().await.remove(0);
    let path = format!("/companies/{company}/connect-link");

    assert_eq!(user.post(&path, &[]).await.status, StatusCode::NOT_FOUND, "a company that an admin user does not see");
    let others = world.others_company().await;
    assert_eq!(admin.post(&format!("/companies/{others}/connect-link"), &[]).await.status, StatusCode::NOT_FOUND);
    assert_eq!(world.browser().send(Method::POST, &path, String::new()).await.status, StatusCode::FORBIDDEN);
    assert_eq!(admin.send(Method::POST, &path, String::new()).await.status, StatusCode::FORBIDDEN, "no CSRF token");

    world.authenticate(&admin, &company).await;
    assert_eq!(user.post(&path, &[]).await.status, StatusCode::FORBIDDEN);
    assert!(!user.get(&format!("/companies/{company}")).await.body.contains("Connect link"));
    make(&admin, &company).await;
}

#[tokio::test]
async fn a_link_is_followed_from_its_own_page_alone() {
    let world = World::new().await;
    let company = world.companies().await.remove(0);
    let link = make(&world.company_admin().await, &company).await;
    let colleague = world.browser();

    for from in ["cross-site", "same-site", "none"] {
        assert_eq!(follow(&colleague, &link, from).await.status, StatusCode::FORBIDDEN, "{from}");
    }
    assert_eq!(colleague.send(Method::POST, &link, String::new()).await.status, StatusCode::FORBIDDEN);
    for method in [Method::GET, Method::HEAD] {
        assert_eq!(colleague.send(method, &link, String::new()).await.status, StatusCode::OK);
    }
    assert_eq!(colleague.get("/connect/").await.status, StatusCode::NOT_FOUND);
    assert_eq!(colleague.get("/connect/unknown").await.status, StatusCode::NOT_FOUND);

    // A browser that sends no `Sec-Fetch-Site`.
    let press = |origin| {
        let request = Request::builder().method(Method::POST).uri(&link).header(header::HOST, "127.0.0.1:3000");
        colleague.request(request.header(header::ORIGIN, origin), String::new())
    };
    for origin in ["null", "http://127.0.0.1:3001", "https://127.0.0.1:3000"] {
        assert_eq!(press(origin).await.status, StatusCode::FORBIDDEN, "{origin}");
    }
    assert_eq!(press("http://127.0.0.1:3000").await.status, StatusCode::SEE_OTHER, "it was not used up");
}

#[tokio::test]
async fn a_link_s_return_that_fails_asks_for_a_new_link_and_not_for_a_sign_in() {
    let world = World::new().await;
    let company = world.companies().await.remove(0);
    let link = make(&world.company_admin().await, &company).await;
    let colleague = world.browser();
    let callback = come_back(&world, &follow(&colleague, &link, "same-origin").await).await;
    assert_eq!(world.browser().get(&callback).await.location(), "/login?why=start-again", "another browser");
    world.ups.fault(Endpoint::Token, Answer::status(503), Times::Once);

    for status in [StatusCode::BAD_GATEWAY, StatusCode::BAD_REQUEST] {
        let answer = colleague.get(&callback).await;
        assert_eq!(answer.status, status);
        assert!(answer.body.contains("Ask your colleague for a new link"), "{}", answer.body);
    }
}

#[tokio::test]
async fn a_link_whose_maker_lost_the_right_leads_nowhere() {
    let world = World::new().await;
    let company = world.companies().await.remove(0);
    let admin = world.company_admin().await;
    let (link, other) = (make(&admin, &company).await, make(&admin, &company).await);
    let colleague = world.browser();
    let callback = come_back(&world, &follow(&colleague, &link, "same-origin").await).await;
    world.directory.withdraw(&company, &world.company_admin.id);

    assert_eq!(colleague.get(&other).await.status, StatusCode::FORBIDDEN);
    assert_eq!(follow(&colleague, &other, "same-origin").await.status, StatusCode::FORBIDDEN);
    assert_eq!(colleague.get(&callback).await.status, StatusCode::FORBIDDEN);
    assert_eq!(world.exchanges(), 0);
}
