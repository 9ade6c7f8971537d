//! What an SFTP server does with files: version 3 of the protocol (draft-ietf-secsh-filexfer-02) as OpenSSH's
//! `sftp-server` has it, over the file system of this machine. Relative paths begin at the host's home.

use super::oddity::{Oddity, PLANTED, Transit};
use rustix::fs::{AtFlags, CWD, StatVfs, Timespec, Timestamps, utimensat};
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};

pub(super) const VERSION: u8 = 2;
pub(super) const STATUS: u8 = 101;
const HANDLE: u8 = 102;
pub(super) const DATA: u8 = 103;
const NAME: u8 = 104;
const ATTRS: u8 = 105;
const EXTENDED_REPLY: u8 = 201;

pub(super) const OK: u32 = 0;
const EOF: u32 = 1;
const FAILURE: u32 = 4;
const BAD_MESSAGE: u32 = 5;
const UNSUPPORTED: u32 = 8;

/// Packets of OpenSSH: 256 KiB, and 1 KiB less for what is read or written.
pub(super) const LONGEST_PACKET: usize = 256 * 1024;
const MOST_DATA: u64 = 255 * 1024;
/// Names in one answer.
const NAMES_AT_ONCE: usize = 100;

/// Extensions that are announced, with their versions.
pub(super) const EXTENSIONS: [(&str, &str); 8] = [
    ("posix-rename@openssh.com", "1"),
    ("statvfs@openssh.com", "2"),
    ("fstatvfs@openssh.com", "2"),
    ("hardlink@openssh.com", "1"),
    ("fsync@openssh.com", "1"),
    ("lsetstat@openssh.com", "1"),
    ("limits@openssh.com", "1"),
    ("expand-path@openssh.com", "1"),
];

/// An answer without its id.
pub(super) struct Reply {
    pub(super) kind: u8,
    pub(super) body: Vec<u8>,
}

/// Why a request has no other answer than a status.
pub(super) enum Refusal {
    Code(u32),
    System(io::Error),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

impl From<rustix::io::Errno> for Refusal {
    fn from(error: rustix::io::Errno) -> Self {
        Self::System(error.into())
    }
}

type Answered = Result<Reply, Refusal>;

/// The files of one channel.
pub(super) struct Files {
    home: PathBuf,
    oddities: Vec<Oddity>,
    handles: HashMap<Vec<u8>, Open>,
    next: u32,
    /// Looks at a trap: it is a symlink at first and a directory after that.
    looks: usize,
}

enum Open {
    File(File),
    Listing(Listing),
}

struct Listing {
    path: PathBuf,
    names: std::vec::IntoIter<Entry>,
}

struct Entry {
    name: Vec<u8>,
    attributes: Attributes,
}

#[derive(Clone, Copy, Default)]
struct Attributes {
    size: Option<u64>,
    owner: Option<(u32, u32)>,
    mode: Option<u32>,
    times: Option<(u32, u32)>,
}

impl Files {
    pub(super) fn new(home: &Path, oddities: &[Oddity]) -> Self {
        let files = Self { home: home.into(), oddities: oddities.into(), handles: HashMap::new(), next: 0, looks: 0 };
        if oddities.iter().any(|oddity| matches!(oddity, Oddity::Names(_) | Oddity::Trap(..))) {
            fs::create_dir_all(files.beside("trap")).expect("the fleet's directory can be written");
            for path in [files.beside("planted"), files.beside("trap/planted")] {
                fs::write(path, PLANTED).expect("the fleet's directory can be written");
            }
        }
        files
    }

    pub(super) fn handles(&self) -> usize {
        self.handles.len()
    }

    /// Damages data that has this place in its file.
    fn corrupt(&self, transit: Transit, data: &mut [u8], place: u64) {
        for oddity in &self.oddities {
            if let Oddity::Corrupts(way, every) = oddity
                && *way == transit
            {
                let first = place.next_multiple_of(*every) - place;
                data.iter_mut().skip(first as usize).step_by(*every as usize).for_each(|byte| *byte ^= 1);
            }
        }
    }

    /// Does what is asked for.
    pub(super) fn answer(&mut self, name: &str, body: &[u8]) -> Reply {
        match self.attempt(name, &mut Fields(body)) {
            Ok(reply) => reply,
            Err(Refusal::Code(code)) => status(code, text_of(code)),
            Err(Refusal::System(error)) => {
                let code = match error.kind() {
                    io::ErrorKind::NotFound => 2,
                    io::ErrorKind::PermissionDenied => 3,
                    _ => FAILURE,
                };
                status(code, text_of(code))
            }
        }
    }

    fn attempt(&mut self, name: &str, fields: &mut Fields) -> Answered {
        match name {
            "open" => {
                let path = fields.text()?;
                let path = self.planted(path).unwrap_or_else(|| self.path(path));
                let (flags, attributes) = (fields.number()?, fields.attributes()?);
                let mut options = OpenOptions::new();
                options.read(flags & 1 != 0).write(flags & 2 != 0).append(flags & 4 != 0);
                options.create(flags & 8 != 0).truncate(flags & 16 != 0).create_new(flags & 40 == 40);
                options.mode(attributes.mode.unwrap_or(0o666) & 0o7777);
                let file = options.open(path)?;
                self.opened(Open::File(file))
            }
            "close" => match self.handles.remove(fields.text()?) {
                Some(_) => done(),
                None => Err(Refusal::Code(FAILURE)),
            },
            "read" => {
                let (file, place, length) = (self.file(fields.text()?)?, fields.long()?, fields.number()?);
                let mut data = vec![0; u64::from(length).min(MOST_DATA) as usize];
                match file.read_at(&mut data, place)? {
                    0 => Err(Refusal::Code(EOF)),
                    length => {
                        data.truncate(length);
                        self.corrupt(Transit::Read, &mut data, place);
                        Ok(data_of(&data))
                    }
                }
            }
            "write" => {
                let (handle, place) = (fields.text()?, fields.long()?);
                let mut data = fields.text()?.to_vec();
                self.corrupt(Transit::Written, &mut data, place);
                self.file(handle)?.write_all_at(&data, place)?;
                done()
            }
            "lstat" => {
                let path = fields.text()?;
                match self.trap(path) {
                    Some((target, _)) if self.looked_at_first(path) => Ok(attributes_of(link_to(target))),
                    _ => Ok(attributes_of(fs::symlink_metadata(self.visible(path))?.into())),
                }
            }
            "stat" => {
                let path = fields.text()?;
                Ok(attributes_of(fs::metadata(self.visible(path))?.into()))
            }
            "fstat" => Ok(attributes_of(self.file(fields.text()?)?.metadata()?.into())),
            "setstat" => {
                let path = self.path(fields.text()?);
                let attributes = fields.attributes()?;
                if let Some(size) = attributes.size {
                    OpenOptions::new().write(true).open(&path)?.set_len(size)?;
                }
                if let Some((user, group)) = attributes.owner {
                    chown(&path, Some(user), Some(group))?;
                }
                if let Some(mode) = attributes.mode {
                    fs::set_permissions(&path, Permissions::from_mode(mode & 0o7777))?;
                }
                attributes.touch(&path, AtFlags::empty())?;
                done()
            }
            "lsetstat" => {
                let path = self.path(fields.text()?);
                let attributes = fields.attributes()?;
                if let Some((user, group)) = attributes.owner {
                    lchown(&path, Some(user), Some(group))?;
                }
                if let Some(mode) = attributes.mode {
                    if fs::symlink_metadata(&path)?.is_symlink() {
                        return Err(Refusal::Code(FAILURE));
                    }
                    fs::set_permissions(&path, Permissions::from_mode(mode & 0o7777))?;
                }
                attributes.touch(&path, AtFlags::SYMLINK_NOFOLLOW)?;
                done()
            }
            "fsetstat" => {
                let file = self.file(fields.text()?)?;
                let attributes = fields.attributes()?;
                if let Some(size) = attributes.size {
                    file.set_len(size)?;
                }
                if let Some((user, group)) = attributes.owner {
                    std::os::unix::fs::fchown(file, Some(user), Some(group))?;
                }
                if let Some(mode) = attributes.mode {
                    file.set_permissions(Permissions::from_mode(mode & 0o7777))?;
                }
                if let Some(times) = attributes.timestamps() {
                    rustix::fs::futimens(file, &times)?;
                }
                done()
            }
            "opendir" => {
                let path = self.path(fields.text()?);
                let listing = self.listing(path)?;
                self.opened(Open::Listing(listing))
            }
            "readdir" => self.read_listing(fields.text()?),
            "remove" => {
                fs::remove_file(self.path(fields.text()?))?;
                done()
            }
            "mkdir" => {
                let path = self.path(fields.text()?);
                let mode = fields.attributes()?.mode.unwrap_or(0o777) & 0o7777;
                fs::DirBuilder::new().mode(mode).create(path)?;
                done()
            }
            "rmdir" => {
                fs::remove_dir(self.path(fields.text()?))?;
                done()
            }
            "realpath" => Ok(name_of(real(&self.path(fields.text()?))?)),
            "rename" => {
                // Version 3 replaces nothing.
                let (old, new) = (self.path(fields.text()?), self.path(fields.text()?));
                if fs::symlink_metadata(&new).is_ok() {
                    return Err(Refusal::Code(FAILURE));
                }
                fs::rename(old, new)?;
                done()
            }
            "readlink" => {
                let path = fields.text()?;
                match self.trap(path) {
                    Some((target, _)) => Ok(name_of(target.into())),
                    None => Ok(name_of(fs::read_link(self.path(path))?.into_os_string())),
                }
            }
            "symlink" => {
                // OpenSSH has the two the other way round than the draft.
                let (target, link) = (fields.text()?, self.path(fields.text()?));
                symlink(OsStr::from_bytes(target), link)?;
                done()
            }
            extension if self.has(extension) => self.extend(extension, fields),
            _ => Err(Refusal::Code(UNSUPPORTED)),
        }
    }

    fn extend(&mut self, name: &str, fields: &mut Fields) -> Answered {
        match name {
            "posix-rename" => fs::rename(self.path(fields.text()?), self.path(fields.text()?))?,
            "hardlink" => fs::hard_link(self.path(fields.text()?), self.path(fields.text()?))?,
            "fsync" => self.file(fields.text()?)?.sync_all()?,
            "statvfs" => return Ok(space_of(rustix::fs::statvfs(self.path(fields.text()?))?)),
            "fstatvfs" => return Ok(space_of(rustix::fs::fstatvfs(self.file(fields.text()?)?)?)),
            "limits" => {
                let own = [LONGEST_PACKET as u64, MOST_DATA, MOST_DATA, 1019];
                let limits = self.oddities.iter().find_map(|oddity| match oddity {
                    Oddity::Limits(limits) => Some(*limits),
                    _ => None,
                });
                let body = limits.unwrap_or(own).iter().flat_map(|limit| limit.to_be_bytes()).collect();
                return Ok(Reply { kind: EXTENDED_REPLY, body });
            }
            "expand-path" => {
                let path = fields.text()?;
                let path = path.strip_prefix(b"~").map_or(path, |rest| rest.strip_prefix(b"/").unwrap_or(rest));
                return Ok(name_of(real(&self.path(path))?));
            }
            _ => return Err(Refusal::Code(UNSUPPORTED)),
        }
        done()
    }

    /// Whether an extension of this name, without what follows `@`, is there.
    pub(super) fn has(&self, name: &str) -> bool {
        let known = EXTENSIONS.iter().any(|(full, _)| full.split('@').next() == Some(name));
        known && !self.oddities.iter().any(|oddity| *oddity == Oddity::NoExtensions || is_without(oddity, name))
    }

    fn opened(&mut self, open: Open) -> Answered {
        let handle = loop {
            self.next = self.next.wrapping_add(1);
            let handle: Vec<u8> = if self.oddities.contains(&Oddity::BinaryHandles) {
                (0..=255).map(|byte: u8| byte.wrapping_add((self.next >> 8) as u8) ^ self.next as u8).collect()
            } else {
                self.next.to_be_bytes().into()
            };
            if !self.handles.contains_key(&handle) {
                break handle;
            }
        };
        let mut body = Vec::new();
        put(&mut body, &handle);
        self.handles.insert(handle, open);
        Ok(Reply { kind: HANDLE, body })
    }

    fn file(&self, handle: &[u8]) -> Result<&File, Refusal> {
        match self.handles.get(handle) {
            Some(Open::File(file)) => Ok(file),
            _ => Err(Refusal::Code(FAILURE)),
        }
    }

    fn listing(&self, path: PathBuf) -> io::Result<Listing> {
        let mut entries = Vec::new();
        let planted: Attributes = fs::metadata(self.beside("planted")).map(Into::into).unwrap_or_default();
        for oddity in &self.oddities {
            match oddity {
                Oddity::Names(names) => {
                    entries.extend(names.iter().map(|&name| Entry { name: name.into(), attributes: planted }));
                }
                Oddity::Trap(name, target) if !path.starts_with(self.beside("trap")) => {
                    let inside = fs::metadata(self.beside("trap"))?.into();
                    for attributes in [link_to(target), inside] {
                        entries.push(Entry { name: name.as_bytes().into(), attributes });
                    }
                }
                _ => {}
            }
        }
        for name in [".", ".."] {
            entries.push(Entry { name: name.into(), attributes: fs::metadata(path.join(name))?.into() });
        }
        for entry in fs::read_dir(&path)? {
            let entry = entry?;
            // One that is gone by now was never there.
            if let Ok(metadata) = entry.metadata() {
                entries.push(Entry { name: entry.file_name().into_vec(), attributes: metadata.into() });
            }
        }
        Ok(Listing { path, names: entries.into_iter() })
    }

    fn read_listing(&mut self, handle: &[u8]) -> Answered {
        let is_endless = self.oddities.contains(&Oddity::EndlessListing);
        let Some(Open::Listing(listing)) = self.handles.get_mut(handle) else {
            return Err(Refusal::Code(FAILURE));
        };
        let mut entries: Vec<Entry> = listing.names.by_ref().take(NAMES_AT_ONCE).collect();
        if entries.is_empty() && is_endless {
            let attributes = fs::metadata(&listing.path)?.into();
            let attributes = Attributes { mode: Some(0o100_644), ..attributes };
            entries = (0..NAMES_AT_ONCE)
                .map(|_| {
                    self.next = self.next.wrapping_add(1);
                    Entry { name: format!("endless-{:010}", self.next).into(), attributes }
                })
                .collect();
        }
        if entries.is_empty() { Err(Refusal::Code(EOF)) } else { Ok(names_of(&entries)) }
    }

    fn path(&self, path: &[u8]) -> PathBuf {
        match self.trap(path) {
            Some((_, inside)) => self.beside("trap").join(OsStr::from_bytes(inside)),
            None => self.home.join(OsStr::from_bytes(path)),
        }
    }

    /// Where something is that a listing may have made up.
    fn visible(&self, path: &[u8]) -> PathBuf {
        let means_a_directory =
            [&b""[..], b".", b".."].contains(&path.rsplit(|&byte| byte == b'/').next().unwrap_or(b""));
        self.planted(path).filter(|_| !means_a_directory).unwrap_or_else(|| self.path(path))
    }

    /// The file behind a name that was made up.
    fn planted(&self, path: &[u8]) -> Option<PathBuf> {
        let named = |name: &&[u8]| path == *name || path.strip_suffix(*name).is_some_and(|rest| rest.ends_with(b"/"));
        let is_planted =
            self.oddities.iter().any(|oddity| matches!(oddity, Oddity::Names(names) if names.iter().any(named)));
        is_planted.then(|| self.beside("planted"))
    }

    /// The target of the trap that a path leads into, and the path inside of it.
    fn trap<'p>(&self, path: &'p [u8]) -> Option<(&'static str, &'p [u8])> {
        self.oddities.iter().find_map(|oddity| {
            let Oddity::Trap(name, target) = oddity else { return None };
            let mut place = 0;
            for part in path.split(|&byte| byte == b'/') {
                place += part.len();
                if part == name.as_bytes() {
                    return Some((*target, path.get(place + 1..).unwrap_or_default()));
                }
                place += 1;
            }
            None
        })
    }

    fn looked_at_first(&mut self, path: &[u8]) -> bool {
        let is_itself = self.trap(path).is_some_and(|(_, inside)| inside.is_empty());
        self.looks += usize::from(is_itself);
        is_itself && self.looks == 1
    }

    /// What a server made up is beside the home.
    fn beside(&self, name: &str) -> PathBuf {
        let mut path = self.home.clone().into_os_string();
        path.push(format!(".{name}"));
        path.into()
    }
}

fn is_without(oddity: &Oddity, name: &str) -> bool {
    matches!(oddity, Oddity::Without(missing) if *missing == name)
}

/// The path without links and dots; its last part need not be there.
fn real(path: &Path) -> io::Result<OsString> {
    match (fs::canonicalize(path), path.parent(), path.file_name()) {
        (Err(error), Some(parent), Some(name)) if error.kind() == io::ErrorKind::NotFound => {
            Ok(fs::canonicalize(parent)?.join(name).into_os_string())
        }
        (found, ..) => Ok(found?.into_os_string()),
    }
}

fn link_to(target: &str) -> Attributes {
    Attributes { size: Some(target.len() as u64), owner: None, mode: Some(0o120_777), times: Some((0, 0)) }
}

fn done() -> Answered {
    Err(Refusal::Code(OK))
}

fn text_of(code: u32) -> &'static [u8] {
    match code {
        OK => b"Success",
        EOF => b"End of file",
        2 => b"No such file",
        3 => b"Permission denied",
        BAD_MESSAGE => b"Bad message",
        UNSUPPORTED => b"Operation unsupported",
        _ => b"Failure",
    }
}

pub(super) fn status(code: u32, text: &[u8]) -> Reply {
    let mut body = code.to_be_bytes().to_vec();
    put(&mut body, text);
    put(&mut body, b"");
    Reply { kind: STATUS, body }
}

pub(super) fn data_of(data: &[u8]) -> Reply {
    let mut body = Vec::with_capacity(data.len() + 4);
    put(&mut body, data);
    Reply { kind: DATA, body }
}

fn attributes_of(attributes: Attributes) -> Reply {
    let mut body = Vec::new();
    attributes.put(&mut body);
    Reply { kind: ATTRS, body }
}

fn name_of(name: OsString) -> Reply {
    names_of(&[Entry { name: name.into_vec(), attributes: Attributes::default() }])
}

fn names_of(entries: &[Entry]) -> Reply {
    let mut body = u32::to_be_bytes(entries.len() as u32).to_vec();
    for Entry { name, attributes } in entries {
        put(&mut body, name);
        // As `ls -l` has it, for those who only show it.
        let directory = if attributes.mode.unwrap_or_default() & 0o170_000 == 0o040_000 { 'd' } else { '-' };
        let mut line = format!("{directory}rwxr-xr-x    1 0 0 {:8} Jan  1  1970 ", attributes.size.unwrap_or_default());
        line.push_str(&String::from_utf8_lossy(name));
        put(&mut body, line.as_bytes());
        attributes.put(&mut body);
    }
    Reply { kind: NAME, body }
}

fn space_of(space: StatVfs) -> Reply {
    let numbers = [
        space.f_bsize,
        space.f_frsize,
        space.f_blocks,
        space.f_bfree,
        space.f_bavail,
        space.f_files,
        space.f_ffree,
        space.f_favail,
        space.f_fsid,
        space.f_flag.bits(),
        space.f_namemax,
    ];
    Reply { kind: EXTENDED_REPLY, body: numbers.iter().flat_map(|number| number.to_be_bytes()).collect() }
}

pub(super) fn put(body: &mut Vec<u8>, text: &[u8]) {
    body.extend_from_slice(&(text.len() as u32).to_be_bytes());
    body.extend_from_slice(text);
}

impl From<Metadata> for Attributes {
    fn from(metadata: Metadata) -> Self {
        Self {
            size: Some(metadata.size()),
            owner: Some((metadata.uid(), metadata.gid())),
            mode: Some(metadata.mode()),
            times: Some((metadata.atime() as u32, metadata.mtime() as u32)),
        }
    }
}

impl Attributes {
    fn put(self, body: &mut Vec<u8>) {
        let flags = u32::from(self.size.is_some())
            | u32::from(self.owner.is_some()) << 1
            | u32::from(self.mode.is_some()) << 2
            | u32::from(self.times.is_some()) << 3;
        body.extend_from_slice(&flags.to_be_bytes());
        body.extend(self.size.into_iter().flat_map(u64::to_be_bytes));
        let pairs = [self.owner, self.mode.map(|mode| (mode, 0)), self.times];
        for (place, pair) in pairs.into_iter().enumerate() {
            let Some((first, second)) = pair else { continue };
            body.extend_from_slice(&first.to_be_bytes());
            if place != 1 {
                body.extend_from_slice(&second.to_be_bytes());
            }
        }
    }

    fn timestamps(self) -> Option<Timestamps> {
        let moment = |seconds: u32| Timespec { tv_sec: seconds.into(), tv_nsec: 0 };
        self.times.map(|(accessed, modified)| Timestamps {
            last_access: moment(accessed),
            last_modification: moment(modified),
        })
    }

    fn touch(self, path: &Path, flags: AtFlags) -> Result<(), Refusal> {
        match self.timestamps() {
            Some(times) => Ok(utimensat(CWD, path, &times, flags)?),
            None => Ok(()),
        }
    }
}

/// What is left of a request.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Refusal> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Refusal::Code(BAD_MESSAGE))?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn number(&mut self) -> Result<u32, Refusal> {
        Ok(u32::from_be_bytes(self.take(4)?.try_into().expect("four bytes were taken")))
    }

    fn long(&mut self) -> Result<u64, Refusal> {
        Ok(u64::from_be_bytes(self.take(8)?.try_into().expect("eight bytes were taken")))
    }

    pub(super) fn text(&mut self) -> Result<&'a [u8], Refusal> {
        let length = self.number()?;
        self.take(length as usize)
    }

    fn attributes(&mut self) -> Result<Attributes, Refusal> {
        let flags = self.number()?;
        let mut attributes = Attributes::default();
        if flags & 1 != 0 {
            attributes.size = Some(self.long()?);
        }
        if flags & 2 != 0 {
            attributes.owner = Some((self.number()?, self.number()?));
        }
        if flags & 4 != 0 {
            attributes.mode = Some(self.number()?);
        }
        if flags & 8 != 0 {
            attributes.times = Some((self.number()?, self.number()?));
        }
        Ok(attributes)
    }
}
