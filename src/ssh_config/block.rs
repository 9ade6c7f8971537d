//! A file as it is kept once it was read: blocks with their conditions, found by host name.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::files::Owner;
use super::keyword::Keyword;
use super::matching::{Condition, literal_names};
use super::problem::{Origin, Problem};
use super::value::Value;

/// One directive that gives a keyword a value.
#[derive(Debug)]
pub(super) struct Setting {
    /// Unlike that of any other setting of this process.
    pub(super) id: u32,
    pub(super) keyword: Keyword,
    pub(super) value: Value,
    pub(super) origin: Origin,
    /// Whether the user wrote it, rather than the system's administrator.
    pub(super) explicit: bool,
}

impl Setting {
    pub(super) fn new(keyword: Keyword, value: Value, origin: Origin, owner: Owner) -> Arc<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Arc::new(Self { id, keyword, value, origin, explicit: owner == Owner::User })
    }

    /// The same directive with another value.
    pub(super) fn with(&self, value: Value) -> Arc<Self> {
        Arc::new(Self { value, origin: self.origin.clone(), ..*self })
    }
}

/// A file that was read.
#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) sections: Vec<Section>,
    /// Sections whose condition must be asked for every host.
    asked: Vec<usize>,
    /// The other sections: `Host` lines without wildcards, by name.
    named: HashMap<Box<str>, Vec<usize>>,
    /// Whether `Match final` stands in it or in what it includes.
    pub(super) wants_second_pass: bool,
    /// Whether it depends on the host if some unknown keyword is an error.
    pub(super) has_doubtful: bool,
}

/// A block: a condition and what it holds.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) condition: Condition,
    pub(super) items: Vec<Item>,
}

/// What stands in a block.
#[derive(Debug)]
pub(super) enum Item {
    /// A value for a keyword.
    Setting(Arc<Setting>),
    /// Files that are the same for every host.
    Include(Vec<Arc<File>>),
    /// A pattern whose tokens differ from host to host.
    IncludeByHost { pattern: String, owner: Owner, origin: Origin, depth: usize },
    /// An unknown keyword that is an error unless `IgnoreUnknown` applies to the host.
    Doubtful { keyword: String, problem: Box<Problem> },
}

impl File {
    /// The sections that may apply to a host, in order: all but those that name other hosts.
    pub(super) fn sections_for(&self, host: &str) -> impl Iterator<Item = &Section> {
        let named = self.named.get(host).map_or(&[][..], Vec::as_slice);
        let (mut asked, mut named) = (self.asked.iter().peekable(), named.iter().peekable());
        std::iter::from_fn(move || match (asked.peek(), named.peek()) {
            (Some(a), Some(n)) if a > n => named.next(),
            (Some(_), _) => asked.next(),
            (None, _) => named.next(),
        })
        .map(|&index| &self.sections[index])
    }

    /// Adds the next section.
    pub(super) fn push(&mut self, section: Section) {
        let index = self.sections.len();
        self.sections.push(section);
        let names = match &self.sections[index].condition {
            Condition::Host(patterns) => literal_names(patterns),
            _ => None,
        };
        let Some(names) = names else { return self.asked.push(index) };
        for name in names {
            let sections = self.named.entry(name.into()).or_default();
            if sections.last() != Some(&index) {
                sections.push(index);
            }
        }
    }
}

impl Section {
    /// Whether it surely applies, whoever is asked for.
    pub(super) fn applies_to_every_host(&self) -> bool {
        match &self.condition {
            Condition::Always => true,
            Condition::Host(patterns) => matches!(&patterns[..], [only] if !only.negated && only.pattern == "*"),
            Condition::Match(..) => false,
        }
    }
}
