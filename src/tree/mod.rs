//! Local file trees: what is there, which of it is meant, what it is called on the other side, and what differs.
//!
//! [`Tree::scan`] finds everything about the sources before a host is called; a [`Filter`] says which of it is meant;
//! [`Placement::new`] says what it is called on a host; [`Plan::new`] compares it with what is there and lists the steps.
//! [`temporary`] names files while they are being written, and a [`run_lock::RunLock`] tells whether somebody still does.
//! [`landing::Landing`] is where received files are put, and [`delta`] finds what a changed file has of the old one. Paths and
//! names are bytes throughout.
//!
//! Nothing here opens a socket. What is sent is not changed; a plan is carried out elsewhere.

mod compare;
pub mod delta;
mod destination;
mod entry;
mod extents;
mod filter;
mod folder;
mod glob;
pub mod landing;
mod listing;
mod path;
mod pattern;
mod plan;
mod problem;
pub mod run_lock;
mod scan;
pub mod temporary;

pub use destination::{DestinationKind, NeedsDirectory, Placement, Reason};
pub use entry::{Entry, Extents, Kind, Root, RootKind, Stamp, Tree};
pub use filter::{Filter, FilterError, FilterRule};
pub use glob::Glob;
pub use path::{BadName, TreePath, check_name, shown};
pub use pattern::FaultKind;
pub use plan::{
    Attributes, Change, Conflict, Content, Difference, Found, FoundKind, Identity, ModeWanted, Observed, Obstacle,
    Plan, Rules, Step, Why,
};
pub use problem::{Remark, RemarkKind, ScanProblem, ScanProblems, SpecialKind};
pub use scan::{Links, ScanOptions};
