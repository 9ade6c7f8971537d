//! What of an inventory has to be fetched: [`judge`] looks at what is here already.

use super::inventory::{Entry, Inventory, Kind};
use crate::size::human;
use crate::tree::landing::{LandingError, Place};
use crate::tree::{Found, FoundKind, shown};

/// How an entry stands to what is here.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Nothing is here.
    New,
    /// Something is, and it is replaced.
    Differs(String),
    /// It is here as it should be, as far as kind, size and time tell.
    Same,
    /// Kind and size agree; the content decides.
    SameSize,
    /// It cannot be put here.
    Blocked(LandingError),
}

/// How files are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Size and time of modification agree.
    SizeAndTime,
    /// Size and content agree (`--checksum`).
    Content,
}

/// Looks at all of them; blocks.
pub(super) fn judge(place: &Place, inventory: &Inventory, comparison: Comparison) -> Vec<(usize, Verdict)> {
    let look = |(index, entry)| (index, verdict(place, entry, comparison));
    inventory.entries.iter().enumerate().map(look).collect()
}

fn verdict(place: &Place, entry: &Entry, comparison: Comparison) -> Verdict {
    match place.found(&entry.path) {
        Err(error) => Verdict::Blocked(error),
        Ok(None) => Verdict::New,
        Ok(Some(found)) => compared(place, entry, &found, comparison),
    }
}

fn compared(place: &Place, entry: &Entry, found: &Found, comparison: Comparison) -> Verdict {
    let in_the_way = |found, wanted| match place.shown(&entry.path) {
        Ok(path) => Verdict::Blocked(LandingError::InTheWay { path, found, wanted }),
        Err(error) => Verdict::Blocked(error),
    };
    match (&entry.kind, &found.kind) {
        (Kind::Directory, FoundKind::Directory) => Verdict::Same,
        (Kind::Directory, FoundKind::File { .. }) => in_the_way("file", "directory"),
        (Kind::Directory, FoundKind::Symlink { .. }) => in_the_way("symlink", "directory"),
        (Kind::Directory, FoundKind::Special) => in_the_way("device, socket or FIFO", "directory"),
        (Kind::File { .. }, FoundKind::Directory) => in_the_way("directory", "file"),
        (Kind::File { .. }, FoundKind::Special) => in_the_way("device, socket or FIFO", "file"),
        (Kind::Symlink { .. }, FoundKind::Directory) => in_the_way("directory", "symlink"),
        (Kind::Symlink { .. }, FoundKind::Special) => in_the_way("device, socket or FIFO", "symlink"),
        (Kind::Symlink { text }, FoundKind::Symlink { target: Some(there) }) if **text == **there => Verdict::Same,
        (Kind::Symlink { .. }, FoundKind::Symlink { .. }) => Verdict::Differs("was another".into()),
        (Kind::Symlink { .. }, FoundKind::File { .. }) => Verdict::Differs("was a file".into()),
        (Kind::File { .. }, FoundKind::Symlink { .. }) => Verdict::Differs("was a symlink".into()),
        (Kind::File { size }, FoundKind::File { size: there, .. }) if size != there => {
            Verdict::Differs(format!("size {there} → {size}"))
        }
        (Kind::File { .. }, FoundKind::File { .. }) => match comparison {
            Comparison::Content => Verdict::SameSize,
            Comparison::SizeAndTime => match entry.modified() {
                Some(modified) if modified == found.mtime => Verdict::Same,
                Some(modified) if modified < found.mtime => Verdict::Differs("older".into()),
                Some(_) => Verdict::Differs("newer".into()),
                None => Verdict::Differs("no time is told".into()),
            },
        },
    }
}

/// A line of `--dry-run`, by the signs that pushing has too; nothing where there is nothing to do.
pub(super) fn line(inventory: &Inventory, entry: &Entry, verdict: &Verdict) -> Option<String> {
    let words = match (verdict, &entry.kind) {
        (Verdict::Same, _) => return None,
        (Verdict::New, Kind::File { size }) => human(*size),
        (Verdict::New, _) => String::new(),
        (Verdict::Differs(words), _) => words.clone(),
        (Verdict::SameSize, _) => "content is not compared".into(),
        (Verdict::Blocked(error), _) => shown(error.to_string().as_bytes()),
    };
    let sign = match (verdict, &entry.kind) {
        (Verdict::Blocked(_), _) => '!',
        (_, Kind::Symlink { .. }) => 'l',
        (Verdict::SameSize, _) => '?',
        (Verdict::Differs(_), _) => '~',
        _ => '+',
    };
    let mut line = format!("{sign} {}", shown(&inventory.remote(entry)));
    match &entry.kind {
        Kind::Directory if !line.ends_with('/') => line.push('/'),
        Kind::Symlink { text } => line.push_str(&format!(" → {}", shown(text))),
        _ => {}
    }
    if !words.is_empty() {
        line.push_str(&format!(" ({words})"));
    }
    Some(line)
}
