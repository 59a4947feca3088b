//! Tests against MongoDB's wire protocol: what only several nodes on one database can get wrong.
//! Which server that is, and how it is started, stands in `server`.

mod faults;
mod generations;
mod nodes;
pub mod server;
pub mod twins;
