//! The people and companies of the demo.

