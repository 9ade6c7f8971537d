//! Requests of the client, read from their packets (draft-ietf-secsh-filexfer-02 §6, OpenSSH's PROTOCOL, section 4).

use crate::sftp::attributes::Attributes;
use crate::sftp::codec::Reader;
use crate::sftp::error::SftpError;
use crate::sftp::frames::Packet;
use crate::sftp::operations::OpenMode;
use bytes::Bytes;

/// What the client wants done. Handles are as the client sent them.
#[derive(Debug)]
pub(super) enum Request {
    Open {
        path: Bytes,
        mode: OpenMode,
        permissions: Option<u32>,
    },
    Close(Bytes),
    Read {
        handle: Bytes,
        offset: u64,
        length: u32,
    },
    Write {
        handle: Bytes,
        offset: u64,
        data: Bytes,
    },
    Describe {
        path: Bytes,
        links: Links,
    },
    DescribeOpen(Bytes),
    Change {
        path: Bytes,
        attributes: Attributes,
        links: Links,
    },
    ChangeOpen {
        handle: Bytes,
        attributes: Attributes,
    },
    OpenDirectory(Bytes),
    ReadDirectory(Bytes),
    MakeDirectory {
        path: Bytes,
        permissions: Option<u32>,
    },
    RemoveDirectory(Bytes),
    Remove(Bytes),
    RealPath {
        path: Bytes,
        tilde: Tilde,
    },
    ReadLink(Bytes),
    Rename {
        from: Bytes,
        to: Bytes,
    },
    Replace {
        from: Bytes,
        to: Bytes,
    },
    Symlink {
        target: Bytes,
        path: Bytes,
    },
    HardLink {
        existing: Bytes,
        path: Bytes,
    },
    Sync(Bytes),
    Space(Bytes),
    Copy {
        from: Bytes,
        at: u64,
        length: u64,
        to: Bytes,
        to_at: u64,
    },
    Limits,
    /// Something that the bridge does not do.
    Unknown,
}

/// What a symlink at the end of a path stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Links {
    Follow,
    Keep,
}

/// What `~` at the beginning of a path stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tilde {
    Home,
    Itself,
}

/// Reads the packet of a request. A packet that is shorter than it says is an error of this program.
pub(super) fn read(packet: Packet) -> Result<Request, SftpError> {
    let kind = packet.kind;
    let mut body = Reader::new(packet.into_bytes());
    Ok(match kind {
        3 => {
            let (path, flags) = (body.string()?, body.u32()?);
            let permissions = Attributes::read(&mut body)?.mode;
            match flags {
                0x01 => Request::Open { path, mode: OpenMode::Read, permissions },
                0x02 | 0x03 => Request::Open { path, mode: OpenMode::Write, permissions },
                // CREAT and EXCL with WRITE.
                0x2a | 0x2b => Request::Open { path, mode: OpenMode::CreateNew, permissions },
                _ => Request::Unknown,
            }
        }
        4 => Request::Close(body.string()?),
        5 => Request::Read { handle: body.string()?, offset: body.u64()?, length: body.u32()? },
        6 => Request::Write { handle: body.string()?, offset: body.u64()?, data: body.string()? },
        7 => Request::Describe { path: body.string()?, links: Links::Keep },
        8 => Request::DescribeOpen(body.string()?),
        9 => Request::Change { path: body.string()?, attributes: Attributes::read(&mut body)?, links: Links::Follow },
        10 => Request::ChangeOpen { handle: body.string()?, attributes: Attributes::read(&mut body)? },
        11 => Request::OpenDirectory(body.string()?),
        12 => Request::ReadDirectory(body.string()?),
        13 => Request::Remove(body.string()?),
        14 => Request::MakeDirectory { path: body.string()?, permissions: Attributes::read(&mut body)?.mode },
        15 => Request::RemoveDirectory(body.string()?),
        16 => Request::RealPath { path: body.string()?, tilde: Tilde::Itself },
        17 => Request::Describe { path: body.string()?, links: Links::Follow },
        18 => Request::Rename { from: body.string()?, to: body.string()? },
        19 => Request::ReadLink(body.string()?),
        20 => Request::Symlink { target: body.string()?, path: body.string()? },
        200 => extended(&mut body)?,
        _ => Request::Unknown,
    })
}

fn extended(body: &mut Reader) -> Result<Request, SftpError> {
    Ok(match &body.string()?[..] {
        b"posix-rename@openssh.com" => Request::Replace { from: body.string()?, to: body.string()? },
        b"hardlink@openssh.com" => Request::HardLink { existing: body.string()?, path: body.string()? },
        b"fsync@openssh.com" => Request::Sync(body.string()?),
        b"statvfs@openssh.com" => Request::Space(body.string()?),
        b"lsetstat@openssh.com" => {
            Request::Change { path: body.string()?, attributes: Attributes::read(body)?, links: Links::Keep }
        }
        b"limits@openssh.com" => Request::Limits,
        b"expand-path@openssh.com" => Request::RealPath { path: body.string()?, tilde: Tilde::Home },
        b"copy-data" => Request::Copy {
            from: body.string()?,
            at: body.u64()?,
            length: body.u64()?,
            to: body.string()?,
            to_at: body.u64()?,
        },
        _ => Request::Unknown,
    })
}
