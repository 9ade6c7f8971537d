//! All that is in what was found on a host: [`walk`], a directory at a time and many at once.
//!
//! What a server tells is not trusted: names are checked, a directory that leads back to itself is not entered again, and
//! how deep and how much is bounded.

use super::find::Root;
use super::inventory::{Entry, Inventory, Kind};
use super::source::below;
use crate::outcome::{Code, Failure};
use crate::sftp::{Attributes, FileKind, Name, Sftp, SftpError};
use crate::task::teller::Teller;
use crate::task::trouble::Trouble;
use crate::tree::{Filter, Links, TreePath, check_name, temporary};
use futures::stream::FuturesUnordered;
use futures::{StreamExt, stream};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Directories that are listed at once.
const LISTINGS: usize = 16;
/// Requests that are made at once about what one directory holds.
const AT_ONCE: usize = 128;
/// Directories in directories.
const DEEPEST: usize = 256;
/// Memory that what a host lists may take: some millions of names.
const ROOM: usize = 512 * 1024 * 1024;
/// What an entry takes beside its name.
const ENTRY: usize = 128;
/// Bytes of a name, which no file system here exceeds.
const LONGEST_NAME: usize = 255;
/// Bytes of a symlink's text (PATH_MAX).
const LONGEST_TEXT: usize = 4096;

/// What is looked for.
pub(super) struct Question<'a> {
    pub(super) recursive: bool,
    pub(super) links: Links,
    pub(super) filter: &'a Filter,
}

/// A directory that is to be listed.
struct Directory {
    root: u32,
    /// Its path here.
    path: TreePath,
    remote: Vec<u8>,
    /// Bytes of paths here before the part that rules are about.
    prefix: usize,
    way: Option<Arc<Way>>,
}

/// The real paths of the directories that one is in, where symlinks are followed.
struct Way {
    real: Vec<u8>,
    above: Option<Arc<Way>>,
}

impl Way {
    fn leads_back_to(way: &Arc<Self>, real: &[u8]) -> bool {
        std::iter::successors(Some(way), |way| way.above.as_ref()).any(|way| way.real == real)
    }
}

/// What a name in a directory turned out to be.
enum Item {
    Entry {
        name: Vec<u8>,
        kind: Kind,
        attributes: Attributes,
        way: Option<Arc<Way>>,
    },
    Special {
        name: Vec<u8>,
    },
    /// It has a name that files have while they are being written.
    Temporary {
        name: Vec<u8>,
    },
    Failed {
        name: Vec<u8>,
        why: String,
    },
}

/// Looks at everything in the roots. What cannot be looked at is told, and the rest goes on.
pub(super) async fn walk(
    sftp: &Sftp,
    question: &Question<'_>,
    roots: Vec<Root>,
    teller: &Teller<'_>,
) -> Result<Inventory, Trouble> {
    let room = AtomicUsize::new(ROOM);
    let walk = Walk { sftp, question, room: &room };
    let mut inventory = Inventory::default();
    let mut waiting = VecDeque::new();
    for root in roots {
        let number = u32::try_from(inventory.roots.len()).unwrap_or(u32::MAX);
        match walk.root(&root).await? {
            Begun::Entry { kind, attributes } => {
                if !root.place.is_root() {
                    inventory.entries.push(Entry::new(number, root.place.clone(), kind, &attributes));
                }
            }
            Begun::Directory { attributes, way } => {
                let path = root.place.clone();
                if !path.is_root() {
                    inventory.entries.push(Entry::new(number, path.clone(), Kind::Directory, &attributes));
                }
                let prefix = if path.is_root() { 0 } else { path.as_bytes().len() + 1 };
                waiting.push_back(Directory { root: number, path, remote: root.remote.clone(), prefix, way });
            }
            Begun::PassedOver => {}
            Begun::Temporary => inventory.temporary.add(|| root.remote.clone()),
            Begun::Failed(failure) => teller.failed_with(&root.remote, failure).await,
        }
        inventory.roots.push(root);
    }
    let at_once = LISTINGS.min(sftp.limits().await?.handles as usize);
    let mut listing = FuturesUnordered::new();
    loop {
        while listing.len() < at_once
            && let Some(directory) = waiting.pop_front()
        {
            listing.push(walk.list(directory));
        }
        let Some((directory, items)) = listing.next().await else { break };
        let items = match items {
            Ok(items) => items,
            Err(Trouble::Path(_, error)) => {
                teller.failed(&directory.remote, &format!("cannot list the directory: {error}")).await;
                continue;
            }
            Err(trouble) => return Err(trouble),
        };
        for item in items {
            match item {
                Item::Entry { name, kind, attributes, way } => {
                    let path = directory.path.join(&name);
                    if kind == Kind::Directory {
                        let remote = below(&directory.remote, &name);
                        let Directory { root, prefix, .. } = directory;
                        waiting.push_back(Directory { root, path: path.clone(), remote, prefix, way });
                    }
                    inventory.entries.push(Entry::new(directory.root, path, kind, &attributes));
                }
                Item::Special { name } => {
                    inventory.passed_over.add(|| below(&directory.remote, &name));
                }
                Item::Temporary { name } => inventory.temporary.add(|| below(&directory.remote, &name)),
                Item::Failed { name, why } => teller.failed(&below(&directory.remote, &name), &why).await,
            }
        }
    }
    inventory.settle(teller).await;
    Ok(inventory)
}

/// What a root turned out to be.
enum Begun {
    Entry { kind: Kind, attributes: Attributes },
    Directory { attributes: Attributes, way: Option<Arc<Way>> },
    PassedOver,
    Temporary,
    Failed(Failure),
}

struct Walk<'a> {
    sftp: &'a Sftp,
    question: &'a Question<'a>,
    room: &'a AtomicUsize,
}

impl Walk<'_> {
    /// What was named itself: as with cp(1), a symlink is one only where directories are fetched with what is in them.
    async fn root(&self, root: &Root) -> Result<Begun, Trouble> {
        let Question { recursive, links, filter } = *self.question;
        let failed = |message: String| Begun::Failed(Failure::new(Code::TransferPlace, message));
        if temporary::recognise(root.place.name()).is_some() {
            let why = "it has a name that bugle gives to files on their way, and is not fetched";
            return Ok(if root.is_typed { failed(why.into()) } else { Begun::Temporary });
        }
        let mut attributes = root.itself;
        if attributes.kind() == Some(FileKind::Symlink) {
            match links {
                Links::Skip => return Ok(Begun::PassedOver),
                Links::Keep if recursive => {
                    return Ok(match self.text(&root.remote).await? {
                        Ok(text) => Begun::Entry { kind: Kind::Symlink { text }, attributes },
                        Err(why) => failed(why),
                    });
                }
                Links::Keep | Links::Follow => match self.sftp.stat(&root.remote).await?.get().await {
                    Ok(followed) => attributes = followed,
                    Err(error @ SftpError::Refused(..)) => {
                        return Ok(failed(format!("a symlink that leads nowhere: {error}")));
                    }
                    Err(error) => return Err(error.into()),
                },
            }
        }
        Ok(match attributes.kind() {
            Some(FileKind::Directory) if !recursive => Begun::Failed(
                Failure::new(Code::TransferPlace, "it is a directory")
                    .hint("`-r` fetches directories with all that is in them"),
            ),
            Some(FileKind::Directory) => {
                let way = match links {
                    Links::Follow => Some(Arc::new(Way { real: self.real(&root.remote).await?, above: None })),
                    Links::Keep | Links::Skip => None,
                };
                Begun::Directory { attributes, way }
            }
            Some(FileKind::Special) => failed("it is a device, socket or FIFO, which cannot be fetched".into()),
            // A server that tells no kind is taken at its size.
            Some(FileKind::File | FileKind::Symlink) | None => match filter.excludes(root.place.name(), false) {
                true => Begun::PassedOver,
                false => Begun::Entry { kind: Kind::File { size: attributes.size.unwrap_or_default() }, attributes },
            },
        })
    }

    /// Lists one directory, and finds out about its names what the listing does not tell.
    async fn list(&self, directory: Directory) -> (Directory, Result<Vec<Item>, Trouble>) {
        let items = self.items(&directory).await;
        (directory, items)
    }

    async fn items(&self, directory: &Directory) -> Result<Vec<Item>, Trouble> {
        let mut names = self.names(&directory.remote).await?;
        names.sort_by(|one, other| one.name.cmp(&other.name));
        let mut items = Vec::with_capacity(names.len());
        names.dedup_by(|later, first| {
            let is_double = later.name == first.name;
            if is_double {
                let why = "the host lists this name twice: the first is taken".into();
                items.push(Item::Failed { name: later.name.to_vec(), why });
            }
            is_double
        });
        let looked: Vec<Result<Option<Item>, Trouble>> =
            stream::iter(names).map(|name| self.item(directory, name)).buffered(AT_ONCE).collect().await;
        for item in looked {
            items.extend(item?);
        }
        Ok(items)
    }

    async fn names(&self, remote: &[u8]) -> Result<Vec<Name>, Trouble> {
        let about = |error: SftpError| Trouble::about(remote, &error);
        let mut listing = self.sftp.list(remote).await.map_err(about)?;
        let mut names = Vec::new();
        let listed = loop {
            match listing.next().await {
                Ok(Some(some)) => {
                    let size = some.iter().map(|name| ENTRY + name.name.len()).sum();
                    let taken =
                        self.room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |room| room.checked_sub(size));
                    if taken.is_err() {
                        let message =
                            format!("the host lists more than can be held, at last in `{}`", remote.escape_ascii());
                        return Err(Failure::new(Code::TransferFailed, message)
                            .hint("pull parts of it, one after the other")
                            .into());
                    }
                    names.extend(some);
                }
                Ok(None) => break Ok(names),
                Err(error) => break Err(about(error)),
            }
        };
        // Whether the server takes its handle back says nothing of what it listed.
        let _ = listing.close().await;
        listed
    }

    /// What a name is; nothing where it is not meant.
    async fn item(&self, directory: &Directory, Name { name, mut attributes }: Name) -> Result<Option<Item>, Trouble> {
        let failed = |why: String| Ok(Some(Item::Failed { name: name.to_vec(), why }));
        if let Err(error) = check_name(&name) {
            return failed(format!("the host lists what is no name of a file: {error}"));
        }
        if temporary::recognise(&name).is_some() {
            let path = directory.path.join(&name);
            let is_directory = attributes.kind() == Some(FileKind::Directory);
            let is_excluded = self.question.filter.excludes(&path.as_bytes()[directory.prefix..], is_directory);
            return Ok((!is_excluded).then(|| Item::Temporary { name: name.to_vec() }));
        }
        if name.len() > LONGEST_NAME {
            return failed(format!("its name is longer than {LONGEST_NAME} bytes"));
        }
        let remote = below(&directory.remote, &name);
        if attributes.kind().is_none() {
            match self.sftp.lstat(&remote).await?.get().await {
                Ok(found) => attributes = found,
                Err(error @ SftpError::Refused(..)) => return failed(error.to_string()),
                Err(error) => return Err(error.into()),
            }
        }
        let Question { links, filter, .. } = *self.question;
        let path = directory.path.join(&name);
        let is_meant = |is_directory| !filter.excludes(&path.as_bytes()[directory.prefix..], is_directory);
        let mut way = None;
        if attributes.kind() == Some(FileKind::Symlink) {
            match links {
                Links::Skip => return Ok(None),
                _ if !is_meant(false) => return Ok(None),
                Links::Keep => {
                    return Ok(Some(match self.text(&remote).await? {
                        Ok(text) => {
                            Item::Entry { name: name.to_vec(), kind: Kind::Symlink { text }, attributes, way: None }
                        }
                        Err(why) => Item::Failed { name: name.to_vec(), why },
                    }));
                }
                Links::Follow => {
                    match self.sftp.stat(&remote).await?.get().await {
                        Ok(followed) => attributes = followed,
                        Err(error @ SftpError::Refused(..)) => {
                            return failed(format!("a symlink that leads nowhere: {error}"));
                        }
                        Err(error) => return Err(error.into()),
                    }
                    if attributes.kind() == Some(FileKind::Directory) {
                        let real = self.real(&remote).await?;
                        if directory.way.as_ref().is_some_and(|way| Way::leads_back_to(way, &real)) {
                            return failed(format!("the symlink leads back to `{}`", real.escape_ascii()));
                        }
                        way = Some(Arc::new(Way { real, above: directory.way.clone() }));
                    }
                }
            }
        }
        let is_directory = attributes.kind() == Some(FileKind::Directory);
        if !is_meant(is_directory) {
            return Ok(None);
        }
        let name = name.to_vec();
        Ok(Some(match attributes.kind() {
            Some(FileKind::Special) => Item::Special { name },
            Some(FileKind::Directory) if path.depth() > DEEPEST => {
                Item::Failed { name, why: format!("it is more than {DEEPEST} directories deep") }
            }
            Some(FileKind::Directory) => {
                let plain = |above: &Arc<Way>| {
                    Arc::new(Way { real: below(&above.real, &name), above: Some(Arc::clone(above)) })
                };
                let way = way.or_else(|| directory.way.as_ref().map(plain));
                Item::Entry { name, kind: Kind::Directory, attributes, way }
            }
            Some(FileKind::File | FileKind::Symlink) | None => {
                let kind = Kind::File { size: attributes.size.unwrap_or_default() };
                Item::Entry { name, kind, attributes, way: None }
            }
        }))
    }

    /// The text of a symlink, or why there is none.
    async fn text(&self, remote: &[u8]) -> Result<Result<Box<[u8]>, String>, Trouble> {
        match self.sftp.read_link(remote).await?.get().await {
            Ok(text) if text.len() >= LONGEST_TEXT || text.contains(&0) => {
                Ok(Err("the host tells a text for the symlink that none can have".into()))
            }
            Ok(text) => Ok(Ok(text[..].into())),
            Err(error @ SftpError::Refused(..)) => Ok(Err(format!("cannot read the symlink: {error}"))),
            Err(error) => Err(error.into()),
        }
    }

    /// Where a directory really is. A server that does not tell has no loops that could be known.
    async fn real(&self, remote: &[u8]) -> Result<Vec<u8>, Trouble> {
        match self.sftp.real_path(remote).await?.get().await {
            Ok(real) => Ok(real.to_vec()),
            Err(SftpError::Refused(..)) => Ok(remote.to_vec()),
            Err(error) => Err(error.into()),
        }
    }
}
