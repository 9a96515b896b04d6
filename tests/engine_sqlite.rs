//! SQLite behind `Engine`: what its loose types mean, what its catalogue says, that no change escapes capture, and
//! that a seal is exact while others write.

mod support;

#[path = "engine_sqlite/capture.rs"]
mod capture;
#[path = "engine_sqlite/catalog.rs"]
mod catalog;
#[path = "engine_sqlite/install.rs"]
mod install;
#[path = "engine_sqlite/seal.rs"]
mod seal;
#[path = "engine_sqlite/values.rs"]
mod values;
#[path = "engine_sqlite/world.rs"]
mod world;
