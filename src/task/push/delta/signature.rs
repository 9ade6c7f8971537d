//! The sums over the blocks of a file on a host, by what the host has: Python's standard library, or a program for SHA-256
//! and dd(1).

use super::program::Program;
use crate::task::digest::{HASHING, quoted};
use crate::task::shell::quote;
use crate::tree::delta::{Search, Sums};
use bytes::{Buf, Bytes};
use std::time::Duration;

/// Sums of a file at most; its blocks are larger where it is.
const MOST: u64 = 1 << 17;
/// Blocks are at least so large: where the search is free to move, and where each takes processes on the host.
const SMALLEST: (u64, u64) = (4 * 1024, 1024 * 1024);
/// And at most: what is searched is in memory.
const LARGEST: u64 = 16 * 1024 * 1024;

/// Prints the sums of a file and how many milliseconds they took, and then copies what it is told to from that file into another one; a byte says that a copy
/// is made. For Python 3.4 and what came after it.
const PROGRAM: &str = r#"
import hashlib, os, stat, sys, time, zlib
began = time.time()
block, count = int(sys.argv[1]), int(sys.argv[2])
old = os.open(sys.argv[3], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
if not stat.S_ISREG(os.fstat(old).st_mode): sys.exit(1)
out, new = sys.stdout.buffer, None
out.write(b"anywhere\n")
for number in range(count):
    data = os.pread(old, block, number * block)
    if len(data) != block: sys.exit(1)
    out.write(zlib.adler32(data).to_bytes(4, "big") + hashlib.sha256(data).digest()[:16])
out.write(min(max(int((time.time() - began) * 1000), 0), 2 ** 32 - 1).to_bytes(4, "big"))
out.flush()
for line in sys.stdin.buffer:
    at, to, left = map(int, line.split())
    if new is None: new = os.open(sys.argv[4], os.O_WRONLY | os.O_NOFOLLOW)
    while left:
        data = os.pread(old, min(left, 1 << 20), at)
        if not data: sys.exit(1)
        done = os.pwrite(new, data, to)
        at, to, left = at + done, to + done, left - done
    out.write(b".")
    out.flush()
"#;

/// A file on the host whose sums are asked for.
pub(super) struct Request<'a> {
    /// Where relative paths begin.
    pub(super) home: &'a [u8],
    /// Where it is.
    pub(super) old: &'a [u8],
    /// Its size in bytes.
    pub(super) size: u64,
    /// The file that is to have parts of it.
    pub(super) new: &'a [u8],
    /// Who is to copy them.
    pub(super) copies: Copies,
}

/// Who copies on a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Copies {
    /// Its SFTP server.
    Server,
    /// The program that made the sums.
    Program,
}

/// The sums as they came.
pub(super) struct Signature {
    pub(super) search: Search,
    /// The size of the blocks.
    pub(super) block: u32,
    pub(super) sums: Vec<Sums>,
    /// How long the host took for them, where it says so.
    pub(super) took: Option<Duration>,
}

impl Request<'_> {
    /// What a shell is to read.
    pub(super) fn script(&self) -> Bytes {
        let (block, count) = self.blocks(Search::Anywhere);
        let mut script = b"if command -v python3 >/dev/null 2>&1; then exec python3 -I -S -c ".to_vec();
        script.extend(format!("{} {block} {count}", quote(PROGRAM)).into_bytes());
        script.extend([quoted(self.home, self.old), quoted(self.home, self.new)].concat());
        script.extend(b"; fi\n");
        if self.copies == Copies::Server {
            let (block, count) = self.blocks(Search::Aligned);
            script.extend(HASHING.as_bytes());
            script.extend(format!("n=0; while [ $n -lt {count} ]; do r=$(dd bs={block} count=1 skip=$n <").bytes());
            script.extend(quoted(self.home, self.old));
            script.extend(br#" 2>/dev/null | h) || exit; printf '%s\n' "${r%% *}"; n=$((n+1)); done"#);
            script.push(b'\n');
        }
        script.into()
    }

    /// The size of the blocks, and how many there are.
    fn blocks(&self, search: Search) -> (u64, u64) {
        let smallest = if search == Search::Anywhere { SMALLEST.0 } else { SMALLEST.1 };
        let block = self.size.isqrt().max(self.size / MOST).next_power_of_two().clamp(smallest, LARGEST);
        (block, (self.size / block).min(MOST))
    }

    /// Reads what the script says; nothing where that is no signature.
    pub(super) async fn read(&self, program: &mut Program) -> Option<Signature> {
        let mut first = Vec::new();
        let search = loop {
            first.push(program.take(1).await?[0]);
            match &first[..] {
                b"anywhere\n" => break Search::Anywhere,
                b"some\n" => break Search::Aligned,
                _ if first.len() > 9 => return None,
                _ => {}
            }
        };
        let (block, count) = self.blocks(search);
        let mut sums = Vec::new();
        for _ in 0..count {
            sums.push(match search {
                Search::Anywhere => {
                    let mut record = program.take(20).await?;
                    let mut sums = Sums { weak: record.get_u32(), strong: [0; 16] };
                    record.copy_to_slice(&mut sums.strong);
                    sums
                }
                Search::Aligned => {
                    let record = program.take(65).await?;
                    let strong = data_encoding::HEXLOWER_PERMISSIVE.decode(&record[..32]).ok()?;
                    Sums { weak: 0, strong: strong.try_into().ok()? }
                }
            });
        }
        let took = match search {
            Search::Anywhere => Some(Duration::from_millis(program.take(4).await?.get_u32().into())),
            Search::Aligned => None,
        };
        Some(Signature { search, block: u32::try_from(block).ok()?, sums, took })
    }
}
