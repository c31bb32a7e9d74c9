//! `aws-smithy-runtime`: its lazy identity cache, the default of every client of that SDK. Each client has its own
//! cache for a few identities (at most 64 by default), so every company gets a client of its own.

use std::{collections::HashMap, hint::black_box, time::SystemTime};

use aws_smithy_async::{rt::sleep::TokioSleep, time::SystemTimeSource};
use aws_smithy_runtime::client::{
    auth::http::BearerAuthScheme, identity::IdentityCache, orchestrator::endpoints::StaticUriEndpointResolver,
    retries::strategy::NeverRetryStrategy,
};
use aws_smithy_runtime_api::client::{
    auth::{http::HTTP_BEARER_AUTH_SCHEME_ID, static_resolver::StaticAuthSchemeOptionResolver},
    identity::{ResolveCachedIdentity, SharedIdentityCache, SharedIdentityResolver, http::Token},
    runtime_components::{RuntimeComponents, RuntimeComponentsBuilder},
};
use aws_smithy_types::config_bag::ConfigBag;
use batchsuite_benches::{companies, report};

use crate::{beside::Beside, version};

/// The client of one company.
struct Client {
    cache: SharedIdentityCache,
    resolver: SharedIdentityResolver,
}

pub(crate) fn measure(beside: Beside<'_>) {
    report::note(format_args!(
        "token/aws: aws-smithy-runtime {}, resolve_cached_identity of IdentityCache::lazy() with a bearer token; 1,000 caches \
         in a HashMap",
        version::of("aws-smithy-runtime"),
    ));
    let components = components();
    let config = ConfigBag::base();
    let ask = async |client: &Client| {
        let resolver = client.resolver.clone();
        black_box(client.cache.resolve_cached_identity(resolver, &components, &config).await.expect("an identity"));
    };
    let clients: HashMap<_, _> = beside.names.iter().map(|name| (name.clone(), client())).collect();
    beside.runtime.block_on(async {
        for client in clients.values() {
            ask(client).await;
        }
    });
    beside.objects("token/aws", &clients, ask);
}

fn client() -> Client {
    Client { cache: IdentityCache::lazy().build(), resolver: SharedIdentityResolver::new(token()) }
}

#[expect(clippy::disallowed_methods, reason = "the peer's clock is the system's")]
fn token() -> Token {
    Token::new(companies::text(), Some(SystemTime::now() + companies::ACCESS_LIFETIME))
}

/// The parts of a client. The cache uses the clock and the sleep; the builder requires the others.
fn components() -> RuntimeComponents {
    RuntimeComponentsBuilder::new("peers")
        .with_time_source(Some(SystemTimeSource::new()))
        .with_sleep_impl(Some(TokioSleep::new()))
        .with_identity_cache(Some(IdentityCache::lazy().build()))
        .with_identity_resolver(HTTP_BEARER_AUTH_SCHEME_ID, token())
        .with_auth_scheme(BearerAuthScheme::new())
        .with_auth_scheme_option_resolver(Some(StaticAuthSchemeOptionResolver::new(vec![HTTP_BEARER_AUTH_SCHEME_ID])))
        .with_endpoint_resolver(Some(StaticUriEndpointResolver::http_localhost(1)))
        .with_retry_strategy(Some(NeverRetryStrategy::new()))
        .build()
        .expect("all components are set")
}
