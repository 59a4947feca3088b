//! The one integration test binary: every file of tests is a module of it, so that the host is linked once.
//! It holds nothing but the list.

mod accounts;
mod after;
mod commands;
mod conformance;
mod conversations;
mod crash;
mod doctor;
mod edges;
mod erasure;
mod feed;
mod filter;
mod fuzz;
mod groups;
mod lists;
mod media;
mod moderation;
mod named;
mod operations;
mod overload;
mod parts;
mod people;
mod profiles;
mod properties;
mod recent;
mod registry;
mod rules;
mod search;
mod semantics;
mod sessions;
mod signals;
mod support;
mod swap;
mod terminal;
mod tidy;
