//! Where a file has data and where it has holes: [`of`], by lseek(2).

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{OFlags, SeekFrom, seek};
use rustix::io::Errno;

use super::entry::Extents;

/// Asks the file system. One that knows nothing of holes says that there is data everywhere.
pub(super) fn of(path: &Path, size: u64) -> io::Result<Extents> {
    // A file that was exchanged for a named pipe meanwhile must not hold the scan up.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let mut ranges = Vec::new();
    let mut at = 0;
    while at < size {
        let start = match seek(&file, SeekFrom::Data(at)) {
            Ok(start) if start < size => start,
            // ENXIO: nothing but a hole up to the end.
            Ok(_) | Err(Errno::NXIO) => break,
            Err(Errno::INVAL | Errno::SPIPE) => return Ok(Extents::All),
            Err(error) => return Err(error.into()),
        };
        let end = seek(&file, SeekFrom::Hole(start)).map_or(size, |end| end.min(size));
        if end <= start {
            return Ok(Extents::All);
        }
        ranges.push(start..end);
        at = end;
    }
    let is_all = matches!(ranges.as_slice(), [only] if *only == (0..size));
    Ok(if is_all { Extents::All } else { Extents::Ranges(ranges.into()) })
}
