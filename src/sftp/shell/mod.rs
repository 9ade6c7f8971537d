//! SFTP for hosts that have none: a server in this process that does its work with the POSIX shell of a host.
//!
//! [`bridge`] takes the two directions of a running `/bin/sh` ([`PROGRAM`]) and gives the two directions of an SFTP
//! server, for [`Sftp::start`](super::Sftp::start). Whatever is built on the client works unchanged: files are made
//! exclusively, are written through descriptors that stay open, are synced and renamed over the old one.
//!
//! * What a host needs: a POSIX shell, `dd`, `ls`, `mkdir`, `rmdir`, `rm`, `mv`, `ln`, `chmod`, `chown`, `touch` and
//!   `cat`. Where they are there, `stat`, `readlink`, `sync`, `df`, `mv -T` and `/proc` are used; `host.sh` tries each.
//! * What is slower: every request starts a process or two on the host, a millisecond or two each. So a host takes some
//!   hundred small files a second at most, and large ones nearly as fast as with SFTP; but a `dd` without
//!   `iflag=fullblock` takes data byte by byte.
//! * What is less: a host without `stat` and `date -r` tells no times, which makes every file look changed. Without
//!   `mv -T`, a link to a directory is not replaced by a file. Without `/proc`, the attributes of an open file are set
//!   by its name. A directory is listed whole before its first name is told, and one of more than 16 MiB of names is
//!   refused with the end of the session. Six files are open at once.
//!
//! Requests are sent on while earlier ones are still being answered, so a long way costs little. What the host prints
//! counts as an answer only with the random word that was sent with its request.

mod answers;
mod asking;
mod bridge;
mod commands;
mod described;
mod exchange;
mod handles;
mod listening;
mod replies;
mod requests;

pub use bridge::{BridgeSink, BridgeSource, bridge};

/// What is started on the host, for its login shell.
pub const PROGRAM: &str = "exec /bin/sh";

#[cfg(test)]
mod differential;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod local;
#[cfg(test)]
mod transfers;
