//! Python's notation of values: INI inventories type their values by it, and `--graph --vars` shows values in it.
//!
//! [`literal`] answers what `ast.literal_eval` answers; whatever that refuses is a string in an inventory.

use crate::yaml::MAX_DEPTH;
use serde_yaml::{Mapping, Number, Value};
use std::fmt::Write;

/// The value of an INI variable: a Python literal where the text is one, the text itself otherwise
/// (`_parse_value` in Ansible's `plugins/inventory/ini.py`). Tuples and sets are lists here.
pub(super) fn value(text: &str) -> Value {
    // Most values are plain words; they cost no attempt.
    let begins_like_a_literal = match text.trim_start_matches([' ', '\t']).as_bytes() {
        [] => false,
        [b'0'..=b'9' | b'.' | b'-' | b'+' | b'\'' | b'"' | b'(' | b'[' | b'{' | b'T' | b'F' | b'N' | b'#', ..] => true,
        [b'r' | b'R' | b'b' | b'B' | b'u' | b'U' | b's', ..] => true,
        _ => false,
    };
    let literal = if begins_like_a_literal { literal(text) } else { None };
    literal.unwrap_or_else(|| Value::String(text.to_owned()))
}

/// A Python literal: numbers, strings, bytes, `True`, `False`, `None`, tuples, lists, sets and dicts.
pub(super) fn literal(text: &str) -> Option<Value> {
    let mut reader = Reader { text: text.trim_start_matches([' ', '\t']), at: 0 };
    let first = reader.expression(0)?;
    let value = if reader.peek() == Some(b',') { Value::Sequence(reader.rest_of_tuple(first, None)?) } else { first };
    (reader.at == reader.text.len()).then_some(value)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    /// The next byte that is neither space nor comment.
    fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while let Some(b' ' | b'\t' | b'\x0c') = bytes.get(self.at) {
            self.at += 1;
        }
        if bytes.get(self.at) == Some(&b'#') {
            self.at = bytes.len();
        }
        bytes.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expression(&mut self, depth: usize) -> Option<Value> {
        if depth > MAX_DEPTH {
            return None;
        }
        match self.peek()? {
            b'(' => self.parenthesis(depth),
            b'[' => {
                self.at += 1;
                self.items(b']', depth).map(Value::Sequence)
            }
            b'{' => self.braces(depth),
            sign @ (b'-' | b'+') => {
                self.at += 1;
                self.signed(sign == b'-')
            }
            b'0'..=b'9' | b'.' => self.number().map(Value::Number),
            _ => self.word(),
        }
    }

    /// `(x)` is x; `()`, `(x,)` and `(x, y)` are tuples.
    fn parenthesis(&mut self, depth: usize) -> Option<Value> {
        self.at += 1;
        if self.take(b')') {
            return Some(Value::Sequence(Vec::new()));
        }
        let first = self.expression(depth + 1)?;
        if self.take(b')') {
            return Some(first);
        }
        self.rest_of_tuple(first, Some((b')', depth))).map(Value::Sequence)
    }

    /// The items after the first of a tuple, up to its bracket or to the end of the text.
    fn rest_of_tuple(&mut self, first: Value, bracket: Option<(u8, usize)>) -> Option<Vec<Value>> {
        let mut items = vec![first];
        loop {
            let comma = self.take(b',');
            match bracket {
                Some((close, _)) if self.take(close) => return Some(items),
                None if self.peek().is_none() => return Some(items),
                _ if !comma => return None,
                _ => items.push(self.expression(bracket.map_or(0, |(_, depth)| depth + 1))?),
            }
        }
    }

    fn items(&mut self, close: u8, depth: usize) -> Option<Vec<Value>> {
        if self.take(close) {
            return Some(Vec::new());
        }
        let first = self.expression(depth + 1)?;
        self.rest_of_tuple(first, Some((close, depth)))
    }

    /// A dict or a set.
    fn braces(&mut self, depth: usize) -> Option<Value> {
        self.at += 1;
        if self.take(b'}') {
            return Some(Value::Mapping(Mapping::new()));
        }
        let first = self.expression(depth + 1)?;
        if !self.take(b':') {
            return self.rest_of_tuple(first, Some((b'}', depth))).map(Value::Sequence);
        }
        let mut mapping = Mapping::new();
        let mut key = first;
        loop {
            mapping.insert(key, self.expression(depth + 1)?);
            let comma = self.take(b',');
            if self.take(b'}') {
                return Some(Value::Mapping(mapping));
            }
            if !comma {
                return None;
            }
            key = self.expression(depth + 1)?;
            if !self.take(b':') {
                return None;
            }
        }
    }

    fn signed(&mut self, negative: bool) -> Option<Value> {
        if !matches!(self.peek()?, b'0'..=b'9' | b'.') {
            return None;
        }
        let start = self.at;
        let number = self.number()?;
        if !negative {
            return Some(Value::Number(number));
        }
        if let Some(value) = number.as_u64() {
            let negated = i64::try_from(-i128::from(value)).ok();
            // Beyond 64 bits the digits stay as they are.
            let kept = || Value::String(format!("-{}", &self.text[start..self.at]));
            return Some(negated.map_or_else(kept, |value| Value::Number(value.into())));
        }
        number.as_f64().map(|value| Value::Number((-value).into()))
    }

    fn number(&mut self) -> Option<Number> {
        let rest = &self.text[self.at..];
        let mut end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.')).unwrap_or(rest.len());
        let hexadecimal = rest.starts_with("0x") || rest.starts_with("0X");
        if !hexadecimal && rest[..end].ends_with(['e', 'E']) && rest[end..].starts_with(['+', '-']) {
            let exponent = &rest[end + 1..];
            end += 1 + exponent.find(|c: char| !(c.is_ascii_digit() || c == '_')).unwrap_or(exponent.len());
        }
        let token = &rest[..end];
        // Underscores stand between digits only.
        let misplaced = |at: usize| {
            let digit = |index: usize| token.as_bytes().get(index).is_some_and(u8::is_ascii_alphanumeric);
            at == 0 || !digit(at - 1) || !digit(at + 1)
        };
        if token.match_indices('_').any(|(at, _)| misplaced(at)) {
            return None;
        }
        let plain = token.replace('_', "");
        let prefixed = plain.get(..2).map(str::to_ascii_lowercase).and_then(|prefix| match &*prefix {
            "0x" => Some(16),
            "0o" => Some(8),
            "0b" => Some(2),
            _ => None,
        });
        let number = if let Some(radix) = prefixed {
            Number::from(u64::from_str_radix(&plain[2..], radix).ok()?)
        } else if plain.bytes().all(|b| b.is_ascii_digit()) {
            if plain.len() > 1 && plain.starts_with('0') && plain.bytes().any(|b| b != b'0') {
                return None;
            }
            Number::from(plain.parse::<u64>().ok()?)
        } else {
            let shape = plain.bytes().all(|b| b.is_ascii_digit() || b".eE+-".contains(&b));
            Number::from(if shape { plain.parse::<f64>().ok()? } else { return None })
        };
        self.at += end;
        Some(number)
    }

    /// Names and strings.
    fn word(&mut self) -> Option<Value> {
        let rest = &self.text[self.at..];
        for (name, value) in [("True", Value::Bool(true)), ("False", Value::Bool(false)), ("None", Value::Null)] {
            if let Some(after) = rest.strip_prefix(name) {
                let ends = !after.starts_with(|c: char| c.is_alphanumeric() || c == '_' || c == '"' || c == '\'');
                self.at += name.len();
                return ends.then_some(value);
            }
        }
        if let Some(after) = rest.strip_prefix("set") {
            let open = after.trim_start_matches([' ', '\t']);
            self.at = self.text.len() - open.len();
            return (self.take(b'(') && self.take(b')')).then(|| Value::Sequence(Vec::new()));
        }
        self.strings()
    }

    /// One or more adjacent strings, which are one.
    fn strings(&mut self) -> Option<Value> {
        let mut joined = String::new();
        let mut kinds = Vec::new();
        loop {
            let rest = &self.text[self.at..];
            let prefix_end = rest.find(['"', '\'']).filter(|end| *end <= 2);
            let Some(end) = prefix_end else { break };
            let prefix = rest[..end].to_ascii_lowercase();
            if !matches!(&*prefix, "" | "r" | "u" | "b" | "br" | "rb") {
                break;
            }
            kinds.push(prefix.contains('b'));
            self.at += end;
            joined.push_str(&self.string(prefix.contains('r'), prefix.contains('b'))?);
            self.peek();
        }
        // Text and bytes do not mix.
        (!kinds.is_empty() && kinds.iter().all(|kind| *kind == kinds[0])).then_some(Value::String(joined))
    }

    fn string(&mut self, raw: bool, bytes: bool) -> Option<String> {
        let rest = &self.text[self.at..];
        let quote = &rest[..1];
        let triple = quote.repeat(3);
        let close: &str = if rest.starts_with(&triple) { &triple } else { quote };
        let mut body = &rest[close.len()..];
        let mut out = String::new();
        loop {
            if let Some(after) = body.strip_prefix(close) {
                self.at = self.text.len() - after.len();
                return (!bytes || out.is_ascii()).then_some(out);
            }
            let c = body.chars().next()?;
            body = &body[c.len_utf8()..];
            if c != '\\' {
                out.push(c);
            } else if raw {
                let next = body.chars().next()?;
                out.extend(['\\', next]);
                body = &body[next.len_utf8()..];
            } else {
                body = escape(body, bytes, &mut out)?;
            }
        }
    }
}

/// Writes what stands after a backslash and gives back what follows it.
fn escape<'a>(body: &'a str, bytes: bool, out: &mut String) -> Option<&'a str> {
    let c = body.chars().next()?;
    let rest = &body[c.len_utf8()..];
    let mut hexadecimal = |digits: usize| {
        let code = rest.get(..digits).filter(|code| code.bytes().all(|b| b.is_ascii_hexdigit()))?;
        out.push(char::from_u32(u32::from_str_radix(code, 16).ok()?)?);
        Some(&rest[digits..])
    };
    match c {
        '\n' => {}
        '\\' | '\'' | '"' => out.push(c),
        'a' => out.push('\u{7}'),
        'b' => out.push('\u{8}'),
        'f' => out.push('\u{c}'),
        'n' => out.push('\n'),
        'r' => out.push('\r'),
        't' => out.push('\t'),
        'v' => out.push('\u{b}'),
        'x' => return hexadecimal(2),
        'u' if !bytes => return hexadecimal(4),
        'U' if !bytes => return hexadecimal(8),
        // Needs the table of Unicode's names; the text is then taken as it is.
        'N' if !bytes => return None,
        '0'..='7' => {
            let length = body.bytes().take(3).take_while(|b| (b'0'..=b'7').contains(b)).count();
            out.push(char::from_u32(u32::from_str_radix(&body[..length], 8).ok()?)?);
            return Some(&body[length..]);
        }
        other => out.extend(['\\', other]),
    }
    Some(rest)
}

/// A value as Python's `str` shows it: strings bare, everything inside a collection as `repr` does.
pub(super) fn show(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Tagged(tagged) if tagged.tag == "unsafe" => show(&tagged.value),
        other => {
            let mut out = String::new();
            represent(other, &mut out);
            out
        }
    }
}

fn represent(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("None"),
        Value::Bool(true) => out.push_str("True"),
        Value::Bool(false) => out.push_str("False"),
        Value::Number(number) => out.push_str(&number_text(number)),
        Value::String(text) => quote(text, out),
        Value::Tagged(tagged) => represent(&tagged.value, out),
        Value::Sequence(items) => {
            out.push('[');
            for (position, item) in items.iter().enumerate() {
                out.push_str(if position == 0 { "" } else { ", " });
                represent(item, out);
            }
            out.push(']');
        }
        Value::Mapping(mapping) => {
            out.push('{');
            for (position, (key, value)) in mapping.iter().enumerate() {
                out.push_str(if position == 0 { "" } else { ", " });
                represent(key, out);
                out.push_str(": ");
                represent(value, out);
            }
            out.push('}');
        }
    }
}

/// A number as Python writes it: an exponent has a sign and two digits.
pub(super) fn number_text(number: &Number) -> String {
    let Some(value) = number.as_f64().filter(|_| number.is_f64()) else { return number.to_string() };
    if value.is_nan() {
        return "nan".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf".into() } else { "-inf".into() };
    }
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let plain = format!("{value}");
        return if plain.contains('.') { plain } else { format!("{plain}.0") };
    }
    format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

fn quote(text: &str, out: &mut String) {
    let mark = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(mark);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == mark => out.extend(['\\', c]),
            c if (c as u32) < 0x20 || (0x7f..0xa0).contains(&(c as u32)) || c == '\u{ad}' => {
                let _ = write!(out, "\\x{:02x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push(mark);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_typed_as_pythons_literal_eval_types_them() {
        // Left: the text; right: the value as JSON, as ansible-inventory prints it.
        for (text, expected) in [
            ("5", "5"),
            ("-5", "-5"),
            ("+5", "5"),
            ("--5", "\"--5\""),
            ("0644", "\"0644\""),
            ("00", "0"),
            ("0x1f", "31"),
            ("0o17", "15"),
            ("0b11", "3"),
            ("1_000", "1000"),
            ("1__0", "\"1__0\""),
            ("_1", "\"_1\""),
            ("1.5", "1.5"),
            (".5", "0.5"),
            ("5.", "5.0"),
            ("1e3", "1000.0"),
            ("1e+3", "1000.0"),
            ("-1.5e-3", "-0.0015"),
            ("1e", "\"1e\""),
            ("10.0.0.1", "\"10.0.0.1\""),
            ("5px", "\"5px\""),
            ("1 2", "\"1 2\""),
            ("5 # five", "5"),
            ("'a' # b", "\"a\""),
            ("a # b", "\"a # b\""),
            ("True", "true"),
            ("true", "\"true\""),
            ("None", "null"),
            ("Nones", "\"Nones\""),
            ("False", "false"),
            ("'x'", "\"x\""),
            ("\"a\" 'b'", "\"ab\""),
            ("u'x'", "\"x\""),
            ("b'x'", "\"x\""),
            ("r'a\\n'", "\"a\\\\n\""),
            ("'a\\n\\x41\\101\\q'", "\"a\\nAA\\\\q\""),
            ("f'x'", "\"f'x'\""),
            ("'''a'b'''", "\"a'b\""),
            ("'a", "\"'a\""),
            ("[1, 'a', True]", "[1,\"a\",true]"),
            ("[1,]", "[1]"),
            ("[]", "[]"),
            ("[,]", "\"[,]\""),
            ("[a]", "\"[a]\""),
            ("1,2", "[1,2]"),
            ("1,", "[1]"),
            (",", "\",\""),
            ("(5)", "5"),
            ("()", "[]"),
            ("(1, 2)", "[1,2]"),
            ("(1 2)", "\"(1 2)\""),
            ("{'a': 1, 'b': {}}", "{\"a\":1,\"b\":{}}"),
            ("{1, 2}", "[1,2]"),
            ("set()", "[]"),
            ("{'a' 1}", "\"{'a' 1}\""),
            ("{{ x }}", "\"{{ x }}\""),
            ("80,443", "[80,443]"),
            ("a,b", "\"a,b\""),
            ("", "\"\""),
            ("#", "\"#\""),
            ("-True", "\"-True\""),
            ("1+2", "\"1+2\""),
            ("$x", "\"$x\""),
            ("*", "\"*\""),
        ] {
            let expected: Value = serde_json::from_str(expected).unwrap();
            assert_eq!(value(text), expected, "{text}");
        }
    }

    #[test]
    fn values_are_shown_as_python_shows_them() {
        for (json, expected) in [
            ("\"it's\"", "it's"),
            ("[\"it's\", \"a\\\"b'\", null]", "[\"it's\", 'a\"b\\'', None]"),
            ("{\"a\": [true, 1.0, 1e22, 1e-7]}", "{'a': [True, 1.0, 1e+22, 1e-07]}"),
            ("3", "3"),
            ("0.1", "0.1"),
        ] {
            let value: Value = serde_json::from_str(json).unwrap();
            assert_eq!(show(&value), expected);
        }
    }
}
