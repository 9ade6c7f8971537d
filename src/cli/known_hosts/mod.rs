//! `bugle known-hosts`: the host keys of the fleet, in the files that ssh uses too.
//!
//! `list`, `remove` and `import` work on files alone; what is named for them is found out in `subject`. `learn` and `check` call
//! the hosts for their keys, which `survey` does.

mod check;
mod import;
mod learn;
mod list;
mod remove;
mod subject;
mod survey;

use super::failure::Failed;
use super::options::GlobalOptions;
use clap::{Args, Subcommand};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  bugle known-hosts learn 'web[01-20]'
  bugle known-hosts check all
  bugle known-hosts list web01
  bugle known-hosts remove '[web01]:2222'
  ssh-keyscan web01 | bugle known-hosts import -")]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Fetch the keys of hosts over the way to them, show them, and remember them
    Learn(learn::Arguments),
    /// Compare the keys of hosts with what is known of them
    Check(check::Arguments),
    /// Print what is known, a key a line
    List(list::Arguments),
    /// Forget the keys of hosts, as `ssh-keygen -R`
    Remove(remove::Arguments),
    /// Merge a collected file, what ssh-keyscan prints, or an authority
    Import(import::Arguments),
}

pub(super) fn run(global: &GlobalOptions, arguments: &Arguments) -> Result<u8, Failed> {
    match &arguments.verb {
        Verb::Learn(arguments) => learn::run(global, arguments),
        Verb::Check(arguments) => check::run(global, arguments),
        Verb::List(arguments) => list::run(global, arguments),
        Verb::Remove(arguments) => remove::run(global, arguments),
        Verb::Import(arguments) => import::run(global, arguments),
    }
}
