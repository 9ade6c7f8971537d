//! The same requests to OpenSSH's sftp-server and to every shell of this machine: the same replies, and the same files
//! after each of them.

use super::local::{Program, STRANGER, block_on, is_root, oracle, shells};
use crate::sftp::{Attributes, FileKind, OpenMode, Sftp, SftpError};
use bytes::Bytes;
use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use tempfile::TempDir;

/// One request a line, or a few that belong together. `%xx` is a byte. Each line is asked in the state that the earlier
/// ones left.
const REQUESTS: &str = "\
make plain 755
make private 700
make no-mode
make plain 700
make missing/below 755
make sticky 1777
make a%20b%0ac'd%ff%81%01%7f%22$x%5c* 755
list a%20b%0ac'd%ff%81%01%7f%22$x%5c*
create a%20b%0ac'd%ff%81%01%7f%22$x%5c*/-n 644 0:content
lstat a%20b%0ac'd%ff%81%01%7f%22$x%5c*/-n
list a%20b%0ac'd%ff%81%01%7f%22$x%5c*
create file 644 0:hello
create file 644 0:other
create run 755 0:x
create closed 000 0:x
create open 666 0:x
create suid 4755 0:x
create no-mode - 0:x
create empty 600
create parts 600 0:0123456789 10:abc 13:d
create behind 600 5:later
create back 600 10:later 0:first 5:second
create over 600 0:aaaaaaaaaa 3:bb
create far 600 5000000000:end
create missing/file 644 0:x
create file/below 644 0:x
create plain 644 0:x
create -f 644 0:dash
create ~ 644 0:tilde
write file 0:J
write file 3:p%00%0a%27
write missing 0:x
write parts 20:gap 2:early
read file 0 100
read file 2 2
read file 7 10
read file 8 10
read file 100 10
read parts 3 10
read far 4999999990 100
read missing 0 10
read empty 0 10
read -f 0 10
read big 0 10
lstat file
stat file
lstat missing
stat missing
lstat file/below
stat missing/below
lstat plain
lstat -f
lstat ~
lstat .
lstat 
symlink file to-file
symlink plain to-plain
symlink nowhere to-nowhere
symlink self self
symlink /a/b%20c%0a%ff to-odd
symlink -n to-dash
symlink file file
symlink file to-file
symlink file to-plain
symlink file missing/link
create to-nowhere 644 0:x
create to-file 644 0:x
lstat to-file
stat to-file
stat to-nowhere
stat self
readlink to-file
readlink to-odd
readlink to-dash
readlink file
readlink missing
read to-file 0 3
write to-file 0:L
write to-nowhere 0:x
setstat file mode=600
setstat file mode=4711
setstat plain mode=2755
setstat plain mode=755
setstat to-file mode=640
setstat file times=1000000000,1000000001
setstat file times=0,0
setstat file times=951782400,951868799
setstat to-file times=1500000000,1400000000
setstat file times=4294967295,4294967295
setstat plain times=1,2
setstat file size=3
setstat file size=10
setstat file size=0
setstat file size=5 mode=644 times=1000000000,1000000000
setstat parts owner=0:0
setstat parts owner=1:2
setstat parts owner=4294967295:3
setstat parts owner=4:4294967295
setstat missing mode=644
setstat missing size=5
setstat missing times=5,5
setstat missing owner=1:1
setstat plain size=0
setstat to-nowhere times=5,5
fsetstat parts mode=4644
fsetstat parts size=7
fsetstat parts times=1000000000,1200000000
fsetstat parts owner=1:1
fsetstat parts size=2 mode=600 times=5,6 owner=0:0
lsetstat to-file times=1000000000,1100000000
lsetstat to-nowhere times=7,8
lsetstat to-plain owner=5:6
lsetstat parts mode=640 times=3,4
lsetstat missing times=3,4
lsetstat missing mode=644
list .
list plain
list private
list file
list missing
list to-plain
list to-file
rename file renamed
rename renamed parts
rename missing other
rename renamed missing/below
rename plain moved
rename moved private
rename to-file moved-link
rename moved-link run
replace renamed parts
replace parts moved
replace moved parts
replace missing parts
replace parts missing/below
replace to-odd to-plain
replace run to-dash
replace empty to-nowhere
make over-1 755
make over-2 755
replace over-1 over-2
create over-2/inside 644 0:x
make over-3 755
replace over-3 over-2
link parts linked
replace parts linked
link parts moved
link parts linked
link missing linked-2
link linked missing/below
link self self-2
lstat linked
write linked 0:both
remove linked
remove moved
remove missing
remove self
remove -f
remove over-2/inside/below
rmdir moved
rmdir moved
rmdir over-2
rmdir parts
rmdir missing
realpath .
realpath 
realpath private
realpath private/..
realpath private/new
realpath new
realpath missing/new
realpath self-2
realpath parts
realpath /
realpath /usr/..
realpath //usr
realpath parts/below
realpath /missing
realpath /missing/below
realpath private/
realpath to-nowhere
realpath -n
realpath ./private/.
expand ~
expand ~/private
expand ~/new
expand private
expand ~root
statvfs .
statvfs missing
fsync parts
copy parts 0 2 0
copy parts 1 0 3
list .
";

/// What a user without rights is refused. `closed` cannot be read, `hidden` cannot be entered, `fixed` cannot be
/// written.
const REFUSED: &str = "\
read closed 0 10
write closed 0:x
write fixed/file 0:x
create fixed/new 644 0:x
make fixed/new 755
remove fixed/file
rmdir fixed/directory
rename fixed/file fixed/other
replace fixed/file fixed/other
replace fixed/file file
replace file fixed/file
symlink x fixed/link
link fixed/file fixed/other
list hidden
lstat hidden
lstat hidden/file
stat hidden/file
read hidden/file 0 1
readlink hidden/file
realpath hidden/file
realpath hidden
realpath hidden/
setstat fixed/file mode=600
setstat fixed/file times=1,1
setstat file owner=0:0
list unreadable
lstat unreadable/file
statvfs hidden/file
setstat file mode=640
create new 644 0:mine
list .
";

fn decoded(word: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = word.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                bytes.extend(HEXLOWER_PERMISSIVE.decode(&digits).unwrap());
            }
            byte => bytes.push(byte),
        }
    }
    bytes
}

fn attributes(words: &[&str]) -> Attributes {
    let mut wanted = Attributes::default();
    for word in words {
        let (name, value) = word.split_once('=').unwrap();
        let pair = || {
            let (one, two) = value.split_once([',', ':']).unwrap();
            Some((one.parse().unwrap(), two.parse().unwrap()))
        };
        match name {
            "mode" => wanted.mode = Some(u32::from_str_radix(value, 8).unwrap()),
            "size" => wanted.size = Some(value.parse().unwrap()),
            "times" => wanted.times = pair(),
            "owner" => wanted.owner = pair(),
            other => panic!("no attribute {other}"),
        }
    }
    wanted
}

fn mode(word: Option<&&str>) -> Attributes {
    let mode = word.filter(|word| **word != "-").map(|word| u32::from_str_radix(word, 8).unwrap());
    Attributes { mode, ..Attributes::default() }
}

/// Whether a time was set, and is not that of the test.
fn is_past(time: i64) -> bool {
    !(1_600_000_000..4_000_000_000).contains(&time)
}

/// What two servers tell alike: sizes only of files, and times only of the past; of links not all shells know one.
fn told(known: &Attributes) -> String {
    let size = known.size.filter(|_| known.kind() == Some(FileKind::File));
    let modified = known.times.map(|(_, modified)| modified).filter(|&modified| is_past(modified.into()));
    let modified = modified.filter(|_| known.kind() != Some(FileKind::Symlink));
    format!("{:o} {size:?} {:?} {modified:?}", known.mode.unwrap_or_default(), known.owner)
}

async fn asked(sftp: &Sftp, line: &str) -> Result<String, SftpError> {
    let words: Vec<&str> = line.split(' ').collect();
    let path = |index: usize| decoded(words.get(index).unwrap_or(&""));
    let number = |index: usize| words[index].parse::<u64>().unwrap();
    let first = path(1);
    let done = || Ok("done".to_owned());
    match words[0] {
        "make" => sftp.make_dir(&first, &mode(words.get(2))).await?.get().await.and_then(|()| done()),
        "create" | "write" => {
            let (how, pieces) = match words[0] {
                "create" => (OpenMode::CreateNew, &words[3..]),
                _ => (OpenMode::Write, &words[2..]),
            };
            let given = if words[0] == "create" { mode(words.get(2)) } else { Attributes::default() };
            let handle = sftp.open(&first, how, &given).await?.get().await?;
            let mut answers = Vec::new();
            for piece in pieces {
                let (offset, text) = piece.split_once(':').unwrap();
                answers.push(sftp.write(&handle, offset.parse().unwrap(), decoded(text).into()).await?);
            }
            let (known, closed) = (sftp.fstat(&handle).await?, sftp.close(&handle).await?);
            for answer in answers {
                answer.get().await?;
            }
            let known = told(&known.get().await?);
            closed.get().await?;
            Ok(known)
        }
        "read" => {
            let handle = sftp.open(&first, OpenMode::Read, &Attributes::default()).await?.get().await?;
            let asked = sftp.read(&handle, number(2), u32::try_from(number(3)).unwrap()).await?;
            let closed = sftp.close(&handle).await?;
            let found = asked.get().await?.map(|pieces| HEXLOWER.encode(&pieces.concat()));
            closed.get().await?;
            Ok(format!("{found:?}"))
        }
        "lstat" => Ok(told(&sftp.lstat(&first).await?.get().await?)),
        "stat" => Ok(told(&sftp.stat(&first).await?.get().await?)),
        "setstat" => sftp.setstat(&first, &attributes(&words[2..])).await?.get().await.and_then(|()| done()),
        "lsetstat" => sftp.lsetstat(&first, &attributes(&words[2..])).await?.get().await.and_then(|()| done()),
        "fsetstat" | "fsync" => {
            let handle = sftp.open(&first, OpenMode::Write, &Attributes::default()).await?.get().await?;
            let set = match words[0] {
                "fsync" => sftp.fsync(&handle).await?,
                _ => sftp.fsetstat(&handle, &attributes(&words[2..])).await?,
            };
            let closed = sftp.close(&handle).await?;
            set.get().await?;
            closed.get().await.and_then(|()| done())
        }
        "list" => {
            let mut listing = sftp.list(&first).await?;
            let mut found = BTreeMap::new();
            while let Some(names) = listing.next().await? {
                found.extend(names.into_iter().map(|name| (HEXLOWER.encode(&name.name), told(&name.attributes))));
            }
            listing.close().await?;
            Ok(format!("{found:?}"))
        }
        "remove" => sftp.remove(&first).await?.get().await.and_then(|()| done()),
        "rmdir" => sftp.remove_dir(&first).await?.get().await.and_then(|()| done()),
        "rename" => sftp.rename(&first, &path(2)).await?.get().await.and_then(|()| done()),
        "replace" => sftp.posix_rename(&first, &path(2)).await?.get().await.and_then(|()| done()),
        "symlink" => sftp.symlink(&first, &path(2)).await?.get().await.and_then(|()| done()),
        "link" => sftp.hard_link(&first, &path(2)).await?.get().await.and_then(|()| done()),
        "readlink" => Ok(HEXLOWER.encode(&sftp.read_link(&first).await?.get().await?)),
        "realpath" => Ok(String::from_utf8(sftp.real_path(&first).await?.get().await?.to_vec()).unwrap()),
        "expand" => Ok(String::from_utf8(sftp.expand_path(&first).await?.get().await?.to_vec()).unwrap()),
        "statvfs" => sftp.statvfs(&first).await?.get().await.map(|space| (space.available > 0).to_string()),
        "copy" => {
            let from = sftp.open(&first, OpenMode::Read, &Attributes::default()).await?.get().await?;
            let copy = [&first[..], b".copy"].concat();
            let opened = sftp.open(&copy, OpenMode::CreateNew, &Attributes::default()).await?.get().await;
            let to = match opened {
                Ok(to) => to,
                Err(_) => sftp.open(&copy, OpenMode::Write, &Attributes::default()).await?.get().await?,
            };
            let copied = sftp.copy_data(&from, number(2), number(3), &to, number(4)).await?;
            let closed = (sftp.close(&from).await?, sftp.close(&to).await?);
            copied.get().await?;
            closed.0.get().await?;
            closed.1.get().await.and_then(|()| done())
        }
        other => panic!("no request {other}"),
    }
}

/// What lies below a directory, whoever looks.
fn files(directory: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(next) = directories.pop() {
        let Ok(entries) = std::fs::read_dir(&next) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            let known = path.symlink_metadata().unwrap();
            let content = match () {
                () if known.is_symlink() => HEXLOWER.encode(std::fs::read_link(&path).unwrap().as_os_str().as_bytes()),
                () if known.is_dir() => {
                    directories.push(path.clone());
                    String::new()
                }
                () if known.len() > 1_000_000 => format!("{} bytes", known.len()),
                () => std::fs::read(&path).map_or_else(|error| error.to_string(), |bytes| HEXLOWER.encode(&bytes)),
            };
            let modified = Some(known.mtime()).filter(|&modified| is_past(modified));
            let links = if known.is_dir() { 0 } else { known.nlink() };
            let name = HEXLOWER.encode(path.strip_prefix(directory).unwrap().as_os_str().as_bytes());
            let (user, group) = (known.uid(), known.gid());
            found.insert(name, format!("{:o} {user}:{group} {links} {modified:?} {content}", known.mode()));
        }
    }
    found
}

/// A reply in words that do not depend on where the files are and whose message it is.
fn normal(reply: Result<String, SftpError>, directory: &Path) -> String {
    let place = directory.canonicalize().unwrap();
    match reply {
        Ok(text) => text.replace(place.to_str().unwrap(), "PLACE"),
        Err(error) => format!("{:?}", error.status().unwrap_or_else(|| panic!("{error}"))),
    }
}

/// Asks both the same and gives where they part.
fn differences(requests: &str, program: &Program, prepare: impl Fn(&Path)) -> Option<Vec<String>> {
    let oracle = oracle()?;
    let (ours, theirs) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    prepare(ours.path());
    prepare(theirs.path());
    let mut different = Vec::new();
    block_on(async {
        let ours_asked = program.session(ours.path()).await.unwrap_or_else(|error| panic!("{}: {error}", program.name));
        let (output, words) = oracle.clone_as(program).start(theirs.path());
        let theirs_asked = Sftp::start(output, words).await.unwrap();
        for line in requests.lines() {
            let reply = asked(&ours_asked, line).await;
            let said = reply.as_ref().err().map(|error| format!("{error:?}")).unwrap_or_default();
            let reply = normal(reply, ours.path());
            let expected = normal(asked(&theirs_asked, line).await, theirs.path());
            if reply != expected {
                different.push(format!("{line}: {reply} instead of {expected} {said}"));
            }
            let (found, wanted) = (files(ours.path()), files(theirs.path()));
            if found != wanted {
                let parts: Vec<String> = found
                    .iter()
                    .filter(|(name, text)| wanted.get(*name) != Some(text))
                    .map(|(name, text)| format!("{name}={text}"))
                    .chain(
                        wanted
                            .iter()
                            .filter(|(name, text)| found.get(*name) != Some(text))
                            .map(|(name, text)| format!("wanted {name}={text}")),
                    )
                    .collect();
                different.push(format!("after {line}: {parts:?}"));
                break;
            }
        }
    });
    Some(different)
}

#[test]
fn every_shell_answers_as_openssh_does_and_leaves_the_same_files() {
    let made_up = TempDir::new().unwrap();
    for program in shells(&made_up) {
        let Some(different) = differences(REQUESTS, &program, |_| {}) else { return };
        assert!(different.is_empty(), "{}:\n{}", program.name, different.join("\n"));
    }
}

#[test]
fn what_is_refused_to_a_stranger_is_refused_alike() {
    let prepare = |directory: &Path| {
        use std::os::unix::fs::PermissionsExt;
        for name in ["fixed", "fixed/directory", "hidden", "unreadable"] {
            std::fs::create_dir(directory.join(name)).unwrap();
        }
        for name in ["file", "closed", "fixed/file", "hidden/file", "unreadable/file"] {
            std::fs::write(directory.join(name), name).unwrap();
        }
        if is_root() {
            for name in ["", "file", "closed", "hidden", "unreadable"] {
                chown(directory.join(name), Some(STRANGER), Some(STRANGER)).unwrap();
            }
        }
        for (name, mode) in
            [("closed", 0), ("fixed", 0o555), ("fixed/file", 0o444), ("hidden", 0), ("unreadable", 0o311)]
        {
            std::fs::set_permissions(directory.join(name), PermissionsExt::from_mode(mode)).unwrap();
        }
    };
    let made_up = TempDir::new().unwrap();
    for program in shells(&made_up) {
        let Some(different) = differences(REFUSED, &program.for_stranger(), prepare) else { return };
        assert!(different.is_empty(), "{}", different.join("\n"));
    }
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        4 => (1_u8..=255).prop_filter("no name has it", |byte| *byte != b'/'),
        1 => prop::sample::select(b"-'\"\n\\$`* .~\x81\xff".to_vec()),
    ];
    prop::collection::vec(byte, 1..40).prop_filter("names of their own", |name| !matches!(&name[..], b"." | b".."))
}

#[test]
fn names_are_bytes_in_every_shell() {
    let made_up = TempDir::new().unwrap();
    for program in shells(&made_up) {
        let place = TempDir::new().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let sftp = runtime.block_on(program.session(place.path())).unwrap();
        println!("{}", program.name);
        proptest!(ProptestConfig::with_cases(24), |(one in name(), two in name())| {
            prop_assume!(one != two);
            runtime.block_on(named(&sftp, place.path(), &one, &two));
        });
    }
}

/// A file, a link and a directory of these names come and go.
async fn named(sftp: &Sftp, place: &Path, one: &[u8], two: &[u8]) {
    let local = |name: &[u8]| place.join(std::ffi::OsString::from_vec(name.to_vec()));
    let nothing = Attributes::default();
    let handle = sftp.open(one, OpenMode::CreateNew, &nothing).await.unwrap().get().await.unwrap();
    sftp.write(&handle, 0, Bytes::copy_from_slice(two)).await.unwrap().get().await.unwrap();
    sftp.close(&handle).await.unwrap().get().await.unwrap();
    assert_eq!(std::fs::read(local(one)).unwrap(), two);
    sftp.posix_rename(one, two).await.unwrap().get().await.unwrap();
    sftp.symlink(two, one).await.unwrap().get().await.unwrap();
    assert_eq!(&sftp.read_link(one).await.unwrap().get().await.unwrap()[..], two);
    let mut listing = sftp.list(b".").await.unwrap();
    let mut names = Vec::new();
    while let Some(some) = listing.next().await.unwrap() {
        names.extend(some.into_iter().map(|name| (name.name.to_vec(), name.attributes.kind())));
    }
    listing.close().await.unwrap();
    names.sort_unstable_by(|left, right| left.0.cmp(&right.0));
    let mut expected = vec![(one.to_vec(), Some(FileKind::Symlink)), (two.to_vec(), Some(FileKind::File))];
    expected.sort_unstable_by(|left, right| left.0.cmp(&right.0));
    assert_eq!(names, expected);
    sftp.remove(one).await.unwrap().get().await.unwrap();
    sftp.remove(two).await.unwrap().get().await.unwrap();
    sftp.make_dir(one, &nothing).await.unwrap().get().await.unwrap();
    assert!(local(one).is_dir());
    let real = sftp.real_path(one).await.unwrap().get().await.unwrap();
    assert_eq!(&real[..], local(one).canonicalize().unwrap().as_os_str().as_bytes());
    sftp.remove_dir(one).await.unwrap().get().await.unwrap();
    assert_eq!(std::fs::read_dir(place).unwrap().count(), 0);
}
