//! Trees of files: generated ones, looked at by the scan and by a walk that is too simple to be wrong; filters beside git;
//! names beside scp; and plans that are carried out on a directory of this machine.

#![expect(clippy::unwrap_used, reason = "a step that fails fails its test")]
// Helpers of tests fail by panicking, and a skipped comparison is told.
#![allow(clippy::panic, clippy::print_stderr)]

#[path = "tree/filter.rs"]
mod filter;
#[path = "tree/naming.rs"]
mod naming;
#[path = "tree/plan.rs"]
mod plan;
#[path = "tree/sample.rs"]
mod sample;
#[path = "tree/scan.rs"]
mod scan;
