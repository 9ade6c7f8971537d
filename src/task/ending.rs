//! Ending a remote process so that it has really ended.
//!
//! Closing a channel ends nothing without a terminal, and sshd ignores signal requests for root. So the request is sent
//! first, where it can do any good, and where the process is still there a moment later, a second session on the same connection looks for it and
//! for everything that it started. The whole tree gets SIGTERM and, where that is ignored, SIGKILL.

use super::privilege::{Method, Privilege};
use super::shell::{in_posix_shell, quote};
use crate::connection::{Connection, Exec, Happening, Process, Program, Signal, Trace};
use crate::event::Stream;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// What a process gets to react to the signal request.
const REQUEST_GRACE: Duration = Duration::from_millis(700);
/// What the second session may take: the script below waits two seconds between its signals.
const KILL_LIMIT: Duration = Duration::from_secs(6);
/// What the channel may take to close once its process is dead.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// Ends the processes of this connection other than its own session, and prints how many are left at the end, or `?` where
/// it cannot tell which they are. POSIX sh only.
///
/// What was started through a connection carries its `SSH_CONNECTION` and is younger than the sshd that serves it (a
/// daemon of an earlier day may have the same addresses and ports). Where no environment can be read, the children of
/// that sshd are taken, but only of one that serves a single connection: other servers have one parent for all. The
/// descendants of what was found are included. `set --` splits /proc/PID/stat behind the command name, which may hold
/// anything.
const SCRIPT: &str = r#"
me=$$ sshd=$PPID
fields() { { read -r line <"/proc/$1/stat"; } 2>/dev/null || return 1; line=${line##*) }; }
table() {
  if [ -r /proc/self/stat ]; then
    for d in /proc/[0-9]*; do
      pid=${d#/proc/}; fields "$pid" || continue
      set -- $line
      [ "$1" = Z ] || echo "$pid $2 ${20}"
    done
  else
    ps -A -o pid= -o ppid= | while read -r pid parent; do echo "$pid $parent 0"; done
  fi
}
all=$(table)
born=0; if fields "$sshd"; then set -- $line; born=${20}; fi
found=' ' known=no
if [ -n "$SSH_CONNECTION" ] && [ -r /proc/self/environ ]; then
  known=yes
  for f in $(grep -lsaF "SSH_CONNECTION=$SSH_CONNECTION" /proc/[0-9]*/environ 2>/dev/null); do
    pid=${f#/proc/}; found="$found${pid%/environ} "
  done
fi
case $(ps -o comm= -p "$sshd" 2>/dev/null || { read -r name <"/proc/$sshd/comm" && echo "$name"; } 2>/dev/null) in
  sshd|sshd-session|dropbear|*/sshd|*/sshd-session|*/dropbear) known=yes children=yes ;;
  *) children=no ;;
esac
mine=" $me " victims=' ' grown=1
while [ "$grown" = 1 ]; do
  grown=0
  while read -r pid parent start; do
    case $mine$victims in *" $pid "*) continue ;; esac
    case $mine in *" $parent "*) mine="$mine$pid "; grown=1; continue ;; esac
    [ "$pid" = "$sshd" ] && continue
    case $victims in *" $parent "*) victims="$victims$pid "; grown=1; continue ;; esac
    [ "$start" -ge "$born" ] || continue
    case $found in *" $pid "*) victims="$victims$pid "; grown=1; continue ;; esac
    if [ "$parent" = "$sshd" ] && [ "$children" = yes ]; then victims="$victims$pid "; grown=1; fi
  done <<EOF
$all
EOF
done
alive() { kill -0 "$1" 2>/dev/null || return 1; fields "$1" || return 0; case $line in Z*) return 1 ;; esac; }
left() { rest=; for pid in $victims; do alive "$pid" && rest="$rest $pid"; done; victims=$rest; [ -n "$victims" ]; }
if left; then
  kill -TERM $victims 2>/dev/null
  n=0
  while left && [ $n -lt 20 ]; do sleep 0.1 2>/dev/null || { sleep 1; n=$((n+9)); }; n=$((n+1)); done
  if left; then kill -KILL $victims 2>/dev/null; sleep 0.2 2>/dev/null || sleep 1; left; fi
fi
set -- $victims
[ $known = yes ] && echo "left $#" || echo 'left ?'
"#;

/// What the script knows of itself where nothing stands in between.
const SELF: &str = "me=$$ sshd=$PPID";

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
///
/// Where the signal request was enough, OpenSSH has ended the whole process group and nothing more is done: a second
/// session would run a forced command once more. Other servers signal one process only. A command of another user gets
/// no request: it would end sudo alone, and with it the line of descent by which the rest is found.
pub(super) async fn end(mut process: Process, privilege: Option<&Privilege>) -> Ending {
    let has_ended = privilege.is_none() && {
        process.signal(Signal::TERM).await;
        matches!(timeout(REQUEST_GRACE, drain(&mut process)).await, Ok(true))
    };
    let connection = Arc::clone(process.connection());
    if has_ended && connection.server().contains("OpenSSH") {
        process.close().await;
        return Ending::Ended;
    }
    let killing = timeout(KILL_LIMIT, kill_over_second_session(connection, privilege));
    tokio::pin!(killing);
    let mut is_over = has_ended;
    // The process is read meanwhile, so that what it floods cannot hold up the second session.
    let killed = loop {
        tokio::select! {
            killed = &mut killing => break killed,
            _ = drain(&mut process), if !is_over => is_over = true,
        }
    };
    if !is_over {
        is_over = timeout(CLOSE_LIMIT, drain(&mut process)).await.is_ok();
    }
    process.close().await;
    match killed.ok().flatten() {
        Some(0) => Ending::Ended,
        Some(left) => Ending::Left(left),
        None if is_over => Ending::Ended,
        None => Ending::Unknown,
    }
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
    let exec = Exec { program: Program::Command(in_posix_shell(&script(privilege)).into_bytes()), ..Exec::default() };
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

/// What runs as another user can be signalled only by that user, and its environment read: the script runs there then, and
/// is told what it cannot see because sudo stands in between.
fn script(privilege: Option<&Privilege>) -> String {
    let Some(privilege) = privilege else { return SCRIPT.to_owned() };
    let told = SCRIPT.replace(SELF, "me=$1 sshd=$2 SSH_CONNECTION=$3");
    let user = quote(&privilege.user);
    let as_user = match (privilege.method, &privilege.password) {
        (Method::Sudo, None) => format!("sudo -n -u {user} --"),
        (Method::Sudo, Some(_)) => format!("sudo -S -p '' -u {user} --"),
        (Method::Doas, _) => format!("doas -n -u {user}"),
        // su has the login shell of its user read the command, whichever that is: it is one line, and what it is told is in it.
        (Method::Su, _) => {
            let call = in_posix_shell(&SCRIPT.replace(SELF, ""));
            let call = quote(call.strip_prefix("exec ").unwrap_or(&call));
            return format!("su {user} -c \"exec env me=$$ sshd=$PPID SSH_CONNECTION='$SSH_CONNECTION' \"{call}");
        }
    };
    let told = quote(&told);
    format!("{as_user} /bin/sh -c {told} kill $$ $PPID \"$SSH_CONNECTION\"")
}
