//! The one integration test binary: every file of tests is a module of it, so that the host is linked once.
//! It holds nothing but the list.

mod accounts;
mod conformance;
mod conversations;
mod crash;
mod erasure;
mod filter;
mod lists;
mod operations;
mod parts;
mod properties;
mod sessions;
mod signals;
mod support;
mod swap;
mod tidy;
