//! The real client against real servers: those of [`fleet`], which misbehave on command, and OpenSSH and Dropbear where
//! they are installed. Everything between `connection`, `task` and `scheduler` is what `bugle run` uses.

mod fleet;

#[path = "wire/caller.rs"]
mod caller;
#[path = "wire/faults.rs"]
mod faults;
