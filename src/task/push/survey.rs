//! What is on a host before a push: what the destination is, and what has the names of what is to be sent.

use super::leftovers::Leftover;
use crate::sftp::{Attributes, FileKind, Name, Sftp, SftpError, Status};
use crate::task::file_server::expand;
use crate::task::trouble::Trouble;
use crate::tree::{
    Content, DestinationKind, Entry, Filter, Found, FoundKind, Identity, Kind, Observed, Placement, Tree, TreePath,
    check_name, temporary,
};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes that all that a host lists may take here, beside what the tree itself does: under `--delete` everything counts.
const MOST_LISTED: u64 = 128 * 1024 * 1024;
/// Bytes that a name takes beside its own.
const NAME: u64 = 192;
/// Directories that are listed at once.
const LISTINGS: usize = 16;

/// What was found.
pub(super) struct Survey {
    /// What everything is called on this host.
    pub(super) placement: Placement,
    /// Whether the destination is a symlink to a directory.
    pub(super) is_destination_link: bool,
    /// What is there.
    pub(super) observed: Observed,
    /// Temporary files of earlier runs, as paths on the host.
    pub(super) temporaries: Vec<Leftover>,
    /// Whether those beside single files are among them.
    pub(super) has_looked_beside: bool,
}

/// What a survey needs to know.
pub(super) struct Question<'a> {
    pub(super) tree: &'a Tree,
    /// As it was typed.
    pub(super) destination: &'a [u8],
    /// Whether everything below the directories has to be known.
    pub(super) everything: bool,
    /// Bytes that were listed and kept.
    pub(super) listed: AtomicU64,
}

/// Looks at the destination and at all that is in the way of the tree.
pub(super) async fn survey(sftp: &Sftp, question: &Question<'_>) -> Result<Survey, Trouble> {
    question.listed.store(0, Ordering::Relaxed);
    let typed = expand(sftp, question.destination).await?;
    let Destination { base, found, is_link } = destination(sftp, &typed).await?;
    let kind = match found.as_ref().and_then(Attributes::kind) {
        None => DestinationKind::Missing,
        Some(FileKind::Directory) => DestinationKind::Directory,
        Some(_) => DestinationKind::File,
    };
    let placement = Placement::new(&question.tree.roots, &base, kind).map_err(Trouble::place)?;
    let mut seen = Seen {
        sftp,
        question,
        survey: Survey {
            placement,
            is_destination_link: is_link,
            observed: Observed::new(),
            temporaries: Vec::new(),
            has_looked_beside: false,
        },
        links: Vec::new(),
    };
    if let Some(found) = &found {
        seen.note(TreePath::root(), found);
    }
    seen.roots().await?;
    seen.links().await?;
    Ok(seen.survey)
}

/// A destination as it was found.
struct Destination {
    /// Where it is; a file at its real place.
    base: Vec<u8>,
    /// What is there.
    found: Option<Attributes>,
    /// Whether the base is a symlink.
    is_link: bool,
}

/// What the destination is. A symlink that was typed is followed: a file at its end is replaced where it is.
async fn destination(sftp: &Sftp, typed: &[u8]) -> Result<Destination, Trouble> {
    let path = if typed.is_empty() { b"." } else { typed };
    let (itself, followed) = (sftp.lstat(path).await, sftp.stat(path).await);
    let (itself, followed) = (there(path, itself?.get().await)?, there(path, followed?.get().await)?);
    let is_link = itself.and_then(|found| found.kind()) == Some(FileKind::Symlink);
    match followed {
        None if is_link => Err(Trouble::Place {
            message: format!("`{}` is a symlink to nothing", path.escape_ascii()),
            hint: "remove it on the host, or name the place that it should lead to".into(),
        }),
        Some(found) if is_link && found.kind() != Some(FileKind::Directory) => {
            let real = async { sftp.real_path(path).await?.get().await };
            let base = real.await.map_err(|error| Trouble::about(path, &error))?.to_vec();
            Ok(Destination { base, found: Some(found), is_link: false })
        }
        found => Ok(Destination { base: typed.to_vec(), found, is_link }),
    }
}

/// What was found, or nothing where there is nothing.
fn there(path: &[u8], answer: Result<Attributes, SftpError>) -> Result<Option<Attributes>, Trouble> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(SftpError::Refused(Status::NoSuchFile, _)) => Ok(None),
        Err(error) => Err(Trouble::about(path, &error)),
    }
}

/// What was seen so far.
struct Seen<'a> {
    sftp: &'a Sftp,
    question: &'a Question<'a>,
    survey: Survey,
    /// Symlinks whose text matters.
    links: Vec<TreePath>,
}

impl Seen<'_> {
    async fn roots(&mut self) -> Result<(), Trouble> {
        let tree = self.question.tree;
        let mut asked = Vec::with_capacity(tree.roots.len());
        for (index, root) in tree.roots.iter().enumerate() {
            if root.entries.is_empty() {
                continue;
            }
            let placed = self.survey.placement.prefix(index).clone();
            let answer = match placed.is_root() {
                true => None,
                false => Some(self.sftp.lstat(&self.survey.placement.remote(&placed)).await?),
            };
            asked.push((index, placed, answer));
        }
        let mut to_list = VecDeque::new();
        for (index, placed, answer) in asked {
            if let Some(answer) = answer
                && let Some(found) = there(&self.survey.placement.remote(&placed), answer.get().await)?
            {
                self.note(placed.clone(), &found);
                self.want_link(index, &placed, &found);
            }
            let is_directory =
                self.survey.observed.get(&placed).is_some_and(|found| found.kind == FoundKind::Directory);
            if tree.roots[index].is_directory && is_directory {
                to_list.push_back((index, placed));
            }
        }
        let mut listing = FuturesUnordered::new();
        loop {
            while listing.len() < LISTINGS
                && let Some((root, placed)) = to_list.pop_front()
            {
                let path = self.survey.placement.remote(&placed);
                let within = placed.within(self.survey.placement.prefix(root)).unwrap_or_default();
                listing.push(list(self.sftp, self.question, Directory { root, placed, within, path }));
            }
            let Some((root, placed, names)) = listing.next().await else { return Ok(()) };
            for Name { name, attributes } in names? {
                // What is called so cannot be what the tree has, nor be removed.
                if check_name(&name).is_err() {
                    continue;
                }
                let path = placed.join(&name);
                if let Some(temporary) = temporary::recognise(&name) {
                    let remote = self.survey.placement.remote(&path);
                    self.survey.temporaries.push(Leftover::new(temporary, remote, &attributes));
                    continue;
                }
                if attributes.kind() == Some(FileKind::Directory) && self.goes_into(root, &path) {
                    to_list.push_back((root, path.clone()));
                }
                self.want_link(root, &path, &attributes);
                self.note(path, &attributes);
            }
        }
    }

    /// Whether what is in a directory of the host matters.
    fn goes_into(&self, root: usize, path: &TreePath) -> bool {
        let Some(within) = path.within(self.survey.placement.prefix(root)) else { return false };
        let filter: &Filter = &self.question.tree.roots[root].filter;
        matches!(self.entry(root, path).map(|entry| &entry.kind), Some(Kind::Directory))
            || self.question.everything && !filter.is_excluded(&within, true)
    }

    fn want_link(&mut self, root: usize, path: &TreePath, found: &Attributes) {
        let is_wanted = matches!(self.entry(root, path).map(|entry| &entry.kind), Some(Kind::Symlink { .. }));
        if is_wanted && found.kind() == Some(FileKind::Symlink) {
            self.links.push(path.clone());
        }
    }

    /// The entry of a root that is to have this path on the host.
    fn entry(&self, root: usize, path: &TreePath) -> Option<&Entry> {
        entry(self.question.tree, root, &path.within(self.survey.placement.prefix(root))?)
    }

    async fn links(&mut self) -> Result<(), Trouble> {
        let mut answers = Vec::with_capacity(self.links.len());
        for path in std::mem::take(&mut self.links) {
            let answer = self.sftp.read_link(&self.survey.placement.remote(&path)).await?;
            answers.push((path, answer));
        }
        for (path, answer) in answers {
            // One that cannot be read is made anew.
            if let Ok(text) = answer.get().await
                && let Some(found) = self.survey.observed.get_mut(&path)
            {
                found.kind = FoundKind::Symlink { target: Some(text.to_vec()) };
            }
        }
        Ok(())
    }

    fn note(&mut self, path: TreePath, attributes: &Attributes) {
        self.survey.observed.insert(path, found(attributes));
    }
}

/// What something is, as a plan sees it.
pub(super) fn found(attributes: &Attributes) -> Found {
    let kind = match attributes.kind() {
        Some(FileKind::Directory) => FoundKind::Directory,
        Some(FileKind::Symlink) => FoundKind::Symlink { target: None },
        Some(FileKind::Special) => FoundKind::Special,
        // A server that tells no kind is taken at its size.
        Some(FileKind::File) | None => {
            FoundKind::File { size: attributes.size.unwrap_or_default(), content: Content::Unknown }
        }
    };
    let (uid, gid) = attributes.owner.unwrap_or_default();
    Found {
        kind,
        mtime: attributes.times.map_or(0, |(_, modified)| modified.into()),
        mode: attributes.mode.unwrap_or_default() & 0o7777,
        uid,
        gid,
        identity: Identity::Unknown,
    }
}

/// The entry of a root with this path below it.
fn entry<'tree>(tree: &'tree Tree, root: usize, within: &TreePath) -> Option<&'tree Entry> {
    let entries = &tree.entries[tree.roots[root].entries.clone()];
    entries.binary_search_by(|entry| entry.path.cmp(within)).ok().map(|index| &entries[index])
}

/// A directory that is to be listed.
struct Directory {
    root: usize,
    /// Below the destination.
    placed: TreePath,
    /// Below the root.
    within: TreePath,
    /// On the host.
    path: Vec<u8>,
}

/// Lists one directory, of which only what matters is kept: it may hold far more, or have no end.
async fn list(
    sftp: &Sftp,
    question: &Question<'_>,
    directory: Directory,
) -> (usize, TreePath, Result<Vec<Name>, Trouble>) {
    let Directory { root, placed, within, path } = directory;
    let matters = |found: &Name| {
        question.everything
            || check_name(&found.name).is_ok()
                && (temporary::recognise(&found.name).is_some()
                    || entry(question.tree, root, &within.join(&found.name)).is_some())
    };
    let all = async {
        let about = |error: SftpError| Trouble::about(&path, &error);
        let mut listing = sftp.list(&path).await.map_err(about)?;
        let mut names = Vec::new();
        while let Some(some) = listing.next().await.map_err(about)? {
            let before = names.len();
            names.extend(some.into_iter().filter(matters));
            let bytes: u64 = names[before..].iter().map(|found| NAME + found.name.len() as u64).sum();
            let most = MOST_LISTED + question.tree.entries.len() as u64 * NAME * 2;
            if question.listed.fetch_add(bytes, Ordering::Relaxed) + bytes > most {
                return Err(too_much(&path));
            }
        }
        // Whether the server takes its handle back says nothing of what it listed.
        let _ = listing.close().await;
        Ok(names)
    };
    let names = all.await;
    (root, placed, names)
}

fn too_much(path: &[u8]) -> Trouble {
    Trouble::Place {
        message: format!("`{}` lists more names than can be compared", path.escape_ascii()),
        hint: "look at what is there; without --delete what the sources do not have is not looked at".into(),
    }
}
