//! The picture of a key: the path of a drunken bishop over a chessboard, steered by the fingerprint, as `ssh-keygen -lv`
//! draws it (`fingerprint_randomart` in sshkey.c).

use crate::known_hosts::PublicKey;
use sha2::{Digest, Sha256};

const WIDTH: usize = 17;
const HEIGHT: usize = 9;
/// How a square looks by the number of visits; the last two are the start and the end.
const LOOKS: &[u8; 17] = b" .o+=*BOX@%&#/^SE";
const START: u8 = LOOKS.len() as u8 - 2;
const END: u8 = LOOKS.len() as u8 - 1;
/// What fits into the upper border (`title[FLDSIZE_X]`, with a NUL).
const LONGEST_TITLE: usize = WIDTH - 1;

/// The picture of a key's SHA-256 fingerprint; lines without a line feed at the end.
pub fn randomart(key: &PublicKey) -> String {
    let squares = walk(&Sha256::digest(key.plain().blob()));
    let mut picture = border(&title(key)) + "\n";
    for row in squares {
        picture.push('|');
        picture.extend(row.iter().map(|&visits| char::from(LOOKS[usize::from(visits.min(END))])));
        picture += "|\n";
    }
    picture + &border("[SHA256]")
}

/// The bishop goes one square diagonally for every two bits, lowest first; at a wall he slides along it.
fn walk(digest: &[u8]) -> [[u8; WIDTH]; HEIGHT] {
    let mut squares = [[0; WIDTH]; HEIGHT];
    let (mut x, mut y) = (WIDTH / 2, HEIGHT / 2);
    for step in digest.iter().flat_map(|byte| [0, 2, 4, 6].map(|shift| byte >> shift & 0b11)) {
        x = moved(x, step & 0b01 != 0, WIDTH);
        y = moved(y, step & 0b10 != 0, HEIGHT);
        let visits: &mut u8 = &mut squares[y][x];
        if *visits < START - 1 {
            *visits += 1;
        }
    }
    squares[HEIGHT / 2][WIDTH / 2] = START;
    squares[y][x] = END;
    squares
}

fn moved(at: usize, forth: bool, size: usize) -> usize {
    if forth { (at + 1).min(size - 1) } else { at.saturating_sub(1) }
}

/// `[ED25519 256]`, without the size where that is too long; what is too long even so is cut off, as OpenSSH's buffer does.
fn title(key: &PublicKey) -> String {
    let family = key.family();
    let mut title = format!("[{family} {}]", key.bits().unwrap_or_default());
    if title.len() > WIDTH {
        title = format!("[{family}]");
    }
    title.chars().take(LONGEST_TITLE).collect()
}

fn border(title: &str) -> String {
    let before = (WIDTH - title.chars().count()) / 2;
    format!("+{}{title:-<rest$}+", "-".repeat(before), rest = WIDTH - before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_the_one_of_openssh() {
        // Made by `ssh-keygen -lv` of OpenSSH 9.2; many more are compared where ssh-keygen is installed.
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB";
        let key = PublicKey::from_text(key.as_bytes()).unwrap();
        assert_eq!(randomart(&key), EXPECTED);
    }

    const EXPECTED: &str = "\
+--[ED25519 256]--+
|     .oX@**oo.   |
|      +o=B.=. .. |
|       .  B... .o|
|       . = .. Eo+|
|      . S . .o.o+|
|       .   . .+oo|
|            .oooo|
|           ......|
|           oo.   |
+----[SHA256]-----+";

    #[test]
    fn titles_that_are_too_long_lose_the_size() {
        assert_eq!(border("[ED25519 256]"), "+--[ED25519 256]--+");
        assert_eq!(border("[RSA 16384]"), "+---[RSA 16384]---+");
        assert_eq!(border("[ED25519-SK-CERT"), "+[ED25519-SK-CERT-+");
    }
}
