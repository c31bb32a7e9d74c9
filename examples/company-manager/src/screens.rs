//! The screens of the Batch Suite guide, one file each, with their handlers and pages.

pub(crate) mod authenticate;
pub(crate) mod batch_track;
pub(crate) mod companies;
pub(crate) mod company;
pub(crate) mod connect_link;
pub(crate) mod connection;
pub(crate) mod history;
pub(crate) mod landing;
pub(crate) mod layout;
pub(crate) mod refusal;
pub(crate) mod remove_auth;
pub(crate) mod sign_in;
pub(crate) mod style;
pub(crate) mod tools;
