//! The program as its users meet it: the `bugle` binary against fleets, with its exact output and exit codes.

mod fleet;

#[path = "program/bugle.rs"]
mod bugle;
#[path = "program/explore.rs"]
mod explore;
