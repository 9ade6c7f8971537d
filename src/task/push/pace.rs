//! `--limit-rate`: the bytes a second of a whole run, all hosts together.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// A rate that many senders keep together.
#[derive(Debug)]
pub struct Pace {
    bytes_per_second: u64,
    /// When the next byte may go.
    next: Mutex<Option<Instant>>,
}

impl Pace {
    /// So many bytes a second; at least one.
    pub fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second: bytes_per_second.max(1), next: Mutex::new(None) }
    }

    /// Waits until so many bytes may go.
    pub(super) async fn wait(&self, bytes: u64) {
        let takes = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        let at = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            // Time that nobody used is lost: a pause is not made up for by a burst.
            let at = next.map_or_else(Instant::now, |at| at.max(Instant::now()));
            *next = Some(at + takes);
            at
        };
        sleep_until(at).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::future::join_all;

    #[tokio::test(start_paused = true)]
    async fn many_senders_keep_one_rate() {
        let pace = Pace::new(1000);
        let began = Instant::now();
        join_all((0..20).map(|_| pace.wait(500))).await;
        pace.wait(1).await;
        assert_eq!(began.elapsed().as_millis(), 10_000);
    }
}
