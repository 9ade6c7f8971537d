//! How many handshakes one server sees at once. A stock sshd starts to drop connections at ten that have not logged in
//! (`MaxStartups 10:30:100`), so no server gets more than [`HANDSHAKES`] from one run, nor do the hosts behind one jump
//! host. A server that drops connections all the same is given half as many, and more again when it takes them well.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Handshakes in flight to one address and port.
const HANDSHAKES: usize = 8;
/// Handshakes that must go well before a server that dropped some is given one more at once.
const REGAIN: usize = 8;

/// Which server a handshake is with, as far as that is known before it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Server {
    /// The one at this address and port.
    At(String, u16),
    /// The one that this command leads to. What the address says then may be a placeholder.
    Beyond(String),
}

/// The gates of all servers that can be reached from one place: from here, or from a jump host.
#[derive(Default)]
pub(super) struct Gates(Mutex<HashMap<Server, Arc<Gate>>>);

impl Gates {
    /// Waits for a place; it is given back when the pass is dropped.
    pub(super) async fn enter(&self, server: Server) -> Pass {
        let gate = {
            let mut gates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(gates.entry(server).or_default())
        };
        gate.enter().await
    }
}

/// The places of one server, or of all servers behind one jump host.
#[derive(Default)]
pub(super) struct Gate {
    state: Mutex<State>,
    free: Notify,
}

struct State {
    limit: usize,
    inside: usize,
    went_well: usize,
}

impl Default for State {
    fn default() -> Self {
        Self { limit: HANDSHAKES, inside: 0, went_well: 0 }
    }
}

/// A handshake that may be made.
pub(super) struct Pass(Arc<Gate>);

impl Gate {
    /// Waits for a place; it is given back when the pass is dropped.
    pub(super) async fn enter(self: Arc<Self>) -> Pass {
        loop {
            {
                let mut state = self.state();
                if state.inside < state.limit {
                    state.inside += 1;
                    break;
                }
            }
            // A place that is freed meanwhile leaves its permit with `Notify`.
            self.free.notified().await;
        }
        Pass(self)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass {
    /// The server dropped the connection unheard: it has too many.
    pub(super) fn throttled(&self) {
        let mut state = self.0.state();
        state.limit = (state.limit / 2).max(1);
        state.went_well = 0;
    }

    /// The server took the handshake.
    pub(super) fn went_well(&self) {
        let mut state = self.0.state();
        state.went_well += 1;
        if state.limit < HANDSHAKES && state.went_well >= REGAIN {
            state.limit += 1;
            state.went_well = 0;
            drop(state);
            self.0.free.notify_one();
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.0.state().inside -= 1;
        self.0.free.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    fn at(address: &str, port: u16) -> Server {
        Server::At(address.into(), port)
    }

    #[tokio::test]
    async fn the_ninth_handshake_waits_for_its_own_server_only() {
        let gates = Gates::default();
        let mut inside = Vec::new();
        for _ in 0..HANDSHAKES {
            inside.push(gates.enter(at("10.0.0.1", 22)).await);
        }
        assert!(gates.enter(at("10.0.0.1", 22)).now_or_never().is_none());
        assert!(gates.enter(at("10.0.0.1", 2222)).now_or_never().is_some());
        inside.pop();
        assert!(gates.enter(at("10.0.0.1", 22)).now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_server_that_drops_connections_gets_fewer_and_regains_slowly() {
        let gates = Gates::default();
        let first = gates.enter(at("h", 22)).await;
        first.throttled();
        first.throttled();
        first.throttled();
        first.throttled();
        assert!(gates.enter(at("h", 22)).now_or_never().is_none(), "one at a time");
        (0..REGAIN).for_each(|_| first.went_well());
        let second = gates.enter(at("h", 22)).now_or_never();
        assert!(second.is_some(), "two at a time");
        assert!(gates.enter(at("h", 22)).now_or_never().is_none());
    }

    #[tokio::test]
    async fn everyone_who_waits_gets_in() {
        let gates = Arc::new(Gates::default());
        let tasks: Vec<_> = (0..100)
            .map(|_| {
                let gates = Arc::clone(&gates);
                tokio::spawn(async move {
                    let pass = gates.enter(at("h", 22)).await;
                    pass.throttled();
                    tokio::task::yield_now().await;
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    }
}
