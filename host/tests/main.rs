//! The one integration test binary: every file of tests is a module of it, so that the host is linked once.
//! It holds nothing but the list.

mod accounts;
mod conformance;
mod conversations;
mod crash;
mod filter;
mod media;
mod sessions;
mod support;
mod swap;
mod tidy;
