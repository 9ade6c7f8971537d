//! From selected hosts to hosts that are ready to be called: what every fleet verb finds out before it connects.

use super::failure::Failed;
use super::options::{FanoutOptions, GlobalOptions};
use super::privilege::PrivilegeOptions;
use super::reach::{Reach, Reached, Remark};
use super::sources::{Known, login_password};
use crate::inventory::ConnectionKind;
use crate::selection::Selected;
use crate::task::Privilege;

/// What was typed about the hosts of a run.
pub(super) struct CalledAs<'a> {
    pub(super) global: &'a GlobalOptions,
    pub(super) fanout: &'a FanoutOptions,
    pub(super) privilege: &'a PrivilegeOptions,
    pub(super) verb: &'static str,
    /// What `Match exec` and tokens take for the command.
    pub(super) command: &'a str,
    pub(super) questions: Questions,
}

/// What a person may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Questions {
    /// The passwords that options ask for.
    Passwords,
    /// Nothing: nobody is going to be called.
    None,
}

/// Hosts that are ready to be called, in the order of the selection.
pub(super) struct Called {
    pub(super) hosts: Vec<Reached>,
    /// As whom the work is done, host by host.
    pub(super) privileges: Vec<Option<Privilege>>,
    /// What should be told about the configuration.
    pub(super) remarks: Vec<Remark>,
}

impl Called {
    /// Finds the way to every host.
    ///
    /// # Errors
    /// All problems of all hosts together.
    pub(super) fn reach(known: &Known, selected: &[Selected], typed: &CalledAs) -> Result<Self, Failed> {
        let (password, sudo_password) = match typed.questions {
            Questions::None => (None, None),
            Questions::Passwords => (login_password(typed.global)?, typed.privilege.password()?),
        };
        let mut reach = Reach::new(known, typed.fanout.connect_timeout, password);
        let hosts = reach.all(selected, Some(typed.command))?;
        if !typed.global.quiet {
            reach.warnings().for_each(|warning| warning.warn(&mut std::io::stderr()));
        }
        refuse_local(&hosts, typed.verb)?;
        let privileges = hosts.iter().map(|host| typed.privilege.of(host, sudo_password.as_ref()));
        let privileges = privileges.collect::<Result<Vec<_>, _>>()?;
        Ok(Self { hosts, privileges, remarks: reach.remarks().cloned().collect() })
    }
}

/// This machine itself is called by nobody.
pub(super) fn refuse_local(hosts: &[Reached], verb: &str) -> Result<(), Failed> {
    match hosts.iter().find(|host| host.variables.kind == Some(ConnectionKind::Local)) {
        None => Ok(()),
        Some(local) => {
            let name = &local.destination.name;
            Err(Failed::mistake_text(format!("`{name}` is this machine itself (`ansible_connection: local`)"))
                .hint(format!("leave it out with --exclude; bugle {verb} goes over SSH")))
        }
    }
}
