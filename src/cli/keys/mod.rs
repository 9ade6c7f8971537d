//! `bugle keys`: who may log in, over the whole fleet. A file a verb; [`rollout`] is what those share that call hosts.

mod bearers;
mod deploy;
mod rollout;

use super::failure::Failed;
use super::options::GlobalOptions;
use super::privilege::PrivilegeOptions;
use clap::{Args, Subcommand};

#[derive(Args, Debug)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Let keys in on every host, and prove it by logging in with them
    Deploy(deploy::Arguments),
}

pub(super) fn run(global: &GlobalOptions, arguments: Arguments) -> Result<u8, Failed> {
    match arguments.verb {
        Verb::Deploy(arguments) => deploy::run(global, arguments),
    }
}

impl Arguments {
    /// The options about sudo, for a verb that has them.
    pub(super) fn privilege(&mut self) -> Option<&mut PrivilegeOptions> {
        match &mut self.verb {
            Verb::Deploy(arguments) => Some(&mut arguments.rollout.privilege),
        }
    }
}
