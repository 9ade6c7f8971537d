//! How many bytes are kept in flight: as many as the way to the host holds, and no more.
//!
//! A [`Window`] starts small and doubles for as long as that makes the transfer faster, as TCP's slow start does. So a
//! host next door needs little memory, and one that is 100 ms away gets what bandwidth × delay asks for.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use tokio::time::Instant;

/// How much faster a doubled window has to be to be kept on growing.
const WORTHWHILE: f64 = 1.15;

/// The bytes in flight to or from one host.
#[derive(Debug)]
pub struct Window {
    state: Mutex<State>,
    room: Notify,
    largest: u64,
}

#[derive(Debug)]
struct State {
    limit: u64,
    in_flight: u64,
    /// Bytes that are still to be answered before the round is over.
    round_left: u64,
    round_bytes: u64,
    round_began: Instant,
    /// The window held somebody up in this round.
    was_full: bool,
    /// Bytes a second of the best round.
    best: f64,
}

/// Bytes that are in flight until this is dropped.
#[derive(Debug)]
pub struct InFlight {
    window: Arc<Window>,
    bytes: u64,
}

impl Window {
    /// A window of `smallest` to `largest` bytes.
    pub fn new(smallest: u64, largest: u64) -> Arc<Self> {
        let state = State {
            limit: smallest,
            in_flight: 0,
            round_left: 0,
            round_bytes: 0,
            round_began: Instant::now(),
            was_full: false,
            best: 0.0,
        };
        Arc::new(Self { state: Mutex::new(state), room: Notify::new(), largest })
    }

    /// Waits until there is room for so many bytes. One request always has room.
    pub async fn take(self: &Arc<Self>, bytes: u64) -> InFlight {
        loop {
            let mut room = std::pin::pin!(self.room.notified());
            room.as_mut().enable();
            if let Some(taken) = self.try_take(bytes) {
                return taken;
            }
            room.await;
        }
    }

    /// As [`take`](Self::take), where there is room now.
    pub fn try_take(self: &Arc<Self>, bytes: u64) -> Option<InFlight> {
        let mut state = self.state();
        if state.in_flight > 0 && state.in_flight + bytes > state.limit {
            state.was_full = true;
            return None;
        }
        if state.round_left == 0 {
            state.round_left = (state.in_flight + bytes).max(state.limit / 2);
            state.round_bytes = 0;
            state.round_began = Instant::now();
            state.was_full = false;
        }
        state.in_flight += bytes;
        Some(InFlight { window: Arc::clone(self), bytes })
    }

    /// The bytes that may be in flight now.
    pub fn limit(&self) -> u64 {
        self.state().limit
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answered(&self, bytes: u64) {
        let mut state = self.state();
        state.in_flight -= bytes;
        state.round_bytes += bytes;
        if state.round_left > 0 {
            state.round_left = state.round_left.saturating_sub(bytes);
            if state.round_left == 0 && state.was_full {
                let rate = state.round_bytes as f64 / state.round_began.elapsed().as_secs_f64().max(1e-6);
                if rate > state.best * WORTHWHILE {
                    state.best = rate;
                    state.limit = (state.limit * 2).min(self.largest);
                }
            }
        }
        drop(state);
        self.room.notify_waiters();
    }
}

impl InFlight {
    /// Takes so many of the bytes out, which then are in flight by themselves.
    #[must_use]
    pub fn split(&mut self, bytes: u64) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Self { window: Arc::clone(&self.window), bytes }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.window.answered(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;
    use std::time::Duration;
    use tokio::time::advance;

    /// Sends over a way of this bandwidth (bytes a second) and delay, and gives the window that comes of it.
    async fn window_after(bandwidth: f64, delay: Duration, chunks: usize) -> u64 {
        const CHUNK: u64 = 256 * 1024;
        let window = Window::new(4 * CHUNK, 64 * CHUNK);
        let mut flying: VecDeque<(Instant, InFlight)> = VecDeque::new();
        let mut free_at = Instant::now();
        for _ in 0..chunks {
            let taken = loop {
                match window.try_take(CHUNK) {
                    Some(taken) => break taken,
                    None => {
                        let (arrives, answered) = flying.pop_front().unwrap();
                        advance(arrives.saturating_duration_since(Instant::now())).await;
                        drop(answered);
                    }
                }
            };
            free_at = free_at.max(Instant::now()) + Duration::from_secs_f64(CHUNK as f64 / bandwidth);
            flying.push_back((free_at + delay, taken));
        }
        window.limit() / CHUNK
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_way_gets_a_wide_window_and_a_short_one_stays_narrow() {
        let near = window_after(400e6, Duration::from_micros(100), 2000).await;
        let far = window_after(80e6, Duration::from_millis(50), 2000).await;
        assert!(near <= 8, "{near} chunks for a host next door");
        assert!((16..=64).contains(&far), "{far} chunks where 15 are in flight on the way alone");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_split_off_stays_in_flight_until_both_parts_are_over() {
        let window = Window::new(10, 10);
        let mut first = window.take(10).await;
        let rest = first.split(4);
        drop(first);
        assert!(window.try_take(7).is_none());
        drop(rest);
        assert!(window.try_take(7).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_larger_than_the_window_goes_alone() {
        let window = Window::new(10, 20);
        let first = window.take(100).await;
        assert!(window.try_take(1).is_none());
        drop(first);
        advance(Duration::from_millis(1)).await;
        assert!(window.try_take(1).is_some());
    }
}
