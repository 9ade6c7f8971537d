//! `bugle pull TARGETS SRC… DIR`.

use super::failure::Failed;
use super::options::GlobalOptions;
use super::transfer::TransferOptions;
use crate::task::{Comparison, Conduct, Extent, Interrupted, Pull, PullOrder, Source};
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
    /// Write to DIR/NAME.HOST instead of DIR/HOST/NAME
    #[arg(long)]
    flat: bool,
    // Behind these, options would stand under the last heading of theirs.
    #[command(flatten)]
    pub(super) transfer: TransferOptions,
    /// Files and directories on the hosts, also `*`, `?` and `[…]` (in quotes); `DIR/.` means what is in it. The last is
    /// the local directory
    #[arg(value_name = "SRC… DIR", required = true, num_args = 1.., value_hint = ValueHint::AnyPath, help_heading = None)]
    paths: Vec<OsString>,
}

pub(super) fn run(global: &GlobalOptions, arguments: Arguments) -> Result<u8, Failed> {
    let (sources, directory) = sources_and_directory(&arguments.paths)?;
    let options = &arguments.transfer;
    let filter = options.filter.filter().map_err(Failed::mistake)?;
    let shown: Vec<String> = sources.iter().map(|source| source.as_bytes().escape_ascii().to_string()).collect();
    let title = format!("{} {}", shown.join(" "), directory.display());
    let ready = options.select(global, "pull", title)?.reach()?;
    let layout = if arguments.flat { Layout::Flat } else { Layout::ByHost };
    let (conduct, lock) = (ready.conduct(), Arc::clone(&ready.lock));
    let order = PullOrder {
        sources,
        landing: landing(layout, &conduct, &directory, &lock)?,
        recursive: options.recursive,
        preserve: options.preserve,
        comparison: if options.checksum { Comparison::Content } else { Comparison::SizeAndTime },
        links: options.links(),
        filter,
        conduct,
    };
    ready.run(|caller, hosts| Pull::new(caller, hosts, order, lock))
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
fn landing(
    layout: Layout,
    conduct: &Conduct,
    directory: &Path,
    lock: &Arc<RunLock>,
) -> Result<Option<Arc<Landing>>, Failed> {
    let half_written = match (conduct.extent, conduct.interrupted) {
        (Extent::PlanOnly, _) if !directory.exists() => return Ok(None),
        (Extent::PlanOnly, _) => HalfWritten::Ignore,
        (Extent::Whole, Interrupted::Keep) => HalfWritten::Keep,
        (Extent::Whole, Interrupted::Remove) => HalfWritten::Remove,
    };
    let options = LandingOptions { layout, half_written, umask: umask() };
    let opened = Landing::open(directory, options, Arc::clone(lock)).map_err(|error| {
        let hint = error.hint().map(Into::into);
        Failed::mistake(error).hints(hint)
    })?;
    Ok(Some(opened))
}
