//! `bugle known-hosts learn TARGETS`: the keys of all hosts in one table, one question, one write.

use super::survey::{JumpHosts, Survey, SurveyOptions, alarm, is_alarming};
use crate::cli::failure::Failed;
use crate::cli::host_key_question::{COMPARE, Stranger, confirm, label, remember};
use crate::cli::options::GlobalOptions;
use crate::cli::prompt;
use crate::cli::shown::{shown, write_json};
use crate::connection::Destination;
use crate::exit_code;
use crate::known_hosts::{Place, PublicKey, Standing};
use crate::nodeset::fold;
use clap::Args;
use serde_json::json;
use std::collections::{HashMap, HashSet};
use std::io::{self, BufWriter, Write};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  bugle known-hosts learn 'web[01-20]'
  bugle known-hosts learn all --dry-run
  bugle known-hosts learn new01 --type ed25519 --yes")]
pub(super) struct Arguments {
    #[command(flatten)]
    survey: SurveyOptions,
    /// Show what would be learnt and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Take the keys without a question
    #[arg(long)]
    yes: bool,
}

pub(super) fn run(global: &GlobalOptions, arguments: &Arguments) -> Result<u8, Failed> {
    let called = arguments.survey.reach(global)?;
    for host in &called.hosts {
        let destination = &host.destination;
        destination.host_query().record_name().map_err(Failed::mistake)?;
        if destination.profile.known_hosts_target().is_none() {
            return Err(Failed::mistake_text(format!("the keys of `{}` would be written nowhere", destination.name))
                .hint("its UserKnownHostsFile is `none`: -o UserKnownHostsFile=PATH"));
        }
    }
    let survey = called.survey(match (arguments.dry_run, arguments.yes) {
        (true, _) => JumpHosts::Known,
        (false, true) => JumpHosts::Taken,
        (false, false) => JumpHosts::Asked,
    })?;
    let rows = rows(&survey);
    let mut code = survey.exit_code();
    let mut table = Vec::new();
    write_table(&mut table, &rows, &survey)?;
    let is_piped = arguments.survey.json.as_deref() == Some("-");
    if is_piped {
        io::stderr().write_all(&table)?;
    } else {
        let mut out = BufWriter::new(io::stdout().lock());
        out.write_all(&table)?;
        out.flush()?;
    }
    survey.tell_unreached(&mut io::stderr())?;
    let strangers = strangers(&survey);
    let mut learnt: HashSet<(String, PublicKey)> = match arguments.dry_run {
        true => HashSet::new(),
        false => strangers.iter().map(|stranger| (stranger.query.lookup_name(), stranger.key.clone())).collect(),
    };
    if !strangers.is_empty() && !arguments.dry_run {
        agree(arguments, strangers.len())?;
        let left_out = remember(&survey.connector, strangers)?;
        if !left_out.is_empty() && code != exit_code::STOPPED {
            code = exit_code::WORK_FAILED;
        }
        for conflict in left_out {
            learnt.remove(&(conflict.name, conflict.key));
        }
    } else if strangers.is_empty() && !global.quiet {
        writeln!(io::stderr(), "nothing to learn: {}", unchanged(&survey))?;
    }
    if let Some(target) = &arguments.survey.json {
        let document = survey.document(|host, key, value| {
            let name = host.destination.host_query().lookup_name();
            value["learnt"] = learnt.contains(&(name, key.clone())).into();
            let others = survey.connector.other_names(&host.destination, key);
            let other = |(names, place): (String, Place)| {
                json!({ "names": names, "file": place.file.display().to_string(), "line": place.line })
            };
            value["elsewhere"] = others.into_iter().map(other).collect();
        });
        write_json(target, &document)?;
    }
    Ok(code)
}

/// Somebody has to say that these are the right keys.
fn agree(arguments: &Arguments, count: usize) -> Result<(), Failed> {
    if arguments.yes {
        return Ok(());
    }
    if !prompt::is_interactive() {
        return Err(Failed::mistake_text(
            "nobody can be asked about these host keys: there is no terminal; nothing was written",
        )
        .hint("compare them, then take them with --yes"));
    }
    if confirm(count)? {
        return Ok(());
    }
    Err(Failed::mistake_text("the host keys were not trusted; nothing was written"))
}

/// A line of the table: one key of one or more hosts.
struct Row<'a> {
    key: &'a PublicKey,
    standing: &'a Standing,
    hosts: Vec<&'a Destination>,
    /// How many servers show the key, among all that were called.
    servers: usize,
    /// Other names that files know it by.
    elsewhere: Vec<(String, Place)>,
}

/// Every key that is not known already, once for all hosts that stand alike with it.
fn rows(survey: &Survey) -> Vec<Row<'_>> {
    let shown = || {
        let hosts = survey.hosts.iter().filter_map(|host| Some((&*host.destination, host.keys.as_ref().ok()?)));
        hosts.flat_map(|(destination, keys)| keys.shown.iter().map(move |(key, standing)| (destination, key, standing)))
    };
    let mut servers: HashMap<&PublicKey, HashSet<String>> = HashMap::new();
    for (destination, key, _) in shown() {
        servers.entry(key).or_default().insert(destination.host_query().lookup_name());
    }
    let mut rows: Vec<Row<'_>> = Vec::new();
    let mut positions: HashMap<(&PublicKey, &str), usize> = HashMap::new();
    for (destination, key, standing) in shown() {
        let kind = match standing {
            Standing::Same(_) => continue,
            Standing::New => "new",
            Standing::NewType => "new type",
            // What is wrong with it is told for each host.
            _ => destination.name.as_str(),
        };
        let position = *positions.entry((key, kind)).or_insert_with(|| {
            let elsewhere = survey.connector.other_names(destination, key);
            rows.push(Row { key, standing, hosts: Vec::new(), servers: servers[key].len(), elsewhere });
            rows.len() - 1
        });
        rows[position].hosts.push(destination);
    }
    rows.sort_by_key(|row| !row.is_new());
    rows
}

fn write_table(out: &mut dyn Write, rows: &[Row<'_>], survey: &Survey) -> io::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let labels: Vec<String> = rows.iter().map(Row::label).collect();
    let width = labels.iter().map(|label| label.chars().count()).max().unwrap_or(0).min(60);
    if rows.iter().any(Row::is_new) {
        writeln!(out, "Nobody vouches for these host keys yet:")?;
    }
    let mut is_warned = false;
    for (row, label) in rows.iter().zip(&labels) {
        if !row.is_new() && !is_warned {
            let is_alarming = rows.iter().any(|row| is_alarming(row.standing));
            let why = if is_alarming { "NOT taken, and somebody may be listening in" } else { "not taken" };
            writeln!(out, "These are {why}:")?;
            is_warned = true;
        }
        let mut text = format!("  {label:width$}  {:<8} {}", row.key.family(), row.key.fingerprint());
        if row.servers > 1 {
            text += &format!("  <- the same key on {} hosts", row.servers);
        }
        if let Some((names, place)) = row.elsewhere.first().filter(|_| row.is_new()) {
            let names = if names.starts_with('|') { "a hashed name" } else { names };
            text += &format!("  <- known as {names} ({place})");
            let more = row.elsewhere.len() - 1;
            if more > 0 {
                text += &format!(" and in {more} more {}", if more == 1 { "line" } else { "lines" });
            }
        }
        if *row.standing == Standing::NewType {
            text += "  beside a known key";
        }
        if let Some(alarm) = alarm(row.standing) {
            text += &format!("  {alarm}");
        }
        writeln!(out, "{}", shown(&text))?;
    }
    if rows.iter().any(Row::is_new) {
        writeln!(out, "{COMPARE}")?;
        let same = same(survey);
        if same > 0 {
            writeln!(out, "{same} more are known already.")?;
        }
    }
    Ok(())
}

impl Row<'_> {
    fn is_new(&self) -> bool {
        matches!(self.standing, Standing::New | Standing::NewType)
    }

    fn label(&self) -> String {
        match self.hosts.as_slice() {
            [host] => label(&host.name, &host.host_query()),
            hosts => fold(hosts.iter().map(|host| host.name.as_str())),
        }
    }
}

/// The keys that a yes is about; a server that has several names here is written down once for each name of its own.
fn strangers(survey: &Survey) -> Vec<Stranger> {
    let mut strangers = Vec::new();
    let mut seen = HashSet::new();
    for host in &survey.hosts {
        let (destination, Ok(comparison)) = (&host.destination, &host.keys) else { continue };
        let Some((file, style)) = destination.profile.known_hosts_target() else { continue };
        for (key, standing) in &comparison.shown {
            let query = destination.host_query();
            if matches!(standing, Standing::New | Standing::NewType)
                && seen.insert((file.clone(), query.lookup_name(), key))
            {
                let (name, file) = (destination.name.clone(), file.clone());
                strangers.push(Stranger { name, query, key: key.clone(), file, style });
            }
        }
    }
    strangers
}

fn same(survey: &Survey) -> usize {
    let shown = survey.hosts.iter().filter_map(|host| host.keys.as_ref().ok()).flat_map(|keys| &keys.shown);
    shown.filter(|(_, standing)| matches!(standing, Standing::Same(_))).count()
}

fn unchanged(survey: &Survey) -> String {
    match same(survey) {
        0 => "no key is new".into(),
        1 => "1 host key is known already".into(),
        count => format!("{count} host keys are known already"),
    }
}
