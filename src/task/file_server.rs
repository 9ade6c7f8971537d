//! The SFTP server of a host: how it is started, and what `~` means to it. What files are moved for is not known here.

use super::inner::Inner;
use super::privilege::Privilege;
use super::trouble::Trouble;
use crate::connection::{Connection, Exec, Process, Program, Trace};
use crate::sftp::{Sftp, SftpError, shell};
use std::sync::Arc;

/// The SFTP server of a host, as the login user or as somebody else. Where the host has none, a shell there does its work:
/// slower, and as safely.
pub(super) async fn open_sftp(
    connection: &Arc<Connection>,
    privilege: Option<&Privilege>,
    trace: &mut Trace,
) -> Result<Sftp, Trouble> {
    let missing = match start_server(connection, privilege, trace).await {
        Err(Trouble::Session(SftpError::Unavailable(why))) => why,
        other => return other,
    };
    let shell = async {
        let inner = Inner::start(Arc::clone(connection), shell::PROGRAM, privilege, trace).await?;
        let input = inner.input();
        let (source, sink) = shell::bridge(inner, input);
        Ok::<_, Trouble>(Sftp::start(source, sink).await?)
    };
    match shell.await {
        Ok(sftp) => {
            trace.notice(0, format!("{missing}: a shell does the work of the SFTP server, which is slower"));
            Ok(sftp)
        }
        Err(Trouble::Session(SftpError::Lost(why))) => Err(SftpError::Lost(why).into()),
        Err(_) => Err(SftpError::Unavailable(missing).into()),
    }
}

async fn start_server(
    connection: &Arc<Connection>,
    privilege: Option<&Privilege>,
    trace: &mut Trace,
) -> Result<Sftp, Trouble> {
    match privilege {
        None => {
            let exec = Exec { program: Program::Subsystem("sftp"), ..Exec::default() };
            let process = Process::start(Arc::clone(connection), &exec, trace).await?;
            let input = process.input();
            Ok(Sftp::start(process, input).await?)
        }
        Some(privilege) => {
            let inner = Inner::start(Arc::clone(connection), SERVER, Some(privilege), trace).await?;
            let input = inner.input();
            Ok(Sftp::start(inner, input).await?)
        }
    }
}

/// Starts the SFTP server program, wherever it is: distributions do not agree.
const SERVER: &str = "for server in /usr/lib/openssh/sftp-server /usr/libexec/openssh/sftp-server \
    /usr/lib/ssh/sftp-server /usr/libexec/sftp-server /usr/lib/sftp-server /usr/lib64/ssh/sftp-server \
    /usr/local/libexec/sftp-server; do [ -x \"$server\" ] && exec \"$server\"; done; \
    echo 'no sftp-server program was found' >&2; exit 127";

/// `~` and `~user` at the beginning, as a shell has them.
pub(super) async fn expand(sftp: &Sftp, path: &[u8]) -> Result<Vec<u8>, Trouble> {
    match path {
        b"~" => Ok(b".".to_vec()),
        [b'~', b'/', rest @ ..] => Ok([b"./", rest].concat()),
        [b'~', ..] if sftp.features().expand_path => {
            let expanded = async { sftp.expand_path(path).await?.get().await };
            Ok(expanded.await.map_err(|error| Trouble::about(path, &error))?.to_vec())
        }
        _ => Ok(path.to_vec()),
    }
}
