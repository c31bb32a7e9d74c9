//! The whole way in a real browser: a company manager with its fake UPS, and headless Chromium.
//!
//! With `COMPANY_PAGE_PICTURE=path.png` in the environment, the picture of the company page is written there.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod program {
    #[allow(dead_code, reason = "shared with the tests of the library's adapter, which need more of it")]
    pub(crate) mod chrome;
    #[allow(dead_code, reason = "shared with the tests of the program, which need more of it")]
    pub(crate) mod process;
}

use std::{env, fs};

use program::{chrome::Chrome, process::Program};
use serde_json::json;

const PASSWORD: &str = "a-demo-password";
const UPS_USER: &str = "demo@example.com";
const COMPANY: &str = "Alder Creek Outfitters";
const TAB: char = '\u{e004}';
const ENTER: char = '\u{e007}';

async fn start() -> (Program, Chrome) {
    (Program::start(&[("DEMO_PASSWORD", PASSWORD)]).await, Chrome::start().await)
}

async fn sign_in(chrome: &Chrome, program: &Program, name: &str) {
    chrome.open(program.url.join("/login").unwrap()).await;
    chrome.fill("Sign In name", name).await;
    chrome.fill("Password", PASSWORD).await;
    chrome.press("Sign in").await;
    chrome.see("Sign out").await;
}

/// At UPS.com, from the first page to the second.
async fn agree(chrome: &Chrome, program: &Program) {
    chrome.see("Log In").await;
    assert_eq!(chrome.address().await.origin(), program.fake.origin());
    chrome.fill("Email or Username", UPS_USER).await;
    chrome.tick("By continuing, I agree").await;
    chrome.press("Continue").await;
    chrome.see("Welcome back").await;
}

async fn authenticate(chrome: &Chrome, program: &Program, ups_password: &str) {
    chrome.press("Authenticate").await;
    agree(chrome, program).await;
    chrome.fill("Password", ups_password).await;
    chrome.press("Log In").await;
    chrome.see(&format!("{COMPANY} is authenticated")).await;
}

/// `Refresh expires: yyyy-mm-dd hh:mm:ss`, as the page shows it.
fn shows_expiry(text: &str) -> bool {
    let Some((_, rest)) = text.split_once("Refresh expires: ") else { return false };
    let shape: String = rest.chars().take(19).map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
    shape == "9999-99-99 99:99:99"
}

async fn complains_of_nothing(chrome: &Chrome) {
    let complaints = chrome.complaints().await;
    let ours: Vec<_> = complaints.iter().filter(|complaint| complaint.contains("Security Policy")).collect();
    assert!(ours.is_empty(), "{ours:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_company_admin_signs_in_and_authenticates_a_company() {
    let (program, chrome) = start().await;
    chrome.open(&program.url).await;

    // By keyboard alone: the first field has the focus.
    chrome.keys(&format!("company.admin{TAB}wrong{ENTER}")).await;
    chrome.see("The Sign In name or the Password is wrong.").await;
    chrome.keys(&format!("{PASSWORD}{ENTER}")).await;
    chrome.see("Open My Company").await;
    chrome.follow("Admin").await;
    chrome.follow("My Company").await;
    chrome.see("Company manager").await;
    chrome.follow(COMPANY).await;
    chrome.see("This company is not authenticated").await;

    // Declined.
    chrome.press("Authenticate").await;
    chrome.follow("No thanks").await;
    chrome.see("The authorization was declined at UPS.com.").await;
    chrome.follow("Start again from the company").await;

    // A wrong password, then the right one.
    chrome.press("Authenticate").await;
    agree(&chrome, &program).await;
    chrome.fill("Password", "wrong").await;
    chrome.press("Log In").await;
    chrome.see("not right").await;
    chrome.fill("Password", PASSWORD).await;
    chrome.press("Log In").await;

    // The confirmation, with the date, at an address without a secret.
    chrome.see(&format!("{COMPANY} is authenticated")).await;
    chrome.see("The token expiration date is").await;
    let address = chrome.address().await;
    assert_eq!(address.origin(), program.url.origin());
    assert!(address.path().starts_with("/companies/") && address.query().is_none(), "{address}");
    assert!(shows_expiry(&chrome.text().await));
    chrome.fill("New access key", "0A1B2C3D4E5F6A7B").await;
    chrome.press("UPDATE API ACCESS").await;
    chrome.see("The API access is updated.").await;
    chrome.open(&address).await;
    chrome.see("CONFIGURED").await;
    if let Some(path) = env::var_os("COMPANY_PAGE_PICTURE") {
        fs::write(path, chrome.picture().await).unwrap();
    }

    // The token at work, and what happened.
    chrome.follow("BATCH TRACK").await;
    chrome.fill("Tracking number", "1Z999AA10123456784").await;
    chrome.press("TRACK").await;
    chrome.see("On the Way").await;
    chrome.open(format!("{address}/history")).await;
    let history = chrome.text().await;
    for words in ["Authenticated the company.", "Declined at UPS.com.", "Went to UPS.com to authenticate."] {
        assert!(history.contains(words), "{history}");
    }
    complains_of_nothing(&chrome).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_password_change_at_ups_the_company_is_authenticated_again() {
    let (program, chrome) = start().await;
    sign_in(&chrome, &program, "company.admin").await;
    chrome.open(program.url.join("/companies").unwrap()).await;
    chrome.follow(COMPANY).await;
    authenticate(&chrome, &program, PASSWORD).await;
    let company = chrome.address().await;

    // On the fake's page, as the terminal says.
    chrome.open(program.fake.join("/__fake/").unwrap()).await;
    chrome.fill("New password", "another-password").await;
    chrome.tick("Access tokens die at once").await;
    chrome.press("Change password").await;
    chrome.see("another-password").await;
    chrome.open(program.url.join("/batch-track").unwrap()).await;
    chrome.fill("Tracking number", "1Z999AA10123456784").await;
    chrome.press("TRACK").await;

    let cause = "The UPS.com password was changed, access was withdrawn at UPS.com, or UPS ended it, e.g. after a change of billing.";
    chrome.see(cause).await;
    chrome.open(program.url.join("/companies").unwrap()).await;
    chrome.see(cause).await;
    chrome.open(&company).await;
    chrome.see(cause).await;
    authenticate(&chrome, &program, "another-password").await;
    assert!(shows_expiry(&chrome.text().await));
    complains_of_nothing(&chrome).await;
}

/// Tells the demo's fake UPS what to do.
async fn control(program: &Program, what: &str, order: serde_json::Value) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client.post(program.fake.join(&format!("/__fake/{what}")).unwrap()).json(&order).send().await.unwrap();
    assert!(answer.status().is_success(), "{what}: {}", answer.text().await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_says_why_a_company_does_not_work_and_who_must_act() {
    let (program, chrome) = start().await;
    sign_in(&chrome, &program, "company.admin").await;
    chrome.open(program.url.join("/companies").unwrap()).await;
    chrome.follow(COMPANY).await;
    chrome.see("A company administrator has to authenticate it.").await;
    authenticate(&chrome, &program, PASSWORD).await;
    let company = chrome.address().await;
    // The session ends with the hour, too.
    let check_in_an_hour = async |fault: Option<&str>| {
        control(&program, "faults", json!({"endpoint": "refresh"})).await;
        if let Some(fault) = fault {
            // Until it is cleared: the demo's keeper meets it, too.
            let order = json!({"endpoint": "refresh", "fault": fault, "times": "until_cleared"});
            control(&program, "faults", order).await;
        }
        control(&program, "clock", json!({"advance_seconds": 3600})).await;
        sign_in(&chrome, &program, "company.admin").await;
        chrome.open(&company).await;
        chrome.press("CHECK CONNECTION").await;
        chrome.see("The connection was checked").await;
    };

    check_in_an_hour(Some("invalid_client")).await;
    chrome.see("UPS refused the last refresh for a reason other than its token.").await;
    chrome.see("UPS says “ClientId is Invalid”.").await;
    chrome.see("Whoever operates this service has to act.").await;

    check_in_an_hour(Some("unavailable")).await;
    chrome.see("The last refresh got neither tokens nor a refusal from UPS.").await;
    chrome.see("Next: UPS is asked again at").await;
    chrome.see("Nobody here has to act: it is up to UPS.").await;

    check_in_an_hour(None).await;
    chrome.see("programs get an access token.").await;
    chrome.see("An earlier request was lost").await;
    chrome.see("Nobody has to act.").await;
    complains_of_nothing(&chrome).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_admin_user_sees_a_company_from_its_authentication_to_the_removal() {
    let (program, admin) = start().await;
    let chrome = Chrome::start().await;
    sign_in(&admin, &program, "admin").await;
    sign_in(&chrome, &program, "company.admin").await;
    let list = program.url.join("/companies").unwrap();
    admin.open(&list).await;
    admin.see("No company is authenticated at present.").await;

    chrome.open(&list).await;
    chrome.follow(COMPANY).await;
    authenticate(&chrome, &program, PASSWORD).await;

    admin.open(&list).await;
    admin.follow(COMPANY).await;
    admin.see("OAuth Configuration").await;
    let company = admin.address().await;
    let page = admin.text().await;
    assert!(shows_expiry(&page));
    assert!(!page.contains("REMOVE AUTH") && !page.contains("Authenticate again"), "{page}");

    chrome.press("REMOVE AUTH").await;
    chrome.see("What this cannot do").await;
    chrome.press("REMOVE AUTH").await;
    chrome.see("The authorization was removed.").await;

    admin.open(&company).await;
    admin.see("There is no such page, or it is not yours to see.").await;
    admin.open(&list).await;
    admin.see("No company is authenticated at present.").await;
    complains_of_nothing(&chrome).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_tabs_that_went_to_ups_without_a_trip_s_cookie_both_come_back() {
    let (program, chrome) = start().await;
    sign_in(&chrome, &program, "company.admin").await;
    let list = program.url.join("/companies").unwrap();
    let other = "Harbor & Hill Books";
    let depart = async |company| {
        chrome.open(&list).await;
        chrome.follow(company).await;
        // As if it had not been set yet: each tab is given a secret of its own.
        chrome.forget_cookie("ups-trip").await;
        chrome.press("Authenticate").await;
        chrome.see("Log In").await;
    };
    depart(COMPANY).await;
    let (first, second) = chrome.open_tab().await;
    depart(other).await;

    for (tab, company) in [(first, COMPANY), (second, other)] {
        chrome.go_to_tab(&tab).await;
        agree(&chrome, &program).await;
        chrome.fill("Password", PASSWORD).await;
        chrome.press("Log In").await;
        chrome.see(&format!("{company} is authenticated")).await;
    }
    complains_of_nothing(&chrome).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connect_link_works_once_in_another_browser_where_nobody_is_signed_in() {
    let (program, chrome) = start().await;
    let colleague = Chrome::start().await;
    sign_in(&chrome, &program, "company.admin").await;
    chrome.open(program.url.join("/companies").unwrap()).await;
    chrome.follow(COMPANY).await;
    let company = chrome.address().await;
    chrome.press("Connect link").await;
    chrome.see("Give this address to the colleague").await;
    let page = chrome.text().await;
    let link = page.split_whitespace().find(|word| word.contains("/connect/")).unwrap();
    assert!(chrome.fits(390).await);

    colleague.open(link).await;
    colleague.see(&format!("Connect {COMPANY} with UPS.com")).await;
    assert!(colleague.fits(390).await);
    colleague.press("Continue to UPS.com").await;
    colleague.see("Log In").await;
    assert_eq!(colleague.referrer().await, "", "the address of the link stays here");
    agree(&colleague, &program).await;
    colleague.fill("Password", PASSWORD).await;
    colleague.press("Log In").await;
    colleague.see(&format!("{COMPANY} is authenticated")).await;
    colleague.see("You can close this window.").await;
    assert!(shows_expiry(&colleague.text().await));

    chrome.open(&company).await;
    assert!(shows_expiry(&chrome.text().await));
    colleague.open(link).await;
    colleague.see("This link was used already").await;
    colleague.open(&company).await;
    colleague.see("Sign in").await;
    complains_of_nothing(&colleague).await;
    complains_of_nothing(&chrome).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_fits_a_narrow_screen() {
    let (program, chrome) = start().await;
    chrome.open(program.url.join("/login").unwrap()).await;
    assert!(chrome.fits(390).await, "/login");
    sign_in(&chrome, &program, "company.admin").await;
    chrome.open(program.url.join("/companies").unwrap()).await;
    chrome.follow(COMPANY).await;
    authenticate(&chrome, &program, PASSWORD).await;
    let company = chrome.address().await.path().to_owned();

    for path in [
        "/",
        "/companies",
        "/companies/new",
        &company,
        &format!("{company}/history"),
        "/batch-track",
        "/sigview",
        "/custom-billing",
        "/batch-rate",
        "/nothing",
    ] {
        chrome.open(program.url.join(path).unwrap()).await;
        for width in [320, 390, 1280] {
            assert!(chrome.fits(width).await, "{path} at {width}");
        }
    }
}
