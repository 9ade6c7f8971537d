//! Small files, which are whole in memory before they are written: [`Parcel`], and [`write_all`] which writes many at once.
//!
//! A file that is written by itself costs a change of threads and a journal's commit; many together cost little more.

use super::commit::Committer;
use super::underway::fault;
use crate::sftp::InFlight;
use crate::task::digest::Sha256;
use crate::tree::TreePath;
use crate::tree::landing::{Attributes, Holes, LandingError, Place};
use bytes::Bytes;
use std::sync::Arc;

/// From which size on zeros are worth a hole.
const WORTH_A_HOLE: u64 = 64 * 1024;

/// A file that came.
#[derive(Debug)]
pub(super) struct Parcel {
    /// Which entry of the inventory it is.
    pub(super) index: usize,
    pub(super) path: TreePath,
    pub(super) size: u64,
    /// What it has on the host, where that is wanted and known.
    pub(super) digest: Option<Sha256>,
    pub(super) content: Vec<Bytes>,
    pub(super) attributes: Attributes,
    /// Its bytes count as in flight until they are written.
    pub(super) in_flight: InFlight,
}

/// What is done about zeros in a file of this size.
pub(super) fn holes(size: u64) -> Holes {
    if size > WORTH_A_HOLE { Holes::Leave } else { Holes::Fill }
}

/// Writes files and gives them their names; blocks. Tells what came of each.
pub(super) fn write_all(
    place: &Arc<Place>,
    parcels: Vec<Parcel>,
    committer: &Committer,
) -> Vec<(usize, Result<(), LandingError>)> {
    let (mut sealed, mut names, mut told) = (Vec::new(), Vec::new(), Vec::new());
    for parcel in parcels {
        let index = parcel.index;
        match write(place, parcel) {
            Ok(file) => {
                sealed.push(file);
                names.push(index);
            }
            Err(error) => told.push((index, Err(error))),
        }
    }
    if !sealed.is_empty() {
        let committed = committer.commit(sealed).into_iter().map(Some).chain(std::iter::repeat_with(|| None));
        let result = |committed: Option<_>| committed.unwrap_or_else(|| Err(fault("it was not named")));
        told.extend(names.into_iter().zip(committed.map(result)));
    }
    told
}

fn write(place: &Arc<Place>, parcel: Parcel) -> Result<crate::tree::landing::Sealed, LandingError> {
    let Parcel { path, size, digest, content, attributes, in_flight, .. } = parcel;
    let incoming = place.incoming(&path, holes(size))?;
    let buffers: Vec<&[u8]> = content.iter().map(|piece| &piece[..]).collect();
    incoming.write_at(0, &buffers)?;
    drop(in_flight);
    if let Some(digest) = digest {
        incoming.check(size, digest)?;
    }
    incoming.seal(size, &attributes)
}
