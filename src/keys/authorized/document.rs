//! A whole file: [`Document`]. Every edit says what became of the lines; all others stay byte for byte.

use super::line::{Entry, Line, LineTooLong, NewKey, checked};
use super::options::Options;

/// One authorized_keys file as text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document {
    lines: Vec<DocumentLine>,
    changes: Vec<Change>,
}

/// A line of a [`Document`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentLine {
    /// Counted from 1 in the file as it was read; nothing for one that is new.
    pub number: Option<usize>,
    /// Its bytes with its end, where it has one.
    pub text: Vec<u8>,
    /// What it means.
    pub content: Line,
}

/// What became of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The line as it was, without its end.
    pub before: Option<Vec<u8>>,
    /// The line as it is now, without its end.
    pub after: Option<Vec<u8>>,
}

/// What becomes of the options of a key that is there.
#[derive(Clone, Copy, Debug)]
pub enum OptionsRule<'a> {
    /// They stay as they are; a new line has none.
    Keep,
    /// They become these.
    Set(&'a Options),
}

/// How a key came to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// A line was added.
    Added,
    /// Nothing had to be done.
    There,
    /// A line was there with other options.
    Changed,
}

impl Document {
    /// Reads a text; every text is a document.
    pub fn parse(text: &[u8]) -> Self {
        let lines = (1..).zip(text.split_inclusive(|&byte| byte == b'\n')).map(|(number, text)| {
            let content = Line::parse(text.strip_suffix(b"\n").unwrap_or(text));
            DocumentLine { number: Some(number), text: text.to_vec(), content }
        });
        Self { lines: lines.collect(), changes: Vec::new() }
    }

    /// The text.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.lines.iter().flat_map(|line| &line.text).copied().collect()
    }

    /// Every line in order.
    pub fn lines(&self) -> impl Iterator<Item = &DocumentLine> {
        self.lines.iter()
    }

    /// Every line with a key, in order.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.lines.iter().filter_map(DocumentLine::entry)
    }

    /// What the edits did, in their order.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Whether an edit did anything.
    pub fn is_changed(&self) -> bool {
        !self.changes.is_empty()
    }

    /// Lets a key in. One that is there under whatever options stays as it is, unless other options are set: then every
    /// line with the key gets them. A line that makes the key an authority counts only where that is what is set.
    ///
    /// # Errors
    /// Where a line would be too long for sshd; nothing is changed then.
    pub fn let_in(&mut self, key: &NewKey, rule: OptionsRule<'_>) -> Result<Presence, LineTooLong> {
        let authority = matches!(rule, OptionsRule::Set(options) if options.is_authority());
        let is_meant = |line: &DocumentLine| {
            line.entry().is_some_and(|entry| entry.key == *key.key() && entry.is_authority() == authority)
        };
        if !self.lines.iter().any(is_meant) {
            let options = match rule {
                OptionsRule::Keep => None,
                OptionsRule::Set(options) => Some(options),
            };
            self.append(&key.line(options)?);
            return Ok(Presence::Added);
        }
        let OptionsRule::Set(options) = rule else { return Ok(Presence::There) };
        let mut edited = Vec::new();
        for (index, line) in self.lines.iter().enumerate().filter(|(_, line)| is_meant(line)) {
            if let Some(text) = line.with_options(options)? {
                edited.push((index, text));
            }
        }
        let presence = if edited.is_empty() { Presence::There } else { Presence::Changed };
        for (index, text) in edited {
            let line = &mut self.lines[index];
            let before = line.bare().to_vec();
            let end = line.text[before.len()..].to_vec();
            self.changes.push(Change { before: Some(before), after: Some(text.clone()) });
            line.content = Line::parse(&text);
            line.text = [text, end].concat();
        }
        Ok(presence)
    }

    /// Removes every line whose key is meant and gives what they held.
    pub fn remove(&mut self, mut is_meant: impl FnMut(&Entry) -> bool) -> Vec<Entry> {
        let mut removed = Vec::new();
        let changes = &mut self.changes;
        self.lines.retain(|line| match line.entry().filter(|entry| is_meant(entry)) {
            Some(entry) => {
                changes.push(Change { before: Some(line.bare().to_vec()), after: None });
                removed.push(entry.clone());
                false
            }
            None => true,
        });
        removed
    }

    /// Adds a line in the style of those that are there.
    fn append(&mut self, line: &[u8]) {
        let ended = self.lines.iter().rev().find(|line| line.text.ends_with(b"\n"));
        let end: &[u8] = if ended.is_some_and(|line| line.text.ends_with(b"\r\n")) { b"\r\n" } else { b"\n" };
        if let Some(last) = self.lines.last_mut().filter(|last| !last.text.ends_with(b"\n")) {
            last.text.extend_from_slice(end);
        }
        self.changes.push(Change { before: None, after: Some(line.to_vec()) });
        self.lines.push(DocumentLine { number: None, text: [line, end].concat(), content: Line::parse(line) });
    }
}

impl DocumentLine {
    /// The key, where it has one.
    pub fn entry(&self) -> Option<&Entry> {
        match &self.content {
            Line::Key(entry) => Some(entry),
            Line::Blank | Line::Comment | Line::Foreign(_) => None,
        }
    }

    /// Its bytes without its end.
    pub fn bare(&self) -> &[u8] {
        let text = self.text.strip_suffix(b"\n").unwrap_or(&self.text);
        text.strip_suffix(b"\r").unwrap_or(text)
    }

    /// The line with other options, where that means something else.
    fn with_options(&self, wanted: &Options) -> Result<Option<Vec<u8>>, LineTooLong> {
        let Some(entry) = self.entry().filter(|entry| !Options::found(&entry.options).means(wanted)) else {
            return Ok(None);
        };
        let bare = self.bare();
        let mut text = bare[..entry.place.start].to_vec();
        if !wanted.is_empty() {
            text.extend_from_slice(wanted.as_bytes());
            text.push(b' ');
        }
        text.extend_from_slice(&bare[entry.place.end..]);
        checked(text).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BLOB: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB";
    const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIC";

    fn new(text: &str) -> NewKey {
        NewKey::parse(text.as_bytes()).unwrap()
    }

    fn options(text: &str) -> Options {
        text.parse().unwrap()
    }

    #[test]
    fn a_key_is_added_in_the_style_of_the_file() {
        let key = new(&format!("{BLOB} me"));
        for (before, after) in [
            (String::new(), format!("{BLOB} me\n")),
            (format!("{OTHER}\n"), format!("{OTHER}\n{BLOB} me\n")),
            (OTHER.into(), format!("{OTHER}\n{BLOB} me\n")),
            (format!("# a\r\n{OTHER} x"), format!("# a\r\n{OTHER} x\r\n{BLOB} me\r\n")),
            (format!("#{BLOB}\n"), format!("#{BLOB}\n{BLOB} me\n")),
            (format!("cert-authority {BLOB}\n"), format!("cert-authority {BLOB}\n{BLOB} me\n")),
        ] {
            let mut document = Document::parse(before.as_bytes());
            assert_eq!(document.let_in(&key, OptionsRule::Keep), Ok(Presence::Added), "{before:?}");
            assert_eq!(String::from_utf8(document.to_bytes()).unwrap(), after);
            assert_eq!(document.let_in(&key, OptionsRule::Keep), Ok(Presence::There));
            assert_eq!(document.changes().len(), 1);
        }
    }

    #[test]
    fn options_are_changed_where_they_are_and_nowhere_else() {
        let text = format!("# x\r\n \t{BLOB} me \r\nrestrict {OTHER}\nNO-PTY,restrict {BLOB}");
        let mut document = Document::parse(text.as_bytes());
        assert_eq!(document.let_in(&new(BLOB), OptionsRule::Keep), Ok(Presence::There));
        let wanted = options("restrict,no-pty");
        assert_eq!(document.let_in(&new(BLOB), OptionsRule::Set(&wanted)), Ok(Presence::Changed));
        let after = format!("# x\r\n \trestrict,no-pty {BLOB} me \r\nrestrict {OTHER}\nNO-PTY,restrict {BLOB}");
        assert_eq!(String::from_utf8(document.to_bytes()).unwrap(), after);
        assert_eq!(document.let_in(&new(BLOB), OptionsRule::Set(&wanted)), Ok(Presence::There));
        let none = Options::default();
        assert_eq!(document.let_in(&new(BLOB), OptionsRule::Set(&none)), Ok(Presence::Changed));
        let without = format!("# x\r\n \t{BLOB} me \r\nrestrict {OTHER}\n{BLOB}");
        assert_eq!(String::from_utf8(document.to_bytes()).unwrap(), without);
    }

    #[test]
    fn a_line_that_would_be_too_long_changes_nothing() {
        let text = format!("{BLOB} {}\n", "x".repeat(8000));
        let mut document = Document::parse(text.as_bytes());
        let wanted = options(&format!("command=\"{}\"", "y".repeat(200)));
        assert!(document.let_in(&new(BLOB), OptionsRule::Set(&wanted)).is_err());
        assert!(!document.is_changed() && document.to_bytes() == text.as_bytes());
    }

    #[test]
    fn every_line_with_a_key_is_removed() {
        let text = format!("{BLOB} a\n# {BLOB}\nrestrict {BLOB}\r\n{OTHER}\ncert-authority {BLOB}");
        let mut document = Document::parse(text.as_bytes());
        let key = new(BLOB);
        assert_eq!(document.remove(|entry| entry.key == *key.key()).len(), 3);
        assert_eq!(String::from_utf8(document.to_bytes()).unwrap(), format!("# {BLOB}\n{OTHER}\n"));
    }

    /// Lines as they are found: keys with and without options, comments, and bytes that mean nothing.
    fn line() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            Just(format!("{OTHER} other").into_bytes()),
            Just(format!("from=\"a b\",restrict {OTHER}").into_bytes()),
            Just(format!("  # {BLOB}").into_bytes()),
            Just(format!("command=\"not closed {BLOB}").into_bytes()),
            Just(vec![b'x'; 9000]),
            "[ -~\t]{0,40}".prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>().prop_filter("no line feed", |byte| *byte != b'\n'), 0..40),
        ]
    }

    fn file() -> impl Strategy<Value = (Vec<Vec<u8>>, bool)> {
        let end = prop_oneof![Just(&b"\n"[..]), Just(&b"\r\n"[..])];
        let ended = (line(), end).prop_map(|(line, end)| [&line, end].concat());
        (prop::collection::vec(ended, 0..12), any::<bool>())
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_as_it_was(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            prop_assert_eq!(Document::parse(&bytes).to_bytes(), bytes);
        }

        #[test]
        fn edits_keep_every_foreign_byte((lines, cut) in file(), at in 0..12usize) {
            let mut lines = lines;
            if let Some(last) = lines.last_mut().filter(|_| cut) {
                last.pop();
            }
            let foreign = lines.concat();
            let mut document = Document::parse(&foreign);
            let key = new(&format!("{BLOB} me"));
            prop_assert_eq!(document.let_in(&key, OptionsRule::Keep), Ok(Presence::Added));
            let added = document.to_bytes();
            prop_assert!(added.starts_with(&foreign));
            let behind = String::from_utf8_lossy(&added[foreign.len()..]).replace("\r\n", "\n");
            prop_assert_eq!(behind.trim_start_matches('\n').trim_end(), format!("{BLOB} me"));

            // In the middle of the file, with other options, and gone again.
            let at = at.min(lines.len());
            let (before, after) = (lines[..at].concat(), lines[at..].concat());
            let whole = before.is_empty() || before.ends_with(b"\n");
            prop_assume!(whole);
            let text = [&before, format!("{BLOB} me\n").as_bytes(), &after].concat();
            let mut document = Document::parse(&text);
            let wanted = options("restrict,pty");
            prop_assert_eq!(document.let_in(&key, OptionsRule::Set(&wanted)), Ok(Presence::Changed));
            let changed = [&before, format!("restrict,pty {BLOB} me\n").as_bytes(), &after].concat();
            prop_assert_eq!(document.to_bytes(), changed);
            prop_assert_eq!(document.remove(|entry| entry.key == *key.key()).len(), 1);
            prop_assert_eq!(document.to_bytes(), foreign);
        }
    }
}
