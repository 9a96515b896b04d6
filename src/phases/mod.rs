//! When things happen: the phases of a migration, each resumable by running the same command again.
//!
//! Every phase file has the same skeleton: what it needs, what it does in small journalled steps, what it reports.
//! A phase looks before it acts, and writes down that it will before it does.

mod abort;
mod apply;
mod attempt;
mod back;
mod complete;
mod cutover;
mod dead_letters;
mod finish;
mod gates;
mod grants;
mod hook;
mod host;
mod hosts;
mod init;
mod install;
mod numbers;
mod outcome;
mod owner;
mod plan;
mod preflight;
mod ranges;
mod rehearse;
pub mod report;
mod route;
mod session;
mod status;
mod survey;
mod survive;
mod verify;
mod way;

pub use cutover::CutOptions;
pub use dead_letters::Letters;
pub use finish::OldTables;
pub use init::{InitOptions, InitSide, Initiated, init};
pub use owner::Owner;
pub use session::{Options, Session, Sides, Until};
