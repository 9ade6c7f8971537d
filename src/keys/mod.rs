//! Keys of users: authorized_keys as a document; key pairs, how they are made, written and described.
//!
//! Nothing here opens a socket or asks anybody. What is done with it on hosts is `task::rollout`.

pub mod authorized;
mod description;
mod pair;
mod pair_files;
mod randomart;

pub use description::{Description, described, summary};
pub use pair::{Curve, Kind, Pair, PairError, Protection, SizeError};
pub use pair_files::{Existing, PairFiles, PairFilesError, replace_private};
