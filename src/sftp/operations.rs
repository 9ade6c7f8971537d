//! The requests of version 3 and of OpenSSH's extensions, one method each. Every method sends and gives the
//! [`Answer`] to wait for.

use super::answer::{ATTRS, Answer, DataAnswer, EXTENDED_REPLY, body, data, handle, status};
use super::attributes::Attributes;
use super::error::SftpError;
use super::frames::Packet;
use super::listing::{Listing, Name, names, one_name};
use super::session::Sftp;
use bytes::Bytes;

const OPEN: u8 = 3;
const CLOSE: u8 = 4;
const READ: u8 = 5;
const WRITE: u8 = 6;
const LSTAT: u8 = 7;
const FSTAT: u8 = 8;
const SETSTAT: u8 = 9;
const FSETSTAT: u8 = 10;
const OPENDIR: u8 = 11;
const READDIR: u8 = 12;
const REMOVE: u8 = 13;
const MKDIR: u8 = 14;
const RMDIR: u8 = 15;
const REALPATH: u8 = 16;
const STAT: u8 = 17;
const RENAME: u8 = 18;
const READLINK: u8 = 19;
const SYMLINK: u8 = 20;

/// An open file or directory on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handle(Bytes);

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// To read.
    Read,
    /// To write what is there already.
    Write,
    /// To write a file that must not exist yet.
    CreateNew,
}

/// The space on a file system (statvfs(3)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileSystem {
    /// Bytes that the user may still write.
    pub available: u64,
    /// Files that the user may still make.
    pub files_available: u64,
    /// Nothing can be written (ST_RDONLY).
    pub read_only: bool,
}

type Sent<T> = Result<Answer<T>, SftpError>;

fn attributes(packet: Packet) -> Result<Attributes, SftpError> {
    Attributes::read(&mut body(packet, ATTRS, "attributes")?)
}

fn opened(packet: Packet) -> Result<Handle, SftpError> {
    handle(packet).map(Handle)
}

fn file_system(packet: Packet) -> Result<FileSystem, SftpError> {
    let mut reader = body(packet, EXTENDED_REPLY, "a file system's space")?;
    let mut numbers = [0; 11];
    for number in &mut numbers {
        *number = reader.u64()?;
    }
    let [block, fragment, _, _, available, _, _, files_available, _, flags, _] = numbers;
    let unit = if fragment == 0 { block } else { fragment };
    Ok(FileSystem { available: available.saturating_mul(unit), files_available, read_only: flags & 1 != 0 })
}

impl Sftp {
    /// Opens a file; a new one gets the attributes' mode less the umask of the server.
    pub async fn open(&self, path: &[u8], mode: OpenMode, attributes: &Attributes) -> Sent<Handle> {
        let flags = match mode {
            OpenMode::Read => 0x01,
            OpenMode::Write => 0x02,
            // WRITE, CREAT, EXCL; READ too, so that what was written can be checked.
            OpenMode::CreateNew => 0x01 | 0x02 | 0x08 | 0x20,
        };
        self.request(OPEN, |writer| attributes.write(writer.string(path).u32(flags)), opened).await
    }

    /// Closes a handle.
    pub async fn close(&self, handle: &Handle) -> Sent<()> {
        self.request(CLOSE, |writer| writer.string(&handle.0), status).await
    }

    /// Reads at most `length` bytes, which is to be within [`Limits`](super::Limits).
    pub async fn read(&self, handle: &Handle, offset: u64, length: u32) -> Result<DataAnswer, SftpError> {
        let answer = self.request(READ, |writer| writer.string(&handle.0).u64(offset).u32(length), data).await?;
        Ok(DataAnswer::new(answer, length))
    }

    /// Writes; the data is to be within [`Limits`](super::Limits).
    pub async fn write(&self, handle: &Handle, offset: u64, data: Bytes) -> Sent<()> {
        let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
        let body = |writer: super::codec::Writer| writer.string(&handle.0).u64(offset).u32(length);
        self.request_with(WRITE, body, Some(data), status).await
    }

    /// What a name stands for, symlinks not followed.
    pub async fn lstat(&self, path: &[u8]) -> Sent<Attributes> {
        self.request(LSTAT, |writer| writer.string(path), attributes).await
    }

    /// What a name stands for, symlinks followed.
    pub async fn stat(&self, path: &[u8]) -> Sent<Attributes> {
        self.request(STAT, |writer| writer.string(path), attributes).await
    }

    /// What an open file is.
    pub async fn fstat(&self, handle: &Handle) -> Sent<Attributes> {
        self.request(FSTAT, |writer| writer.string(&handle.0), attributes).await
    }

    /// Sets attributes, symlinks followed.
    pub async fn setstat(&self, path: &[u8], attributes: &Attributes) -> Sent<()> {
        self.request(SETSTAT, |writer| attributes.write(writer.string(path)), status).await
    }

    /// Sets attributes of an open file. OpenSSH sets size, mode, times and owner in that order.
    pub async fn fsetstat(&self, handle: &Handle, attributes: &Attributes) -> Sent<()> {
        self.request(FSETSTAT, |writer| attributes.write(writer.string(&handle.0)), status).await
    }

    /// Sets attributes, of a symlink itself where it is one. Only with the extension.
    pub async fn lsetstat(&self, path: &[u8], attributes: &Attributes) -> Sent<()> {
        self.extended(b"lsetstat@openssh.com", |writer| attributes.write(writer.string(path)), status).await
    }

    /// Opens a directory and lists it.
    pub async fn list(&self, path: &[u8]) -> Result<Listing, SftpError> {
        let handle = self.open_dir(path).await?.get().await?;
        Ok(Listing::new(self.clone(), handle))
    }

    /// Opens a directory.
    pub async fn open_dir(&self, path: &[u8]) -> Sent<Handle> {
        self.request(OPENDIR, |writer| writer.string(path), opened).await
    }

    /// Lists a directory that was opened.
    pub fn listing(&self, handle: Handle) -> Listing {
        Listing::new(self.clone(), handle)
    }

    pub(super) async fn read_dir(&self, handle: &Handle) -> Sent<Vec<Name>> {
        self.request(READDIR, |writer| writer.string(&handle.0), names).await
    }

    /// Removes a file or symlink.
    pub async fn remove(&self, path: &[u8]) -> Sent<()> {
        self.request(REMOVE, |writer| writer.string(path), status).await
    }

    /// Makes a directory.
    pub async fn make_dir(&self, path: &[u8], attributes: &Attributes) -> Sent<()> {
        self.request(MKDIR, |writer| attributes.write(writer.string(path)), status).await
    }

    /// Removes an empty directory.
    pub async fn remove_dir(&self, path: &[u8]) -> Sent<()> {
        self.request(RMDIR, |writer| writer.string(path), status).await
    }

    /// The absolute path of a name, as the server sees it.
    pub async fn real_path(&self, path: &[u8]) -> Sent<Bytes> {
        self.request(REALPATH, |writer| writer.string(path), one_name).await
    }

    /// As [`real_path`](Self::real_path), with `~` expanded. Only with the extension.
    pub async fn expand_path(&self, path: &[u8]) -> Sent<Bytes> {
        self.extended(b"expand-path@openssh.com", |writer| writer.string(path), one_name).await
    }

    /// Renames; in OpenSSH an existing target is an error.
    pub async fn rename(&self, from: &[u8], to: &[u8]) -> Sent<()> {
        self.request(RENAME, |writer| writer.string(from).string(to), status).await
    }

    /// Renames over whatever file is there (rename(2)). Only with the extension.
    pub async fn posix_rename(&self, from: &[u8], to: &[u8]) -> Sent<()> {
        self.extended(b"posix-rename@openssh.com", |writer| writer.string(from).string(to), status).await
    }

    /// Where a symlink leads.
    pub async fn read_link(&self, path: &[u8]) -> Sent<Bytes> {
        self.request(READLINK, |writer| writer.string(path), one_name).await
    }

    /// Makes a symlink. OpenSSH has the two names the other way round than the draft (PROTOCOL, section 4.1), and every
    /// server that matters follows it.
    pub async fn symlink(&self, target: &[u8], path: &[u8]) -> Sent<()> {
        self.request(SYMLINK, |writer| writer.string(target).string(path), status).await
    }

    /// Makes a hard link. Only with the extension.
    pub async fn hard_link(&self, existing: &[u8], path: &[u8]) -> Sent<()> {
        self.extended(b"hardlink@openssh.com", |writer| writer.string(existing).string(path), status).await
    }

    /// Brings a file to the disk. Only with the extension.
    pub async fn fsync(&self, handle: &Handle) -> Sent<()> {
        self.extended(b"fsync@openssh.com", |writer| writer.string(&handle.0), status).await
    }

    /// The space where a path is. Only with the extension.
    pub async fn statvfs(&self, path: &[u8]) -> Sent<FileSystem> {
        self.extended(b"statvfs@openssh.com", |writer| writer.string(path), file_system).await
    }

    /// Copies a range of one open file into another on the host. Only with the extension.
    pub async fn copy_data(&self, from: &Handle, at: u64, length: u64, to: &Handle, to_at: u64) -> Sent<()> {
        let body = |writer: super::codec::Writer| writer.string(&from.0).u64(at).u64(length).string(&to.0).u64(to_at);
        self.extended(b"copy-data", body, status).await
    }
}
