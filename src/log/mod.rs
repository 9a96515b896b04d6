//! The ordered log's pure half: how entries are written as bytes and chained (`codec`), and what a receiver makes of
//! one that arrives (`order`).

pub mod codec;
pub mod order;
