//! The runtime's tests: real components, built once a run, that behave and misbehave.
//! Nothing here is mocked; every call is one of WebAssembly.

mod after;
mod commands;
mod guests;
mod loading;
mod outcomes;
mod residence;
mod resources;
mod rules;
mod swapping;
mod trials;
mod values;
