//! What every message log does with a change, whichever engine keeps it: rules of conversations as rows, read and written
//! through `engine`. No engine is known here; rows look the same in all of them.

pub mod ages;
pub mod answers;
pub mod batch;
pub mod beside;
pub mod engine;
pub mod feed;
pub mod floor;
pub mod heads;
pub mod held;
pub mod in_flight;
pub mod join_request;
pub mod key;
pub mod kv_row;
pub mod rosters;
pub mod rows;
pub mod weigh;
