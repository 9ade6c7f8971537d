//! SFTP, version 3 (draft-ietf-secsh-filexfer-02) with OpenSSH's extensions (its PROTOCOL file, section 4): a client over
//! one channel, with any number of requests in flight.
//!
//! [`Sftp`] sends a request and gives back an [`Answer`], so that a caller may send many before it waits for the first.
//! Names, link targets and handles are bytes and nothing else. Everything that a server sends is length-checked and
//! bounded. Nothing here knows local files, trees or what a transfer is for.

mod answer;
mod attributes;
mod carrier;
mod codec;
mod error;
mod features;
mod frames;
mod listing;
mod operations;
mod session;
pub mod shell;
mod window;

pub use answer::{Answer, DataAnswer};
pub use attributes::{Attributes, FileKind};
pub use carrier::{ByteSink, ByteSource, Piece};
pub use error::{SftpError, Status};
pub use features::{Features, Limits};
pub use listing::{Listing, Name};
pub use operations::{FileSystem, Handle, OpenMode};
pub use session::Sftp;
pub use window::{InFlight, Window};
