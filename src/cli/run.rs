//! `bugle run TARGETS [--] CMD…`.

use super::called::{Called, CalledAs, Questions};
use super::failure::Failed;
use super::fleet::{FleetRun, Traffic};
use super::options::{FanoutOptions, GlobalOptions, TargetOptions};
use super::privilege::PrivilegeOptions;
use super::shown::shown;
use super::sources::{Known, Readers};
use crate::connection::Terminal;
use crate::exit_code;
use crate::nodeset::fold;
use crate::scheduler::LocalFiles;
use crate::selection::{Origin, Selected};
use crate::task::{Broadcast, Call, Caller, CommandLine, InputLost, Privilege, RunCommand, ScriptFile};
use crate::template::{Subject, TemplateError};
use clap::Args;
use std::collections::HashMap;
use std::io::{self, BufWriter, Write};
use std::sync::Arc;

const STDIN: &str = "--stdin";

/// How a command is run on a host: shared by `run` and `script`.
#[derive(Args, Debug)]
#[command(next_help_heading = "On the host")]
pub(super) struct HostOptions {
    #[command(flatten)]
    pub(super) privilege: PrivilegeOptions,
    /// Export a variable [repeatable]
    #[arg(long, value_name = "K=V")]
    env: Vec<String>,
    /// Run in this directory
    #[arg(long, value_name = "DIR")]
    chdir: Option<String>,
    /// Give it a terminal; without --stdin nothing is typed there, so a command that reads from it waits
    #[arg(long)]
    tty: bool,
}

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  bugle run web01,web02 uptime
  bugle run 'web[01-20]' --sudo -- systemctl restart nginx
  bugle run all --output diff cat /etc/resolv.conf
  bugle run @db --serial 1,25% --max-fail 0 --timeout 5m ./upgrade.sh
  bugle run all --template -- echo '{{ inventory_hostname }} is in {{ datacenter }}'
  tar c site | bugle run @web --stdin --chdir /srv tar x")]
pub(super) struct Arguments {
    #[command(flatten)]
    targets: TargetOptions,
    /// The command, for the login shell of each host
    #[arg(value_name = "CMD", required = true, trailing_var_arg = true)]
    command: Vec<String>,
    #[command(flatten)]
    pub(super) host: HostOptions,
    /// Send standard input to every host
    #[arg(long)]
    stdin: bool,
    /// Render `{{ host variables }}` in the command, --env and --chdir
    #[arg(long)]
    template: bool,
    #[command(flatten)]
    fanout: FanoutOptions,
}

pub(super) fn run(global: &GlobalOptions, arguments: Arguments) -> Result<u8, Failed> {
    let command = arguments.command.join(" ");
    let line = arguments.host.command_line(command.clone())?;
    let stdin = arguments.stdin;
    let job = Job {
        verb: "run",
        title: command,
        line,
        template: arguments.template,
        script: None,
        input: None,
        standard_input: stdin.then_some(STDIN),
    };
    job.run(global, &arguments.targets, &arguments.host, &arguments.fanout, move || {
        stdin.then(|| Broadcast::of(io::stdin())).transpose().map_err(input_lost)
    })
}

fn input_lost(lost: InputLost) -> Failed {
    let hint = lost.hint().map(str::to_owned);
    Failed::fault(lost).hints(hint)
}

/// A command or script that is about to be run on a fleet.
pub(super) struct Job {
    pub(super) verb: &'static str,
    pub(super) title: String,
    pub(super) line: CommandLine,
    pub(super) template: bool,
    pub(super) script: Option<ScriptFile>,
    pub(super) input: Option<Vec<u8>>,
    /// The option that reads standard input.
    pub(super) standard_input: Option<&'static str>,
}

impl HostOptions {
    pub(super) fn command_line(&self, command: String) -> Result<CommandLine, Failed> {
        let environment = self.env.iter().map(|pair| variable(pair)).collect::<Result<_, _>>()?;
        Ok(CommandLine { command, environment, directory: self.chdir.clone() })
    }

    fn terminal(&self) -> Option<Terminal> {
        self.tty.then(|| {
            let size = rustix::termios::tcgetwinsize(io::stdin()).ok().filter(|size| size.ws_col > 0);
            let (columns, rows) = size.map_or((80, 24), |size| (size.ws_col.into(), size.ws_row.into()));
            Terminal { name: std::env::var("TERM").unwrap_or_else(|_| "vt100".into()), columns, rows }
        })
    }
}

/// `NAME=VALUE`; the name goes into a shell unquoted, so it has to be one.
fn variable(pair: &str) -> Result<(String, String), Failed> {
    let wrong = || {
        Failed::mistake_text(format!("`--env {pair}`: write NAME=VALUE")).hint("a name has letters, digits and _ only")
    };
    let (name, value) = pair.split_once('=').ok_or_else(wrong)?;
    let is_name = !name.is_empty()
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name.chars().all(|character| character.is_ascii_alphanumeric() || character == '_');
    if is_name { Ok((name.into(), value.into())) } else { Err(wrong()) }
}

impl Job {
    pub(super) fn run(
        self,
        global: &GlobalOptions,
        targets: &TargetOptions,
        options: &HostOptions,
        fanout: &FanoutOptions,
        input: impl FnOnce() -> Result<Option<Broadcast>, Failed>,
    ) -> Result<u8, Failed> {
        let readers = Readers { descriptor: options.privilege.reads_standard_input(), option: self.standard_input };
        let known = Known::load_beside(readers, global)?;
        let selection = known.select(targets)?;
        let lines = self.lines(&known, &selection.hosts)?;
        let called = Called::reach(&known, &selection.hosts, &self.called_as(global, fanout, &options.privilege))?;
        if fanout.dry_run {
            return self.show_plan(&selection.hosts, &lines, &called.privileges, fanout);
        }
        let input = match self.input {
            Some(bytes) => Some(Broadcast::from_bytes(bytes)),
            None => input()?,
        };
        let (script, terminal, timeout) = (self.script, options.terminal(), fanout.timeout);
        let (detail, privileges) = (fanout.detail(global), called.privileges);
        let run = FleetRun {
            global,
            options: fanout,
            verb: self.verb,
            title: self.title,
            hosts: called.hosts,
            targets,
            remarks: called.remarks,
            local_files: LocalFiles::default(),
            traffic: Traffic::Words,
            further_keys: Vec::new(),
            epilogue: None,
        };
        run.run(|connector, hosts| {
            Ok(RunCommand {
                caller: Caller { connector, detail },
                calls: hosts
                    .into_iter()
                    .zip(lines.iter().zip(privileges))
                    .map(|(host, (command, privilege))| Call {
                        destination: host.destination,
                        command: Arc::clone(command),
                        privilege,
                    })
                    .collect(),
                script,
                input,
                terminal,
                timeout,
            })
        })
    }

    fn called_as<'a>(
        &'a self,
        global: &'a GlobalOptions,
        fanout: &'a FanoutOptions,
        privilege: &'a PrivilegeOptions,
    ) -> CalledAs<'a> {
        // A dry run finds the same mistakes, and asks nobody anything.
        let questions = if fanout.dry_run { Questions::None } else { Questions::Passwords };
        CalledAs { global, fanout, privilege, verb: self.verb, command: &self.title, questions }
    }

    /// The command of each host; one and the same unless it is a template.
    fn lines(&self, known: &Known, hosts: &[Selected]) -> Result<Vec<Arc<CommandLine>>, Failed> {
        let line = Arc::new(self.line.clone());
        if !self.template {
            return Ok(vec![line; hosts.len()]);
        }
        let mut lines = Vec::with_capacity(hosts.len());
        let mut problems: Vec<(String, Vec<&str>)> = Vec::new();
        for host in hosts {
            let subject = match &host.origin {
                Origin::Inventory(index) => Subject::Member(*index),
                Origin::Implicit(name) => Subject::Stranger(name.as_str()),
            };
            let render = |text: &str| known.templates.render(text, subject);
            let rendered = || -> Result<CommandLine, TemplateError> {
                Ok(CommandLine {
                    command: render(&line.command)?,
                    environment: line
                        .environment
                        .iter()
                        .map(|(name, value)| Ok((name.clone(), render(value)?)))
                        .collect::<Result<_, TemplateError>>()?,
                    directory: line.directory.as_deref().map(render).transpose()?,
                })
            };
            match rendered() {
                Ok(line) => lines.push(Arc::new(line)),
                Err(error) => {
                    // A template of the inventory may hold newlines, and must not pass for a hint of ours.
                    let error = error.to_string().replace('\n', "\n    ");
                    match problems.iter_mut().find(|(known, _)| *known == error) {
                        Some((_, names)) => names.push(host.name.as_str()),
                        None => problems.push((error, vec![host.name.as_str()])),
                    }
                }
            }
        }
        let told = problems.into_iter().map(|(error, names)| {
            Failed::mistake_text(format!("the template does not work for `{}`: {error}", fold(names)))
        });
        let told: Vec<Failed> = told.collect();
        if told.is_empty() { Ok(lines) } else { Err(Failed::several(told, 20)) }
    }

    fn show_plan(
        &self,
        hosts: &[Selected],
        lines: &[Arc<CommandLine>],
        privileges: &[Option<Privilege>],
        fanout: &FanoutOptions,
    ) -> Result<u8, Failed> {
        // What is done, and as whom: equal plans are shown once.
        let mut order: Vec<(&CommandLine, Option<String>)> = Vec::new();
        let mut names: HashMap<(&CommandLine, Option<String>), Vec<&str>> = HashMap::new();
        for ((host, line), privilege) in hosts.iter().zip(lines).zip(privileges) {
            let user =
                privilege.as_ref().map(|privilege| format!("{} ({})", privilege.user, privilege.method.program()));
            let key = (&**line, user);
            if !names.contains_key(&key) {
                order.push(key.clone());
            }
            names.entry(key).or_default().push(host.name.as_str());
        }
        let mut out = BufWriter::new(io::stdout().lock());
        for key in order {
            let names = &names[&key];
            let (line, user) = key;
            let what = if self.script.is_some() { "would run the script on" } else { "would run on" };
            writeln!(out, "{what} {} ({}):", fold(names.iter().copied()), names.len())?;
            if let Some(user) = user {
                writeln!(out, "  as {user}")?;
            }
            for (name, value) in &line.environment {
                writeln!(out, "  with {name}={}", shown(value))?;
            }
            if let Some(directory) = &line.directory {
                writeln!(out, "  in {}", shown(directory))?;
            }
            let text = if self.script.is_some() { &self.title } else { &line.command };
            text.lines().try_for_each(|text| writeln!(out, "  {}", shown(text)))?;
        }
        if let Some(serial) = &fanout.serial {
            let batches: Vec<String> = serial.batches(hosts.len()).iter().map(ToString::to_string).collect();
            writeln!(out, "in batches of {}", batches.join(", "))?;
        }
        out.flush()?;
        Ok(exit_code::SUCCESS)
    }
}
