//! The runtime's tests: real components, built once a run, that behave and misbehave.

mod guests;
mod loading;
mod outcomes;
mod resources;
mod swapping;
