//! What `push` and `pull` share: their options, and the way from what was typed to hosts that files go to or come from.

use super::called::{Called, CalledAs, Questions};
use super::failure::Failed;
use super::filter_options::FilterOptions;
use super::fleet::{FleetRun, Traffic};
use super::options::{FanoutOptions, GlobalOptions, TargetOptions};
use super::privilege::PrivilegeOptions;
use super::sources::{Known, Readers};
use crate::scheduler::{DescriptorBudget, LocalFiles, Work};
use crate::selection::Selected;
use crate::task::{Caller, Conduct, Extent, Interrupted, TransferHost};
use crate::tree::Links;
use crate::tree::run_lock::RunLock;
use clap::{Args, ValueEnum};
use std::sync::Arc;

/// Files on this machine that may be open at once, of all hosts together.
const OPEN_FILES: usize = 512;
/// Those of one host: a large file that is written, its directory, and the directory that was written to last.
const FILES_PER_HOST: usize = 3;

fn open_files() -> usize {
    DescriptorBudget::raised().share(OPEN_FILES)
}

/// What both verbs take.
#[derive(Args, Debug)]
#[command(mut_arg("exclude", |argument| argument.long("exclude-hosts")))]
pub(super) struct TransferOptions {
    #[command(flatten)]
    targets: TargetOptions,
    /// Directories with all that is in them
    #[arg(short = 'r', long)]
    pub(super) recursive: bool,
    /// Keep modes and times exactly, as the sources have them
    #[arg(short = 'p', long)]
    pub(super) preserve: bool,
    /// Compare by content where size and kind agree, not by time
    #[arg(long)]
    pub(super) checksum: bool,
    /// Keep large files that do not come whole, and go on with those of earlier runs, after verifying the part that is there
    #[arg(long)]
    resume: bool,
    /// What is done about symlinks
    #[arg(long, value_enum, value_name = "WHAT", default_value = "keep")]
    links: LinkChoice,
    /// Compress on the way (the ssh_config option Compression)
    #[arg(short = 'C', long)]
    compress: bool,
    #[command(flatten)]
    pub(super) filter: FilterOptions,
    #[command(flatten)]
    pub(super) privilege: PrivilegeOptions,
    #[command(flatten)]
    fanout: FanoutOptions,
}

/// What is done about symlinks.
#[derive(ValueEnum, Debug, Clone, Copy)]
enum LinkChoice {
    /// They are made anew with the same text
    Keep,
    /// What they lead to is copied
    Follow,
    /// They are left out
    Skip,
}

/// A transfer of which it is known between whom.
pub(super) struct Transfer<'a> {
    options: &'a TransferOptions,
    global: GlobalOptions,
    verb: &'static str,
    title: String,
    pub(super) known: Known,
    pub(super) hosts: Vec<Selected>,
}

/// A transfer that can begin.
pub(super) struct ReadyTransfer<'a> {
    options: &'a TransferOptions,
    global: GlobalOptions,
    verb: &'static str,
    title: String,
    called: Called,
    pub(super) lock: Arc<RunLock>,
}

impl TransferOptions {
    pub(super) fn links(&self) -> Links {
        match self.links {
            LinkChoice::Keep => Links::Keep,
            LinkChoice::Follow => Links::Follow,
            LinkChoice::Skip => Links::Skip,
        }
    }

    /// Finds out who is meant. `title` is the work in the user's words.
    pub(super) fn select(
        &self,
        global: &GlobalOptions,
        verb: &'static str,
        title: String,
    ) -> Result<Transfer<'_>, Failed> {
        let mut global = global.clone();
        if self.compress {
            global.option.push("Compression=yes".into());
        }
        let readers = Readers { descriptor: self.privilege.reads_standard_input(), option: None };
        let known = Known::load_beside(readers, &global)?;
        let hosts = known.select(&self.targets)?.hosts;
        self.filter.refuse_hosts(&hosts)?;
        Ok(Transfer { options: self, global, verb, title, known, hosts })
    }
}

impl<'a> Transfer<'a> {
    /// Finds the way to every host; passwords are asked for.
    pub(super) fn reach(self) -> Result<ReadyTransfer<'a>, Failed> {
        let Self { options, global, verb, title, known, hosts } = self;
        let called = Called::reach(
            &known,
            &hosts,
            &CalledAs {
                global: &global,
                fanout: &options.fanout,
                privilege: &options.privilege,
                verb,
                command: &title,
                questions: Questions::Passwords,
            },
        )?;
        let lock = RunLock::acquire().map_err(|error| Failed::fault(std::io::Error::other(error)))?;
        Ok(ReadyTransfer { options, global, verb, title, called, lock: Arc::new(lock) })
    }
}

impl ReadyTransfer<'_> {
    pub(super) fn conduct(&self) -> Conduct {
        let TransferOptions { fanout, resume, .. } = self.options;
        let hosts = self.called.hosts.len();
        let batch = fanout.serial.as_ref().map_or(hosts, |serial| serial.largest(hosts));
        Conduct {
            extent: if fanout.dry_run { Extent::PlanOnly } else { Extent::Whole },
            interrupted: if *resume { Interrupted::Keep } else { Interrupted::Remove },
            timeout: fanout.timeout,
            fanout: fanout.fanout.get().min(batch),
            open_files: open_files(),
        }
    }

    /// Something is worth knowing that concerns no single host.
    pub(super) fn remark(&mut self, text: String) {
        self.called.remarks.push((0, text));
    }

    /// Runs the work that `work` makes of the hosts and gives the exit code.
    pub(super) fn run<Made: Work>(self, work: impl FnOnce(Caller, Vec<TransferHost>) -> Made) -> Result<u8, Failed> {
        let Self { options, global, verb, title, called, .. } = self;
        let (detail, privileges) = (options.fanout.detail(&global), called.privileges);
        let run = FleetRun {
            global: &global,
            options: &options.fanout,
            targets: &options.targets,
            verb,
            title,
            hosts: called.hosts,
            remarks: called.remarks,
            local_files: LocalFiles { per_host: FILES_PER_HOST, shared: open_files() },
            traffic: Traffic::Files,
            further_keys: Vec::new(),
            epilogue: None,
        };
        run.run(|connector, hosts| {
            let hosts = hosts.into_iter().zip(privileges);
            let hosts = hosts.map(|(host, privilege)| TransferHost { destination: host.destination, privilege });
            Ok(work(Caller { connector, detail }, hosts.collect()))
        })
    }
}
