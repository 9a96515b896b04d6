//! When things happen: the phases of a migration, each resumable by running the same command again.
//!
//! Every phase file has the same skeleton: what it needs, what it does in small journalled steps, what it reports.
//! A phase looks before it acts, and writes down that it will before it does.

mod abort;
mod apply;
mod complete;
mod grants;
mod host;
mod init;
mod install;
mod outcome;
mod plan;
mod preflight;
pub mod report;
mod session;
mod status;
mod survey;
mod verify;

pub use init::{InitOptions, InitSide, Initiated, init};
pub use session::{Options, Session, Sides, Until};
