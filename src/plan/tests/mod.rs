//! The rules of a plan, by examples: what is wrong, at which place; and the properties that hold for any text.

mod back;
mod chinook;
mod loading;
mod making;
mod matching;
mod misfits;
mod properties;
mod reversing;
mod shared;
mod suspects;
