//! Files to the fleet as its users send them: the `bugle` binary against servers that are good, odd, hostile and broken, and
//! what stands on the hosts afterwards.

#![expect(clippy::unwrap_used, reason = "a step that fails fails its test")]
// Who is skipped says so aloud.
#![allow(clippy::print_stderr)]

mod fleet;

#[path = "transfer/backups.rs"]
mod backups;
#[path = "transfer/bounds.rs"]
mod bounds;
#[path = "program/bugle.rs"]
#[allow(dead_code, reason = "the tests of the other verbs use the rest")]
mod bugle;
#[path = "transfer/cuts.rs"]
mod cuts;
#[path = "transfer/delta.rs"]
mod delta;
#[path = "transfer/destinations.rs"]
mod destinations;
#[path = "transfer/dry_run.rs"]
mod dry_run;
#[path = "transfer/hostile.rs"]
mod hostile;
#[path = "transfer/killed.rs"]
mod killed;
#[path = "transfer/lanes.rs"]
mod lanes;
#[path = "transfer/modes.rs"]
mod modes;
#[path = "transfer/poured.rs"]
mod poured;
#[path = "program/redactor.rs"]
#[allow(dead_code, reason = "the tests of the other verbs use the rest")]
mod redactor;
#[path = "transfer/refusals.rs"]
mod refusals;
#[path = "transfer/rivals.rs"]
mod rivals;
#[path = "transfer/scene.rs"]
mod scene;
#[path = "program/streams.rs"]
mod streams;
#[path = "transfer/trees.rs"]
mod trees;
#[path = "transfer/unchanged.rs"]
mod unchanged;
#[path = "transfer/unpacked.rs"]
mod unpacked;
