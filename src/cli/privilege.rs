//! `--sudo`: as whom the work is done on the hosts.

use super::failure::Failed;
use super::prompt;
use super::reach::Reached;
use crate::inventory::BecomeMethod;
use crate::secret::Secret;
use crate::task::{Method, Privilege};
use clap::Args;

/// As whom the work is done: shared by all verbs that change hosts.
#[derive(Args, Debug)]
#[command(next_help_heading = "On the host")]
pub(super) struct PrivilegeOptions {
    /// Become root, or USER, by sudo (or su, doas: `ansible_become_method`)
    #[arg(long, value_name = "USER", num_args = 0..=1, require_equals = true)]
    sudo: Option<Option<String>>,
    /// Ask for the sudo password, once for all hosts
    #[arg(short = 'K', long)]
    ask_sudo_pass: bool,
    /// Read the sudo password from this file descriptor
    #[arg(long, value_name = "FD")]
    pub(super) sudo_pass_fd: Option<i32>,
}

impl PrivilegeOptions {
    /// The option that takes standard input for itself, if one does.
    pub(super) fn reads_standard_input(&self) -> Option<&'static str> {
        (self.sudo_pass_fd == Some(0)).then_some("`--sudo-pass-fd 0`")
    }

    pub(super) fn password(&self) -> Result<Option<Secret>, Failed> {
        prompt::password(self.ask_sudo_pass, self.sudo_pass_fd, "sudo password", "--sudo-pass-fd")
    }

    /// Who the work is done as on one host: the option over the inventory's `ansible_become*`.
    pub(super) fn of(&self, host: &Reached, password: Option<&Secret>) -> Result<Option<Privilege>, Failed> {
        let inventory = &host.variables;
        // From a file or the environment the bare option comes as a truth value.
        let typed = match self.sudo.as_ref().map(|user| user.as_deref()) {
            Some(None | Some("true" | "yes" | "on" | "1")) => Some(None),
            None | Some(Some("false" | "no" | "off" | "0")) => None,
            // A variable that is not set must not make a root of somebody.
            Some(Some("")) => {
                return Err(Failed::mistake_text("`--sudo=` names no user").hint("--sudo without `=` is for root"));
            }
            Some(Some(user)) => Some(Some(user.to_owned())),
        };
        if typed.is_none() && inventory.becomes != Some(true) {
            return Ok(None);
        }
        let typed = typed.flatten();
        let user = typed.or_else(|| inventory.become_user.clone()).unwrap_or_else(|| "root".into());
        crate::host::check_user(&user)
            .map_err(|error| Failed::mistake(error).hint("--sudo=USER takes a login name"))?;
        let method = match inventory.become_method {
            Some(BecomeMethod::Su) => Method::Su,
            Some(BecomeMethod::Doas) => Method::Doas,
            Some(BecomeMethod::Sudo) | None => Method::Sudo,
        };
        let password = inventory.become_password.as_ref().or(password).cloned();
        Ok(Some(Privilege { method, user, password, sealed_password: inventory.sealed_become_password }))
    }
}
