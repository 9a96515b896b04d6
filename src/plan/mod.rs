//! The plan file: what a team writes down, read strictly, and joined with both catalogues into a layout.
//!
//! [`load`] turns text into a [`Plan`] or into *all* its problems, each with line, column, the offending text and a
//! way out. [`resolve`] joins a plan with what the stores' catalogues say ([`Facts`]) into the layout by which
//! everything else works, or again into all problems. Both are pure but for reading the file; nothing here ever
//! shows a password or what a variable was replaced by.

mod back;
mod bounds;
mod columns;
mod consts;
mod cutover;
mod defaults;
mod define;
mod derive;
mod env;
mod family;
mod hash;
pub mod init;
mod keys;
mod load;
mod model;
mod order;
mod problem;
mod read;
mod resolve;
mod reverse;
mod rules;
mod scope;
mod secret;
mod shared;
mod suggest;
mod suspects;
mod tables;
mod texts;
mod tolerance;
mod tree;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use back::{Back, How, wanted_reverses};
pub use cutover::{Cutover, Hook, Hooks};
pub use define::define;
pub use derive::type_name;
pub use family::examine_family;
pub use hash::{mapping_hash, plan_hash};
pub use load::{Lookup, load, load_text};
pub use model::{At, Backfill, ColumnPlan, ColumnSource, Events, OnExisting, Plan, Side, TablePlan};
pub use problem::{Problem, Span, sort, to_error};
pub use resolve::{Examined, Facts, Resolved, Wanted, examine, resolve, table_name, wanted_expressions};
pub use reverse::reverse;
pub use rules::unshared_rules;
pub use secret::Secret;
pub use suspects::{counted, names as suspect_names, suspects};
