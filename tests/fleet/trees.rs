//! Trees of files that are hard to copy ([`plant`]), and what differs between two of them ([`differences`]).

use rustix::fs::{AtFlags, CWD, SeekFrom, Timespec, Timestamps, seek, utimensat};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File, Metadata, Permissions};
use std::io;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// What may be in a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Files of lengths around those of buffers and packets, and directories in directories.
    Files,
    /// Every name that somebody may take for something else, of a file and of a directory.
    Names,
    /// Every mode that its owner can still work with, with the three high bits.
    Modes,
    /// Times from 1970 to 2106, with fractions of a second.
    Times,
    /// Symlinks: to files and directories, to nothing, absolute, in a circle, long.
    Symlinks,
    /// Files with several names, in one directory and in several.
    HardLinks,
    /// Files with holes at the beginning, in the middle, at the end, and of nothing else.
    Holes,
    /// A file with a few bytes behind 5 GiB of nothing.
    FarData,
}

/// All of it.
pub const ALL: &[Kind] =
    &[Kind::Files, Kind::Names, Kind::Modes, Kind::Times, Kind::Symlinks, Kind::HardLinks, Kind::Holes, Kind::FarData];

/// Names that somebody may take for something else.
pub const NAMES: &[&[u8]] = &[
    b" ",
    b" leading and trailing ",
    b"two\nlines",
    b"\n",
    b"\ttab",
    b"carriage\rreturn",
    b"it's",
    b"'",
    b"\"quoted\"",
    b"back\\slash",
    b"\\",
    b"*",
    b"?",
    b"[a-z]",
    b"{a,b}",
    b"!",
    b"#comment",
    b"$HOME",
    b"$(id)",
    b"`id`",
    b";",
    b"&",
    b"|",
    b">",
    b"~",
    b"~root",
    b"-",
    b"--",
    b"-rf",
    b"--help",
    b"...",
    b"..a",
    b".hidden",
    b"a.",
    b"%s%n",
    b"host:path",
    b"user@host",
    b"{{ name }}",
    b"\x01\x1b[31mred\x7f",
    b"\xff",
    b"\xc3\x28 no UTF-8",
    "ünïcödé €".as_bytes(),
    "e\u{301}".as_bytes(),
    "\u{e9}".as_bytes(),
    "\u{202e}txt.exe".as_bytes(),
    &[b'x'; 255],
    &[0xff; 255],
];

/// Lengths around those of buffers and packets.
const LENGTHS: [usize; 14] =
    [0, 1, 2, 4095, 4096, 4097, 32_767, 32_768, 32_769, 65_536, 255 * 1024, 255 * 1024 + 1, 262_144, 400_001];
const FILE_MODES: [u32; 12] = [0o644, 0o600, 0o640, 0o755, 0o700, 0o777, 0o444, 0o400, 0o604, 0o4755, 0o2755, 0o1644];
const DIRECTORY_MODES: [u32; 6] = [0o755, 0o700, 0o775, 0o777, 0o1777, 0o2755];
const SECONDS: [u64; 9] =
    [0, 1, 86_399, 999_999_999, 1_700_000_000, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFE, 0xFFFF_FFFF];
/// Where holes end and begin: file systems keep whole blocks.
const BLOCK: u64 = 64 * 1024;
const FAR: u64 = 5 << 30;

/// Makes a tree: the directory, which may be there, and in it what the kinds name. The same seed makes the same tree.
///
/// # Panics
/// When the file system does not take it.
pub fn plant(root: &Path, seed: u64, kinds: &[Kind]) {
    fs::create_dir_all(root).expect("the place can be written");
    let mut planter = Planter { random: Random(seed), root: root.into() };
    for kind in kinds {
        planter.plant(*kind).unwrap_or_else(|error| panic!("a tree of {kind:?} in {}: {error}", root.display()));
    }
    // Last, because whatever is done in a directory changes it.
    let mut paths: Vec<(Vec<u8>, Metadata)> = scan(root).expect("it was just made").into_iter().collect();
    paths.reverse();
    let mut seen = BTreeSet::new();
    for (path, metadata) in paths {
        // A file with several names is the same whichever comes first.
        if path.is_empty() || metadata.nlink() > 1 && !metadata.is_dir() && !seen.insert(metadata.ino()) {
            continue;
        }
        let path = root.join(OsStr::from_bytes(&path));
        planter.dress(&path, &metadata, kinds).expect("it was just made");
    }
}

/// Numbers that only look random (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let words = (0..length.div_ceil(8)).flat_map(|_| self.next().to_le_bytes());
        words.take(length).collect()
    }
}

struct Planter {
    random: Random,
    root: PathBuf,
}

impl Planter {
    fn directory(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.root.join(name);
        fs::create_dir_all(&path)?;
        Ok(path)
    }

    fn write(&mut self, path: &Path, length: usize) -> io::Result<()> {
        let content = self.random.bytes(length);
        fs::write(path, content)
    }

    fn plant(&mut self, kind: Kind) -> io::Result<()> {
        match kind {
            Kind::Files => {
                let mut directories = vec![self.root.clone()];
                for number in 0..12 {
                    let parent = directories[self.random.below(directories.len())].join(format!("directory{number}"));
                    fs::create_dir(&parent)?;
                    directories.push(parent);
                }
                self.directory("empty/inside")?;
                for (number, length) in LENGTHS.into_iter().enumerate() {
                    let directory = directories[self.random.below(directories.len())].clone();
                    self.write(&directory.join(format!("file{number}")), length)?;
                }
                for number in 0..40 {
                    let directory = directories[self.random.below(directories.len())].clone();
                    let length = self.random.below(3000);
                    self.write(&directory.join(format!("small{number}")), length)?;
                }
            }
            Kind::Names => {
                let (files, directories) = (self.directory("names")?, self.directory("directories")?);
                for name in NAMES {
                    let length = self.random.below(100);
                    self.write(&files.join(OsStr::from_bytes(name)), length)?;
                    let directory = directories.join(OsStr::from_bytes(name));
                    fs::create_dir(&directory)?;
                    let other = self.random.one_of(NAMES);
                    self.write(&directory.join(OsStr::from_bytes(other)), length)?;
                }
            }
            Kind::Modes => {
                let place = self.directory("modes")?;
                for mode in FILE_MODES {
                    let path = place.join(format!("file-{mode:04o}"));
                    self.write(&path, 20)?;
                    fs::set_permissions(path, Permissions::from_mode(mode))?;
                }
                for mode in DIRECTORY_MODES {
                    let path = self.directory(&format!("modes/directory-{mode:04o}"))?;
                    self.write(&path.join("inside"), 20)?;
                    fs::set_permissions(path, Permissions::from_mode(mode))?;
                }
            }
            Kind::Times => {
                let place = self.directory("times")?;
                for seconds in SECONDS {
                    self.write(&place.join(format!("file-{seconds}")), 20)?;
                    self.directory(&format!("times/directory-{seconds}"))?;
                }
            }
            Kind::Symlinks => {
                let place = self.directory("symlinks")?;
                self.write(&place.join("target"), 500)?;
                let directory = self.directory("symlinks/directory")?;
                self.write(&directory.join("inside"), 500)?;
                let absolute = place.join("target");
                let long = "very/".repeat(800);
                let targets: [(&str, &OsStr); 10] = [
                    ("to-file", "target".as_ref()),
                    ("to-directory", "directory".as_ref()),
                    ("to-nothing", "no such file".as_ref()),
                    ("to-absolute-nothing", "/no such directory/file".as_ref()),
                    ("to-absolute-file", absolute.as_os_str()),
                    ("to-itself", "to-itself".as_ref()),
                    ("up", "..".as_ref()),
                    ("out", "../../../../../../../etc/passwd".as_ref()),
                    ("long", long.as_ref()),
                    ("odd", OsStr::from_bytes(b"\xff\n'\" \x1b[31m")),
                ];
                for (name, target) in targets {
                    symlink(target, place.join(name))?;
                }
                symlink("../target", directory.join("up-to-file"))?;
            }
            Kind::HardLinks => {
                let (place, other) = (self.directory("hardlinks")?, self.directory("hardlinks/other")?);
                self.write(&place.join("pair"), 70_000)?;
                fs::hard_link(place.join("pair"), place.join("pair-again"))?;
                self.write(&other.join("three"), 10)?;
                fs::hard_link(other.join("three"), place.join("three-up"))?;
                fs::hard_link(other.join("three"), place.join("aaa"))?;
                self.write(&place.join("alone"), 10)?;
                File::create(place.join("empty"))?;
                fs::hard_link(place.join("empty"), other.join("empty-too"))?;
            }
            Kind::Holes => {
                let place = self.directory("holes")?;
                for (name, pieces, length) in [
                    ("begins", &[16 * BLOCK][..], 17 * BLOCK),
                    ("middle", &[0, 20 * BLOCK], 21 * BLOCK),
                    ("ends", &[0], 30 * BLOCK),
                    ("many", &[BLOCK, 9 * BLOCK, 17 * BLOCK, 18 * BLOCK, 40 * BLOCK], 50 * BLOCK + 17),
                    ("nothing-else", &[], 40 * BLOCK + 1),
                ] {
                    self.sparse(&place.join(name), pieces, length)?;
                }
            }
            Kind::FarData => {
                let place = self.root.join("far");
                self.sparse(&place, &[FAR], FAR + BLOCK + 3)?;
            }
        }
        Ok(())
    }

    /// A file with blocks of data at these places and holes elsewhere.
    fn sparse(&mut self, path: &Path, pieces: &[u64], length: u64) -> io::Result<()> {
        let file = File::create(path)?;
        file.set_len(length)?;
        for piece in pieces {
            let data = self.random.bytes(BLOCK as usize);
            file.write_all_at(&data, *piece)?;
        }
        Ok(())
    }

    /// Gives times, and modes where they are not the point.
    fn dress(&mut self, path: &Path, metadata: &Metadata, kinds: &[Kind]) -> io::Result<()> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if kinds.contains(&Kind::Modes) && !path.starts_with(self.root.join("modes")) && !metadata.is_symlink() {
            // Nothing that others must not run is left lying about as root's.
            let modes = if metadata.is_dir() { &DIRECTORY_MODES[..3] } else { &FILE_MODES[..5] };
            fs::set_permissions(path, Permissions::from_mode(self.random.one_of(modes)))?;
        }
        if kinds.contains(&Kind::Times) {
            let named =
                path.starts_with(self.root.join("times")).then(|| name.rsplit('-').next()?.parse().ok()).flatten();
            let seconds = named.unwrap_or_else(|| self.random.next() % 0x1_0000_0000);
            let moment = Timespec { tv_sec: seconds as i64, tv_nsec: (self.random.next() % 1_000_000_000) as i64 };
            let times = Timestamps { last_access: moment, last_modification: moment };
            utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?;
        }
        Ok(())
    }
}

/// What two trees are compared by, besides names, kinds, content and the targets of symlinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aspect {
    /// All twelve bits, but of symlinks.
    Mode,
    /// When files and directories were modified, in whole seconds.
    Modified,
    /// When symlinks were made, in whole seconds.
    LinkModified,
    /// User and group.
    Owner,
    /// Which names are those of one file.
    HardLinks,
    /// The second tree has no more on the disk than the first.
    Holes,
    /// The two directories themselves, and not only what is in them.
    Root,
}

/// All that a copy can keep.
pub const EVERY_ASPECT: &[Aspect] = &[
    Aspect::Mode,
    Aspect::Modified,
    Aspect::LinkModified,
    Aspect::Owner,
    Aspect::HardLinks,
    Aspect::Holes,
    Aspect::Root,
];

/// Differences that are told at most.
const TOLD: usize = 40;

/// Compares two trees.
///
/// # Panics
/// When they differ, with what differs.
pub fn assert_same(left: &Path, right: &Path, aspects: &[Aspect]) {
    let found = differences(left, right, aspects);
    let mut text = String::new();
    for difference in found.iter().take(TOLD) {
        writeln!(text, "  {difference}").expect("a String takes everything");
    }
    let (left, right) = (left.display(), right.display());
    assert!(found.is_empty(), "{left} and {right} differ {} times:\n{text}", found.len());
}

/// What differs between two trees, a line each, in the order of paths.
///
/// # Panics
/// When one of them cannot be read.
pub fn differences(left: &Path, right: &Path, aspects: &[Aspect]) -> Vec<String> {
    let read = |root: &Path| scan(root).unwrap_or_else(|error| panic!("{}: {error}", root.display()));
    let (ours, theirs) = (read(left), read(right));
    let (our_names, their_names) = (names_of_files(&ours), names_of_files(&theirs));
    let paths: BTreeSet<&Vec<u8>> = ours.keys().chain(theirs.keys()).collect();
    let mut found = Vec::new();
    for path in paths {
        let mut tell = |what: String| found.push(format!("`{}`: {what}", path.escape_ascii()));
        let (one, other) = match (ours.get(path), theirs.get(path)) {
            (Some(one), Some(other)) => (one, other),
            (Some(one), None) => {
                tell(format!("only in the first, a {}", kind(one)));
                continue;
            }
            (_, other) => {
                tell(format!("only in the second, a {}", other.map_or("", kind)));
                continue;
            }
        };
        if kind(one) != kind(other) {
            tell(format!("a {} and a {}", kind(one), kind(other)));
            continue;
        }
        let below = OsStr::from_bytes(path);
        if let Some(what) = content(&left.join(below), &right.join(below), one).expect("what was found can be read") {
            tell(what);
        }
        for aspect in aspects {
            if path.is_empty() && !aspects.contains(&Aspect::Root) {
                continue;
            }
            let difference = match aspect {
                Aspect::HardLinks => {
                    let (one, other) = (&our_names[&one.ino()], &their_names[&other.ino()]);
                    (one != other).then(|| format!("also named {} and {}", list(one), list(other)))
                }
                aspect => aspect.difference(one, other),
            };
            difference.into_iter().for_each(&mut tell);
        }
    }
    found
}

impl Aspect {
    fn difference(self, one: &Metadata, other: &Metadata) -> Option<String> {
        let is_link = one.is_symlink();
        match self {
            Self::Mode if !is_link => {
                let modes = (one.mode() & 0o7777, other.mode() & 0o7777);
                (modes.0 != modes.1).then(|| format!("mode {:04o} and {:04o}", modes.0, modes.1))
            }
            Self::Modified if is_link => None,
            Self::LinkModified if !is_link => None,
            Self::Modified | Self::LinkModified => {
                let times = (one.mtime(), other.mtime());
                (times.0 != times.1).then(|| format!("modified at {} and at {}", times.0, times.1))
            }
            Self::Owner => {
                let owners = (one.uid(), one.gid(), other.uid(), other.gid());
                let same = owners.0 == owners.2 && owners.1 == owners.3;
                (!same).then(|| format!("owned by {}:{} and by {}:{}", owners.0, owners.1, owners.2, owners.3))
            }
            Self::Holes if one.is_file() => {
                let blocks = (one.blocks() * 512, other.blocks() * 512);
                (blocks.1 > blocks.0 + BLOCK).then(|| format!("{} and {} bytes on the disk", blocks.0, blocks.1))
            }
            _ => None,
        }
    }
}

/// Everything in a tree by its path below the root, which itself is empty. Symlinks are not followed.
fn scan(root: &Path) -> io::Result<BTreeMap<Vec<u8>, Metadata>> {
    let mut found = BTreeMap::from([(Vec::new(), fs::metadata(root)?)]);
    let mut waiting = vec![Vec::new()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(root.join(OsStr::from_bytes(&directory)))? {
            let entry = entry?;
            let mut path = directory.clone();
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(entry.file_name().as_bytes());
            let metadata = entry.metadata()?;
            if metadata.is_dir() {
                waiting.push(path.clone());
            }
            found.insert(path, metadata);
        }
    }
    Ok(found)
}

/// All names of each file, by its number.
fn names_of_files(tree: &BTreeMap<Vec<u8>, Metadata>) -> BTreeMap<u64, Vec<&Vec<u8>>> {
    let mut names: BTreeMap<u64, Vec<&Vec<u8>>> = BTreeMap::new();
    for (path, metadata) in tree {
        names.entry(metadata.ino()).or_default().push(path);
    }
    names
}

fn list(names: &[&Vec<u8>]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{}`", name.escape_ascii())).collect();
    names.join(", ")
}

fn kind(metadata: &Metadata) -> &'static str {
    match metadata.mode() & 0o170_000 {
        0o100_000 => "file",
        0o040_000 => "directory",
        0o120_000 => "symlink",
        0o010_000 => "pipe",
        0o140_000 => "socket",
        _ => "device",
    }
}

/// How the content of two files or the targets of two symlinks differ.
fn content(left: &Path, right: &Path, metadata: &Metadata) -> io::Result<Option<String>> {
    if metadata.is_symlink() {
        let (one, other) = (fs::read_link(left)?, fs::read_link(right)?);
        let shown = |target: &Path| target.as_os_str().as_bytes().escape_ascii().to_string();
        return Ok((one != other).then(|| format!("leads to `{}` and to `{}`", shown(&one), shown(&other))));
    }
    if !metadata.is_file() {
        return Ok(None);
    }
    let (one, other) = (File::open(left)?, File::open(right)?);
    let lengths = (one.metadata()?.len(), other.metadata()?.len());
    if lengths.0 != lengths.1 {
        return Ok(Some(format!("{} and {} bytes long", lengths.0, lengths.1)));
    }
    let (mut ours, mut theirs) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    for extent in [extents(&one, lengths.0)?, extents(&other, lengths.0)?].concat() {
        let mut place = extent.start;
        while place < extent.end {
            let length = ((extent.end - place) as usize).min(ours.len());
            one.read_exact_at(&mut ours[..length], place)?;
            other.read_exact_at(&mut theirs[..length], place)?;
            // Byte by byte only where there is something to find: tests are not optimised.
            if ours[..length] != theirs[..length]
                && let Some(at) = (0..length).find(|&at| ours[at] != theirs[at])
            {
                let (place, ours, theirs) = (place + at as u64, ours[at], theirs[at]);
                return Ok(Some(format!("byte {place} is 0x{ours:02x} and 0x{theirs:02x}")));
            }
            place += length as u64;
        }
    }
    Ok(None)
}

/// Where a file has data; elsewhere it is zeros without reading them.
fn extents(file: &File, length: u64) -> io::Result<Vec<Range<u64>>> {
    let mut found = Vec::new();
    let mut place = 0;
    while place < length {
        let start = match seek(file, SeekFrom::Data(place)) {
            Ok(start) => start,
            Err(Errno::NXIO) => break,
            Err(error) => return Err(error.into()),
        };
        place = seek(file, SeekFrom::Hole(start))?;
        found.push(start..place);
    }
    Ok(found)
}
