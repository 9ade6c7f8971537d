//! `push --template`: files as templates, rendered for every host before one of them is called.

use super::failure::Failed;
use super::sources::Known;
use crate::nodeset::fold;
use crate::selection::{Origin, Selected};
use crate::task::Rendered;
use crate::template::Subject;
use crate::tree::{Kind, Tree};
use bytes::Bytes;
use std::collections::HashMap;

/// What is larger is no template.
const LARGEST: u64 = 4 * 1024 * 1024;
/// Problems that are told.
const PROBLEMS_SHOWN: usize = 20;

/// What the files of a tree come to for each host.
///
/// # Errors
/// All files that are no templates, and all that do not work for some host.
pub(super) fn render_all(known: &Known, hosts: &[Selected], tree: &Tree) -> Result<Vec<Rendered>, Failed> {
    let templates = read_all(tree)?;
    let mut shared: HashMap<(usize, String), Bytes> = HashMap::new();
    let mut problems: Vec<((usize, String), Vec<&str>)> = Vec::new();
    let mut all = Vec::with_capacity(hosts.len());
    for host in hosts {
        let subject = match &host.origin {
            Origin::Inventory(index) => Subject::Member(*index),
            Origin::Implicit(name) => Subject::Stranger(name.as_str()),
        };
        let mut rendered = Rendered::with_capacity(templates.len());
        for (&entry, template) in &templates {
            match known.templates.render(template, subject) {
                Ok(text) => {
                    // Equal texts of thousands of hosts are kept once.
                    let bytes = shared.entry((entry, text)).or_insert_with_key(|(_, text)| Bytes::from(text.clone()));
                    rendered.insert(entry, bytes.clone());
                }
                Err(error) => {
                    let problem = (entry, error.to_string());
                    match problems.iter_mut().find(|(known, _)| *known == problem) {
                        Some((_, names)) => names.push(host.name.as_str()),
                        None => problems.push((problem, vec![host.name.as_str()])),
                    }
                }
            }
        }
        all.push(rendered);
    }
    if problems.is_empty() {
        return Ok(all);
    }
    let told = problems.into_iter().map(|((entry, error), names)| {
        let path = tree.local(entry);
        Failed::mistake_text(format!("the template `{}` does not work for `{}`: {error}", path.display(), fold(names)))
    });
    Err(Failed::several(told.collect(), PROBLEMS_SHOWN))
}

fn read_all(tree: &Tree) -> Result<HashMap<usize, String>, Failed> {
    let mut templates = HashMap::new();
    let mut problems = Vec::new();
    for (index, entry) in tree.entries.iter().enumerate() {
        let Kind::File { size, .. } = entry.kind else { continue };
        let path = tree.local(index);
        let shown = path.display();
        if size > LARGEST {
            problems.push(Failed::mistake_text(format!("`{shown}` is larger than 4 MiB: no template is")));
            continue;
        }
        match std::fs::read(&path).map(String::from_utf8) {
            Ok(Ok(text)) => {
                templates.insert(index, text);
            }
            Ok(Err(_)) => problems.push(
                Failed::mistake_text(format!("`{shown}` is no template: it is not UTF-8"))
                    .hint("leave it out with --exclude, and push it without --template"),
            ),
            Err(error) => problems.push(Failed::mistake_text(format!("cannot read `{shown}`: {error}"))),
        }
    }
    if problems.is_empty() { Ok(templates) } else { Err(Failed::several(problems, PROBLEMS_SHOWN)) }
}
