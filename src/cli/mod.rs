//! The command line: what was typed becomes what it means, once; nothing below sees a flag.
//!
//! [`run`] is the whole program. Each verb is a file; `options` holds what verbs share, `settings` adds environment
//! and configuration file, `reach` turns a selection into destinations, `failure` is the one place that words errors.

mod agent;
mod called;
mod calls;
mod completions;
mod config;
mod failure;
mod filter_options;
mod fleet;
mod host_key_question;
mod hosts;
mod inventory;
mod key_files;
mod keys;
mod known_hosts;
mod man;
mod options;
mod privilege;
mod prompt;
mod pull;
mod push;
mod reach;
mod rendering;
mod run;
mod script;
mod settings;
mod shown;
mod sources;
mod transfer;
mod variables;
mod via_choice;

use crate::exit_code;
use crate::yaml;
use clap::error::{ContextKind, ContextValue};
use clap::parser::ValueSource;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use failure::Failed;
use options::GlobalOptions;
use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Call a whole fleet of servers at once over SSH.
#[derive(Parser, Debug)]
#[command(
    name = "bugle",
    version,
    about,
    long_about = "Call a whole fleet of servers at once over SSH, from one process.\n\nbugle needs nothing on a host but sshd \
                  and a POSIX shell. It reads your ~/.ssh/config, Ansible inventories and plain lists of hosts.",
    after_help = EXAMPLES,
    arg_required_else_help = true,
    subcommand_required = true,
    max_term_width = 100,
    infer_subcommands = false
)]
struct Program {
    #[command(flatten)]
    global: GlobalOptions,
    #[command(subcommand)]
    verb: Verb,
}

const EXAMPLES: &str = "Examples:
  bugle run web01,web02 uptime
  bugle run 'web[01-20]' --sudo -- systemctl restart nginx
  bugle run all -i inventory.yaml --serial 1,10%,100% ./deploy.sh
  bugle hosts 'web:&prod:!canary' --fold

Exit codes: 0 all well, 1 the work failed somewhere, 2 nothing was started, 3 a host was not reached,
4 stopped early, 5 a fault of this machine, 130 interrupted.";

#[derive(Subcommand, Debug)]
enum Verb {
    /// Run a command on every host
    Run(run::Arguments),
    /// Send a local script to every host and run it with its own #!
    Script(script::Arguments),
    /// Send local files and trees to every host
    Push(push::Arguments),
    /// Fetch files and trees from every host
    Pull(pull::Arguments),
    /// Who may log in: roll keys out, list them, take them back, over the whole fleet
    Keys(keys::Arguments),
    /// Look at, collect, check and edit the host keys of the fleet
    KnownHosts(known_hosts::Arguments),
    /// The keys in the ssh-agent: list, add and remove them, as ssh-add does
    Agent(agent::Arguments),
    /// Print who is selected, a name a line
    Hosts(hosts::Arguments),
    /// Show the inventory in Ansible's shapes, or check it
    Inventory(inventory::Arguments),
    /// Print the effective ssh_config of a host, in the form of `ssh -G`
    Config(config::Arguments),
    /// Write a shell's completion script to standard output
    Completions(completions::Arguments),
    /// Write the manual pages into a directory
    Man(man::Arguments),
}

/// Runs the program with these arguments (the first is its name) and returns its exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let program = || parse(&arguments).and_then(|program| program.verb.run(&program.global));
    match catch_unwind(AssertUnwindSafe(program)) {
        Ok(Ok(code)) => code,
        Ok(Err(failed)) => failed.report(&mut std::io::stderr(), &arguments),
        // The panic has told itself; it is a fault of ours.
        Err(_) => exit_code::FAULT,
    }
}

fn parse(arguments: &[OsString]) -> Result<Program, Failed> {
    let command = settings::with_environment(Program::command());
    let mut lists = settings::Lists::of_environment();
    let (command, origins) = settings::with_configuration(command, arguments, &mut lists)?;
    let command = options::with_own_levels(command);
    let matches = match command.try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) if error.use_stderr() => {
            let behind = settings::variable_behind(&error, arguments);
            // clap takes what the environment sets for typed, and would show it in the usage.
            let typed = Program::command().try_get_matches_from(arguments).err();
            let mut error = typed.filter(|typed| typed.kind() == error.kind()).unwrap_or(error);
            suggest_verb(&mut error, arguments);
            let failed = Failed::usage(error);
            return Err(match behind {
                Some(hint) => failed.hint(hint),
                None => failed,
            });
        }
        Err(shown) => {
            shown.print()?;
            return Err(Failed::shown());
        }
    };
    let mut program = Program::from_arg_matches(&matches).map_err(Failed::usage)?;
    program.global.origins = origins.that_count(&matches);
    program.global.lists = lists;
    program.global.add_up(&matches);
    let verb = matches.subcommand().map(|(_, verb)| verb.subcommand().map_or(verb, |(_, inner)| inner));
    let typed = |option: &str| {
        let source =
            verb.filter(|verb| verb.try_contains_id(option).is_ok()).and_then(|verb| verb.value_source(option));
        source == Some(ValueSource::CommandLine)
    };
    if let Verb::Keys(arguments) = &program.verb {
        arguments.check_typed(typed)?;
    }
    program.global.connect_timeout_is_typed = typed("connect_timeout");
    // A default says what a pause would be; only who types one means that there are batches.
    if typed("pause") && verb.is_some_and(|verb| verb.get_raw("serial").is_none()) {
        return Err(Failed::mistake_text("--pause waits between batches, and there are none")
            .hint("--serial makes batches, such as --serial 1,10%,100%"));
    }
    // A question that was typed is stronger than a descriptor from the environment or the configuration file.
    if typed("ask_pass") && !typed("pass_fd") {
        program.global.pass_fd = None;
    }
    let privilege = match &mut program.verb {
        Verb::Run(arguments) => Some(&mut arguments.host.privilege),
        Verb::Script(arguments) => Some(&mut arguments.host.privilege),
        Verb::Push(arguments) => Some(&mut arguments.transfer.privilege),
        Verb::Pull(arguments) => Some(&mut arguments.transfer.privilege),
        Verb::Keys(arguments) => arguments.privilege(),
        _ => None,
    };
    if let Some(privilege) = privilege.filter(|_| typed("ask_sudo_pass") && !typed("sudo_pass_fd")) {
        privilege.sudo_pass_fd = None;
    }
    Ok(program)
}

/// Adds the nearest verb where clap finds none near: to it two letters that changed places are far from each other.
fn suggest_verb(error: &mut clap::Error, arguments: &[OsString]) {
    let Some(ContextValue::String(wrong)) = error.get(ContextKind::InvalidSubcommand) else { return };
    if error.get(ContextKind::SuggestedSubcommand).is_some() {
        return;
    }
    let program = Program::command();
    let inner = arguments.iter().find_map(|word| program.find_subcommand(word)).filter(|verb| verb.has_subcommands());
    let names = inner.unwrap_or(&program).get_subcommands().map(clap::Command::get_name);
    if let Some(near) = yaml::nearest(wrong, names).map(str::to_owned) {
        error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(vec![near]));
    }
}

impl Verb {
    fn run(self, global: &GlobalOptions) -> Result<u8, Failed> {
        match self {
            Self::Run(arguments) => run::run(global, arguments),
            Self::Script(arguments) => script::run(global, arguments),
            Self::Push(arguments) => push::run(global, arguments),
            Self::Pull(arguments) => pull::run(global, arguments),
            Self::Keys(arguments) => keys::run(global, arguments),
            Self::KnownHosts(arguments) => known_hosts::run(global, &arguments),
            Self::Agent(arguments) => agent::run(global, &arguments),
            Self::Hosts(arguments) => hosts::run(global, &arguments),
            Self::Inventory(arguments) => inventory::run(global, &arguments),
            Self::Config(arguments) => config::run(global, &arguments),
            Self::Completions(arguments) => completions::run(&arguments),
            Self::Man(arguments) => man::run(&arguments),
        }
    }
}
