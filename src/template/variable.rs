//! Variables on their way into a template: those that are templates themselves are rendered when they are looked up, once a
//! rendering, and what they name is rendered before them. [`View`] is one rendering as its parts see it.

use super::names::Names;
use super::{Engine, Failure, Fleet, Subject, TemplateError, What, is_template};
use minijinja::value::{Enumerator, Object, ObjectRepr, Serde, Value};
use minijinja::{Error, ErrorKind};
use serde_yaml::Value as Written;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// So deep variables may name each other; each level takes some of the stack.
const DEEPEST: usize = 32;
/// So long a variable may become, in bytes. Without it a few lines that double each other take all memory.
const LONGEST: usize = 1 << 20;

/// One rendering, from the variable that is being rendered.
#[derive(Clone)]
pub(super) struct View {
    engine: Arc<Engine>,
    rendering: Arc<Rendering>,
    step: Option<Arc<Step>>,
}

/// What is known in the whole of a rendering.
struct Rendering {
    /// For whom it is.
    own: Option<u32>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Variables that were rendered, or that have no value.
    rendered: HashMap<Named, Option<Value>>,
    /// Why they have none; a template may do without them.
    missing: Vec<(String, TemplateError)>,
    /// What no template can do without.
    fault: Option<TemplateError>,
}

/// A variable that is being rendered, and the one that named it.
struct Step {
    variable: Named,
    by: Option<Arc<Step>>,
    depth: usize,
}

/// A variable of a host, or a part of one, such as `users[0].name`.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Named {
    host: u32,
    path: String,
}

impl View {
    pub(super) fn new(engine: Arc<Engine>, subject: Subject<'_>) -> Self {
        let own = match subject {
            Subject::Member(host) => Some(host),
            Subject::Stranger(_) => None,
        };
        Self { engine, rendering: Arc::new(Rendering { own, state: Mutex::default() }), step: None }
    }

    pub(super) fn fleet(&self) -> &Arc<dyn Fleet> {
        &self.engine.fleet
    }

    pub(super) fn groups(&self) -> Value {
        self.engine.groups.clone()
    }

    /// What was wrong with a variable that was named.
    pub(super) fn fault(&self) -> Option<TemplateError> {
        self.state().fault.take()
    }

    /// A variable of a host; nothing where it has none, or where it names something that has no value.
    pub(super) fn variable(&self, host: u32, name: &str) -> Option<Value> {
        let written = self.engine.fleet.variable(host, name)?;
        let named = Named { host, path: name.to_owned() };
        match self.content(written, &named) {
            Content::Ready(value) => Some(value),
            Content::Template(text) => self.rendered(named, &text),
            Content::Sealed => Some(self.sealed(&named)),
        }
    }

    /// Why a template gives nothing: the cause, where that is a variable of a variable.
    pub(super) fn explain(&self, failure: &Failure) -> TemplateError {
        if let What::Undefined(name) = &failure.what
            && let Some((_, error)) = self.state().missing.iter().rev().find(|(path, _)| is_named(path, name))
        {
            return error.clone();
        }
        TemplateError::Render { line: failure.line, what: failure.text() }
    }

    fn rendered(&self, named: Named, text: &str) -> Option<Value> {
        if let Some(known) = self.state().rendered.get(&named) {
            return known.clone();
        }
        if let Some(error) = self.circle(&named) {
            return Some(self.broken(error));
        }
        let depth = self.step.as_ref().map_or(1, |step| step.depth + 1);
        if depth > DEEPEST {
            let what = format!("variables name each other more than {DEEPEST} deep");
            return Some(self.broken(TemplateError::Variable { variable: self.label(&named), what }));
        }
        let step = Arc::new(Step { variable: named.clone(), by: self.step.clone(), depth });
        let within = Self { step: Some(step), ..self.clone() };
        let value = match self.engine.value(text, Names::of(&within, Subject::Member(named.host))) {
            Ok(value) if value.as_str().is_some_and(|text| text.len() > LONGEST) => {
                let what = format!("its text is longer than {LONGEST} bytes");
                Some(self.broken(TemplateError::Variable { variable: self.label(&named), what }))
            }
            Ok(value) => Some(value),
            Err(failure) => {
                let error = match self.explain(&failure) {
                    TemplateError::Render { .. } => {
                        TemplateError::Variable { variable: self.label(&named), what: failure.text() }
                    }
                    cause => cause,
                };
                match failure.what {
                    What::Undefined(_) => {
                        self.state().missing.push((named.path.clone(), error));
                        None
                    }
                    What::Other(_) => Some(self.broken(error)),
                }
            }
        };
        self.state().rendered.insert(named, value.clone());
        value
    }

    /// A value that ends the rendering.
    fn broken(&self, error: TemplateError) -> Value {
        let invalid = Error::new(ErrorKind::InvalidOperation, error.to_string());
        self.state().fault.get_or_insert(error);
        Value::from(invalid)
    }

    /// The way from a variable back to itself, where it is being rendered already.
    fn circle(&self, named: &Named) -> Option<TemplateError> {
        let mut names = vec![self.label(named)];
        let mut step = self.step.as_ref();
        while let Some(at) = step {
            names.push(self.label(&at.variable));
            if at.variable == *named {
                names.reverse();
                return Some(TemplateError::Circle(names));
            }
            step = at.by.as_ref();
        }
        None
    }

    /// A variable as the host that is rendered for would name it.
    fn label(&self, named: &Named) -> String {
        match self.rendering.own == Some(named.host) {
            true => named.path.clone(),
            false => format!("hostvars['{}'].{}", self.engine.fleet.host_name(named.host), named.path),
        }
    }

    fn content(&self, written: Written, named: &Named) -> Content {
        if !needs_rendering(&written) {
            return Content::Ready(Value::from(Serde(written)));
        }
        let part = |path: String| Named { host: named.host, path };
        match written {
            Written::String(text) => Content::Template(text),
            Written::Tagged(tagged) if tagged.tag == "unsafe" => Content::Ready(Value::from(Serde(tagged.value))),
            Written::Tagged(_) => Content::Sealed,
            Written::Sequence(items) => {
                let parts = items.into_iter().enumerate().map(|(index, item)| {
                    let named = part(format!("{}[{index}]", named.path));
                    (self.content(item, &named), named)
                });
                Content::Ready(Value::from_object(List { view: self.clone(), items: parts.collect() }))
            }
            Written::Mapping(entries) => {
                let mut mapping = Mapping { view: self.clone(), keys: Vec::new(), entries: HashMap::new() };
                for (key, item) in entries {
                    let key = Value::from(Serde(key));
                    let named = part(format!("{}.{key}", named.path));
                    mapping.keys.push(key.clone());
                    mapping.entries.insert(key, (self.content(item, &named), named));
                }
                Content::Ready(Value::from_object(mapping))
            }
            plain => Content::Ready(Value::from(Serde(plain))),
        }
    }

    /// A part of a list or mapping. What shows such a thing whole would show a part without a value as text.
    fn part(&self, (content, named): &(Content, Named)) -> Value {
        let text = match content {
            Content::Ready(value) => return value.clone(),
            Content::Template(text) => text,
            Content::Sealed => return self.sealed(named),
        };
        self.rendered(named.clone(), text).unwrap_or_else(|| {
            let missing = self.state().missing.iter().rev().find(|(path, _)| *path == named.path).cloned();
            let unknown = || TemplateError::Variable { variable: self.label(named), what: "it has no value".into() };
            self.broken(missing.map_or_else(unknown, |(_, error)| error))
        })
    }

    fn sealed(&self, named: &Named) -> Value {
        let what = "it is encrypted with Ansible's vault".to_owned();
        self.broken(TemplateError::Variable { variable: self.label(named), what })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.rendering.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an expression such as `hostvars['db 1'].port` ends with a variable.
fn is_named(path: &str, expression: &str) -> bool {
    match expression.trim_end_matches(['\'', '"', ']']).strip_suffix(path) {
        Some(before) => before.is_empty() || before.ends_with(['.', '\'', '"']),
        None => false,
    }
}

/// A value, or the template that it is yet.
enum Content {
    Ready(Value),
    Template(String),
    /// Encrypted; whoever does not ask for it is not disturbed.
    Sealed,
}

/// Whether there is a template or a tag somewhere in a value.
fn needs_rendering(written: &Written) -> bool {
    match written {
        Written::Sequence(items) => items.iter().any(needs_rendering),
        Written::Mapping(entries) => entries.values().any(needs_rendering),
        Written::Tagged(_) => true,
        other => is_template(other),
    }
}

/// A list with templates in it.
struct List {
    view: View,
    items: Vec<(Content, Named)>,
}

impl Object for List {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.items.get(key.as_usize()?).map(|item| self.view.part(item))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(self.items.len())
    }
}

/// A mapping with templates in it.
struct Mapping {
    view: View,
    /// In their order.
    keys: Vec<Value>,
    entries: HashMap<Value, (Content, Named)>,
}

impl Object for Mapping {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.entries.get(key).map(|entry| self.view.part(entry))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.keys.clone())
    }
}

// What they hold may be secret.
impl fmt::Debug for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("list")
    }
}

impl fmt::Debug for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("mapping")
    }
}
