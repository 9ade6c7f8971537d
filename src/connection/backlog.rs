//! How much of what was sent waits at the host until its program takes it: [`Backlog`].
//!
//! OpenSSH moves all that waits in a channel whenever a packet is added to it (sshbuf.c), so that of the 2 MiB that it
//! takes in most of its processor time comes. A host nearby is as busy with a tenth of that. It grants anew what is more than
//! three packets of 32 KiB (channels.c, `channel_check_window`). How much waits is told by
//! what it lets us send (RFC 4254 §5.2): what it has passed on, it grants anew.

use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;

/// How long a server may say nothing: others grant only when half of what they take is used up.
const PATIENCE: Duration = Duration::from_millis(100);

/// What waits at the host, of what is written to one process by one writer.
pub struct Backlog {
    window: watch::Receiver<u32>,
    /// Bytes that may wait.
    most: u64,
    /// The most that was ever granted: nothing waited then, as far as is known.
    widest: u32,
    /// Bytes since the last grant.
    sent: u64,
    is_told: bool,
}

impl Backlog {
    pub(super) fn new(window: watch::Receiver<u32>, most: u64) -> Self {
        Self { window, most, widest: 0, sent: 0, is_told: true }
    }

    /// Waits until so few bytes wait that these may be sent too, if the server lets us know; they count as sent.
    pub async fn room(&mut self, bytes: u64) {
        if self.window.has_changed().unwrap_or_default() {
            self.hear();
        }
        while self.is_told && self.waiting() > 0 && self.waiting() + bytes > self.most {
            match timeout(PATIENCE, self.window.changed()).await {
                Ok(Ok(())) => self.hear(),
                // Also when the channel has ended: whoever writes hears that.
                _ => self.is_told = false,
            }
        }
        self.sent += bytes;
    }

    /// Takes in what was granted last.
    fn hear(&mut self) {
        self.widest = self.widest.max(*self.window.borrow_and_update());
        self.sent = 0;
    }

    fn waiting(&self) -> u64 {
        u64::from(self.widest.saturating_sub(*self.window.borrow())) + self.sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    const PIECE: u64 = 64 * 1024;
    const MOST: u64 = 4 * PIECE;

    #[tokio::test(start_paused = true)]
    async fn what_the_host_does_not_take_is_not_sent_beyond_the_most() {
        let (granted, window) = watch::channel(0);
        let mut backlog = Backlog::new(window, MOST);
        for _ in 0..MOST / PIECE {
            backlog.room(PIECE).await;
        }
        let began = Instant::now();
        let grant = async {
            tokio::time::advance(PATIENCE / 2).await;
            granted.send_replace(2 * 1024 * 1024);
        };
        tokio::join!(backlog.room(PIECE), grant);
        assert_eq!(began.elapsed(), PATIENCE / 2);
        // Less than the widest is left: the rest waits there.
        granted.send_replace(2 * 1024 * 1024 - MOST as u32);
        backlog.hear();
        assert_eq!(backlog.waiting(), MOST);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_says_nothing_early_is_sent_all_that_it_takes() {
        let (_granted, window) = watch::channel(0);
        let mut backlog = Backlog::new(window, MOST);
        let began = Instant::now();
        for _ in 0..100 {
            backlog.room(PIECE).await;
        }
        assert_eq!(began.elapsed(), PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_more_than_the_most_goes_alone() {
        let (_granted, window) = watch::channel(0);
        let began = Instant::now();
        Backlog::new(window, MOST).room(10 * MOST).await;
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
