//! What a template can name: the host's variables, `hostvars` and `groups`.

use super::variable::View;
use super::{Fleet, Subject};
use minijinja::value::{Enumerator, Object, Value};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Everything that a template can name.
pub(super) struct Names {
    view: View,
    /// The host, or its name where it has nothing else.
    own: Result<u32, String>,
}

impl Names {
    pub(super) fn of(view: &View, subject: Subject<'_>) -> Self {
        let own = match subject {
            Subject::Member(host) => Ok(host),
            Subject::Stranger(name) => Err(name.to_owned()),
        };
        Self { view: view.clone(), own }
    }
}

impl Object for Names {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match (key.as_str()?, &self.own) {
            ("groups", _) => Some(self.view.groups()),
            ("hostvars", _) => Some(Value::from_object(Hosts(self.view.clone()))),
            (name, Ok(host)) => self.view.variable(*host, name),
            ("inventory_hostname", Err(own)) => Some(own.as_str().into()),
            (_, Err(_)) => None,
        }
    }
}

/// The variables of a host.
struct Host {
    view: View,
    host: u32,
}

impl Object for Host {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.view.variable(self.host, key.as_str()?)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.view.fleet().variable_names(self.host).into_iter().map(Value::from).collect())
    }
}

/// `hostvars`: every host by its name.
struct Hosts(View);

impl Object for Hosts {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let host = self.0.fleet().host(key.as_str()?)?;
        Some(Value::from_object(Host { view: self.0.clone(), host }))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        let fleet = Arc::clone(self.0.fleet());
        Enumerator::Iter(Box::new((0..fleet.host_total()).map(move |host| Value::from(fleet.host_name(host)))))
    }
}

/// `groups`: every group with the names of its hosts, which are listed once for all templates.
pub(super) struct Groups {
    fleet: Arc<dyn Fleet>,
    known: Mutex<HashMap<String, Value>>,
}

impl Groups {
    pub(super) fn of(fleet: Arc<dyn Fleet>) -> Self {
        Self { fleet, known: Mutex::default() }
    }
}

impl Object for Groups {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let group = key.as_str()?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(members) = known.get(group) {
            return Some(members.clone());
        }
        let members: Value = self.fleet.members(group)?.into_iter().map(Value::from).collect();
        known.insert(group.to_owned(), members.clone());
        Some(members)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.fleet.groups().into_iter().map(Value::from).collect())
    }
}

/// What objects are called where a template shows them; their contents may be secrets.
macro_rules! debug_as {
    ($($object:ty => $name:literal),*) => {
        $(impl fmt::Debug for $object {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($name)
            }
        })*
    };
}
debug_as!(Names => "names", Host => "host", Hosts => "hostvars", Groups => "groups");
