/// Why a [`ReqwestClient`](super::ReqwestClient) cannot be built. Shows no setting's value.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct ClientBuildError {
    what: &'static str,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl ClientBuildError {
    pub(super) fn new(what: &'static str) -> Self {
        Self { what, source: None }
    }

    pub(super) fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}
