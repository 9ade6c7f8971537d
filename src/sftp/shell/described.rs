//! What the host says of its files: lines of `stat` and `ls`, pages of a listing, the table of `df`.

use crate::sftp::attributes::Attributes;
use bytes::{Buf, Bytes};

/// Reads one line of `look`: six numbers of `stat`, the first in hexadecimal digits; or `ls`, the time or `-`, and a
/// line of `ls -ln`.
pub(super) fn attributes(line: &[u8]) -> Option<Attributes> {
    // The name that ends a line of `ls` may be any bytes; nothing of it is read.
    let text = String::from_utf8_lossy(line);
    let mut words = text.split_ascii_whitespace();
    let first = words.next()?;
    if first == "ls" {
        return from_ls(words);
    }
    let mode = u32::from_str_radix(first, 16).ok()?;
    let size = words.next()?.parse().ok()?;
    let owner = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let times = (seconds(words.next()?)?, seconds(words.next()?)?);
    Some(Attributes { size: Some(size), owner: Some(owner), mode: Some(mode), times: Some(times) })
}

/// The protocol's times begin in 1970 and end in 2106.
fn seconds(word: &str) -> Option<u32> {
    let seconds: i64 = word.parse().ok()?;
    u32::try_from(seconds.clamp(0, i64::from(u32::MAX))).ok()
}

fn from_ls<'a>(mut words: impl Iterator<Item = &'a str>) -> Option<Attributes> {
    let modified = words.next().and_then(seconds);
    let mode = mode(words.next()?.as_bytes())?;
    let _links = words.next()?;
    let owner = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    // Devices have two numbers here, with a comma between.
    let size = words.next()?.parse().unwrap_or(0);
    // The protocol tells both times or none.
    let times = modified.map(|modified| (modified, modified));
    Some(Attributes { size: Some(size), owner: Some(owner), mode: Some(mode), times })
}

/// `-rwsr-xr-t` as a number; what follows the ten letters are marks of ACLs and labels.
fn mode(letters: &[u8]) -> Option<u32> {
    let letters = letters.get(..10)?;
    let kind = match letters[0] {
        b'-' => 0o100_000,
        b'd' => 0o040_000,
        b'l' => 0o120_000,
        b'c' => 0o020_000,
        b'b' => 0o060_000,
        b'p' => 0o010_000,
        b's' => 0o140_000,
        _ => return None,
    };
    let mut mode = kind;
    for (index, &letter) in letters[1..].iter().enumerate() {
        let special = match index / 3 {
            0 => 0o4000,
            1 => 0o2000,
            _ => 0o1000,
        };
        let bit = 0o400 >> index;
        mode |= match letter {
            b'-' => 0,
            b'r' | b'w' | b'x' => bit,
            b's' | b't' => bit | special,
            b'S' | b'T' => special,
            _ => return None,
        };
    }
    Some(mode)
}

/// Reads the pages of `list`: names that end in NUL, an empty one, and a line for each.
pub(super) fn listing(mut pages: Bytes) -> Option<Vec<(Bytes, Attributes)>> {
    let mut found = Vec::new();
    while !pages.is_empty() {
        let first = found.len();
        loop {
            let end = pages.iter().position(|&byte| byte == 0)?;
            let name = pages.split_to(end);
            pages.advance(1);
            if name.is_empty() {
                break;
            }
            // The patterns begin so, to keep names from being options.
            let name = name.strip_prefix(b"./").map_or(name.clone(), |rest| name.slice_ref(rest));
            found.push((name, Attributes::default()));
        }
        for (_, known) in &mut found[first..] {
            let end = pages.iter().position(|&byte| byte == b'\n')?;
            let line = pages.split_to(end);
            pages.advance(1);
            // It was removed meanwhile, or may not be looked at.
            *known = attributes(&line).unwrap_or_default();
        }
    }
    Some(found)
}

/// The bytes that are available, of `df -Pk`.
pub(super) fn available(table: &[u8]) -> Option<u64> {
    let text = String::from_utf8_lossy(table);
    // Names of devices and mount points may hold blanks: the four numbers stand in front of the percentage.
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let (numbers, _) = words
        .windows(4)
        .map(|four| (four[..3].iter().map(|word| word.parse::<u64>()).collect::<Vec<_>>(), four[3]))
        .rfind(|(numbers, percentage)| {
            numbers.iter().all(Result::is_ok) && (percentage.ends_with('%') || *percentage == "-")
        })?;
    numbers.last()?.clone().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_stat_and_of_ls_are_understood() {
        let times = Some((7, 8));
        for (line, size, mode, owner, times) in [
            (&b"81a4 12 0 5 7 8"[..], 12, 0o100_644, (0, 5), times),
            (b"41ed 4096 1 2 -5 8", 4096, 0o040_755, (1, 2), Some((0, 8))),
            (b"ls 8 -rwsr-Sr-t 1 0 5 12 Nov 22 2026 a \xff", 12, 0o107_745, (0, 5), Some((8, 8))),
            (b"ls - lrwxrwxrwx. 1 0 0 1 Nov 22 20:48 l -> d", 1, 0o120_777, (0, 0), None),
            (b"ls 8 crw-rw-rw-+ 1 0 0 1, 3 Nov 22 20:48 null", 0, 0o020_666, (0, 0), Some((8, 8))),
        ] {
            let expected = Attributes { size: Some(size), owner: Some(owner), mode: Some(mode), times };
            assert_eq!(attributes(line), Some(expected), "{}", String::from_utf8_lossy(line));
        }
        for line in [&b""[..], b"-", b"81a4 12", b"ls 8 drwx 1 0 0 0", b"ls 8 ?rwxrwxrwx 1 0 0 0", b"zz 1 1 1 1 1"] {
            assert_eq!(attributes(line), None, "{}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn a_listing_has_several_pages_and_names_of_any_bytes() {
        let pages = Bytes::from_static(b"./a\nb\0./-\0\081a4 1 0 0 1 1\n-\n./\xff\0\081a4 2 0 0 1 1\n");
        let found = listing(pages).unwrap();
        let names: Vec<(&[u8], Option<u64>)> = found.iter().map(|(name, known)| (&name[..], known.size)).collect();
        assert_eq!(names, [(&b"a\nb"[..], Some(1)), (b"-", None), (b"\xff", Some(2))]);
        assert!(listing(Bytes::new()).unwrap().is_empty());
        assert!(listing(Bytes::from_static(b"./a\0\0")).is_none());
        assert!(listing(Bytes::from_static(b"./a")).is_none());
    }

    #[test]
    fn the_space_is_found_among_names_with_blanks() {
        for (row, expected) in [
            ("/dev/sda1 100 40 60 40% /", Some(60)),
            ("//server/the share 9% 100 40 50 45% /mnt/a 1 2 b", Some(50)),
            ("tmpfs 0 0 0 - /x", Some(0)),
            ("what", None),
        ] {
            let table = format!("Filesystem 1024-blocks Used Available Capacity Mounted on\n{row}\n");
            assert_eq!(available(table.as_bytes()), expected.map(|blocks: u64| blocks * 1024), "{row}");
        }
    }
}
