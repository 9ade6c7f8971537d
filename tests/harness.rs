//! The servers of [`fleet`] do what they say: tests rest on their misbehaviour, so it is proved here, with OpenSSH's own
//! clients where they are installed.

#![expect(clippy::unwrap_used, reason = "a step that fails fails its test")]

mod fleet;

#[path = "harness/relay.rs"]
mod relay;
#[path = "harness/sftp_daemon.rs"]
mod sftp_daemon;
#[path = "harness/sftp_server.rs"]
mod sftp_server;
#[path = "harness/trees.rs"]
mod trees;
