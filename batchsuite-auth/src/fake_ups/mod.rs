//! The fake UPS.
