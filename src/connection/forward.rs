//! Agent forwarding, for the runs that ask for it on the command line: each channel that a host opens to "the agent"
//! is joined to a fresh conversation with ours. Never on because of a configuration file: root on any host of a fleet
//! could use the keys.

use russh::Channel;
use russh::client::Msg;
use std::path::Path;
use std::sync::Arc;
use tokio::net::UnixStream;

/// Joins forwarded channels to the agent at a socket.
#[derive(Clone, Debug)]
pub(super) struct AgentRelay(pub(super) Arc<Path>);

impl AgentRelay {
    /// Copies both ways until either side ends.
    pub(super) fn relay(&self, channel: Channel<Msg>) {
        let socket = Arc::clone(&self.0);
        tokio::spawn(async move {
            let mut near = channel.into_stream();
            if let Ok(mut agent) = UnixStream::connect(&*socket).await {
                // A host that breaks off mid-request is no failure of the work.
                let _ = tokio::io::copy_bidirectional(&mut near, &mut agent).await;
            }
        });
    }
}
