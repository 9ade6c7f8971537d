//! Variables of one group or host from one layer: names, values and where each was written.

use serde_yaml::Value;
use std::collections::HashMap;
use std::sync::Arc;

/// A variable and where it was set.
#[derive(Clone)]
pub struct Variable {
    /// Its name.
    pub name: Arc<str>,
    /// Its value, templates unrendered.
    pub value: Value,
    /// Where it was set.
    pub origin: Origin,
}

/// A place in one of the inventory's files; see [`super::Inventory::describe`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Origin {
    /// Position in the inventory's list of files.
    pub(super) file: u32,
    /// Line, from 1; 0 when it is not known.
    pub line: u32,
    /// Column, from 1; 0 when it is not known.
    pub column: u32,
}

/// Beyond this many entries an index is kept, so that setting stays constant in time.
const INDEXED_FROM: usize = 16;

type Index = HashMap<Arc<str>, u32>;

/// Variables in the order of their first setting, each name once. `Debug` shows no values: they may be secrets.
#[derive(Clone, Default)]
pub struct Variables {
    entries: Vec<Variable>,
    index: Option<Box<Index>>,
}

impl std::fmt::Debug for Variables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.entries.iter().map(|variable| &variable.name)).finish()
    }
}

impl Variables {
    /// Sets a variable; one that is there keeps its position.
    pub(super) fn set(&mut self, variable: Variable) {
        match self.position(&variable.name) {
            Some(position) => self.entries[position] = variable,
            None => {
                if let Some(index) = &mut self.index {
                    index.insert(variable.name.clone(), self.entries.len() as u32);
                }
                self.entries.push(variable);
                if self.index.is_none() && self.entries.len() > INDEXED_FROM {
                    let names = self.entries.iter().zip(0..).map(|(entry, at)| (entry.name.clone(), at));
                    self.index = Some(Box::new(names.collect()));
                }
            }
        }
    }

    /// Sets all of `others` over these.
    pub(super) fn overlay(&mut self, others: Variables) {
        for variable in others.entries {
            self.set(variable);
        }
    }

    /// The variable of that name.
    pub fn get(&self, name: &str) -> Option<&Variable> {
        self.position(name).map(|position| &self.entries[position])
    }

    /// Every variable, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Variable> {
        self.entries.iter()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn shrink(&mut self) {
        self.entries.shrink_to_fit();
    }

    fn position(&self, name: &str) -> Option<usize> {
        match &self.index {
            Some(index) => index.get(name).map(|position| *position as usize),
            None => self.entries.iter().position(|entry| &*entry.name == name),
        }
    }
}
