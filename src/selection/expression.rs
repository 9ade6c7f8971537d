//! The grammar of targets: words and the operators between them. What a word means is not decided here.
//!
//! Two forms exist side by side. Ansible's (`web:&prod:!db`) joins all names first, then intersects, then takes away,
//! wherever these stand. ClusterShell's (`web&prod!db`) goes strictly from left to right. A list with commas alone is
//! both. An expression with the marks of both has no agreed meaning and is refused.

use super::error::{Fault, Problem};
use std::net::Ipv6Addr;
use std::ops::Range;

/// An expression in the order in which it is evaluated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expression<'a> {
    /// Ansible's form with `&` and `!` only: they apply to everybody.
    pub(super) from_all: bool,
    pub(super) steps: Vec<Step<'a>>,
}

/// One word and how it changes what is selected so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step<'a> {
    pub(super) operator: Operator,
    pub(super) word: &'a str,
    /// Bytes of the word in the expression.
    pub(super) span: Range<usize>,
}

/// What a step does. Ordered as Ansible applies them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operator {
    Union,
    Intersection,
    Difference,
    SymmetricDifference,
}

/// What stands between two words, or before the first one.
#[derive(Clone, Debug)]
enum Separator {
    /// The beginning, or `,`: nothing need follow.
    Open,
    /// `:`
    Colon(Range<usize>),
    /// `&`, `!`, `^`, or Ansible's `&` and `!` at the beginning of a word.
    Operator(Range<usize>),
}

/// Splits an expression into its steps.
pub(super) fn parse(text: &str) -> Result<Expression<'_>, Fault> {
    let mut steps = Vec::new();
    let mut separator = Separator::Open;
    let mut operator = Operator::Union;
    let (mut ansible, mut clustershell) = (None, None);
    let mut at = 0;
    loop {
        at += blanks(&text[at..]);
        let mark = text[at..].chars().next();
        let here = at..at + mark.map_or(0, char::len_utf8);
        match (mark, &separator) {
            (None, Separator::Open) => break,
            (Some(','), Separator::Open) => {
                at += 1;
                continue;
            }
            (Some(mark @ ('&' | '!')), Separator::Open | Separator::Colon(_)) => {
                operator = if mark == '&' { Operator::Intersection } else { Operator::Difference };
                ansible = ansible.or(Some(here.clone()));
                at += 1;
                separator = Separator::Operator(here);
                continue;
            }
            (None, Separator::Colon(span) | Separator::Operator(span)) => {
                return Err(Fault::new(span.clone(), Problem::MissingName { after: text[span.clone()].into() }));
            }
            (Some(_), _) => {}
        }
        let end = at + word_length(&text[at..]);
        if end == at {
            let problem = match &separator {
                Separator::Open => Problem::MissingNameBefore(text[here.clone()].into()),
                Separator::Colon(span) | Separator::Operator(span) => {
                    Problem::MissingName { after: text[span.clone()].into() }
                }
            };
            return Err(Fault::new(here, problem));
        }
        steps.push(Step { operator, word: &text[at..end], span: at..end });
        at = end + blanks(&text[end..]);
        let Some(mark) = text[at..].chars().next() else { break };
        let here = at..at + mark.len_utf8();
        operator = Operator::Union;
        separator = match mark {
            ',' => Separator::Open,
            ':' => {
                ansible = ansible.or(Some(here.clone()));
                Separator::Colon(here.clone())
            }
            '&' | '!' | '^' => {
                operator = match mark {
                    '&' => Operator::Intersection,
                    '!' => Operator::Difference,
                    _ => Operator::SymmetricDifference,
                };
                clustershell = clustershell.or(Some(here.clone()));
                Separator::Operator(here.clone())
            }
            _ => return Err(Fault::new(at..end_of_word(text, at), Problem::NotSeparated)),
        };
        at = here.end;
    }
    if steps.is_empty() {
        return Err(Fault::new(0..text.len(), Problem::Empty));
    }
    if let (Some(ansible), Some(clustershell)) = (&ansible, clustershell) {
        // `,&` is Ansible's too: show the mark with the separator before it.
        let before = text[..ansible.start].trim_end();
        let start = if before.ends_with([',', ':']) { before.len() - 1 } else { ansible.start };
        let after = &text[ansible.end..];
        let end = if after.starts_with(['&', '!']) { ansible.end + 1 } else { ansible.end };
        let (ansible, other) = (text[start..end].to_owned(), text[clustershell.clone()].to_owned());
        return Err(Fault::new(clustershell, Problem::MixedForms { ansible, clustershell: other }));
    }
    if ansible.is_some() {
        steps.sort_by_key(|step| step.operator);
    }
    let from_all = steps[0].operator != Operator::Union;
    Ok(Expression { from_all, steps })
}

fn blanks(text: &str) -> usize {
    text.len() - text.trim_start().len()
}

fn end_of_word(text: &str, at: usize) -> usize {
    at + word_length(&text[at..]).max(text[at..].chars().next().map_or(0, char::len_utf8))
}

/// Bytes of the word that a text begins with.
fn word_length(text: &str) -> usize {
    if text.starts_with('~') {
        return regex_length(text);
    }
    if let Some(path) = text.strip_prefix('^') {
        return 1 + path.find(|c: char| ",&!^:".contains(c) || c.is_whitespace()).unwrap_or(path.len());
    }
    let run = &text[..outside_brackets(text, |c| ",&!^".contains(c) || c.is_whitespace()).unwrap_or(text.len())];
    for candidate in [Some(run), run.strip_suffix(':')].into_iter().flatten() {
        let host = match candidate.split_once('@') {
            Some((user, host)) if !user.contains(':') => host,
            _ => candidate,
        };
        if is_ipv6(host) {
            return candidate.len();
        }
    }
    let scheme = if run.starts_with(SSH) { SSH.len() } else { 0 };
    let Some(colon) = outside_brackets(&run[scheme..], |c| c == ':').map(|at| at + scheme) else { return run.len() };
    let after = &run[colon + 1..];
    let rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
    // `ssh://web01:22/` is the same address.
    let rest = if scheme > 0 { rest.strip_prefix('/').unwrap_or(rest) } else { rest };
    let is_port = after.starts_with(|c: char| c.is_ascii_digit()) && (rest.is_empty() || rest.starts_with(':'));
    if is_port { run.len() - rest.len() } else { colon }
}

/// How an address of a server that need not be in any inventory begins.
pub(super) const SSH: &str = "ssh://";

/// Where a character first stands outside of brackets.
pub(super) fn outside_brackets(text: &str, wanted: impl Fn(char) -> bool) -> Option<usize> {
    let mut depth = 0_u32;
    text.char_indices()
        .find(|&(_, character)| {
            match character {
                '[' => depth += 1,
                ']' => depth = depth.saturating_sub(1),
                _ => return depth == 0 && wanted(character),
            }
            false
        })
        .map(|(at, _)| at)
}

/// Whether a text is an IPv6 address, with a zone or with ranges (`2001:db8::[1-9]`) as may be.
pub(super) fn is_ipv6(text: &str) -> bool {
    if text.bytes().filter(|&byte| byte == b':').count() < 2 {
        return false;
    }
    let mut address = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('[') {
        let Some((_, after)) = after.split_once(']') else { return false };
        address.push_str(before);
        address.push('1');
        rest = after;
    }
    address.push_str(rest);
    let address =
        address.split_once('%').filter(|(_, zone)| !zone.is_empty()).map_or(&*address, |(address, _)| address);
    address.parse::<Ipv6Addr>().is_ok()
}

/// Bytes of a `~regex`. Separators inside of parentheses, brackets and braces belong to it, and so does `^` where it can
/// only be an anchor.
fn regex_length(text: &str) -> usize {
    let mut depth = 0_u32;
    let mut class = false;
    let mut escaped = false;
    let mut before = '~';
    for (at, character) in text.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else {
            match character {
                '\\' => escaped = true,
                ']' => class = false,
                _ if class => {}
                '[' => class = true,
                '(' | '{' => depth += 1,
                ')' | '}' => depth = depth.saturating_sub(1),
                ',' | ':' | '&' | '!' if depth == 0 => return text[..at].trim_end().len(),
                '^' if depth == 0 && before != '~' && before != '|' => return text[..at].trim_end().len(),
                _ => {}
            }
        }
        before = character;
    }
    text.trim_end().len()
}
