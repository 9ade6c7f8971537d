//! What both directions of the bridge know: what was asked and not answered yet, and what is open.

use super::answers::TOKEN;
use super::handles::Handles;
use super::replies::Expected;
use data_encoding::HEXLOWER;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Requests that the shell has been told and has not answered.
const IN_FLIGHT: usize = 64;
/// How long the shell may neither take nor print anything while something is asked of it. A slow disk is synced
/// meanwhile.
pub(super) const SILENCE: Duration = Duration::from_secs(300);

/// A word that nobody can guess.
pub(super) type Word = [u8; TOKEN];

/// Makes such a word, of hexadecimal digits.
pub(super) fn word() -> Result<Word, getrandom::Error> {
    let mut bytes = [0; TOKEN / 2];
    getrandom::fill(&mut bytes)?;
    let mut word = [0; TOKEN];
    HEXLOWER.encode_mut(&bytes, &mut word);
    Ok(word)
}

/// A request that the shell has been told.
pub(super) struct Asked {
    /// The id of the request.
    pub(super) id: u32,
    /// What its answer ends with.
    pub(super) token: Word,
    /// What its answer is.
    pub(super) expected: Expected,
    /// Its place among those in flight.
    pub(super) _room: OwnedSemaphorePermit,
}

/// The state of one bridge.
pub(super) struct Exchange {
    /// What lines for the shell begin with.
    pub(super) secret: Word,
    /// What the first answer ends with.
    pub(super) first: Word,
    /// Room for requests in flight.
    pub(super) room: Arc<Semaphore>,
    state: Mutex<State>,
}

/// What changes.
pub(super) struct State {
    /// In the order of their answers.
    pub(super) asked: VecDeque<Asked>,
    /// What the client has open.
    pub(super) handles: Handles,
    /// The shell has told what it can do.
    pub(super) is_ready: bool,
    /// When the shell last took or printed something.
    pub(super) moved: Instant,
}

impl Exchange {
    pub(super) fn new(secret: Word, first: Word) -> Self {
        let state =
            State { asked: VecDeque::new(), handles: Handles::default(), is_ready: false, moved: Instant::now() };
        Self { secret, first, room: Arc::new(Semaphore::new(IN_FLIGHT)), state: Mutex::new(state) }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the shell is there.
    pub(super) fn moved(&self) {
        self.state().moved = Instant::now();
    }

    /// Whether something is asked of the shell and nothing has happened for too long.
    pub(super) fn is_overdue(&self) -> bool {
        let state = self.state();
        (!state.is_ready || !state.asked.is_empty()) && state.moved.elapsed() >= SILENCE
    }
}
