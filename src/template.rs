//! Jinja templates over a host's variables: the one user of minijinja.
//!
//! An undefined variable is an error that names it, never an empty text in a command line.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior};
use serde_yaml::Mapping;

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

/// Renders a template with a host's variables.
///
/// # Errors
/// A mistake in the template, or a variable that the host does not have.
pub fn render(template: &str, variables: &Mapping) -> Result<String, TemplateError> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    if let Ok(syntax) = SyntaxConfig::builder().keep_trailing_newline(true).build() {
        environment.set_syntax(syntax);
    }
    environment.render_str(template, Serde(variables)).map_err(|error| {
        let what = match (error.detail(), undefined_name(&error, template)) {
            (_, Some(name)) => format!("the host has no variable `{name}`"),
            (Some(detail), None) => detail.to_owned(),
            (None, None) => error.kind().to_string(),
        };
        TemplateError::Render { line: error.line().unwrap_or(1), what }
    })
}

/// The text of the expression that has no value.
fn undefined_name(error: &minijinja::Error, template: &str) -> Option<String> {
    (error.kind() == minijinja::ErrorKind::UndefinedError).then_some(())?;
    let name = template.get(error.range()?)?.trim();
    (!name.is_empty() && name.len() < 80).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::render;

    fn variables() -> serde_yaml::Mapping {
        serde_yaml::from_str("{port: 8080, name: web01, tags: [a, b], on: true}").unwrap()
    }

    #[test]
    fn variables_of_a_host_are_rendered() {
        let text =
            render("{{ name }}:{{ port }} {{ tags | join(',') }}{% if on %} on{% endif %}\n", &variables()).unwrap();
        assert_eq!(text, "web01:8080 a,b on\n");
    }

    #[test]
    fn an_undefined_variable_is_named() {
        let error = render("echo {{ nmae }}", &variables()).unwrap_err();
        assert!(error.to_string().contains("nmae"), "{error}");
        assert!(render("{{ broken", &variables()).is_err());
    }
}
