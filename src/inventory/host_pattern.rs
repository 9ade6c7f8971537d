//! A host as it is written in an inventory: a name or address, ranges, a port.

use super::problem::Fault;
use crate::nodeset::Pattern;
use std::net::Ipv6Addr;

/// The names that a pattern means and the port written after it.
#[derive(Debug, PartialEq)]
pub(super) struct HostPattern {
    pub names: Vec<String>,
    pub port: Option<u64>,
}

/// Reads a host pattern by the rules of Ansible (`parsing/utils/addresses.py`); ClusterShell's ranges are understood too.
///
/// # Errors
/// A range that cannot be expanded, `host:` without a port, or the beginning of a YAML file.
pub(super) fn parse(pattern: &str) -> Result<HostPattern, (Fault, Option<String>)> {
    let (name, port) = split_port(pattern);
    if pattern.trim_end().ends_with(':') && port.is_none() && pattern.parse::<Ipv6Addr>().is_err() {
        return Err((Fault::NoPort(pattern.to_owned()), None));
    }
    if !name.contains('[') {
        return Ok(HostPattern { names: vec![name.to_owned()], port });
    }
    let ranges = Pattern::parse(name).map_err(|error| {
        let hint = error.hint();
        (Fault::Range(Box::new(error)), hint)
    })?;
    Ok(HostPattern { names: ranges.names().collect(), port })
}

/// Splits `name:22` and `[address]:22`. A text that is no such thing is a name as a whole, as in Ansible.
fn split_port(pattern: &str) -> (&str, Option<u64>) {
    let (mut name, mut port) = (pattern, None);
    if let Some((inside, digits)) = pattern.strip_prefix('[').and_then(|rest| rest.rsplit_once("]:"))
        && let Some(number) = port_number(digits)
        && !inside.is_empty()
    {
        (name, port) = (inside, Some(number));
    }
    if let Some((before, digits)) = name.rsplit_once(':')
        && let Some(number) = port_number(digits)
        && !has_bare_colon_or_bracket(before)
    {
        (name, port) = (before, Some(number));
    }
    if port.is_some() && (is_host_name(name) || is_ipv6(name)) { (name, port) } else { (pattern, None) }
}

fn port_number(digits: &str) -> Option<u64> {
    (!digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok())?
}

/// Whether a colon or an unmatched bracket stands outside complete `[…]` pairs.
fn has_bare_colon_or_bracket(text: &str) -> bool {
    let mut rest = text;
    while let Some(at) = rest.find([':', '[', ']']) {
        match (rest.as_bytes()[at], rest[at..].find(']')) {
            (b'[', Some(close)) => rest = &rest[at + close + 1..],
            _ => return true,
        }
    }
    false
}

/// Labels of letters, digits, `_` and `-` with ranges among them; none ends in `-` or `_` or begins with `-`.
fn is_host_name(name: &str) -> bool {
    let mut label_end: Option<char> = None;
    let mut rest = name;
    while let Some(c) = rest.chars().next() {
        match c {
            '[' => {
                let Some(close) = rest.find(']') else { return false };
                rest = &rest[close..];
                label_end = Some(']');
            }
            '.' if label_end.is_some_and(|end| end != '-' && end != '_') => label_end = None,
            '-' if label_end.is_some() => label_end = Some('-'),
            c if c.is_alphanumeric() || c == '_' => label_end = Some(c),
            _ => return false,
        }
        rest = &rest[rest.chars().next().map_or(0, char::len_utf8)..];
    }
    label_end.is_some_and(|end| end != '-' && end != '_')
}

/// An IPv6 address, in which a range may stand for a component.
fn is_ipv6(name: &str) -> bool {
    let mut plain = String::new();
    let mut rest = name;
    while let Some((before, inside)) = rest.split_once('[') {
        let Some((_, after)) = inside.split_once(']') else { return false };
        plain.push_str(before);
        plain.push('0');
        rest = after;
    }
    plain.push_str(rest);
    plain.parse::<Ipv6Addr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_as_ansible_reads_them() {
        for (pattern, names, port) in [
            ("web01", vec!["web01"], None),
            ("web01:2222", vec!["web01"], Some(2222)),
            ("web[01:03]:22", vec!["web01", "web02", "web03"], Some(22)),
            ("[a:c].example.com", vec!["a.example.com", "b.example.com", "c.example.com"], None),
            ("x[1:5:2]", vec!["x1", "x3", "x5"], None),
            ("r[1:2]n[1:2]", vec!["r1n1", "r1n2", "r2n1", "r2n2"], None),
            ("::1", vec!["::1"], None),
            ("fe80::", vec!["fe80::"], None),
            ("[::1]:22", vec!["::1"], Some(22)),
            ("[2001:db8::1]:2022", vec!["2001:db8::1"], Some(2022)),
            ("[web01]:22", vec!["web01"], Some(22)),
            ("10.0.0.1:22", vec!["10.0.0.1"], Some(22)),
            ("deploy@web01", vec!["deploy@web01"], None),
            ("deploy@web01:22", vec!["deploy@web01:22"], None),
            ("a_:22", vec!["a_:22"], None),
            ("bücher:22", vec!["bücher"], Some(22)),
        ] {
            let expected = HostPattern { names: names.into_iter().map(str::to_owned).collect(), port };
            assert_eq!(parse(pattern), Ok(expected), "{pattern}");
        }
        for bad in ["web:", "web[1:", "web[5:1]", "web[]", "web[a:1]", "[::1]"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
