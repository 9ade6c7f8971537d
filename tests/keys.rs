//! Who may log in, as `bugle keys` settles it: the binary against real servers with accounts and homes of their own, and the
//! files that stand there afterwards.

#![expect(clippy::unwrap_used, reason = "a step that fails fails its test")]
// Who is skipped says so aloud.
#![allow(clippy::print_stderr)]

mod fleet;

#[path = "keys/apart.rs"]
mod apart;
#[path = "program/bugle.rs"]
#[allow(dead_code, reason = "the tests of the other verbs use the rest")]
mod bugle;
#[path = "keys/deploying.rs"]
mod deploying;
#[path = "keys/host.rs"]
mod host;
#[path = "keys/listing.rs"]
mod listing;
#[path = "keys/mistakes.rs"]
mod mistakes;
#[path = "keys/passwords.rs"]
mod passwords;
#[path = "program/redactor.rs"]
#[allow(dead_code, reason = "the tests of the other verbs use the rest")]
mod redactor;
#[path = "keys/revoking.rs"]
mod revoking;
#[path = "keys/rivals.rs"]
mod rivals;
#[path = "keys/rotating.rs"]
mod rotating;
#[path = "keys/shells.rs"]
mod shells;
#[path = "program/streams.rs"]
#[allow(dead_code, reason = "the tests of the other verbs use the rest")]
mod streams;
#[path = "keys/syncing.rs"]
mod syncing;
#[path = "keys/trials.rs"]
mod trials;
#[path = "keys/unseen.rs"]
mod unseen;
#[path = "keys/ways.rs"]
mod ways;
