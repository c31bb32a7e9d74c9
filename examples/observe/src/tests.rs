//! Each fault fires its alert and no other; the dashboard shows what there is; one refresh is one trace.

mod alerts;
mod dashboard;
mod database;
mod faults;
mod promtool;
mod traces;
mod world;
