//! Connect link: a URL with which another person, in another browser, begins a consent in the name of the link's maker.
//!
//! The store keeps a link as a pending consent. Its id marks it as a link, and its browser secret belongs to no
//! browser, so no callback can use it. Following the link uses this consent, which succeeds once across all processes,
//! and begins an ordinary consent. The state of that consent is derived from the link and the browser's secret, so a
//! second press in the same browser finds it.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use super::{Consents, repeats::Completed};
use crate::{
    browser::{LinkSecrets, TripCookie},
    clock::{Timestamp, later},
    consent::{ConnectLink, CookieOfTrip, OpenLink, Trip},
    error::{AuthenticateError, CallbackError, LinkError},
    events::{EventContent, EventKind},
    ids::{ActorId, CompanyId, ConsentId},
    machine::{
        ConsentFacts, ConsentRefusal, LinkFacts, LinkRefusal, Presented, USED_CONSENT_KNOWN, judge_consent, judge_link,
    },
    secret::{BrowserSecret, LinkToken, SecretHash},
    store::{Consent, FoundConsent, NewConsent, NewEvent, StoreError, Verifier},
    telemetry,
};

/// A usable link.
enum Known {
    /// Can be followed until this time.
    Open(Consent, Timestamp),
    /// Already followed by this browser.
    UnderWay(Consent, Trip),
}

/// How often to look for the trip of a preceding press, and the interval between looks.
const SECOND_LOOKS: usize = 5;
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

impl Consents {
    #[tracing::instrument(name = "connect_link", skip_all, fields(%company, %actor))]
    pub(crate) async fn connect_link(
        &self,
        company: &CompanyId,
        actor: &ActorId,
    ) -> Result<ConnectLink, AuthenticateError> {
        if self.engine.tasks.is_ended() {
            return Err(AuthenticateError::ShutDown);
        }
        let (token, lifetime) = (LinkToken::random(), self.engine.rotation.policy.connect_link_lifetime);
        // No browser has this secret.
        let nowhere = BrowserSecret::random().hash();
        let consent = self.new_consent(ConsentId::of_connect_link(), company, actor, nowhere);
        let mut link = NewConsent { consent, state: token.hash(), verifier: None, lifetime };
        let engine = Arc::clone(&self.engine);
        let put = async move {
            link.consent.removals = engine.rotation.read(&link.consent.company).await?.snapshot.grant.removals;
            engine.put_consent(link, EventKind::LinkIssued).await
        };
        self.engine.write_for_caller(put).await?;
        let expires_at = later(self.engine.rotation.now(), lifetime);
        Ok(ConnectLink { token, company: company.clone(), expires_at })
    }

    pub(crate) async fn open_link(&self, token: &LinkToken, links: &LinkSecrets) -> Result<OpenLink, LinkError> {
        let (Known::Open(link, expires_at) | Known::UnderWay(link, Trip { expires_at, .. })) =
            self.known_link(token, links).await?;
        Ok(OpenLink { company: link.company, actor: link.actor, expires_at })
    }

    #[tracing::instrument(name = "follow_link", skip_all, fields(company, actor))]
    pub(crate) async fn follow_link(&self, token: &LinkToken, links: &LinkSecrets) -> Result<Trip, LinkError> {
        if self.engine.tasks.is_ended() {
            return Err(LinkError::ShutDown);
        }
        let link = match self.known_link(token, links).await {
            Ok(Known::Open(link, _)) => link,
            Ok(Known::UnderWay(_, trip)) => return Ok(trip),
            Err(LinkError::Used) => return self.followed_just_now(token, links).await,
            Err(error) => return Err(error),
        };
        tracing::Span::current().record("company", link.company.as_str()).record("actor", link.actor.as_str());
        let (consent, trip) = self.trip_of_link(&link, token, links.of(token).cloned());
        let engine = Arc::clone(&self.engine);
        let follow = async move {
            let event = EventContent::new(EventKind::LinkFollowed).with_actor(link.actor);
            let event = NewEvent { company: Some(link.company), event };
            if engine.rotation.store.use_consent(link.environment, link.id, Some(event)).await?.is_none() {
                return Ok(false);
            }
            telemetry::wrote(link.environment, [EventKind::LinkFollowed]);
            engine.put_consent(consent, EventKind::Started).await.map(|()| true)
        };
        match self.engine.write_for_caller(follow).await? {
            true => Ok(trip),
            false => self.followed_just_now(token, links).await,
        }
    }

    fn trip_of_link(&self, link: &Consent, token: &LinkToken, secret: Option<BrowserSecret>) -> (NewConsent, Trip) {
        let rotation = &self.engine.rotation;
        let cookie = CookieOfTrip::OfLink(TripCookie::of(&self.redirect_uri), token.clone());
        let secret = secret.unwrap_or_else(BrowserSecret::random);
        // The callback needs the link, which the store remembers only this long.
        let lifetime = rotation.policy.consent_lifetime.min(USED_CONSENT_KNOWN);
        let authorization = rotation.ups.authorization_with(&self.redirect_uri, token.state_in(&secret), None);
        let whose = (&link.company, &link.actor);
        let (mut consent, trip) = self.new_trip(authorization, whose, secret, cookie, lifetime);
        // A removal since the link was made ends the trip, even a concurrent one.
        consent.consent.removals = link.removals;
        (consent, trip)
    }

    /// Finds the trip of a preceding press of the button. Another request may still be storing that trip.
    async fn followed_just_now(&self, token: &LinkToken, links: &LinkSecrets) -> Result<Trip, LinkError> {
        for _ in 0..SECOND_LOOKS {
            if links.of(token).is_none() {
                break;
            }
            sleep(BETWEEN_LOOKS).await;
            match self.known_link(token, links).await {
                Ok(Known::UnderWay(_, trip)) => return Ok(trip),
                Ok(Known::Open(..)) | Err(LinkError::Used) => {}
                Err(error) => return Err(error),
            }
        }
        Err(LinkError::Used)
    }

    /// Completes a consent that began with one of these links, in the name of the link's maker.
    pub(crate) async fn callback_of_link(self: &Arc<Self>, query: &str, links: &LinkSecrets) -> Completed {
        let mut refused = CallbackError::NoBrowserSecret;
        for (token, secret) in links.iter() {
            let found = self.engine.rotation.read_for_caller(self.found_link(token)).await?;
            let Some(link) = found.filter(|link| link.used.is_some()) else { continue };
            let Consent { actor, company, .. } = link.consent;
            match self.callback_for(&actor, query, vec![secret.hash()], Some(company)).await {
                // The consent may belong to another link.
                Err(error @ (CallbackError::OtherBrowser | CallbackError::UnknownState)) => refused = error,
                completed => return completed,
            }
        }
        Err(refused)
    }

    /// The link of this token, if it can be followed, or if this browser followed it and the trip is in progress.
    async fn known_link(&self, token: &LinkToken, links: &LinkSecrets) -> Result<Known, LinkError> {
        let rotation = &self.engine.rotation;
        let found = rotation.read_for_caller(async {
            let Some(link) = self.found_link(token).await? else { return Ok(None) };
            let removals = rotation.read(&link.consent.company).await?.snapshot.grant.removals;
            Ok::<_, StoreError>(Some((link, removals)))
        });
        let Some((found, removals)) = found.await? else { return Err(LinkError::Unknown) };
        let FoundConsent { consent: link, expires_at, used, as_of, .. } = found;
        let facts = LinkFacts { is_used: used.is_some(), expires_at, removals: link.removals };
        let known = match (judge_link(facts, removals, as_of), links.of(token)) {
            (Ok(()), _) => Known::Open(link, expires_at),
            (Err(LinkRefusal::Used), Some(secret)) => {
                let trip = self.trip_under_way(&link, token, secret, removals).await?;
                Known::UnderWay(link, trip)
            }
            (Err(LinkRefusal::Used), None) => return Err(LinkError::Used),
            (Err(LinkRefusal::Expired), _) => return Err(LinkError::Expired),
            (Err(LinkRefusal::RemovedSince), _) => return Err(LinkError::RemovedSince),
        };
        let (Known::Open(link, _) | Known::UnderWay(link, _)) = &known;
        self.ask_before_sending(&link.company, &link.actor).await.map_err(LinkError::RefusedByHost)?;
        Ok(known)
    }

    /// The trip that began with this link in the browser with this secret, if it can still be completed.
    async fn trip_under_way(
        &self,
        link: &Consent,
        token: &LinkToken,
        secret: &BrowserSecret,
        removals: u64,
    ) -> Result<Trip, LinkError> {
        let (rotation, state) = (&self.engine.rotation, token.state_in(secret));
        let hash = SecretHash::of(&state);
        let found = rotation
            .read_for_caller(rotation.store.find_consent(rotation.environment, &hash))
            .await?
            .filter(|found| found.used.is_none());
        let Some(FoundConsent { consent, verifier, expires_at, as_of, .. }) = found else {
            return Err(LinkError::Used);
        };
        let facts =
            ConsentFacts { actor: &consent.actor, browser: consent.browser, expires_at, removals: consent.removals };
        match judge_consent(facts, Presented { actor: &link.actor, browser: secret.hash() }, removals, as_of) {
            Ok(()) => {}
            Err(ConsentRefusal::RemovedSince) => return Err(LinkError::RemovedSince),
            Err(_) => return Err(LinkError::Used),
        }
        let verifier = match verifier {
            Verifier::Readable(verifier) => Some(verifier),
            Verifier::None => None,
            Verifier::Unreadable(error) => return Err(error.into()),
        };
        let authorization = rotation.ups.authorization_with(&consent.redirect_uri, state, verifier);
        let cookie = CookieOfTrip::OfLink(TripCookie::of(&self.redirect_uri), token.clone());
        Ok(Trip { url: authorization.url, browser_secret: secret.clone(), expires_at, cookie })
    }

    async fn found_link(&self, token: &LinkToken) -> Result<Option<FoundConsent>, StoreError> {
        let rotation = &self.engine.rotation;
        // Not in the form of a token: unknown without asking the store.
        let Some(token) = LinkToken::of_bytes(token.expose_secret().as_bytes()) else { return Ok(None) };
        let found = rotation.store.find_consent(rotation.environment, &token.hash()).await?;
        Ok(found.filter(|found| found.consent.id.is_of_connect_link()))
    }
}
