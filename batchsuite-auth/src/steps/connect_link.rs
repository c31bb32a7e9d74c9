//! Connect link: an address with which another person, in another browser, begins a consent of its maker.
//!
//! A store keeps a link like a pending consent. Its id says that it is none, and the browser that it names does not exist, so no
//! callback takes it. Following it uses that consent up, which succeeds once across all processes, and begins an ordinary one.

use std::sync::Arc;

use super::{Consents, repeats::Completed};
use crate::{
    browser::{LinkSecrets, TripCookie},
    clock::later,
    consent::{ConnectLink, CookieOfTrip, OpenLink, Trip},
    error::{AuthenticateError, CallbackError, LinkError},
    events::{EventContent, EventKind},
    ids::{ActorId, CompanyId, ConsentId},
    machine::{LinkFacts, LinkRefusal, USED_CONSENT_KNOWN, judge_link},
    secret::{BrowserSecret, LinkToken},
    store::{Consent, FoundConsent, NewConsent, NewEvent, StoreError},
};

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

    pub(crate) async fn open_link(&self, token: &LinkToken) -> Result<OpenLink, LinkError> {
        let FoundConsent { consent, expires_at, .. } = self.valid_link(token).await?;
        Ok(OpenLink { company: consent.company, actor: consent.actor, expires_at })
    }

    #[tracing::instrument(name = "follow_link", skip_all, fields(company, actor))]
    pub(crate) async fn follow_link(&self, token: &LinkToken) -> Result<Trip, LinkError> {
        if self.engine.tasks.is_ended() {
            return Err(LinkError::ShutDown);
        }
        let link = self.valid_link(token).await?.consent;
        let Consent { company, actor, .. } = &link;
        tracing::Span::current().record("company", company.as_str()).record("actor", actor.as_str());
        let cookie = CookieOfTrip::OfLink(TripCookie::of(&self.redirect_uri), token.clone());
        // The callback needs the link, which is known for so long.
        let lifetime = self.engine.rotation.policy.consent_lifetime.min(USED_CONSENT_KNOWN);
        let (mut consent, trip) = self.new_trip(company, actor, BrowserSecret::random(), cookie, lifetime);
        // A removal since the link was made ends its trip, also one at this very moment.
        consent.consent.removals = link.removals;
        let engine = Arc::clone(&self.engine);
        let follow = async move {
            let event = EventContent::new(EventKind::LinkFollowed).with_actor(link.actor);
            let event = NewEvent { company: Some(link.company), event };
            if engine.rotation.store.use_consent(link.environment, link.id, Some(event)).await?.is_none() {
                return Ok(false);
            }
            engine.put_consent(consent, EventKind::Started).await.map(|()| true)
        };
        match self.engine.write_for_caller(follow).await? {
            true => Ok(trip),
            false => Err(LinkError::Used),
        }
    }

    /// Completes a consent that began with one of these links, in the name of its maker.
    pub(crate) async fn callback_of_link(self: &Arc<Self>, query: &str, links: &LinkSecrets) -> Completed {
        let mut refused = CallbackError::NoBrowserSecret;
        for (token, secret) in links.iter() {
            let found = self.engine.rotation.read_for_caller(self.found_link(token)).await?;
            let Some(link) = found.filter(|link| link.used.is_some()) else { continue };
            let Consent { actor, company, .. } = link.consent;
            match self.callback_for(&actor, query, vec![secret.hash()], Some(company)).await {
                // Of another link, perhaps.
                Err(error @ (CallbackError::OtherBrowser | CallbackError::UnknownState)) => refused = error,
                completed => return completed,
            }
        }
        Err(refused)
    }

    /// The link of this token, if it can be followed.
    async fn valid_link(&self, token: &LinkToken) -> Result<FoundConsent, LinkError> {
        let rotation = &self.engine.rotation;
        let found = rotation.read_for_caller(async {
            let Some(link) = self.found_link(token).await? else { return Ok(None) };
            let removals = rotation.read(&link.consent.company).await?.snapshot.grant.removals;
            Ok::<_, StoreError>(Some((link, removals)))
        });
        let Some((link, removals)) = found.await? else { return Err(LinkError::Unknown) };
        let facts =
            LinkFacts { is_used: link.used.is_some(), expires_at: link.expires_at, removals: link.consent.removals };
        judge_link(facts, removals, link.as_of).map_err(|refusal| match refusal {
            LinkRefusal::Used => LinkError::Used,
            LinkRefusal::Expired => LinkError::Expired,
            LinkRefusal::RemovedSince => LinkError::RemovedSince,
        })?;
        let Consent { company, actor, .. } = &link.consent;
        self.ask_before_sending(company, actor).await.map_err(LinkError::RefusedByHost)?;
        Ok(link)
    }

    async fn found_link(&self, token: &LinkToken) -> Result<Option<FoundConsent>, StoreError> {
        let rotation = &self.engine.rotation;
        // What has not the form of a token is none, and the store is not asked.
        let Some(token) = LinkToken::of_bytes(token.expose_secret().as_bytes()) else { return Ok(None) };
        let found = rotation.store.find_consent(rotation.environment, &token.hash()).await?;
        Ok(found.filter(|found| found.consent.id.is_of_connect_link()))
    }
}
