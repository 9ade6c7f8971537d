//! What is done on one host: the units of work that the scheduler hands out.
//!
//! [`RunCommand`] runs one command line, or one local script, on every host of a run. A task reports through its
//! [`Unit`](crate::scheduler::Unit) and returns how it ended; it never prints and never decides about other hosts.

mod broadcast;
mod caller;
mod command;
mod digest;
mod ending;
mod file_server;
mod inner;
mod lanes;
mod privilege;
mod pull;
mod push;
pub mod rollout;
mod segments;
mod shell;
mod streamed;
mod teller;
mod transfer;
mod trouble;

pub use broadcast::{Broadcast, InputLost};
pub use caller::Caller;
pub use command::{Call, RunCommand};
pub use privilege::{Method, Privilege};
pub use pull::{Comparison, Pull, PullOrder, Source, SourceError};
pub use push::{Account, Backup, Ownership, Pace, Push, PushOrder, Rendered, Sending, Via};
pub use shell::{CommandLine, ScriptFile, quote};
pub use transfer::{Conduct, Extent, Interrupted, TransferHost};
