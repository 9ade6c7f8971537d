//! What a transfer to or from one host has come to, and the telling of it.

use super::trouble::MAY_NOT;
use crate::event::{Moved, Stream};
use crate::outcome::{Code, Failure, Outcome};
use crate::scheduler::UnitEvents;
use crate::size;
use bytes::Bytes;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Bytes or time after which progress is told again: what nobody can see is not worth an event.
const OFTEN: (u64, Duration) = (1024 * 1024, Duration::from_millis(100));

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// To the host.
    Sent,
    /// From it.
    Received,
}

/// Counts what happens on one host and tells it.
pub(super) struct Teller<'a> {
    events: &'a UnitEvents,
    way: Way,
    state: Mutex<State>,
}

struct State {
    moved: Moved,
    untold: u64,
    told_at: Instant,
    /// The first thing that failed, with what it is called and its reason.
    first: Option<Failure>,
    withheld: usize,
    no_space: bool,
}

impl<'a> Teller<'a> {
    pub(super) fn new(events: &'a UnitEvents, way: Way, unchanged: usize) -> Self {
        let moved = Moved { unchanged: unchanged as u64, ..Moved::default() };
        let state = State { moved, untold: 0, told_at: Instant::now(), first: None, withheld: 0, no_space: false };
        Self { events, way, state: Mutex::new(state) }
    }

    /// Bytes went over the wire.
    pub(super) async fn moved(&self, bytes: u64) {
        let due = {
            let mut state = self.state();
            state.moved.bytes += bytes;
            state.untold += bytes;
            let is_due = state.untold >= OFTEN.0 || state.told_at.elapsed() >= OFTEN.1;
            if is_due {
                state.told_at = Instant::now();
            }
            is_due.then(|| std::mem::take(&mut state.untold))
        };
        if let Some(bytes) = due {
            self.events.bytes_moved(bytes).await;
        }
    }

    /// Bytes that were planned to be moved will not be, by what is known now.
    pub(super) async fn spared(&self, bytes: u64) {
        self.events.bytes_spared(bytes).await;
    }

    /// Bytes did not have to go over the wire: what is in their place was compared.
    pub(super) fn saved(&self, bytes: u64) {
        self.state().moved.saved += bytes;
    }

    /// Something was written or changed.
    pub(super) fn changed(&self) {
        self.state().moved.changed += 1;
    }

    /// So many things were written or changed, and so many were there already as they should be.
    pub(super) fn count(&self, changed: usize, unchanged: usize) {
        let mut state = self.state();
        state.moved.changed += changed as u64;
        state.moved.unchanged += unchanged as u64;
    }

    /// Something was removed.
    pub(super) fn removed(&self) {
        self.state().moved.removed += 1;
    }

    /// Something could not be brought to its place, for this reason.
    pub(super) async fn failed(&self, path: &[u8], reason: &str) {
        self.failed_with(path, Failure::new(Code::TransferFailed, reason)).await;
    }

    /// As [`failed`](Self::failed), with a code and a hint of its own.
    pub(super) async fn failed_with(&self, path: &[u8], failure: Failure) {
        let shown = self.would_fail(path, failure);
        self.events.output(Stream::Stderr, Bytes::from(format!("{shown}\n"))).await;
    }

    /// As [`failed_with`](Self::failed_with), where it is shown in another way. Gives the words for it.
    pub(super) fn would_fail(&self, path: &[u8], failure: Failure) -> String {
        let shown = format!("{}: {}", path.escape_ascii(), failure.message);
        let mut state = self.state();
        state.moved.failed += 1;
        // What would fail everything else too says more than what failed first.
        let is_first = state.first.as_ref().is_none_or(|first| first.code != Code::LocalFull);
        if state.first.is_none() || is_first && failure.code == Code::LocalFull {
            state.first = Some(Failure { message: shown.clone(), ..failure });
        }
        shown
    }

    /// Something is worth knowing that is no failure.
    pub(super) async fn remark(&self, text: &str) {
        self.events.notice(0, text).await;
    }

    /// So many things have no directory to go into, which is told already.
    pub(super) fn missing(&self, count: usize) {
        self.state().moved.failed += count as u64;
    }

    /// So many deletions were not done, because something failed.
    pub(super) fn withheld(&self, count: usize) {
        self.state().withheld += count;
    }

    pub(super) fn has_failed(&self) -> bool {
        self.state().moved.failed > 0
    }

    pub(super) fn no_space(&self) {
        self.state().no_space = true;
    }

    /// Tells what came of it all, and how the host ended.
    pub(super) async fn finish(&self) -> Outcome {
        let (moved, untold, first, withheld, no_space) = {
            let mut state = self.state();
            let untold = std::mem::take(&mut state.untold);
            (state.moved, untold, state.first.take(), state.withheld, state.no_space)
        };
        if untold > 0 {
            self.events.bytes_moved(untold).await;
        }
        self.events.transfer_finished(moved).await;
        self.events.output(Stream::Stdout, Bytes::from(format!("{}\n", summary(&moved, self.way, withheld)))).await;
        outcome(&moved, first, no_space)
    }

    /// How the host ended, where nothing was to be moved; what would fail fails a look too.
    pub(super) fn outcome(&self) -> Outcome {
        let mut state = self.state();
        let first = state.first.take();
        outcome(&state.moved, first, state.no_space)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How the host ended.
fn outcome(moved: &Moved, first: Option<Failure>, no_space: bool) -> Outcome {
    let Some(first) = first else {
        return if moved.changed + moved.removed > 0 { Outcome::Changed } else { Outcome::Ok };
    };
    let all = moved.changed + moved.unchanged + moved.failed;
    let message = match all {
        1 => first.message,
        _ => format!("{} of {all} failed, such as {}", moved.failed, first.message),
    };
    Outcome::Failed(match no_space {
        true => Failure::new(Code::TransferNoSpace, message)
            .hint("make room on the host and push again: what was there still stands"),
        false if first.hint.is_none() && message.ends_with("permission denied") => {
            Failure { message, ..first }.hint(MAY_NOT)
        }
        false => Failure { message, ..first },
    })
}

/// The answer of a host: `3 changed (1.2 MiB sent, 20.0 MiB saved), 14 unchanged`.
fn summary(moved: &Moved, way: Way, withheld: usize) -> String {
    let verb = if way == Way::Sent { "sent" } else { "received" };
    let bytes = [(moved.bytes, verb), (moved.saved, "saved")].into_iter().filter(|(bytes, _)| *bytes > 0);
    let bytes: Vec<String> = bytes.map(|(bytes, verb)| format!("{} {verb}", size::human(bytes))).collect();
    let mut parts = vec![match &bytes[..] {
        [] => format!("{} changed", moved.changed),
        bytes => format!("{} changed ({})", moved.changed, bytes.join(", ")),
    }];
    for (count, word) in [(moved.unchanged, "unchanged"), (moved.removed, "removed"), (moved.failed, "failed")] {
        if count > 0 {
            parts.push(format!("{count} {word}"));
        }
    }
    if withheld > 0 {
        parts.push(format!("{withheld} not removed because of the failures"));
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_says_what_there_is_to_say() {
        let moved = Moved { changed: 3, unchanged: 14, bytes: 1_258_291, ..Moved::default() };
        assert_eq!(summary(&moved, Way::Sent, 0), "3 changed (1.2 MiB sent), 14 unchanged");
        assert_eq!(summary(&Moved { unchanged: 2, ..Moved::default() }, Way::Sent, 0), "0 changed, 2 unchanged");
        let failed = Moved { changed: 1, failed: 2, removed: 0, saved: 2048, ..Moved::default() };
        assert_eq!(
            summary(&failed, Way::Sent, 5),
            "1 changed (2.0 KiB saved), 2 failed, 5 not removed because of the failures"
        );
    }
}
