//! Expressions worked out step by step to a set of hosts.

use super::error::{Fault, Place, Problem, SelectionError};
use super::expression::{self, Operator, Step};
use super::host_set::HostSet;
use super::lists::{self, ListSource, Lists};
use super::population::Population;
use super::strangers::Strangers;
use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

/// What the hosts of a name are wanted for, which decides about names that no inventory has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To be called: an address is a host, even where no inventory has it.
    Call,
    /// To be kept of those called so far: a name that means none of them is a slip.
    Keep,
    /// To be left out: as [`Purpose::Keep`], but a list may name hosts that are gone.
    Leave,
}

/// What one selection knows while it is worked out.
pub(super) struct Evaluation<'a> {
    pub(super) population: &'a dyn Population,
    pub(super) strangers: Strangers,
    /// Users and ports that are written with hosts of the inventory.
    pub(super) logins: HashMap<u32, Login>,
    lists: &'a mut dyn Lists,
    texts: HashMap<ListSource, Rc<str>>,
    /// The lists that are being read, the innermost last.
    pub(super) open: Vec<ListSource>,
}

/// User and port that the targets give to a host of the inventory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) user: Option<String>,
    pub(super) port: Option<u16>,
}

/// The hosts of an expression, and where the last one was lost if none is left.
pub(super) struct Evaluated {
    pub(super) hosts: HostSet,
    pub(super) emptied: Option<Fault>,
}

impl<'a> Evaluation<'a> {
    pub(super) fn new(population: &'a dyn Population, lists: &'a mut dyn Lists) -> Self {
        Self {
            population,
            strangers: Strangers::after(population.host_total()),
            logins: HashMap::new(),
            lists,
            texts: HashMap::new(),
            open: Vec::new(),
        }
    }

    /// The hosts of an expression.
    pub(super) fn expression(
        &mut self,
        text: &str,
        place: &Place,
        purpose: Purpose,
    ) -> Result<Evaluated, SelectionError> {
        let expression = expression::parse(text).map_err(|fault| fault.at(text, place))?;
        let mut hosts = HostSet::default();
        if expression.from_all {
            self.everybody(purpose, &mut hosts);
        }
        let mut emptied = None;
        for step in &expression.steps {
            let before = hosts.len();
            self.step(step, purpose, &mut hosts).map_err(|error| error.at(text, place))?;
            if hosts.is_empty() && (before > 0 || emptied.is_none()) {
                emptied = Some(Fault::new(step.span.clone(), nobody(step, before)));
            }
        }
        Ok(Evaluated { hosts, emptied })
    }

    fn step(&mut self, step: &Step<'_>, purpose: Purpose, hosts: &mut HostSet) -> Result<(), Refusal> {
        let purpose = match (purpose, step.operator) {
            (Purpose::Call, Operator::Intersection) => Purpose::Keep,
            (Purpose::Call, Operator::Difference) => Purpose::Leave,
            (purpose, _) => purpose,
        };
        if step.operator == Operator::Union {
            return self.word(step.word, step.span.clone(), purpose, hosts);
        }
        let mut other = HostSet::default();
        self.word(step.word, step.span.clone(), purpose, &mut other)?;
        match step.operator {
            Operator::Union => {}
            Operator::Intersection => hosts.intersect(&other),
            Operator::Difference => hosts.subtract(&other),
            Operator::SymmetricDifference => hosts.toggle(&other),
        }
        Ok(())
    }

    fn word(&mut self, word: &str, span: Range<usize>, purpose: Purpose, hosts: &mut HostSet) -> Result<(), Refusal> {
        if word == "-" {
            return self.list(ListSource::StandardInput, span, purpose, hosts);
        }
        match word.strip_prefix('^') {
            Some("") => Err(Fault::new(span, Problem::NoFile).into()),
            Some(path) => self.list(ListSource::File(PathBuf::from(path)), span, purpose, hosts),
            None => self.names(word, purpose, hosts).map_err(|miss| miss.within(&span).into()),
        }
    }

    /// Adds the hosts of every line of a list.
    fn list(
        &mut self,
        source: ListSource,
        span: Range<usize>,
        purpose: Purpose,
        hosts: &mut HostSet,
    ) -> Result<(), Refusal> {
        if self.open.contains(&source) {
            return Err(Fault::new(span, Problem::ListLoop(source.to_string())).into());
        }
        let text = match self.texts.get(&source) {
            Some(text) => Rc::clone(text),
            None => {
                let text: Rc<str> = match self.lists.read(&source) {
                    Ok(text) => text.into(),
                    Err(error) => {
                        let problem = Problem::List { list: source.to_string(), source: Arc::new(error) };
                        return Err(Fault::new(span, problem).into());
                    }
                };
                self.texts.insert(source.clone(), Rc::clone(&text));
                text
            }
        };
        let list = source.to_string();
        self.open.push(source);
        for (line, expression) in lists::lines(&text) {
            // Most lines are one name of the inventory.
            if let Some(host) = self.population.host_index(expression) {
                hosts.insert(host);
                continue;
            }
            let place = || Place::Line { list: list.clone(), line };
            let evaluated =
                self.expression(expression, &place(), purpose).map_err(|error| Refusal::Told(Box::new(error)))?;
            hosts.extend(evaluated.hosts.as_slice().iter().copied());
        }
        self.open.pop();
        Ok(())
    }

    /// Adds the members of `all`; a filter means everybody who may have been selected.
    pub(super) fn everybody(&self, purpose: Purpose, hosts: &mut HostSet) {
        match self.population.group_index("all") {
            Some(all) => hosts.extend(self.population.members(all).iter().copied()),
            None => hosts.extend(0..self.population.host_total()),
        }
        if purpose != Purpose::Call {
            hosts.extend(0..self.population.host_total());
            hosts.extend(self.strangers.iter().map(|(number, _)| number));
        }
    }
}

/// Why a step is refused: a mistake in this expression, or one in a list that it names.
enum Refusal {
    Here(Fault),
    Told(Box<SelectionError>),
}

impl Refusal {
    fn at(self, expression: &str, place: &Place) -> SelectionError {
        match self {
            Self::Here(fault) => fault.at(expression, place),
            Self::Told(error) => *error,
        }
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self::Here(fault)
    }
}

fn nobody(step: &Step<'_>, before: usize) -> Problem {
    let word = step.word;
    let reason = match step.operator {
        Operator::Intersection if before > 0 => format!("none of the hosts before it is in `{word}`"),
        Operator::Difference if before > 0 => format!("`{word}` takes away every host before it"),
        Operator::SymmetricDifference if before > 0 => format!("`{word}` is the same hosts as before it"),
        _ => return Problem::Nobody(word.into()),
    };
    Problem::NobodyLeft { reason }
}
