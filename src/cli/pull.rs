//! `bugle pull TARGETS SRC… DIR`.

use super::called::{Called, CalledAs, Questions};
use super::failure::Failed;
use super::filter_options::FilterOptions;
use super::fleet::FleetRun;
use super::link_choice::LinkChoice;
use super::options::{FanoutOptions, GlobalOptions, TargetOptions};
use super::privilege::PrivilegeOptions;
use super::sources::Known;
use crate::task::{Caller, Comparison, Interrupted, Pull, PullCall, PullExtent, PullOrder, Source};
use crate::tree::landing::{HalfWritten, Landing, LandingOptions, Layout, umask};
use crate::tree::run_lock::RunLock;
use clap::{Args, ValueHint};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Args, Debug)]
#[command(
    override_usage = "bugle pull [OPTIONS] <TARGETS> <SRC>... <DIR>",
    after_help = "Examples:
  bugle pull all /etc/os-release facts
  bugle pull @web -r --sudo /etc/nginx backup
  bugle pull 'web[01-20]' '/var/log/nginx/*.log' --flat logs
  bugle pull @db --dry-run -r -p 'conf/.' configuration"
)]
pub(super) struct Arguments {
    /// Who: hosts, ranges, groups, globs and their combinations, such as `web[01-20]`, `@db`, `web:&prod`
    #[arg(value_name = "TARGETS")]
    targets: String,
    /// Files and directories on the hosts, also `*`, `?` and `[…]` (in quotes); `DIR/.` means what is in it. The last is
    /// the local directory
    #[arg(value_name = "SRC… DIR", required = true, num_args = 1.., value_hint = ValueHint::AnyPath)]
    paths: Vec<OsString>,
    /// Keep only hosts that this selects too [repeatable]
    #[arg(long, value_name = "EXPR")]
    limit: Vec<String>,
    /// Leave these hosts out [repeatable]
    #[arg(short = 'x', long = "exclude-hosts", value_name = "EXPR")]
    exclude: Vec<String>,
    /// Fetch directories with all that is in them
    #[arg(short = 'r', long)]
    recursive: bool,
    /// Write to DIR/NAME.HOST instead of DIR/HOST/NAME
    #[arg(long)]
    flat: bool,
    /// Keep modes and times exactly, as the hosts have them
    #[arg(short = 'p', long)]
    preserve: bool,
    /// Compare by content where size and kind agree, not by time
    #[arg(long)]
    checksum: bool,
    /// Keep large files that do not come whole, and go on with those of earlier runs
    #[arg(long)]
    resume: bool,
    /// What is done about symlinks
    #[arg(long, value_enum, value_name = "WHAT", default_value = "keep")]
    links: LinkChoice,
    /// Compress on the way (the ssh_config option Compression)
    #[arg(short = 'C', long)]
    compress: bool,
    #[command(flatten)]
    filter: FilterOptions,
    #[command(flatten)]
    pub(super) privilege: PrivilegeOptions,
    #[command(flatten)]
    fanout: FanoutOptions,
}

pub(super) fn run(global: &GlobalOptions, arguments: Arguments) -> Result<u8, Failed> {
    let mut global = global.clone();
    if arguments.compress {
        global.option.push("Compression=yes".into());
    }
    let global = &global;
    let targets = TargetOptions {
        targets: arguments.targets.clone(),
        limit: arguments.limit.clone(),
        exclude: arguments.exclude.clone(),
    };
    let (sources, directory) = sources_and_directory(&arguments.paths)?;
    let filter = arguments.filter.filter().map_err(Failed::mistake)?;
    let known = Known::load(global)?;
    let selection = known.select(&targets)?;
    arguments.filter.refuse_hosts(&selection.hosts)?;
    let shown: Vec<String> = sources.iter().map(|source| source.as_bytes().escape_ascii().to_string()).collect();
    let title = format!("{} {}", shown.join(" "), directory.display());
    let fanout = &arguments.fanout;
    let called = Called::reach(
        &known,
        &selection.hosts,
        &CalledAs {
            global,
            fanout,
            privilege: &arguments.privilege,
            verb: "pull",
            command: &title,
            questions: Questions::Passwords,
        },
    )?;
    let lock = Arc::new(RunLock::acquire().map_err(|error| Failed::fault(std::io::Error::other(error)))?);
    let order = PullOrder {
        sources,
        landing: landing(&arguments, &directory, &lock)?,
        recursive: arguments.recursive,
        preserve: arguments.preserve,
        comparison: if arguments.checksum { Comparison::Content } else { Comparison::SizeAndTime },
        links: arguments.links.into(),
        filter,
        interrupted: if arguments.resume { Interrupted::Keep } else { Interrupted::Remove },
        extent: if fanout.dry_run { PullExtent::PlanOnly } else { PullExtent::Whole },
        timeout: fanout.timeout,
        fanout: fanout.fanout.get(),
    };
    let (detail, privileges) = (fanout.detail(global), called.privileges);
    let run = FleetRun { global, options: fanout, verb: "pull", title, hosts: called.hosts, remarks: called.remarks };
    run.run(|connector, hosts| {
        let calls = hosts.into_iter().zip(privileges);
        let calls = calls.map(|(host, privilege)| PullCall { destination: host.destination, privilege }).collect();
        Pull::new(Caller { connector, detail }, calls, order, lock)
    })
}

fn sources_and_directory(paths: &[OsString]) -> Result<(Vec<Source>, PathBuf), Failed> {
    let Some((directory, sources)) = paths.split_last().filter(|(_, sources)| !sources.is_empty()) else {
        return Err(Failed::mistake_text("a source and a directory are needed").hint("bugle pull TARGETS SRC… DIR"));
    };
    if directory.is_empty() {
        return Err(Failed::mistake_text("the directory to write to is empty").hint("`.` is the current one"));
    }
    let sources = Source::all(sources.iter().map(|source| source.clone().into_vec())).map_err(|error| {
        let hint = error.hint().map(Into::into);
        Failed::mistake(error).hints(hint)
    })?;
    Ok((sources, PathBuf::from(directory)))
}

/// Where the files go. A run that only looks makes nothing, so it has nothing where nothing is.
fn landing(arguments: &Arguments, directory: &Path, lock: &Arc<RunLock>) -> Result<Option<Arc<Landing>>, Failed> {
    let dry_run = arguments.fanout.dry_run;
    if dry_run && !directory.exists() {
        return Ok(None);
    }
    let options = LandingOptions {
        layout: if arguments.flat { Layout::Flat } else { Layout::ByHost },
        half_written: match (dry_run, arguments.resume) {
            (true, _) => HalfWritten::Ignore,
            (false, true) => HalfWritten::Keep,
            (false, false) => HalfWritten::Remove,
        },
        umask: umask(),
    };
    let opened = Landing::open(directory, options, Arc::clone(lock)).map_err(|error| {
        let hint = error.hint().map(Into::into);
        Failed::mistake(error).hints(hint)
    })?;
    Ok(Some(opened))
}
