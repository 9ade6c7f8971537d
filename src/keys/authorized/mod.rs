//! authorized_keys as sshd(8) describes it under "AUTHORIZED_KEYS FILE FORMAT": read, edited and kept.
//!
//! [`Document`] is one file as text; what an edit does not mean stays byte for byte, also lines that nobody understands.
//! [`Options`] are what stands before a key, checked as strictly as sshd does, and kept as they are where they are found;
//! [`Expiry`] is the end that they may set.
//! [`NewKey`] is a key that is to be let in, [`Wanted`] says which keys are meant. No file is touched here.

mod document;
mod expiry;
mod line;
mod options;
mod value;
mod wanted;

pub use document::{Change, Document, DocumentLine, OptionsRule, Presence};
pub use expiry::{Expiry, HostClock};
pub use line::{Entry, Fault, Line, LineTooLong, NewKey, NewKeyError};
pub use options::{KeyOption, Options, OptionsError};
pub use wanted::{Wanted, WantedError, md5_fingerprint};
