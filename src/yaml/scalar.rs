//! YAML 1.1: what a plain scalar means, by PyYAML's rules (`yaml/resolver.py`, `yaml/constructor.py`).

use super::node::Data;
use serde_yaml::Number;
use std::borrow::Cow;

/// The meaning of an unquoted, untagged scalar.
pub(super) fn resolve(text: &str) -> Data {
    null(text)
        .or_else(|| boolean(text))
        .or_else(|| number(text))
        .unwrap_or_else(|| Data::String(timestamp(text).into()))
}

pub(super) fn null(text: &str) -> Option<Data> {
    matches!(text, "" | "~" | "null" | "Null" | "NULL").then_some(Data::Null)
}

pub(super) fn boolean(text: &str) -> Option<Data> {
    let flag = match text {
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => true,
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => false,
        _ => return None,
    };
    Some(Data::Bool(flag))
}

/// An integer or a float.
pub(super) fn number(text: &str) -> Option<Data> {
    match text.bytes().next()? {
        b'0'..=b'9' | b'+' | b'-' | b'.' => integer(text).or_else(|| float(text)),
        _ => None,
    }
}

/// `0b1010`, `0644` (octal), `0x1f`, `1_000`, `1:30` (base sixty).
pub(super) fn integer(text: &str) -> Option<Data> {
    let (negative, unsigned) = sign(text);
    let digits = without_underscores(unsigned);
    let (radix, body) = match unsigned.as_bytes() {
        [b'0', b'b', ..] => (2, digits.get(2..)?),
        [b'0', b'x', ..] => (16, digits.get(2..)?),
        [b'0', _, ..] => (8, &*digits),
        [b'0'..=b'9', ..] => (10, &*digits),
        _ => return None,
    };
    let magnitude = if radix == 10 && body.contains(':') {
        let Sexagesimal { parts, fraction: None } = sexagesimal(unsigned)? else { return None };
        parts.iter().try_fold(0u128, |sum, part| sum.checked_mul(60)?.checked_add(*part))
    } else {
        if body.is_empty() || !body.bytes().all(|b| (b as char).is_digit(radix)) {
            return None;
        }
        u128::from_str_radix(body, radix).ok()
    };
    Some(magnitude.map_or_else(|| Data::String(text.into()), |magnitude| whole(negative, magnitude)))
}

/// An integer of any size: those that serde_yaml has no room for stay as their digits.
pub(super) fn whole(negative: bool, magnitude: u128) -> Data {
    if !negative && let Ok(small) = u64::try_from(magnitude) {
        return Data::Number(Number::from(small));
    }
    match i128::try_from(magnitude).ok().and_then(|value| i64::try_from(if negative { -value } else { value }).ok()) {
        Some(small) => Data::Number(Number::from(small)),
        None => Data::String(format!("{}{magnitude}", if negative { "-" } else { "" }).into()),
    }
}

/// `1.5`, `.5`, `1.5e+3` (the exponent needs its sign), `1:30.5`, `.inf`, `.nan`.
pub(super) fn float(text: &str) -> Option<Data> {
    let (negative, unsigned) = sign(text);
    let signed = unsigned.len() != text.len();
    let magnitude = match unsigned {
        ".inf" | ".Inf" | ".INF" => f64::INFINITY,
        ".nan" | ".NaN" | ".NAN" if !signed => f64::NAN,
        _ if unsigned.contains(':') => {
            let Sexagesimal { parts, fraction } = sexagesimal(unsigned)?;
            let whole = parts.iter().fold(0.0, |sum, part| sum * 60.0 + *part as f64);
            whole + format!("0.{}", without_underscores(fraction?)).parse::<f64>().ok()?
        }
        _ => {
            let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
                Some(at) => (&unsigned[..at], Some(&unsigned[at + 1..])),
                None => (unsigned, None),
            };
            let (whole, fraction) = mantissa.split_once('.')?;
            let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit() || b == b'_');
            let leading = |part: &str| part.bytes().next().is_some_and(|b| b.is_ascii_digit());
            let shape = if whole.is_empty() { leading(fraction) && !signed } else { leading(whole) };
            let exponent_shape = exponent.is_none_or(|exponent| {
                let (_, digits) = sign(exponent);
                digits.len() + 1 == exponent.len() && !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
            });
            if !(shape && digits(whole) && digits(fraction) && exponent_shape) {
                return None;
            }
            without_underscores(unsigned).parse().ok()?
        }
    };
    Some(Data::Number(Number::from(if negative { -magnitude } else { magnitude })))
}

/// A timestamp in the form of Python's `isoformat`; every other text is given back as it is.
pub(super) fn timestamp(text: &str) -> Cow<'_, str> {
    date_time(text).map_or(Cow::Borrowed(text), Cow::Owned)
}

fn date_time(text: &str) -> Option<String> {
    let (date, rest) = text.split_at_checked(text.find(['T', 't', ' ', '\t'])?)?;
    let mut date = date.split('-');
    let (year, month, day) = (date.next()?, digits(date.next()?, 1..=2)?, digits(date.next()?, 1..=2)?);
    let year = digits(year, 4..=4)?;
    let time = rest.strip_prefix(['T', 't']).unwrap_or_else(|| rest.trim_start_matches([' ', '\t']));
    let zone_at = time.find(['Z', '+', '-', ' ', '\t']).unwrap_or(time.len());
    let (clock, zone) = time.split_at(zone_at);
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let mut clock = clock.split(':');
    let hour = digits(clock.next()?, 1..=2)?;
    let (minute, second) = (digits(clock.next()?, 2..=2)?, digits(clock.next()?, 2..=2)?);
    let valid = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 60;
    if !valid || date.next().is_some() || clock.next().is_some() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let mut written = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    let micros = format!("{:0<6}", &fraction[..fraction.len().min(6)]);
    if micros.bytes().any(|b| b != b'0') {
        written.push('.');
        written.push_str(&micros);
    }
    match zone.trim_start_matches([' ', '\t']) {
        "" => {}
        "Z" => written.push_str("+00:00"),
        zone => {
            let (hours, minutes) = zone[1..].split_once(':').unwrap_or((&zone[1..], "00"));
            let sign = zone.chars().next().filter(|c| matches!(c, '+' | '-'))?;
            written.push_str(&format!("{sign}{:02}:{:02}", digits(hours, 1..=2)?, digits(minutes, 2..=2)?));
        }
    }
    Some(written)
}

fn digits(text: &str, length: std::ops::RangeInclusive<usize>) -> Option<u32> {
    (length.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

struct Sexagesimal<'a> {
    parts: Vec<u128>,
    fraction: Option<&'a str>,
}

/// `[0-9][0-9_]*(:[0-5]?[0-9])+` and, for floats, a fraction. An integer begins with 1 to 9.
fn sexagesimal(unsigned: &str) -> Option<Sexagesimal<'_>> {
    let (clock, fraction) = unsigned.split_once('.').map_or((unsigned, None), |(clock, rest)| (clock, Some(rest)));
    if !fraction.unwrap_or("").bytes().all(|b| b.is_ascii_digit() || b == b'_') {
        return None;
    }
    let mut parts = Vec::new();
    for (position, part) in clock.split(':').enumerate() {
        let first = part.bytes().next()?;
        let fits = match position {
            0 => first.is_ascii_digit() && (first != b'0' || fraction.is_some()),
            _ => part.len() == 1 || part.len() == 2 && (b'0'..=b'5').contains(&first),
        };
        let digits = if position == 0 { without_underscores(part) } else { Cow::Borrowed(part) };
        if !fits || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        parts.push(digits.parse().ok()?);
    }
    (parts.len() > 1).then_some(Sexagesimal { parts, fraction })
}

fn sign(text: &str) -> (bool, &str) {
    match text.as_bytes() {
        [b'-', ..] => (true, &text[1..]),
        [b'+', ..] => (false, &text[1..]),
        _ => (false, text),
    }
}

fn without_underscores(text: &str) -> Cow<'_, str> {
    if text.contains('_') { Cow::Owned(text.replace('_', "")) } else { Cow::Borrowed(text) }
}
