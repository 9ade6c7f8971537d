//! Whose host keys are known: `known_hosts` files as sshd(8) describes them under "SSH_KNOWN_HOSTS FILE FORMAT".
//!
//! [`KnownHosts`] reads all files of a run once. [`KnownHosts::lookup`] answers with what is known of one host, a
//! [`HostKeys`] of its own that a connection can take along: it orders the offer of key types, holds the certificate
//! authorities and judges the key that the server shows ([`Verdict`]). [`RevokedKeys`] holds the files of
//! `RevokedHostKeys`. [`Document`] is one file as text, for showing and editing it with every foreign byte kept;
//! [`append`] and [`rewrite`] are the two ways into a file, both under a lock; [`merge`] brings collected lines in.
//!
//! The rules are those of hostfile.c and `check_host_key` in sshconnect.c of OpenSSH, with these differences, each
//! to the safe side: an unreadable file is an error instead of no keys; a malformed line for a host refuses that host
//! ([`Verdict::Damaged`]) instead of being skipped; a key revoked for `host` is also refused as `[host]:port`.
//!
//! Nothing here asks, prints, knows a policy such as `StrictHostKeyChecking`, verifies a signature, or opens a socket.
//! `CheckHostIP` (off by default since OpenSSH 8.5), `KnownHostsCommand` and DNS fingerprints have no part in it.

mod comparison;
mod document;
mod file;
mod hmac;
mod hosts;
mod key;
mod krl;
mod line;
mod lookup;
mod merge;
mod names;
mod revoked;
mod rotation;
mod trusted;
mod wire;

pub use comparison::{Comparison, Expectation, Standing};
pub use document::{Document, DocumentLine};
pub use file::{Addition, Appended, Conflict, Rewritten, WriteError, append, rewrite};
pub use hosts::{KnownHosts, Place, Problem};
pub use key::{KeyError, PublicKey, is_certificate_algorithm, key_type_of};
pub use krl::KrlError;
pub use line::{Entry, Fault, Line, Malformed, Marker};
pub use lookup::{HostKeys, HostQuery, KnownKey, RecordError, Verdict};
pub use merge::{Clash, ContradictedBy, Contradiction, Import, Merged, merge, merged};
pub use names::{HashedName, Names};
pub use revoked::{HostCertificate, RevokedKeys, RevokedKeysError};
pub use rotation::{Rotated, Rotation, rotate};
pub use trusted::{ReadError, open_at_once};

/// How host names are written (`HashKnownHosts`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameStyle {
    /// As they are.
    Clear,
    /// As a salted hash, so that a stolen file does not list the hosts.
    Hashed,
}
