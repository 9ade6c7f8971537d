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
use super::key_files::begins_private_key;
use super::options::GlobalOptions;
use super::shown::beginning;
use crate::known_hosts::Problem;
use clap::{Args, Subcommand};
use std::path::Path;

/// Characters of a line that are shown with what is wrong with it.
const EXCERPT: usize = 80;

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

/// A file that was named by mistake is said to be what it is: its lines are nobody's business, least of all those of a private
/// key.
fn refuse_other_files(name: &Path, text: &[u8]) -> Result<(), Failed> {
    let name = name.display();
    if text.split(|&byte| byte == b'\n').any(begins_private_key) {
        return Err(Failed::mistake_text(format!("`{name}` holds a private key, and no host keys"))
            .hint("host keys are public ones: name the file with `.pub` beside it"));
    }
    match text.contains(&0) {
        true => Err(Failed::mistake_text(format!("`{name}` is not text, and holds no host keys"))),
        false => Ok(()),
    }
}

/// A line that cannot be understood, with its beginning.
fn invalid(problem: &Problem) -> Failed {
    Failed::mistake_text(format!("{problem}\n  {}", beginning(&problem.text, EXCERPT)))
}
