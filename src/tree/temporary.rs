//! The names that files have while they are being written: `.bugle-RRRRRRRRRRRRRRRR-TTTTTTTT`.
//!
//! They stand in the directory of the final name, so that renaming replaces it at once. R is the token of a run, T is made
//! of the final name: what a broken run left behind is known as such, and which file it was to become. On a host the number
//! of the host in its run follows (`-17`): two hosts may be one machine. What is no new file but an old one that has to get
//! out of the way says so at its end ([`Role`]). [`Run`] makes such names, [`recognise`] knows them. Nothing is created here.

use data_encoding::BASE32_NOPAD;
use sha2::{Digest, Sha256};

const PREFIX: &[u8] = b".bugle-";
const RUN: usize = 16;
const TAG: usize = 8;
/// What the number of a host takes at most.
const MOST_DIGITS: usize = 10;

/// The token of one run of bugle: 80 random bits, which nobody who can write to the directory can guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Run([u8; RUN]);

/// Eight letters made of a final name (SHA-256).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tag([u8; TAG]);

/// A temporary name, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Temporary {
    /// The run that made it.
    pub run: Run,
    /// What it was to become.
    pub tag: Tag,
    /// What it is.
    pub role: Role,
}

/// What has a temporary name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// A new file that is not whole yet, or was never renamed.
    New,
    /// The old file, put aside for a moment where a server cannot rename over it (`.old`). It may be the only one.
    Old,
    /// A second name of the old file, on its way to the name of a backup (`.backup`).
    Backup,
    /// The old file, put aside until the new one stands, and then to have the name of a backup (`.kept`). It may be the only
    /// one.
    Kept,
}

impl Role {
    const ALL: [Self; 4] = [Self::New, Self::Old, Self::Backup, Self::Kept];

    fn suffix(self) -> &'static [u8] {
        match self {
            Self::New => b"",
            Self::Old => b".old",
            Self::Backup => b".backup",
            Self::Kept => b".kept",
        }
    }

    /// Whether it is an old file that is in its own place no more.
    pub fn is_aside(self) -> bool {
        matches!(self, Self::Old | Self::Kept)
    }
}

impl Run {
    /// A new token.
    ///
    /// # Errors
    /// Where the system gives no random bytes.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; RUN * 5 / 8];
        getrandom::fill(&mut bytes)?;
        Ok(Self(letters(&bytes)))
    }

    /// Takes a token from its 16 letters.
    pub fn parse(letters: &[u8]) -> Option<Self> {
        is_base32(letters).then(|| letters.try_into().ok().map(Self))?
    }

    /// The 16 letters.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The temporary name of a file of this run that is to be called `name` (a name, not a path).
    pub fn name_for(&self, name: &[u8]) -> Vec<u8> {
        [PREFIX, &self.0, b"-", &Tag::of(name).0].concat()
    }

    /// As [`name_for`](Self::name_for), on the host with this number in the run.
    pub fn name_on_host(&self, name: &[u8], host: usize) -> Vec<u8> {
        [&self.name_for(name)[..], b"-", host.to_string().as_bytes()].concat()
    }
}

impl Tag {
    /// The tag of what is to be called `name` (a name, not a path).
    pub fn of(name: &[u8]) -> Self {
        Self(letters(&Sha256::digest(name)[..TAG * 5 / 8]))
    }
}

/// The name, beside that of a new file, of an old one with this role.
pub fn beside(name: &[u8], role: Role) -> Vec<u8> {
    [name, role.suffix()].concat()
}

/// Takes a temporary name apart; none where it is not one.
pub fn recognise(name: &[u8]) -> Option<Temporary> {
    let (run, rest) = name.strip_prefix(PREFIX)?.split_at_checked(RUN)?;
    let (tag, rest) = rest.strip_prefix(b"-")?.split_at_checked(TAG)?;
    let rest = match rest.strip_prefix(b"-") {
        Some(rest) => match rest.iter().take_while(|byte| byte.is_ascii_digit()).count() {
            digits @ 1..=MOST_DIGITS => &rest[digits..],
            _ => return None,
        },
        None => rest,
    };
    let role = Role::ALL.into_iter().find(|role| role.suffix() == rest)?;
    let (run, tag) = (Run::parse(run)?, is_base32(tag).then(|| tag.try_into().ok().map(Tag))??);
    Some(Temporary { run, tag, role })
}

fn is_base32(letters: &[u8]) -> bool {
    letters.iter().all(|letter| matches!(letter, b'a'..=b'z' | b'2'..=b'7'))
}

/// Base32 in lower case; five bytes give eight letters.
fn letters<const LENGTH: usize>(bytes: &[u8]) -> [u8; LENGTH] {
    let mut letters = [0; LENGTH];
    BASE32_NOPAD.encode_mut(bytes, &mut letters);
    letters.make_ascii_lowercase();
    letters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_was_made_is_recognised() {
        let run = Run::random().unwrap();
        for name in [&b"app.conf"[..], b"", b"\xff\n", &[b'x'; 255]] {
            let temporary = run.name_for(name);
            assert_eq!(temporary.len(), 32);
            for made in [temporary, run.name_on_host(name, 0), run.name_on_host(name, 99_999)] {
                for role in Role::ALL {
                    let expected = Temporary { run, tag: Tag::of(name), role };
                    assert_eq!(recognise(&beside(&made, role)), Some(expected));
                }
            }
        }
        assert_ne!(Tag::of(b"a"), Tag::of(b"b"));
        assert_ne!(Run::random().unwrap(), run);
    }

    #[test]
    fn the_tag_of_a_name_stays_the_same_over_versions() {
        // printf app.conf | sha256sum | cut -c1-10 | xxd -r -p | base32
        assert_eq!(Tag::of(b"app.conf"), Tag(*b"hjdw7wmi"));
    }

    #[test]
    fn other_names_are_not_taken_for_temporary_ones() {
        assert!(recognise(b".bugle-abcdefghijklmnop-abcdefg7").is_some());
        for name in [
            &b""[..],
            b".bugle-",
            b".bugle-notes",
            b".bugle-abcdefghijklmnop",
            b".bugle-abcdefghijklmnop-abcdefg",
            b".bugle-abcdefghijklmnop-abcdefgh2",
            b".bugle-abcdefghijklmnop_abcdefgh",
            b".bugle-ABCDEFGHIJKLMNOP-ABCDEFGH",
            b".bugle-abcdefghijklmno1-abcdefgh",
            b"x.bugle-abcdefghijklmnop-abcdefgh",
            b".bugle-abcdefghijklmnop-abcdefgh~",
            b".bugle-abcdefghijklmnop-abcdefgh-",
            b".bugle-abcdefghijklmnop-abcdefgh-x",
            b".bugle-abcdefghijklmnop-abcdefgh-1-2",
            b".bugle-abcdefghijklmnop-abcdefgh-12345678901",
            b".bugle-abcdefghijklmnop-abcdefgh.older",
            b".bugle-abcdefghijklmnop-abcdefgh.old.old",
            b".bugle-abcdefghijklmnop-abcdefgh.old-1",
        ] {
            assert_eq!(recognise(name), None, "{}", name.escape_ascii());
        }
    }
}
