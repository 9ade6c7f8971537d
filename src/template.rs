//! Jinja templates over a fleet's variables: the one user of minijinja.
//!
//! [`Templates`] renders for one host of a [`Fleet`] at a time: its variables by their names, those of the others in
//! `hostvars`, and `groups`. Everything is looked up when a template names it, so that a large inventory costs nothing. An
//! undefined variable is an error that names it, never an empty text in a command line.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Enumerator, Object, Serde, Value};
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Why a template gives no text.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// It does not parse, or something in it has no value.
    #[error("line {line}: {what}")]
    Render {
        /// Line of the template, from 1.
        line: usize,
        /// What is wrong there.
        what: String,
    },
}

/// Whose variables templates see. Hosts are numbered from 0 without gaps.
pub trait Fleet: Send + Sync + 'static {
    /// Number of hosts.
    fn host_total(&self) -> u32;
    /// The name of a host.
    fn host_name(&self, host: u32) -> &str;
    /// The host of that name.
    fn host(&self, name: &str) -> Option<u32>;
    /// The variables that a host has.
    fn variable_names(&self, host: u32) -> Vec<String>;
    /// One variable of a host.
    fn variable(&self, host: u32, name: &str) -> Option<serde_yaml::Value>;
    /// The names of all groups.
    fn groups(&self) -> Vec<&str>;
    /// The names of the hosts of a group.
    fn members(&self, group: &str) -> Option<Vec<&str>>;
}

/// For whom a template is rendered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject<'a> {
    /// A host of the fleet.
    Member(u32),
    /// A host that only has a name.
    Stranger(&'a str),
}

/// Renders templates with the variables of a fleet.
pub struct Templates {
    environment: Environment<'static>,
    fleet: Arc<dyn Fleet>,
    groups: Value,
    hostvars: Value,
}

impl Templates {
    /// Templates over a fleet; `quote` is the filter of that name, which makes a text one word of a shell.
    pub fn new(fleet: Arc<dyn Fleet>, quote: fn(&str) -> String) -> Self {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        if let Ok(syntax) = SyntaxConfig::builder().keep_trailing_newline(true).build() {
            environment.set_syntax(syntax);
        }
        environment.add_filter("quote", move |value: &Value| match () {
            () if value.is_undefined() => Err(Error::from(ErrorKind::UndefinedError)),
            () if value.is_none() => Ok(quote("")),
            () => Ok(quote(&value.to_string())),
        });
        let groups = Value::from_object(Groups { fleet: Arc::clone(&fleet), known: Mutex::default() });
        let hostvars = Value::from_object(Hosts(Arc::clone(&fleet)));
        Self { environment, fleet, groups, hostvars }
    }

    /// Renders a template for a host.
    ///
    /// # Errors
    /// A mistake in the template, or a variable that the host does not have.
    pub fn render(&self, template: &str, subject: Subject<'_>) -> Result<String, TemplateError> {
        let names = Names {
            own: match subject {
                Subject::Member(host) => Ok(Host { fleet: Arc::clone(&self.fleet), host }),
                Subject::Stranger(name) => Err(name.to_owned()),
            },
            groups: self.groups.clone(),
            hostvars: self.hostvars.clone(),
        };
        self.environment.render_str(template, Value::from_object(names)).map_err(|error| {
            let what = match (error.detail(), undefined_name(&error, template)) {
                (_, Some(name)) => format!("the host has no variable `{name}`"),
                (Some(detail), None) => detail.to_owned(),
                (None, None) => error.kind().to_string(),
            };
            TemplateError::Render { line: error.line().unwrap_or(1), what }
        })
    }
}

/// The text of the expression that has no value.
fn undefined_name(error: &Error, template: &str) -> Option<String> {
    (error.kind() == ErrorKind::UndefinedError).then_some(())?;
    let range = error.range()?;
    // Where a filter gets nothing, the filter is named; what it is applied to stands before it.
    let before = template.get(..range.start)?.trim_end().strip_suffix('|');
    let text = before.map_or(template.get(..range.end)?, str::trim_end);
    let name = text[expression_start(text)..].trim();
    (!name.is_empty() && name.len() < 80).then(|| name.to_owned())
}

/// Where the expression that ends a text begins, such as `hostvars['db 1'].port`.
fn expression_start(text: &str) -> usize {
    let mut depth = 0;
    for (at, character) in text.char_indices().rev() {
        match character {
            ']' => depth += 1,
            '[' if depth > 0 => depth -= 1,
            _ if depth > 0 => {}
            '.' | '_' => {}
            other if other.is_alphanumeric() => {}
            other => return at + other.len_utf8(),
        }
    }
    0
}

/// What a template can name.
struct Names {
    /// The host, or its name where it has nothing else.
    own: Result<Host, String>,
    groups: Value,
    hostvars: Value,
}

impl Object for Names {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match (key.as_str()?, &self.own) {
            ("groups", _) => Some(self.groups.clone()),
            ("hostvars", _) => Some(self.hostvars.clone()),
            (name, Ok(host)) => host.variable(name),
            ("inventory_hostname", Err(own)) => Some(own.as_str().into()),
            (_, Err(_)) => None,
        }
    }
}

/// The variables of a host.
struct Host {
    fleet: Arc<dyn Fleet>,
    host: u32,
}

impl Host {
    fn variable(&self, name: &str) -> Option<Value> {
        self.fleet.variable(self.host, name).map(|value| Value::from(Serde(value)))
    }
}

impl Object for Host {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.variable(key.as_str()?)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.fleet.variable_names(self.host).into_iter().map(Value::from).collect())
    }
}

/// `hostvars`: every host by its name.
struct Hosts(Arc<dyn Fleet>);

impl Object for Hosts {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let host = self.0.host(key.as_str()?)?;
        Some(Value::from_object(Host { fleet: Arc::clone(&self.0), host }))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        let fleet = Arc::clone(&self.0);
        Enumerator::Iter(Box::new((0..fleet.host_total()).map(move |host| Value::from(fleet.host_name(host)))))
    }
}

/// `groups`: every group with the names of its hosts, which are listed once for all templates.
struct Groups {
    fleet: Arc<dyn Fleet>,
    known: Mutex<HashMap<String, Value>>,
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Hosts `h0`, `h1`, …; odd ones are in `odd`. Counts how often somebody was asked about.
    #[derive(Default)]
    struct Numbered {
        total: u32,
        names: Vec<String>,
        asked: AtomicUsize,
    }

    impl Numbered {
        fn new(total: u32) -> Self {
            Self { total, names: (0..total).map(|host| format!("h{host}")).collect(), asked: AtomicUsize::new(0) }
        }
    }

    impl Fleet for Numbered {
        fn host_total(&self) -> u32 {
            self.total
        }

        fn host_name(&self, host: u32) -> &str {
            self.asked.fetch_add(1, Ordering::Relaxed);
            &self.names[host as usize]
        }

        fn host(&self, name: &str) -> Option<u32> {
            name.strip_prefix('h')?.parse().ok().filter(|host| *host < self.total)
        }

        fn variable_names(&self, _: u32) -> Vec<String> {
            ["on", "number", "tags", "odd name"].map(str::to_owned).to_vec()
        }

        fn variable(&self, host: u32, name: &str) -> Option<serde_yaml::Value> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            match name {
                "on" => Some(true.into()),
                "number" => Some(host.into()),
                "tags" => Some(vec!["a", "b"].into()),
                "odd name" => Some(format!("it's $HOME `x` \"{host}\"\n").into()),
                _ => None,
            }
        }

        fn groups(&self) -> Vec<&str> {
            vec!["all", "odd"]
        }

        fn members(&self, group: &str) -> Option<Vec<&str>> {
            let step = match group {
                "all" => 1,
                "odd" => 2,
                _ => return None,
            };
            Some((step - 1..self.total).step_by(step as usize).map(|host| self.host_name(host)).collect())
        }
    }

    fn templates(total: u32) -> (Templates, Arc<Numbered>) {
        let fleet = Arc::new(Numbered::new(total));
        (Templates::new(Arc::clone(&fleet) as Arc<dyn Fleet>, |word| format!("<{word}>")), fleet)
    }

    fn render(template: &str) -> Result<String, String> {
        templates(4).0.render(template, Subject::Member(1)).map_err(|error| error.to_string())
    }

    #[test]
    fn templates_see_the_host_the_others_and_the_groups() {
        for (template, expected) in [
            ("{{ number }} {{ tags | join(',') }}{% if on %} on{% endif %}\n", "1 a,b on\n"),
            ("{{ groups['odd'] | join(',') }} of {{ groups.all | length }}", "h1,h3 of 4"),
            ("{% for host in groups.odd %}{{ hostvars[host].number }};{% endfor %}", "1;3;"),
            ("{{ hostvars['h3']['tags'][0] }} {{ hostvars.h2.number }}", "a 2"),
            (
                "{{ groups | length }} {{ groups | join(',') }} {{ 'odd' in groups }} {{ 'no' in groups }}",
                "2 all,odd True False",
            ),
            ("{{ hostvars | length }} {{ 'h2' in hostvars }} {{ 'h9' in hostvars }}", "4 True False"),
            ("{{ hostvars.h2 | list | length }}", "4"),
            ("{{ nobody | default('-') }} {{ hostvars.h9 is defined }}", "- False"),
            ("{{ number | quote }} {{ hostvars.h0.tags[1] | quote }}", "<1> <b>"),
        ] {
            assert_eq!(render(template).as_deref(), Ok(expected), "{template}");
        }
    }

    #[test]
    fn what_is_undefined_is_named() {
        for (template, name) in [
            ("echo {{ nmae }}", "nmae"),
            ("{{ nmae | quote }}", "nmae"),
            ("{{ grups | length }}", "grups"),
            ("{{ hostvars['h 9'].number }}", "hostvars['h 9'].number"),
            ("{{ hostvars.h0.nmae }}", "hostvars.h0.nmae"),
            ("{{ tags[hostvars.h9.number] }}", "hostvars.h9.number"),
            ("{% for tag in tgas %}{% endfor %}", "tgas"),
        ] {
            let error = render(template).unwrap_err();
            assert_eq!(error, format!("line 1: the host has no variable `{name}`"), "{template}");
        }
        assert!(render("{{ broken").is_err());
    }

    #[test]
    fn a_stranger_has_a_name_and_sees_the_others() {
        let (templates, _) = templates(4);
        let text =
            templates.render("{{ inventory_hostname }} {{ hostvars.h2.number }}", Subject::Stranger("x")).unwrap();
        assert_eq!(text, "x 2");
        assert!(templates.render("{{ number }}", Subject::Stranger("x")).is_err());
    }

    #[test]
    fn only_what_a_template_names_is_looked_up() {
        const TOTAL: u32 = 100_000;
        let (templates, fleet) = templates(TOTAL);
        for host in 0..1000 {
            let text = templates.render("{{ number }} {{ hostvars['h99999'].number }}", Subject::Member(host)).unwrap();
            assert_eq!(text, format!("{host} 99999"));
        }
        assert_eq!(fleet.asked.load(Ordering::Relaxed), 2000);
        // The names of a group are listed once, not once a host.
        for host in 0..1000 {
            let text =
                templates.render("{{ groups['all'][0] }} {{ groups.all | length }}", Subject::Member(host)).unwrap();
            assert_eq!(text, "h0 100000");
        }
        assert_eq!(fleet.asked.load(Ordering::Relaxed), 2000 + TOTAL as usize);
    }
}
