//! What SFTP tells and sets of a file (draft-ietf-secsh-filexfer-02 §5).

use super::codec::{Reader, Writer};
use super::error::SftpError;

const SIZE: u32 = 1;
const OWNER: u32 = 2;
const PERMISSIONS: u32 = 4;
const TIMES: u32 = 8;
const EXTENDED: u32 = 1 << 31;

/// What is known or to be set; what is `None` is unknown or left alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// In bytes.
    pub size: Option<u64>,
    /// User and group by number.
    pub owner: Option<(u32, u32)>,
    /// The mode with the bits of the file's kind, as in stat(2).
    pub mode: Option<u32>,
    /// Access and modification, in seconds since 1970; the protocol has no parts of seconds and ends in 2106.
    pub times: Option<(u32, u32)>,
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A device, socket or FIFO.
    Special,
}

impl Attributes {
    /// The kind by the mode; `None` where the server gives no mode.
    pub fn kind(&self) -> Option<FileKind> {
        Some(match self.mode? & 0o170_000 {
            0o100_000 => FileKind::File,
            0o040_000 => FileKind::Directory,
            0o120_000 => FileKind::Symlink,
            _ => FileKind::Special,
        })
    }

    pub(super) fn write(&self, writer: Writer) -> Writer {
        let flag = |present: bool, flag: u32| if present { flag } else { 0 };
        let flags = flag(self.size.is_some(), SIZE)
            | flag(self.owner.is_some(), OWNER)
            | flag(self.mode.is_some(), PERMISSIONS)
            | flag(self.times.is_some(), TIMES);
        let mut writer = writer.u32(flags);
        if let Some(size) = self.size {
            writer = writer.u64(size);
        }
        if let Some((user, group)) = self.owner {
            writer = writer.u32(user).u32(group);
        }
        if let Some(mode) = self.mode {
            writer = writer.u32(mode);
        }
        if let Some((accessed, modified)) = self.times {
            writer = writer.u32(accessed).u32(modified);
        }
        writer
    }

    pub(super) fn read(reader: &mut Reader) -> Result<Self, SftpError> {
        let flags = reader.u32()?;
        let mut found = Self::default();
        if flags & SIZE != 0 {
            found.size = Some(reader.u64()?);
        }
        if flags & OWNER != 0 {
            found.owner = Some((reader.u32()?, reader.u32()?));
        }
        if flags & PERMISSIONS != 0 {
            found.mode = Some(reader.u32()?);
        }
        if flags & TIMES != 0 {
            found.times = Some((reader.u32()?, reader.u32()?));
        }
        if flags & EXTENDED != 0 {
            let count = reader.u32()? as usize;
            // Two lengths each: a count that cannot fit is no count.
            if count > reader.remaining() / 8 {
                return Err(SftpError::protocol("a reply announces more attributes than it holds"));
            }
            for _ in 0..count {
                reader.string()?;
                reader.string()?;
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn attributes_survive_the_way(
            size in any::<Option<u64>>(), owner in any::<Option<(u32, u32)>>(),
            mode in any::<Option<u32>>(), times in any::<Option<(u32, u32)>>(),
        ) {
            let attributes = Attributes { size, owner, mode, times };
            let packet = attributes.write(Writer::packet(0, 0)).finish(0);
            let mut reader = Reader::new(packet.slice(9..));
            prop_assert_eq!(Attributes::read(&mut reader).unwrap(), attributes);
            prop_assert!(reader.is_empty());
        }
    }

    #[test]
    fn extended_attributes_are_passed_over_and_impossible_counts_refused() {
        let some = Writer::packet(0, 0).u32(SIZE | EXTENDED).u64(5).u32(1).string(b"a").string(b"b").finish(0);
        assert_eq!(Attributes::read(&mut Reader::new(some.slice(9..))).unwrap().size, Some(5));
        let many = Writer::packet(0, 0).u32(EXTENDED).u32(u32::MAX).finish(0);
        assert!(Attributes::read(&mut Reader::new(many.slice(9..))).is_err());
    }
}
