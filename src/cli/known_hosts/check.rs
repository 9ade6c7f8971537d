//! `bugle known-hosts check TARGETS`: every host's keys beside what is known of it.

use super::survey::{JumpHosts, Survey, SurveyOptions, Surveyed, alarm, is_alarming};
use crate::cli::failure::Failed;
use crate::cli::options::GlobalOptions;
use crate::cli::shown::{shown, write_json};
use crate::known_hosts::{Comparison, Standing};
use crate::nodeset::fold;
use clap::Args;
use std::collections::HashMap;
use std::io::{self, BufWriter, Write};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  bugle known-hosts check all
  bugle known-hosts check '@web' --type ed25519
  bugle known-hosts check all --json - | jq '.[].keys[] | select(.standing == \"changed\")'")]
pub(super) struct Arguments {
    #[command(flatten)]
    survey: SurveyOptions,
}

pub(super) fn run(global: &GlobalOptions, arguments: &Arguments) -> Result<u8, Failed> {
    let survey = arguments.survey.reach(global)?.survey(JumpHosts::Known)?;
    let mut stderr = io::stderr().lock();
    match &arguments.survey.json {
        Some(target) => write_json(target, &survey.document(|_, _, _| {}))?,
        None => write_groups(&mut BufWriter::new(io::stdout().lock()), &survey)?,
    }
    survey.tell_unreached(&mut stderr)?;
    if !global.quiet {
        writeln!(stderr, "{}", closing(&survey))?;
    }
    Ok(survey.exit_code())
}

/// Hosts that stand alike under one line, most first, and last those with a key that is wrong.
fn write_groups(out: &mut dyn Write, survey: &Survey) -> io::Result<()> {
    let mut groups: Vec<(String, bool, Vec<&Surveyed>)> = Vec::new();
    let mut positions: HashMap<String, usize> = HashMap::new();
    for host in &survey.hosts {
        let Ok(comparison) = &host.keys else { continue };
        let summary = summary(comparison);
        let position = *positions.entry(summary.clone()).or_insert_with(|| {
            groups.push((summary, is_wrong(comparison), Vec::new()));
            groups.len() - 1
        });
        groups[position].2.push(host);
    }
    groups.sort_by_key(|(_, is_wrong, hosts)| (*is_wrong, std::cmp::Reverse(hosts.len())));
    for (summary, is_wrong, hosts) in groups {
        let names = fold(hosts.iter().map(|host| host.destination.name.as_str()));
        writeln!(out, "{names} ({}): {}", hosts.len(), shown(&summary))?;
        for host in hosts.into_iter().filter(|_| is_wrong) {
            for (key, standing) in host.keys.iter().flat_map(|comparison| &comparison.shown) {
                if let Some(alarm) = alarm(standing).filter(|_| is_alarming(standing)) {
                    let text = format!("  {}: {} {} {alarm}", host.destination.name, key.family(), key.fingerprint());
                    writeln!(out, "{}", shown(&text))?;
                }
            }
        }
    }
    out.flush()
}

/// What two hosts have in common that stand alike: `same ED25519, ECDSA; new type RSA`.
fn summary(comparison: &Comparison) -> String {
    let mut words: Vec<(&str, Vec<&str>)> = Vec::new();
    let shown = comparison.shown.iter().map(|(key, standing)| (word(standing), key.family()));
    let missing = comparison.missing.iter().map(|known| ("missing", known.key.family()));
    for (word, family) in shown.chain(missing) {
        match words.iter_mut().find(|(known, _)| *known == word) {
            Some((_, families)) => families.push(family),
            None => words.push((word, vec![family])),
        }
    }
    let words: Vec<String> =
        words.into_iter().map(|(word, families)| format!("{word} {}", families.join(", "))).collect();
    if words.is_empty() { "no key of these types".into() } else { words.join("; ") }
}

fn word(standing: &Standing) -> &'static str {
    match standing {
        Standing::Same(_) => "same",
        Standing::New => "new",
        Standing::NewType => "new type",
        Standing::Changed(_) => "CHANGED",
        Standing::Revoked(_) => "REVOKED",
        Standing::Weak(_) => "weak",
        Standing::Damaged(_) => "DAMAGED LINE",
    }
}

fn is_wrong(comparison: &Comparison) -> bool {
    has(comparison, is_alarming)
}

fn has(comparison: &Comparison, wanted: impl Fn(&Standing) -> bool) -> bool {
    comparison.shown.iter().any(|(_, standing)| wanted(standing))
}

/// `6 hosts: 4 same, 1 new, 1 changed`: each host by the worst of its keys.
fn closing(survey: &Survey) -> String {
    let count = |wanted: &dyn Fn(&Comparison) -> bool| {
        survey.hosts.iter().filter_map(|host| host.keys.as_ref().ok()).filter(|comparison| wanted(comparison)).count()
    };
    let is_unknown = |comparison: &Comparison| {
        let mut standings = comparison.shown.iter().map(|(_, standing)| standing);
        !comparison.shown.is_empty() && standings.all(|standing| matches!(standing, Standing::New | Standing::Weak(_)))
    };
    let total = survey.hosts.len() + survey.unanswered.len();
    let is_revoked = |comparison: &Comparison| has(comparison, |standing| matches!(standing, Standing::Revoked(_)));
    let is_damaged = |comparison: &Comparison| has(comparison, |standing| matches!(standing, Standing::Damaged(_)));
    let (unknown, silent) = (count(&is_unknown), count(&|comparison| comparison.shown.is_empty()));
    let revoked = count(&is_revoked);
    let damaged = count(&|comparison| is_damaged(comparison) && !is_revoked(comparison));
    let changed = count(&is_wrong) - revoked - damaged;
    let unreached = survey.hosts.iter().filter(|host| host.keys.is_err()).count() + survey.unanswered.len();
    let known = total - changed - revoked - damaged - unknown - silent - unreached;
    let parts = [
        (known, "known"),
        (unknown, "new"),
        (silent, "without such a key"),
        (damaged, "with a damaged line"),
        (changed, "changed"),
        (revoked, "revoked"),
        (unreached, "not reached"),
    ];
    let parts: Vec<String> =
        parts.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    let hosts = if total == 1 { "host" } else { "hosts" };
    format!("{total} {hosts}: {}", parts.join(", "))
}
