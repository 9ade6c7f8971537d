//! `bugle push TARGETS SRC… DEST`.

use super::failure::Failed;
use super::options::GlobalOptions;
use super::rendering::render_all;
use super::transfer::TransferOptions;
use super::via_choice::ViaChoice;
use crate::task::{Account, Backup, Ownership, Pace, Push, PushOrder, Sending};
use crate::tree::{Rules, ScanOptions, Tree, shown};
use clap::{Args, ValueHint};
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::sync::Arc;

/// Problems with the sources that are told.
const PROBLEMS_SHOWN: usize = 20;

#[derive(Args, Debug)]
#[command(
    override_usage = "bugle push [OPTIONS] <TARGETS> <SRC>... <DEST>",
    after_help = "Examples:
  bugle push all app.conf /etc/app/
  bugle push @web -r site /srv --delete --exclude '*.map'
  bugle push 'web[01-20]' --sudo --mode 0640 --group app secrets.env /etc/app/secrets.env
  bugle push @db --dry-run -r -p conf/. /etc/postgresql"
)]
pub(super) struct Arguments {
    /// Mode of files, in octal; directories get x where that has r. `D0750,F0640` says both
    #[arg(long, value_name = "MODE")]
    mode: Option<Modes>,
    /// Owner of what is sent, by name or number
    #[arg(long, value_name = "USER")]
    owner: Option<Account>,
    /// Group of what is sent, by name or number
    #[arg(long, value_name = "GROUP")]
    group: Option<Account>,
    /// Render `{{ host variables }}` in the files
    #[arg(long)]
    template: bool,
    /// Keep what is replaced as NAME~
    #[arg(long)]
    backup: bool,
    /// Send large files that changed as a whole, without looking at what the hosts have of them
    #[arg(short = 'W', long)]
    whole_file: bool,
    /// Bytes a second of all hosts together, such as `500K`, `10M`
    #[arg(long, value_name = "RATE", value_parser = rate)]
    limit_rate: Option<u64>,
    /// Which way files go
    #[arg(long, value_enum, value_name = "WAY", default_value = "auto")]
    via: ViaChoice,
    /// Remove from the directories on the hosts what the sources do not have
    #[arg(long)]
    delete: bool,
    /// Honour the .gitignore files in the tree
    #[arg(long, help_heading = "Which files")]
    gitignore: bool,
    // Behind these, options would stand under the last heading of theirs.
    #[command(flatten)]
    pub(super) transfer: TransferOptions,
    /// Local files and directories; `DIR/.` means what is in it. The last is the destination on the hosts
    #[arg(value_name = "SRC… DEST", required = true, num_args = 1.., value_hint = ValueHint::AnyPath, help_heading = None)]
    paths: Vec<OsString>,
}

/// Modes of files and directories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Modes {
    file: Option<u32>,
    directory: Option<u32>,
}

impl std::str::FromStr for Modes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let octal = |digits: &str| {
            let is_octal =
                !digits.is_empty() && digits.len() <= 5 && digits.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
            let mode = is_octal.then(|| u32::from_str_radix(digits, 8).ok()).flatten().filter(|mode| *mode <= 0o7777);
            mode.ok_or_else(|| format!("`{digits}` is no mode: write it in octal, such as 0644"))
        };
        let mut modes = Self { file: None, directory: None };
        for part in text.split(',') {
            match part.split_at_checked(1) {
                Some(("D", digits)) => modes.directory = Some(octal(digits)?),
                Some(("F", digits)) => modes.file = Some(octal(digits)?),
                _ => {
                    let mode = octal(part)?;
                    modes = Self { file: Some(mode), directory: Some(mode | (mode & 0o444) >> 2) };
                }
            }
        }
        Ok(modes)
    }
}

pub(super) fn run(global: &GlobalOptions, arguments: Arguments) -> Result<u8, Failed> {
    let (sources, destination) = sources_and_destination(&arguments.paths)?;
    if arguments.delete && !arguments.transfer.recursive {
        return Err(Failed::mistake_text("`--delete` is about directories, and without `-r` none is sent")
            .hint("add `-r`, or leave `--delete` out"));
    }
    let tree = Arc::new(scan(&arguments, &sources)?);
    let names: Vec<String> = sources.iter().map(|path| path.display().to_string()).collect();
    let title = format!("{} {}", names.join(" "), destination.escape_ascii());
    let options = &arguments.transfer;
    let transfer = options.select(global, "push", title)?;
    let rendered = match arguments.template {
        true => render_all(&transfer.known, &transfer.hosts, &tree)?,
        false => Vec::new(),
    };
    let mut ready = transfer.reach()?;
    let why = ["are no files", "have names that bugle gives to files on their way"];
    for (left_out, why) in [tree.special(), tree.temporary()].iter().zip(why) {
        if let Some(first) = left_out.first() {
            ready.remark(format!(
                "{} left out that {why}, such as `{}`",
                left_out.len(),
                shown(first.as_os_str().as_bytes())
            ));
        }
    }
    let order = PushOrder {
        tree,
        destination,
        rules: Rules {
            // The time of a template says nothing about what it comes to.
            checksum: options.checksum || arguments.template,
            preserve: options.preserve,
            delete: arguments.delete,
            backup: arguments.backup,
            file_mode: arguments.mode.and_then(|modes| modes.file),
            directory_mode: arguments.mode.and_then(|modes| modes.directory),
            ..Rules::default()
        },
        ownership: Ownership { owner: arguments.owner, group: arguments.group },
        backup: if arguments.backup { Backup::Tilde } else { Backup::None },
        pace: arguments.limit_rate.map(Pace::new),
        via: arguments.via.into(),
        rendered,
        sending: if arguments.whole_file { Sending::WholeFiles } else { Sending::Changes },
        conduct: ready.conduct(),
    };
    let lock = Arc::clone(&ready.lock);
    ready.run(|caller, hosts| Push::new(caller, hosts, order, lock))
}

/// Bytes a second: a number with K, M or G for powers of 1024.
fn rate(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is no rate: write bytes a second, such as `500K` or `10M`");
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len()));
    let factor = match unit.to_ascii_uppercase().as_str() {
        "" | "B" => 1.0,
        "K" | "KB" | "KIB" => 1024.0,
        "M" | "MB" | "MIB" => 1_048_576.0,
        "G" | "GB" | "GIB" => 1_073_741_824.0,
        _ => return Err(wrong()),
    };
    let number: f64 = digits.parse().map_err(|_| wrong())?;
    let rate = number * factor;
    if (1.0..1e15).contains(&rate) { Ok(rate as u64) } else { Err(wrong()) }
}

fn sources_and_destination(paths: &[OsString]) -> Result<(Vec<PathBuf>, Vec<u8>), Failed> {
    let Some((destination, sources)) = paths.split_last().filter(|(_, sources)| !sources.is_empty()) else {
        return Err(Failed::mistake_text("a source and a destination are needed").hint("bugle push TARGETS SRC… DEST"));
    };
    let destination = destination.clone().into_vec();
    if destination.contains(&b'\n') || destination.is_empty() {
        return Err(Failed::mistake_text("the destination is empty, or has a line break in it"));
    }
    Ok((sources.iter().map(PathBuf::from).collect(), destination))
}

fn scan(arguments: &Arguments, sources: &[PathBuf]) -> Result<Tree, Failed> {
    let filter = arguments.transfer.filter.filter().map_err(Failed::mistake)?;
    let options = ScanOptions {
        recursive: arguments.transfer.recursive,
        links: arguments.transfer.links(),
        filter: if arguments.gitignore { filter.with_gitignore() } else { filter },
    };
    Tree::scan(sources, &options).map_err(|problems| {
        let told = problems.0.into_iter().map(|problem| {
            let hint = problem.hint().map(Into::into);
            Failed::mistake(problem).hints(hint)
        });
        Failed::several(told.collect(), PROBLEMS_SHOWN)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_units() {
        assert_eq!(
            [rate("500"), rate("1.5K"), rate("10M"), rate("2GiB")],
            [Ok(500), Ok(1536), Ok(10 << 20), Ok(2 << 30)]
        );
        for wrong in ["", "0", "-1", "fast", "10X", "1e9", "."] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn modes_are_octal_for_files_and_directories() {
        let modes = |file, directory| Ok(Modes { file, directory });
        assert_eq!("0640".parse(), modes(Some(0o640), Some(0o750)));
        assert_eq!("600".parse(), modes(Some(0o600), Some(0o700)));
        assert_eq!("D2755,F0644".parse(), modes(Some(0o644), Some(0o2755)));
        assert_eq!("D0700".parse(), modes(None, Some(0o700)));
        for wrong in ["", "u+x", "0888", "17777", "F", "-1"] {
            assert!(wrong.parse::<Modes>().is_err(), "{wrong}");
        }
    }
}
