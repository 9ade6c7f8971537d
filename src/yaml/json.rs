//! JSON as Python's `json` module reads it, into nodes with places.
//!
//! JSON is not quite YAML 1.1 (`1e3`, `\/`, surrogate pairs), so what is JSON is read as JSON.

use super::compose::unique;
use super::node::{Data, Document, Duplicate, Node, Place};
use super::scalar;
use super::{MAX_DEPTH, YamlError, YamlFault};
use serde_yaml::Number;

/// Reads a text that must be JSON. Objects with the one key `__ansible_vault` or `__ansible_unsafe` are what Ansible
/// writes for such values.
///
/// # Errors
/// The first place that is not JSON.
pub fn parse_json(text: &str, file: &str) -> Result<Document, YamlError> {
    let mut reader = Reader { text, at: 0, line: 1, counted: (0, 0), duplicates: Vec::new() };
    let root = match reader.document() {
        Ok(root) => root,
        Err(fault) => return Err(YamlError::new(file, text, reader.place(), fault)),
    };
    Ok(Document { root, duplicates: reader.duplicates })
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    line: u32,
    /// A byte of the current line and the number of characters before it: columns are counted from there, as all of a
    /// text may be one line.
    counted: (usize, u32),
    duplicates: Vec<Duplicate>,
}

type Read<T> = Result<T, YamlFault>;

impl Reader<'_> {
    fn document(&mut self) -> Read<Node> {
        let root = self.value(0)?;
        self.space();
        if self.at < self.text.len() {
            return Err(YamlFault::Json("something follows the value"));
        }
        Ok(root)
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn place(&mut self) -> Place {
        let (from, before) = self.counted;
        let characters = self.text.get(from..self.at).map_or(0, |more| more.chars().count());
        self.counted = (self.at.max(from), before.saturating_add(u32::try_from(characters).unwrap_or(u32::MAX)));
        Place { line: self.line, column: self.counted.1.saturating_add(1) }
    }

    fn space(&mut self) {
        while let Some(byte @ (b' ' | b'\t' | b'\r' | b'\n')) = self.peek() {
            self.at += 1;
            if byte == b'\n' {
                self.line += 1;
                self.counted = (self.at, 0);
            }
        }
    }

    fn value(&mut self, depth: usize) -> Read<Node> {
        if depth > MAX_DEPTH {
            return Err(YamlFault::TooDeep);
        }
        self.space();
        let place = self.place();
        let data = match self.peek() {
            Some(b'{') => self.object(depth)?,
            Some(b'[') => self.array(depth)?,
            Some(b'"') => Data::String(self.string()?.into()),
            _ => self.word()?,
        };
        Ok(Node { data, place })
    }

    fn array(&mut self, depth: usize) -> Read<Data> {
        let mut items = Vec::new();
        self.at += 1;
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Data::Sequence(items.into()));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(Data::Sequence(items.into()));
                }
                _ => return Err(YamlFault::Json("expected `,` or `]`")),
            }
        }
    }

    fn object(&mut self, depth: usize) -> Read<Data> {
        let mut entries = Vec::new();
        self.at += 1;
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Data::Mapping(entries.into()));
        }
        loop {
            self.space();
            if self.peek() != Some(b'"') {
                return Err(YamlFault::Json("expected a key in double quotes"));
            }
            let place = self.place();
            let key = Node { data: Data::String(self.string()?.into()), place };
            self.space();
            if self.peek() != Some(b':') {
                return Err(YamlFault::Json("expected `:` after the key"));
            }
            self.at += 1;
            entries.push((key, self.value(depth + 1)?));
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(object(unique(Vec::new(), entries, &mut self.duplicates)));
                }
                _ => return Err(YamlFault::Json("expected `,` or `}`")),
            }
        }
    }

    fn string(&mut self) -> Read<String> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let rest = &self.text[self.at..];
            let Some(end) = rest.find(|c: char| c == '"' || c == '\\' || c < ' ') else {
                return Err(YamlFault::Json("a string does not end"));
            };
            out.push_str(&rest[..end]);
            self.at += end + 1;
            match rest.as_bytes()[end] {
                b'"' => return Ok(out),
                b'\\' => out.push(self.escape()?),
                _ => {
                    self.at -= 1;
                    return Err(YamlFault::Json("a control character inside a string"));
                }
            }
        }
    }

    fn escape(&mut self) -> Read<char> {
        let byte = self.peek().ok_or(YamlFault::Json("a string does not end"))?;
        self.at += 1;
        Ok(match byte {
            b'"' | b'\\' | b'/' => byte as char,
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let high = self.hex()?;
                let mut code = high;
                if (0xd800..0xdc00).contains(&high) && self.text[self.at..].starts_with("\\u") {
                    let back = self.at;
                    self.at += 2;
                    match self.hex()? {
                        low @ 0xdc00..0xe000 => code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00),
                        _ => self.at = back,
                    }
                }
                char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            _ => {
                self.at -= 1;
                return Err(YamlFault::Json("an unknown `\\` escape"));
            }
        })
    }

    fn hex(&mut self) -> Read<u32> {
        let digits = self.text.get(self.at..self.at + 4).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        let code = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        self.at += if code.is_some() { 4 } else { 0 };
        code.ok_or(YamlFault::Json("`\\u` needs four hexadecimal digits"))
    }

    /// `true`, `false`, `null`, a number, and Python's `NaN` and `Infinity`.
    fn word(&mut self) -> Read<Data> {
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "+-._".contains(c))).unwrap_or(rest.len());
        let data = match &rest[..end] {
            "" if rest.is_empty() => return Err(YamlFault::Json("the text ends where a value is expected")),
            "true" => Data::Bool(true),
            "false" => Data::Bool(false),
            "null" => Data::Null,
            "NaN" => Data::Number(Number::from(f64::NAN)),
            "Infinity" => Data::Number(Number::from(f64::INFINITY)),
            "-Infinity" => Data::Number(Number::from(f64::NEG_INFINITY)),
            word => number(word).ok_or(YamlFault::Json("expected a value"))?,
        };
        self.at += end;
        Ok(data)
    }
}

fn number(word: &str) -> Option<Data> {
    let unsigned = word.strip_prefix('-').unwrap_or(word);
    let digits = unsigned.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 || (digits > 1 && unsigned.starts_with('0')) {
        return None;
    }
    if digits == unsigned.len() {
        let magnitude = unsigned.parse::<u128>().ok();
        return Some(magnitude.map_or_else(|| Data::String(word.into()), |m| scalar::whole(unsigned != word, m)));
    }
    let fraction = unsigned[digits..].strip_prefix('.');
    let after = fraction.map_or(&unsigned[digits..], |rest| rest.trim_start_matches(|c: char| c.is_ascii_digit()));
    let exponent = after.strip_prefix(['e', 'E']).map(|e| e.strip_prefix(['+', '-']).unwrap_or(e));
    let fraction_fits = fraction.is_none_or(|rest| rest.len() > after.len());
    let exponent_fits = match exponent {
        None => after.is_empty(),
        Some(digits) => !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()),
    };
    (fraction_fits && exponent_fits).then(|| word.parse::<f64>().ok().map(|value| Data::Number(value.into())))?
}

/// Ansible's JSON spellings of encrypted and unsafe strings.
fn object(entries: Vec<(Node, Node)>) -> Data {
    for (key, value) in &entries {
        match (key.as_str(), &value.data) {
            (Some("__ansible_vault"), Data::String(text)) => return Data::Vault(text.clone()),
            (Some("__ansible_unsafe"), Data::String(text)) => return Data::Unsafe(text.clone()),
            _ => {}
        }
    }
    Data::Mapping(entries.into())
}
