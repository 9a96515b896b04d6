//! Where all work is spawned, stopped and retried.
//!
//! Nothing else spawns, so that no task outlives its owner, no panic is lost, and a signal reaches everyone: work in
//! hand is finished and saved, then each says so by an error of kind `Stopped`.

mod failpoint;
mod program;
mod retry;
mod spawn;
mod stop;

pub use failpoint::failpoint;
pub use program::run_program;
pub use retry::{Policy, backoff, retry};
pub use spawn::{Task, spawn};
pub use stop::Stop;
