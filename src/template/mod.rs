//! Jinja templates over a fleet's variables: the one user of minijinja.
//!
//! [`Templates`] renders for one host of a [`Fleet`] at a time: its variables by their names, those of the others in
//! `hostvars`, and `groups`. Everything is looked up when a template names it, so that a large inventory costs nothing. A
//! variable that is a template itself is rendered then, for the host that it belongs to. An undefined variable is an error
//! that names it, never an empty text in a command line.

mod names;
mod variable;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Value;
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior};
use names::{Groups, Names};
use std::sync::Arc;
use variable::View;

/// Why a template gives no text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// It does not parse, or something in it has no value.
    #[error("line {line}: {what}")]
    Render {
        /// Line of the template, from 1.
        line: usize,
        /// What is wrong there.
        what: String,
    },
    /// A variable that it names, or that one of those names, is a template that gives no value.
    #[error("`{variable}`: {what}")]
    Variable {
        /// The variable, as the template's host would name it.
        variable: String,
        /// What is wrong with it.
        what: String,
    },
    /// Variables that cannot be rendered before themselves.
    #[error("variables name each other in a circle: {}", .0.join(" > "))]
    Circle(Vec<String>),
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
    /// One variable of a host, as it is written.
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

/// Whether a value is a text with something to render. What is marked `!unsafe` is not.
pub fn is_template(value: &serde_yaml::Value) -> bool {
    matches!(value, serde_yaml::Value::String(text) if text.contains("{{") || text.contains("{%") || text.contains("{#"))
}

/// Renders templates with the variables of a fleet.
pub struct Templates(Arc<Engine>);

/// What all renderings have in common.
struct Engine {
    environment: Environment<'static>,
    fleet: Arc<dyn Fleet>,
    groups: Value,
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
        let groups = Value::from_object(Groups::of(Arc::clone(&fleet)));
        Self(Arc::new(Engine { environment, fleet, groups }))
    }

    /// Renders a template for a host.
    ///
    /// # Errors
    /// A mistake in the template or in a variable that it names, or a variable that the host does not have.
    pub fn render(&self, template: &str, subject: Subject<'_>) -> Result<String, TemplateError> {
        let view = View::new(Arc::clone(&self.0), subject);
        let rendered = self.0.text(template, Names::of(&view, subject));
        match view.fault() {
            Some(fault) => Err(fault),
            None => rendered.map_err(|failure| view.explain(&failure)),
        }
    }
}

impl Engine {
    fn text(&self, template: &str, names: Names) -> Result<String, Failure> {
        let rendered = self.environment.render_str(template, Value::from_object(names));
        rendered.map_err(|error| Failure::of(&error, template))
    }

    /// What a variable stands for. One that is a single expression keeps the type of its value, as in Ansible.
    fn value(&self, template: &str, names: Names) -> Result<Value, Failure> {
        let Some(text) = single_expression(template) else { return self.text(template, names).map(Value::from) };
        let Ok(expression) = self.environment.compile_expression_owned(text.to_owned()) else {
            return self.text(template, names).map(Value::from);
        };
        match expression.eval(Value::from_object(names)) {
            Ok(value) if value.is_undefined() => {
                Err(Failure { line: 1, what: What::Undefined(text.trim().to_owned()) })
            }
            Ok(value) => Ok(value),
            Err(error) => Err(Failure::of(&error, text)),
        }
    }
}

/// What stands between the braces where nothing stands around them. It may turn out to be no expression.
fn single_expression(template: &str) -> Option<&str> {
    let inner = template.strip_prefix("{{")?.strip_suffix("}}")?;
    let inner = inner.strip_prefix(['-', '+']).unwrap_or(inner);
    Some(inner.strip_suffix(['-', '+']).unwrap_or(inner))
}

/// Why one template, without those that it names, gives nothing.
struct Failure {
    line: usize,
    what: What,
}

enum What {
    /// An expression that has no value.
    Undefined(String),
    Other(String),
}

impl Failure {
    fn of(error: &Error, template: &str) -> Self {
        let what = match (error.detail(), undefined_name(error, template)) {
            (_, Some(name)) => What::Undefined(name),
            (Some(detail), None) => What::Other(detail.to_owned()),
            (None, None) => What::Other(error.kind().to_string()),
        };
        Self { line: error.line().unwrap_or(1), what }
    }

    fn text(&self) -> String {
        match &self.what {
            What::Undefined(name) => format!("the host has no variable `{name}`"),
            What::Other(text) => text.clone(),
        }
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

    /// The variables of hosts `h0`, `h1`, … as they are written.
    struct Written(Vec<serde_yaml::Mapping>);

    impl Fleet for Written {
        fn host_total(&self) -> u32 {
            self.0.len() as u32
        }

        fn host_name(&self, host: u32) -> &str {
            ["h0", "h1"][host as usize]
        }

        fn host(&self, name: &str) -> Option<u32> {
            ["h0", "h1"].iter().position(|known| *known == name).map(|host| host as u32)
        }

        fn variable_names(&self, host: u32) -> Vec<String> {
            self.0[host as usize].keys().filter_map(|name| name.as_str()).map(str::to_owned).collect()
        }

        fn variable(&self, host: u32, name: &str) -> Option<serde_yaml::Value> {
            self.0[host as usize].get(name).cloned()
        }

        fn groups(&self) -> Vec<&str> {
            Vec::new()
        }

        fn members(&self, _: &str) -> Option<Vec<&str>> {
            None
        }
    }

    fn with_variables(variables: &str, template: &str) -> Result<String, String> {
        let hosts = serde_yaml::from_str(variables).unwrap();
        let templates = Templates::new(Arc::new(Written(hosts)), str::to_owned);
        templates.render(template, Subject::Member(0)).map_err(|error| error.to_string())
    }

    #[test]
    fn variables_that_are_templates_are_rendered_for_the_host_that_they_belong_to() {
        const VARIABLES: &str = "
- {me: zero, net: 10.0.0, ip: '{{ net }}.1', url: 'http://{{ ip }}:{{ port }}/', port: '{{ base + 80 }}', base: 8000,
   on: '{{ base > 1 }}', peers: ['{{ ip }}', b, {at: '{{ me }}'}], all_peers: '{{ peers }}', plain: [1, 2],
   d: {a: '{{ base }}', b: '{{ d.a }}', 'c d': '{{ me }}', secret: !vault 'x'}, raw: !unsafe '{{ base }}', two: '{{ me }}{{ me }}',
   perhaps: '{{ nobody }}', else: '{{ perhaps | default(me) }}', dash: '{{- base -}}', comment: 'a{# b #}',
   statement: '{% if on %}yes{% endif %}', braces: \"{{ '}}' }}\"}
- {me: one, url: 'at {{ me }}', of: '{{ hostvars.h0.ip }}'}";
        for (template, expected) in [
            ("{{ url }}", "http://10.0.0.1:8080/"),
            ("{{ port + 1 }} {{ 'up' if on else 'down' }}", "8081 up"),
            ("{{ hostvars.h1.url }} {{ hostvars['h1']['of'] }}", "at one 10.0.0.1"),
            ("{{ peers | join(',') }}", "10.0.0.1,b,{'at': 'zero'}"),
            ("{{ peers[0] }} {{ peers[-1].at }} {{ peers | length }} {{ all_peers[0] }}", "10.0.0.1 zero 3 10.0.0.1"),
            ("{% for peer in peers %}{{ peer }};{% endfor %}", "10.0.0.1;b;{'at': 'zero'};"),
            ("{{ d.b }} {{ d['c d'] }} {{ d | list | join(',') }}", "8000 zero a,b,c d,secret"),
            ("{{ raw }} {{ two }} {{ plain }}", "{{ base }} zerozero [1, 2]"),
            ("{{ perhaps | default('-') }} {{ else }} {{ perhaps is defined }}", "- zero False"),
            ("{{ dash }} {{ comment }} {{ statement }} {{ braces }}", "8000 a yes }}"),
        ] {
            assert_eq!(with_variables(VARIABLES, template).as_deref(), Ok(expected), "{template}");
        }
    }

    #[test]
    fn a_variable_that_cannot_be_rendered_is_named() {
        const VARIABLES: &str = "
- {a: 'x{{ b }}', b: '{{ c }}', c: '{{ a }}', self: '{{ self }}', far: '{{ hostvars.h1.back }}', list: ['{{ nobody }}'],
   url: 'http://{{ ip }}/', ip: '{{ net }}.1', net: '{{ nobody }}', wrong: '{{ 1 + }}', other: '{{ hostvars.h1.net }}',
   sealed: !vault x, worse: '{{ [] + 1 }}', d: {a: '{{ d.b }}', b: '{{ d.a }}'}}
- {back: '{{ hostvars[\"h0\"].far }}', net: '{{ none_here }}'}";
        for (template, expected) in [
            ("{{ a }}", "variables name each other in a circle: a > b > c > a"),
            ("{{ b | default('x') }}", "variables name each other in a circle: b > c > a > b"),
            ("{{ self }}", "variables name each other in a circle: self > self"),
            ("{{ far }}", "variables name each other in a circle: far > hostvars['h1'].back > far"),
            ("{{ d.a }}", "variables name each other in a circle: d.a > d.b > d.a"),
            ("{{ url }}", "`net`: the host has no variable `nobody`"),
            ("{{ hostvars.h0.url }}", "`net`: the host has no variable `nobody`"),
            ("{{ other }}", "`hostvars['h1'].net`: the host has no variable `none_here`"),
            ("{{ list }}", "`list[0]`: the host has no variable `nobody`"),
            ("{{ wrong }}", "`wrong`: unexpected end of variable block"),
            ("{{ sealed }}", "`sealed`: it is encrypted with Ansible's vault"),
            ("{{ url | default('') }}{{ nmae }}", "line 1: the host has no variable `nmae`"),
        ] {
            assert_eq!(with_variables(VARIABLES, template).unwrap_err(), expected, "{template}");
        }
        assert!(with_variables(VARIABLES, "{{ worse }}").unwrap_err().starts_with("`worse`: "));
    }

    #[test]
    fn variables_neither_go_too_deep_nor_grow_without_end() {
        let chain = |length: usize, link: &dyn Fn(usize) -> String| {
            let links: Vec<String> = (0..length).map(|at| format!("v{}: '{}'", at + 1, link(at))).collect();
            format!("- {{v0: x, {}}}", links.join(", "))
        };
        let plain = chain(100, &|at| format!("{{{{ v{at} }}}}"));
        assert_eq!(with_variables(&plain, "{{ v32 }}").as_deref(), Ok("x"));
        let error = with_variables(&plain, "{{ v100 }}").unwrap_err();
        assert_eq!(error, "`v68`: variables name each other more than 32 deep");
        let doubling = chain(30, &|at| format!("{{{{ v{at} }}}}{{{{ v{at} }}}}"));
        assert_eq!(with_variables(&doubling, "{{ v10 }}").unwrap().len(), 1024);
        assert_eq!(with_variables(&doubling, "{{ v30 }}").unwrap_err(), "`v21`: its text is longer than 1048576 bytes");
        // What has no value is not looked for again and again.
        let hollow = chain(30, &|at| match at {
            0 => "{{ nobody }}".into(),
            at => format!("{{{{ v{at} | default(1) }}}}{{{{ v{at} }}}}"),
        });
        assert_eq!(with_variables(&hollow, "{{ v30 }}").unwrap_err(), "`v1`: the host has no variable `nobody`");
    }
}
