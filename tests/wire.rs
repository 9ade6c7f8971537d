//! The real client against real servers: those of [`fleet`], which misbehave on command, and OpenSSH and Dropbear where
//! they are installed. Everything between `connection`, `task` and `scheduler` is what `bugle run` uses.

mod fleet;

#[path = "wire/caller.rs"]
mod caller;
#[path = "wire/ending.rs"]
mod ending;
#[path = "wire/faults.rs"]
mod faults;
#[path = "wire/host_keys.rs"]
mod host_keys;
#[path = "wire/jump.rs"]
mod jump;
#[path = "wire/load.rs"]
mod load;
#[path = "wire/login.rs"]
mod login;
#[path = "wire/lost.rs"]
mod lost;
#[path = "wire/scripts.rs"]
mod scripts;
#[path = "wire/security_key.rs"]
mod security_key;
#[path = "wire/sessions.rs"]
mod sessions;
