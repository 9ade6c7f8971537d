//! What differs from run to run, replaced, so that whole texts can be compared.

use regex::Regex;
use std::borrow::Cow;
use std::path::Path;
use std::sync::LazyLock;

/// A text of a file with what differs from run to run replaced.
pub fn redacted(text: &str) -> String {
    Redactor::default().redact(text).into_owned()
}

/// Replaces what differs from run to run.
#[derive(Default)]
pub struct Redactor {
    pub replacements: Vec<(String, String)>,
    ports: Vec<u16>,
}

static TIME: LazyLock<Regex> =
    LazyLock::new(|| regex(r"\b(\d+ d \d\d h|\d+ h \d\d m|\d+ m \d\d s|\d+\.\d s|\d+ ms|\d+ s)\b"));
static SECONDS: LazyLock<Regex> = LazyLock::new(|| regex(r#"("(?:at|took|retry_in)":|time=")\d+(\.\d+)?(e-\d+)?"#));
static FINGERPRINT: LazyLock<Regex> = LazyLock::new(|| regex(r"SHA256:[A-Za-z0-9+/]{43}"));
static TIMESTAMP: LazyLock<Regex> = LazyLock::new(|| regex(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z?"));

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the pattern is right")
}

impl Redactor {
    pub fn path(&mut self, path: &Path, with: &str) {
        self.replacements.push((path.display().to_string(), with.into()));
    }

    pub fn port(&mut self, port: u16) {
        if !self.ports.contains(&port) {
            self.ports.push(port);
        }
    }

    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if text.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut text = text.to_owned();
        for (from, to) in &self.replacements {
            text = text.replace(from, to);
        }
        for port in &self.ports {
            text = regex(&format!(r"\b{port}\b")).replace_all(&text, "<port>").into_owned();
        }
        text = FINGERPRINT.replace_all(&text, "SHA256:<fingerprint>").into_owned();
        text = TIMESTAMP.replace_all(&text, "<date>").into_owned();
        text = SECONDS.replace_all(&text, "${1}<seconds>").into_owned();
        Cow::Owned(TIME.replace_all(&text, "<time>").into_owned())
    }
}
