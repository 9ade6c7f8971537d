//! How many handshakes one server sees at once. A stock sshd starts to drop connections at ten that have not logged in
//! (`MaxStartups 10:30:100`), so no endpoint gets more than [`HANDSHAKES`] from one run.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Handshakes in flight to one address and port.
pub(super) const HANDSHAKES: usize = 8;

/// The gates of all endpoints of a run.
#[derive(Default)]
pub(super) struct Gates(Mutex<HashMap<(String, u16), Arc<Semaphore>>>);

impl Gates {
    /// Waits for a place; it is given back when the permit is dropped.
    pub(super) async fn enter(&self, address: &str, port: u16) -> Option<OwnedSemaphorePermit> {
        let gate = {
            let mut gates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let gate = gates.entry((address.to_owned(), port));
            Arc::clone(gate.or_insert_with(|| Arc::new(Semaphore::new(HANDSHAKES))))
        };
        // Gates are never closed.
        gate.acquire_owned().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test]
    async fn the_ninth_handshake_waits_for_its_own_endpoint_only() {
        let gates = Gates::default();
        let mut inside = Vec::new();
        for _ in 0..HANDSHAKES {
            inside.push(gates.enter("10.0.0.1", 22).await.unwrap());
        }
        assert!(gates.enter("10.0.0.1", 22).now_or_never().is_none());
        assert!(gates.enter("10.0.0.1", 2222).now_or_never().is_some());
        inside.pop();
        assert!(gates.enter("10.0.0.1", 22).now_or_never().is_some());
    }
}
