//! A connect link: made by an administrator, followed by colleagues in browsers of their own.

use std::sync::Arc;

use batchsuite_auth::{LinkSecrets, LinkToken, Trip};
use http::{HeaderMap, HeaderValue, header};
use url::form_urlencoded;

use crate::{
    faults::Fault,
    people::{administrator, answered},
    process::Name,
    world::{World, user_name},
};

impl World {
    /// An administrator makes a link, perhaps at another process than the ones where two colleagues follow it at once. One of them
    /// goes to UPS.com and comes back.
    pub(crate) async fn consent_by_link(self: Arc<Self>, company: usize) {
        let (id, actor, asked_at) = (self.companies[company].clone(), administrator(company), self.now());
        let (first, second) = self.two_slots();
        let Some((incarnation, gate, auth)) = self.process(first) else { return };
        let made = answered(gate.pass(async move { auth.connect_link(&id, &actor).await })).await;
        let Some(Ok(link)) = made else {
            self.note(Name(first, incarnation), format_args!("c{company} cannot make a link"));
            return;
        };
        let began = (asked_at, self.now());
        self.person_rests().await;
        let Some(trip) = self.follow_twice([first, second], &link.token).await else { return };
        self.suffers(Fault::Linked, "");
        self.person_rests().await;
        self.ups_clock.set(self.clocks.now());
        let user = user_name(self.ledger(|ledger| ledger.companies[company].user));
        let query = self.ups.consent(&trip.url, &user).await;
        let code = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "code");
        if let Some((_, code)) = code {
            self.ledger(|ledger| ledger.signed_in(&code, company, began));
        }
        self.person_rests().await;
        let Some((incarnation, gate, auth)) = self.process(second) else { return };
        let links = auth.trip_cookie().links(&cookies(&trip));
        let back = answered(gate.pass(async move { auth.callback_of_link(&query, &links).await })).await;
        let words = match back {
            Some(Ok(_)) => "opted in".to_owned(),
            Some(Err(error)) => error.to_string(),
            None => "no page".to_owned(),
        };
        self.note(Name(second, incarnation), format_args!("c{company} comes back by a link: {words}"));
    }

    /// Two colleagues follow a link at once, in browsers of their own. At most one of them is sent to UPS.com, unless a backup in
    /// which the link is unused is put back in between.
    async fn follow_twice(self: &Arc<Self>, slots: [usize; 2], token: &LinkToken) -> Option<Trip> {
        let restored = self.tally().of(Fault::BackupRestored);
        let (one, other) = tokio::join!(self.follow(slots[0], token), self.follow(slots[1], token));
        if one.is_some() && other.is_some() && self.tally().of(Fault::BackupRestored) == restored {
            self.ledger(|ledger| ledger.note_violation("a connect link is followed twice".to_owned()));
        }
        one.or(other)
    }

    async fn follow(self: &Arc<Self>, slot: usize, token: &LinkToken) -> Option<Trip> {
        let (_, gate, auth) = self.process(slot)?;
        let token = token.clone();
        let followed = answered(gate.pass(async move { auth.follow_link(&token, &LinkSecrets::default()).await }));
        followed.await?.ok()
    }
}

/// The cookie that the colleague's browser has.
fn cookies(trip: &Trip) -> HeaderMap {
    let set_cookie = trip.set_cookie();
    let pair = set_cookie.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    let mut headers = HeaderMap::new();
    headers.extend(HeaderValue::from_bytes(pair).ok().map(|pair| (header::COOKIE, pair)));
    headers
}
