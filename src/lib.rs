//! `migrate` moves one team's data into another team's store while users read and write.
//!
//! The promise: nothing acknowledged is lost, no row has two owners, verification never lies, any step can be killed
//! and run again. docs/protocol.md says how it is kept.
//!
//! Reading order: [`value`] and [`schema`] (what is moved), [`entry`] (all that travels), [`mapping`] (a table pair),
//! then [`plan`], [`store`], [`log`], [`transport`] and [`task`], which know nothing of each other; [`link`] joins
//! them into a relay and an applier, [`phases`] says when, [`cli`] says what a person sees.

pub mod check;
pub mod entry;
pub mod error;
pub mod event;
pub mod finding;
pub mod mapping;
pub mod schema;
pub mod value;

pub mod cli;
pub mod link;
pub mod log;
pub mod phases;
pub mod plan;
pub mod store;
pub mod task;
pub mod transport;
