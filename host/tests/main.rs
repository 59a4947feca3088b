//! The one integration test binary: every file of tests is a module of it, so that the host is linked once.
//! It holds nothing but the list.

mod accounts;
mod conformance;
mod conversations;
mod crash;
mod edges;
mod feed;
mod filter;
mod groups;
mod overload;
mod people;
mod profiles;
mod rules;
mod search;
mod semantics;
mod sessions;
mod support;
mod swap;
mod tidy;
