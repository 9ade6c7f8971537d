//! What a shell has left on a host that was killed in the middle of a trial, taken back by another one: [`Rescue`].

use super::changes::Script;
use super::facts::SHELL;
use super::frames::Mark;
use crate::connection::Connection;
use crate::task::inner::ask;
use crate::task::privilege::Privilege;
use bytes::Bytes;
use std::sync::Arc;

/// The way back, for as long as the host can be reached.
pub(super) struct Rescue {
    pub(super) connection: Arc<Connection>,
    pub(super) privilege: Option<Privilege>,
    pub(super) script: Script,
}

impl Rescue {
    /// Takes everything back, and says what stands then; `why` is how the shell ended.
    pub(super) async fn take_back(&self, mark: &Mark, why: &str) -> String {
        let script = Bytes::from(self.script.rescue());
        let answer = ask(&self.connection, self.privilege.as_ref(), SHELL, script).await.unwrap_or_default();
        let frames = mark.frames(&answer);
        let said = frames.iter().find(|frame| matches!(frame.key, "restored" | "troubled"));
        match (said, self.script.rooms.split_first()) {
            (Some(said), _) => format!("{why}; {}", said.text()),
            (None, Some((room, others))) => {
                let more = if others.is_empty() { String::new() } else { format!(" and {} more", others.len()) };
                format!("{why}: what it had begun may stand, and what stood before is in `{room}/old`{more}")
            }
            (None, None) => format!("{why}: owners and modes may have been changed"),
        }
    }
}
