//! Ending a remote process so that it has really ended.
//!
//! Closing a channel ends nothing without a terminal, and sshd ignores signal requests for root. So the request is sent
//! first, and where the process is still there a moment later, a second session on the same connection looks for it:
//! both sessions have the same sshd as their parent, and every process started through it carries the same
//! `SSH_CONNECTION`. Its whole tree gets SIGTERM and, where that is ignored, SIGKILL.

use super::privilege::{Method, Privilege};
use super::shell::in_posix_shell;
use crate::connection::{Connection, Exec, Happening, Process, Signal, Trace};
use crate::event::Stream;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

/// What a process gets to react to the signal request.
const REQUEST_GRACE: Duration = Duration::from_millis(700);
/// What the second session may take: the script below waits two seconds between its signals.
const KILL_LIMIT: Duration = Duration::from_secs(6);
/// What the channel may take to close once its process is dead.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// Finds the processes of this connection other than its own session and prints how many are left at the end.
///
/// POSIX sh only. `set --` splits the fields of /proc/PID/stat behind the command name, which may hold anything; where
/// there is no /proc, ps tells the parents.
const SCRIPT: &str = r#"
me=$$ sshd=$PPID
table() {
  if [ -r /proc/self/stat ]; then
    for f in /proc/[0-9]*/stat; do
      { read -r line <"$f"; } 2>/dev/null || continue
      pid=${line%% *}
      set -- ${line##*) }
      echo "$pid $2"
    done
  else
    ps -A -o pid= -o ppid=
  fi
}
all=$(table)
found=' '
if [ -r /proc/self/environ ] && [ -n "$SSH_CONNECTION" ]; then
  for f in $(grep -lsaF "SSH_CONNECTION=$SSH_CONNECTION" /proc/[0-9]*/environ 2>/dev/null); do
    pid=${f#/proc/}; found="$found${pid%/environ} "
  done
fi
mine=" $me "
grown=1
while [ "$grown" = 1 ]; do
  grown=0
  while read -r pid parent; do
    case $mine in *" $pid "*) continue ;; esac
    case $mine in *" $parent "*) mine="$mine$pid "; grown=1; continue ;; esac
    case $found in *" $pid "*) continue ;; esac
    if [ "$parent" = "$sshd" ]; then found="$found$pid "; grown=1; continue; fi
    case $found in *" $parent "*) found="$found$pid "; grown=1 ;; esac
  done <<EOF
$all
EOF
done
victims=
for pid in $found; do
  case $mine in *" $pid "*) ;; *) [ "$pid" = "$sshd" ] || victims="$victims $pid" ;; esac
done
left() { rest=; for pid in $victims; do RUN kill -0 "$pid" 2>/dev/null && rest="$rest $pid"; done; victims=$rest; [ -n "$victims" ]; }
if [ -n "$victims" ]; then
  RUN kill -TERM $victims 2>/dev/null
  n=0
  while left && [ $n -lt 20 ]; do sleep 0.1 2>/dev/null || { sleep 1; n=$((n+9)); }; n=$((n+1)); done
  if left; then RUN kill -KILL $victims 2>/dev/null; sleep 0.2 2>/dev/null || sleep 1; left; fi
fi
set -- $victims
echo "left $#"
"#;

/// How ending a process went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Nothing of it is left.
    Ended,
    /// This many processes could not be ended.
    Left(usize),
    /// Nobody could look: no second session, or the connection is gone.
    Unknown,
}

impl Ending {
    /// For the message: `; its process was ended`.
    pub(super) fn describe(self) -> String {
        match self {
            Self::Ended => "its process was ended".into(),
            Self::Left(count) => format!("{count} of its processes could not be ended"),
            Self::Unknown => "whether its process ended is unknown".into(),
        }
    }
}

/// Ends a process, drops what it still writes, and gives its channel back.
pub(super) async fn end(mut process: Process, privilege: Option<&Privilege>) -> Ending {
    process.signal(Signal::TERM).await;
    let ending = match timeout(REQUEST_GRACE, drain(&mut process)).await {
        Ok(true) => Ending::Ended,
        Ok(false) => Ending::Unknown,
        Err(_) => {
            let connection = Arc::clone(process.connection());
            let killing = timeout(KILL_LIMIT, kill_over_second_session(connection, privilege));
            tokio::pin!(killing);
            let mut closed = false;
            // The process must be drained meanwhile: an unread channel would stall the second one.
            let killed = loop {
                tokio::select! {
                    killed = &mut killing => break killed,
                    _ = drain(&mut process), if !closed => closed = true,
                }
            };
            if !closed {
                let _ = timeout_at(Instant::now() + CLOSE_LIMIT, drain(&mut process)).await;
            }
            killed.ok().flatten().map_or(Ending::Unknown, |left| if left == 0 { Ending::Ended } else { Ending::Left(left) })
        }
    };
    process.close().await;
    ending
}

/// Reads until the process is over; whether it said how it ended.
async fn drain(process: &mut Process) -> bool {
    loop {
        match process.next().await {
            Happening::Output(..) => {}
            Happening::Ended(_) => return true,
            Happening::Refused | Happening::Lost(_) => return false,
        }
    }
}

/// The number of processes that are left, if the script could tell.
async fn kill_over_second_session(connection: Arc<Connection>, privilege: Option<&Privilege>) -> Option<usize> {
    let exec = Exec { command: in_posix_shell(&script(privilege)).into_bytes(), ..Exec::default() };
    let mut process = Process::start(connection, &exec, &mut Trace::default()).await.ok()?;
    let input = process.input();
    if let Some(password) = privilege.and_then(|privilege| privilege.password.as_ref()) {
        let _ = input.write(Bytes::from(format!("{}\n", password.expose()))).await;
    }
    let _ = input.finish().await;
    let mut said = Vec::new();
    loop {
        match process.next().await {
            Happening::Output(Stream::Stdout, bytes) if said.len() < 4096 => said.extend_from_slice(&bytes),
            Happening::Output(..) => {}
            Happening::Ended(_) => break,
            Happening::Refused | Happening::Lost(_) => return None,
        }
    }
    process.close().await;
    let text = String::from_utf8_lossy(&said);
    text.lines().find_map(|line| line.strip_prefix("left ")).and_then(|count| count.trim().parse().ok())
}

/// What runs as another user can be signalled only as that user: then the whole script asks once and runs there, except
/// that the parent sshd is passed in, because sudo stands in between.
fn script(privilege: Option<&Privilege>) -> String {
    let Some(privilege) = privilege else { return SCRIPT.replace("RUN ", "") };
    let inner = SCRIPT.replace("RUN ", "").replace("me=$$ sshd=$PPID", "me=$1 sshd=$2 SSH_CONNECTION=$3");
    let inner = super::shell::quote(&inner);
    let user = super::shell::quote(&privilege.user);
    match (privilege.method, &privilege.password) {
        (Method::Sudo, None) => format!("sudo -n -u {user} -- /bin/sh -c {inner} kill $$ $PPID \"$SSH_CONNECTION\""),
        (Method::Sudo, Some(_)) => format!("sudo -S -p '' -u {user} -- /bin/sh -c {inner} kill $$ $PPID \"$SSH_CONNECTION\""),
        (Method::Su, _) => format!("su {user} -c \"exec /bin/sh -c \"{}\" kill $$ $PPID '$SSH_CONNECTION'\"", super::shell::quote(&inner)),
        (Method::Doas, _) => format!("doas -n -u {user} /bin/sh -c {inner} kill $$ $PPID \"$SSH_CONNECTION\""),
    }
}
