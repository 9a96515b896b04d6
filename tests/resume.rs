//! Whatever dies, is lost, rewound or touched: the same command again ends with both stores equal, and no write that
//! was acknowledged is missing. Through the real binary, under live writes, with random seeds that are printed.

mod support;

#[path = "resume/abort.rs"]
mod abort;
#[path = "resume/backlog.rs"]
mod backlog;
#[path = "resume/broker.rs"]
mod broker;
#[path = "resume/capture.rs"]
mod capture;
#[path = "resume/forks.rs"]
mod forks;
#[path = "resume/killed.rs"]
mod killed;
#[path = "resume/large.rs"]
mod large;
#[path = "resume/lease.rs"]
mod lease;
#[path = "resume/rig.rs"]
mod rig;
#[path = "resume/servers.rs"]
mod servers;
