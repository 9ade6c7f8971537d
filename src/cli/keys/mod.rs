//! `bugle keys`: who may log in, over the whole fleet, and the key pairs on this machine. A file a verb; [`rollout`] is what
//! those share that call hosts.

mod bearers;
mod deploy;
mod generate;
mod list;
mod passphrase;
mod protection;
mod revoke;
mod rollout;
mod rotate;
mod show;
mod sync;
mod table;

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
    /// Take keys back, unless that would shut this run out
    Revoke(revoke::Arguments),
    /// Put a new key in the place of an old one, a canary first
    Rotate(rotate::Arguments),
    /// Make who may log in what a file or a directory declares
    Sync(sync::Arguments),
    /// Show who may log in where
    List(list::Arguments),
    /// Make a key pair, or one for every host
    Generate(generate::Arguments),
    /// Tell size, fingerprints, comment, type and picture of keys in files
    Show(show::Arguments),
    /// Change the passphrase of a private key
    Passphrase(passphrase::Arguments),
}

pub(super) fn run(global: &GlobalOptions, arguments: Arguments) -> Result<u8, Failed> {
    match arguments.verb {
        Verb::Deploy(arguments) => deploy::run(global, arguments),
        Verb::Revoke(arguments) => revoke::run(global, arguments),
        Verb::Rotate(arguments) => rotate::run(global, arguments),
        Verb::Sync(arguments) => sync::run(global, arguments),
        Verb::List(arguments) => list::run(global, arguments),
        Verb::Generate(arguments) => generate::run(global, &arguments),
        Verb::Show(arguments) => show::run(global, &arguments),
        Verb::Passphrase(arguments) => passphrase::run(global, &arguments),
    }
}

impl Arguments {
    /// Options that were typed and would do nothing.
    ///
    /// # Errors
    /// What they are, and what they need.
    pub(super) fn check_typed(&self, typed: impl Fn(&str) -> bool) -> Result<(), Failed> {
        match &self.verb {
            Verb::Generate(arguments) => arguments.check_typed(typed),
            _ => Ok(()),
        }
    }

    /// The options about sudo, for a verb that has them.
    pub(super) fn privilege(&mut self) -> Option<&mut PrivilegeOptions> {
        let rollout = match &mut self.verb {
            Verb::Deploy(arguments) => &mut arguments.rollout,
            Verb::Revoke(arguments) => &mut arguments.rollout,
            Verb::Rotate(arguments) => &mut arguments.rollout,
            Verb::Sync(arguments) => &mut arguments.rollout,
            Verb::List(arguments) => &mut arguments.rollout,
            Verb::Generate(_) | Verb::Show(_) | Verb::Passphrase(_) => return None,
        };
        Some(&mut rollout.privilege)
    }
}
