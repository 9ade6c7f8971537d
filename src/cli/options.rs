//! The options that verbs share, exactly as `docs` and `--help` show them.

use super::settings::{Lists, Origins};
use crate::duration;
use crate::report::OutputMode;
use crate::scheduler::{Fanout, MaxFail, Retries, Serial};
use crate::task::quote;
use clap::parser::ValueSource;
use clap::{Arg as Argument, ArgAction, ArgMatches, Args, Command, ValueEnum, ValueHint};
use std::iter::successors;
use std::path::PathBuf;
use std::time::Duration;

/// What every verb takes.
#[derive(Args, Debug, Clone, Default)]
#[command(next_help_heading = "Connection and inventory")]
pub(super) struct GlobalOptions {
    /// Inventory: a YAML, INI or plain file, a directory, a program, `h1,h2,`, or `-` for standard input [repeatable]
    #[arg(short = 'i', long = "inventory", value_name = "PATH", global = true, value_hint = ValueHint::AnyPath)]
    pub(super) inventory: Vec<String>,
    /// Read this ssh_config instead of ~/.ssh/config and /etc/ssh/ssh_config; `none` reads neither
    #[arg(short = 'F', long = "ssh-config", value_name = "FILE|none", global = true, value_hint = ValueHint::FilePath)]
    pub(super) ssh_config: Option<String>,
    /// Any ssh_config option, over all files [repeatable]
    #[arg(short = 'o', long = "option", value_name = "KEY=VALUE", global = true)]
    pub(super) option: Vec<String>,
    /// Log in as this user
    #[arg(short = 'l', long, value_name = "USER", global = true)]
    pub(super) user: Option<String>,
    /// Connect to this port
    #[arg(long, value_name = "PORT", global = true, value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) port: Option<u16>,
    /// Log in with this key [repeatable]
    #[arg(short = 'I', long, value_name = "FILE", global = true, value_hint = ValueHint::FilePath)]
    pub(super) identity: Vec<PathBuf>,
    /// Go through these jump hosts: `[user@]host[:port],…`
    #[arg(short = 'J', long, value_name = "HOSTS", global = true)]
    pub(super) jump: Option<String>,
    /// Ask for the login password, once for all hosts
    #[arg(long, global = true)]
    pub(super) ask_pass: bool,
    /// Read the login password from this file descriptor
    #[arg(long, value_name = "FD", global = true)]
    pub(super) pass_fd: Option<i32>,
    /// Say more: -v what happens to each host, -vv phases in detail, -vvv everything
    #[arg(short = 'v', long, action = ArgAction::Count, global = true)]
    pub(super) verbose: u8,
    /// Say less: no closing line, no progress
    #[arg(short = 'q', long, global = true)]
    pub(super) quiet: bool,
    /// Colour
    #[arg(long, value_enum, value_name = "WHEN", default_value = "auto", global = true)]
    pub(super) color: ColorChoice,
    /// Defaults for any long option [default: ~/.config/bugle/config.yaml]
    #[arg(long, value_name = "FILE", global = true, value_hint = ValueHint::FilePath)]
    pub(super) config: Option<PathBuf>,
    /// Where those values come from that were not typed.
    #[arg(skip)]
    pub(super) origins: Origins,
    /// Whether --connect-timeout was: as a default it gives way to a ConnectTimeout that was.
    #[arg(skip)]
    pub(super) connect_timeout_is_typed: bool,
    /// What environment and configuration file add to lists that are typed.
    #[arg(skip)]
    pub(super) lists: Lists,
}

/// Makes the repeatable global options ones that each level of the command line has for itself: clap keeps those of the last
/// level alone, and `-o A=1 run -o B=2` means both. [`GlobalOptions::add_up`] puts them together.
pub(super) fn with_own_levels(command: Command) -> Command {
    let is_repeatable = |argument: &&Argument| {
        argument.is_global_set() && matches!(argument.get_action(), ArgAction::Append | ArgAction::Count)
    };
    let repeatable: Vec<Argument> = command.get_arguments().filter(is_repeatable).cloned().collect();
    let command = command.mut_args(|argument| {
        let is_ours = repeatable.iter().any(|ours| ours.get_id() == argument.get_id());
        if is_ours { argument.global(false) } else { argument }
    });
    // What was not typed counts once, where it is first.
    let untyped = |argument: Argument| argument.global(false).env(None::<&str>).default_value(None::<&str>);
    with_further(command, &repeatable.into_iter().map(untyped).collect::<Vec<_>>())
}

fn with_further(command: Command, arguments: &[Argument]) -> Command {
    command.mut_subcommands(|verb| with_further(verb.args(arguments.iter().cloned()), arguments))
}

impl GlobalOptions {
    /// Puts together what was typed before the verb, behind it and behind the verb's own verb, in this order.
    pub(super) fn add_up(&mut self, matches: &ArgMatches) {
        let levels = successors(Some(matches), |level| level.subcommand().map(|(_, level)| level));
        let levels: Vec<&ArgMatches> = levels.collect();
        fn list<T: Clone + Send + Sync + 'static>(levels: &[&ArgMatches], id: &str, list: &mut Vec<T>) {
            let typed = typed(levels, id).flat_map(|level| level.get_many(id).into_iter().flatten().cloned());
            let typed: Vec<T> = typed.collect();
            if !typed.is_empty() {
                *list = typed;
            }
        }
        list(&levels, "inventory", &mut self.inventory);
        list(&levels, "option", &mut self.option);
        list(&levels, "identity", &mut self.identity);
        let said = typed(&levels, "verbose").map(|level| level.get_count("verbose")).reduce(u8::saturating_add);
        self.verbose = said.unwrap_or(self.verbose);
    }

    /// The command line that learns the host keys of these targets, over the way that is typed here.
    pub(super) fn learning_line(&self, targets: &TargetOptions) -> String {
        let was_typed = |option: &str| self.origins.of(option, 0).is_none();
        let one = |option: &'static str, flag: &'static str, value: Option<String>| {
            value.filter(|_| was_typed(option)).map(|value| (flag, value))
        };
        let paths = self.identity.iter().map(|path| ("-I", path.display().to_string()));
        let words = [
            one("ssh-config", "-F", self.ssh_config.clone()),
            one("user", "-l", self.user.clone()),
            one("port", "--port", self.port.map(|port| port.to_string())),
            one("jump", "-J", self.jump.clone()),
        ];
        let inventory = self.inventory.iter().filter(|_| was_typed("inventory")).map(|source| ("-i", source.clone()));
        let option = self.option.iter().map(|option| ("-o", option.clone()));
        let limits = targets.limit.iter().map(|limit| ("--limit", limit.clone()));
        let excludes = targets.exclude.iter().map(|exclude| ("-x", exclude.clone()));
        let flags =
            words.into_iter().flatten().chain(inventory).chain(option).chain(paths).chain(limits).chain(excludes);
        let flags: String = flags.map(|(flag, value)| format!(" {flag} {}", quote(&value))).collect();
        format!("bugle known-hosts learn {}{flags}", quote(&targets.targets))
    }

    /// Whether an inventory is read from standard input, which is used up then.
    pub(super) fn inventory_is_piped(&self) -> bool {
        self.inventory.iter().any(|source| source == "-")
    }
}

/// The levels at which an option was typed.
fn typed<'a>(levels: &[&'a ArgMatches], id: &str) -> impl Iterator<Item = &'a ArgMatches> {
    levels.iter().copied().filter(move |level| level.value_source(id) == Some(ValueSource::CommandLine))
}

/// When output is coloured.
#[derive(ValueEnum, Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum ColorChoice {
    /// On terminals, unless NO_COLOR is set
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// Who is called.
#[derive(Args, Debug, Clone)]
pub(super) struct TargetOptions {
    /// Who: hosts, ranges, groups, globs and their combinations, such as `web[01-20]`, `@db`, `web:&prod`
    #[arg(value_name = "TARGETS")]
    pub(super) targets: String,
    /// Keep only hosts that this selects too [repeatable]
    #[arg(long, value_name = "EXPR")]
    pub(super) limit: Vec<String>,
    /// Leave these hosts out [repeatable]
    #[arg(short = 'x', long, value_name = "EXPR")]
    pub(super) exclude: Vec<String>,
}

/// How a fleet is called: what every fleet verb takes.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Fan-out")]
pub(super) struct FanoutOptions {
    /// Hosts worked on at once
    #[arg(short = 'f', long, value_name = "N", default_value_t)]
    pub(super) fanout: Fanout,
    /// TCP, key exchange and login together
    #[arg(long, value_name = "D", value_parser = time_limit)]
    pub(super) connect_timeout: Option<Duration>,
    /// The work on one host; its process is ended then
    #[arg(long, value_name = "D", value_parser = time_limit)]
    pub(super) timeout: Option<Duration>,
    /// The whole run: nothing is started after it, what runs is ended
    #[arg(long, value_name = "D", value_parser = time_limit)]
    pub(super) deadline: Option<Duration>,
    /// Tries after the first, for resets and overload; never after a refused login or once the work began
    #[arg(long, value_name = "N", default_value_t)]
    pub(super) retries: Retries,
    /// Rolling batches, such as `1,10%,100%`; a batch that fails on every host is the last, unless --max-fail says otherwise
    #[arg(long, value_name = "SPEC")]
    pub(super) serial: Option<Serial>,
    /// Wait between batches
    #[arg(long, value_name = "D", value_parser = duration::parse)]
    pub(super) pause: Option<Duration>,
    /// Start no further host once more than this many have failed; with --serial also judged per batch
    #[arg(long, value_name = "N|P%")]
    pub(super) max_fail: Option<MaxFail>,
    /// The same as --max-fail 0, where that is not given
    #[arg(long)]
    pub(super) fail_fast: bool,
    /// Print what would be done and touch nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// How answers are shown: auto, stream, group, diff, raw, json, none
    #[arg(long, value_name = "MODE", default_value_t)]
    pub(super) output: OutputMode,
    /// Write HOST.out and HOST.err here, byte for byte
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(super) outdir: Option<PathBuf>,
    /// Write the events as JSON lines; `-` is standard output
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) json: Option<PathBuf>,
    /// Write a JUnit report for CI; `-` is standard output
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) junit: Option<PathBuf>,
    /// What the exit code says: `run` (how the run went, see `bugle --help`) or `remote` (the largest status of the hosts)
    #[arg(long, value_enum, value_name = "WHAT")]
    pub(super) exit: Option<ExitChoice>,
    /// Do not ask before wide work
    #[arg(long)]
    pub(super) yes: bool,
}

impl FanoutOptions {
    /// How much tasks tell of what happens on the way: what nobody shows is not told.
    pub(super) fn detail(&self, global: &GlobalOptions) -> u8 {
        let every_event_is_written = self.json.is_some() || self.output == OutputMode::Json;
        if every_event_is_written { u8::MAX } else { global.verbose }
    }
}

/// A duration that can end something.
pub(super) fn time_limit(text: &str) -> Result<Duration, String> {
    match duration::parse(text) {
        Ok(limit) if limit.is_zero() => Err(format!("`{text}` is no time at all: leave the option out for no limit")),
        Ok(limit) => Ok(limit),
        Err(error) => Err(error.to_string()),
    }
}

/// What the exit code tells.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ExitChoice {
    /// How the run went
    Run,
    /// The largest status that a host's command returned, 255 where one was not reached
    Remote,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::FromArgMatches;

    #[test]
    fn what_is_repeated_adds_up_wherever_it_is_typed() {
        let globals = || GlobalOptions::augment_args(Command::new("bugle"));
        let nested = Command::new("keys").subcommand(Command::new("list"));
        let command = with_own_levels(globals().subcommand(nested));
        let read = |arguments: &[String]| {
            let matches = command.clone().try_get_matches_from(arguments).unwrap();
            let mut global = GlobalOptions::from_arg_matches(&matches).unwrap();
            global.add_up(&matches);
            format!("{global:?}")
        };
        let mut seen = 0;
        for argument in globals().get_arguments().filter(|argument| argument.is_global_set()) {
            let long = argument.get_long().unwrap();
            let [a, b, c] = match argument.get_action() {
                ArgAction::Append => ["a=1", "b=2", "c=3"].map(|value| format!("--{long}={value}")),
                ArgAction::Count => [(), (), ()].map(|()| format!("--{long}")),
                _ => continue,
            };
            let apart = ["bugle", &a, "keys", &b, "list", &c].map(str::to_owned);
            let together = ["bugle", &a, &b, &c, "keys", "list"].map(str::to_owned);
            assert_eq!(read(&apart), read(&together), "--{long}");
            seen += 1;
        }
        assert_eq!(seen, 4, "inventory, option, identity, verbose");
    }
}
