//! bugle calls a whole fleet of servers at once over SSH, from one process.
//!
//! The modules stand in the order of the data path; `docs/architecture.md` is the long form.

// What was typed.
pub mod cli;

// Who is called: files in, values out; no sockets, no clock.
pub mod inventory;
pub mod keys;
pub mod known_hosts;
pub mod selection;
pub mod ssh_config;

// Which files are meant, and what they are called on a host: nothing is sent here.
pub mod tree;

// How they are called, and what is spoken on a channel.
pub mod connection;
pub mod sftp;

// How many at once, and what is done on each.
pub mod scheduler;
pub mod task;

// What is shown of it.
pub mod report;

// The words that every stage shares.
pub mod calendar;
pub mod duration;
pub mod event;
pub mod exit_code;
pub mod host;
pub mod nodeset;
pub mod outcome;
pub mod secret;
pub mod size;
pub mod template;
pub mod yaml;
