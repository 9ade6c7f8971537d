//! What a server can do beyond version 3, as it announces it (OpenSSH's PROTOCOL, section 4).

use super::codec::Reader;
use super::error::SftpError;
use super::frames::LARGEST;

macro_rules! features {
    ($($(#[$doc:meta])* $field:ident = $name:literal $version:literal;)*) => {
        /// The extensions that the server announced in a version that is known here.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Features { $($(#[$doc])* pub $field: bool,)* }

        impl Features {
            fn note(&mut self, name: &[u8], version: &[u8]) {
                $(if name == $name && version == $version { self.$field = true; })*
            }
        }
    };
}

features! {
    /// Renames over an existing file in one step.
    posix_rename = b"posix-rename@openssh.com" b"1";
    /// Makes hard links.
    hard_link = b"hardlink@openssh.com" b"1";
    /// Brings a file to the disk.
    fsync = b"fsync@openssh.com" b"1";
    /// Tells the space on a file system.
    statvfs = b"statvfs@openssh.com" b"2";
    /// Sets attributes without following a symlink.
    lsetstat = b"lsetstat@openssh.com" b"1";
    /// Tells how large requests may be.
    limits = b"limits@openssh.com" b"1";
    /// Expands `~` and `~user`.
    expand_path = b"expand-path@openssh.com" b"1";
    /// Copies within and between files on the host.
    copy_data = b"copy-data" b"1";
    /// Tells the names of users and groups.
    users_groups = b"users-groups-by-id@openssh.com" b"1";
}

impl Features {
    /// Reads what follows the version in a VERSION packet.
    pub(super) fn read(reader: &mut Reader) -> Result<Self, SftpError> {
        let mut features = Self::default();
        while !reader.is_empty() {
            let (name, version) = (reader.string()?, reader.string()?);
            features.note(&name, &version);
        }
        Ok(features)
    }
}

/// How large requests may be, in bytes, and how many handles may be open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Data in one READ.
    pub read: u32,
    /// Data in one WRITE.
    pub write: u32,
    /// Handles at once.
    pub handles: u32,
}

/// What every server takes (draft-ietf-secsh-filexfer-02 §3: packets of 34,000 bytes).
const MODEST: u32 = 32 * 1024;
/// Room for a request around its data: lengths, id, a handle of 256 bytes.
const AROUND: u32 = 1024;
/// Handles that are open at once where the server does not say how many it has.
const HANDLES: u32 = 64;

impl Default for Limits {
    fn default() -> Self {
        Self { read: MODEST, write: MODEST, handles: HANDLES }
    }
}

impl Limits {
    /// Reads the reply to `limits@openssh.com`. Zeros mean "not told"; numbers beyond what the protocol carries are
    /// cut to that.
    pub(super) fn read(reader: &mut Reader) -> Result<Self, SftpError> {
        let (_packet, read, write, handles) = (reader.u64()?, reader.u64()?, reader.u64()?, reader.u64()?);
        let most = LARGEST as u64 - u64::from(AROUND);
        let size = |told: u64| match told {
            0 => MODEST,
            told => u32::try_from(told.clamp(1024, most)).unwrap_or(MODEST),
        };
        let handles = match handles {
            0 => HANDLES,
            // Some are needed for listings beside the files.
            told => u32::try_from(told.saturating_sub(4).clamp(1, 1024)).unwrap_or(HANDLES),
        };
        Ok(Self { read: size(read), write: size(write), handles })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sftp::codec::Writer;

    fn limits(numbers: [u64; 4]) -> Limits {
        let packet = numbers.iter().fold(Writer::packet(0, 0), |writer, number| writer.u64(*number)).finish(0);
        Limits::read(&mut Reader::new(packet.slice(9..))).unwrap()
    }

    #[test]
    fn absurd_limits_become_possible_ones() {
        assert_eq!(limits([262_144, 261_120, 261_120, 1019]), Limits { read: 261_120, write: 261_120, handles: 1015 });
        assert_eq!(limits([0; 4]), Limits::default());
        assert_eq!(limits([u64::MAX; 4]), Limits { read: 261_120, write: 261_120, handles: 1024 });
        assert_eq!(limits([1; 4]), Limits { read: 1024, write: 1024, handles: 1 });
    }

    #[test]
    fn an_extension_counts_in_its_known_version_only() {
        let packet = Writer::packet(0, 0)
            .string(b"posix-rename@openssh.com")
            .string(b"1")
            .string(b"statvfs@openssh.com")
            .string(b"3")
            .string(b"vendor")
            .string(b"")
            .finish(0);
        let found = Features::read(&mut Reader::new(packet.slice(9..))).unwrap();
        assert_eq!(found, Features { posix_rename: true, ..Features::default() });
    }
}
