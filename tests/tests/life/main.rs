//! The life of an opt-in, end to end: the authenticator over the real HTTP adapter against the fake UPS.

mod consent;
