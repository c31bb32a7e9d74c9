//! The adapter for reqwest.
/// placeholder
#[derive(Debug)]
pub struct ReqwestClient;
/// placeholder
#[derive(Debug)]
pub struct ReqwestClientBuilder;
