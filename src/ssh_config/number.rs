//! Numbers as OpenSSH reads them: times, ports, whole numbers, scaled sizes.

use std::collections::HashMap;
use std::sync::LazyLock;

/// A whole number in decimal within bounds, as strtonum(3): blanks and a sign may come first.
pub(super) fn integer(text: &str, smallest: i64, largest: i64) -> Option<i64> {
    let digits = text.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '\x0b');
    let unsigned = digits.strip_prefix(['+', '-']).unwrap_or(digits);
    if unsigned.is_empty() || !unsigned.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse::<i64>().ok().filter(|number| (smallest..=largest).contains(number))
}

/// A TCP port: 0 to 65535 or the name of a service from `/etc/services`.
pub(super) fn port(text: &str) -> Option<u16> {
    match integer(text, 0, 65_535) {
        Some(number) => u16::try_from(number).ok(),
        None => service(text),
    }
}

fn service(name: &str) -> Option<u16> {
    static SERVICES: LazyLock<HashMap<String, u16>> = LazyLock::new(|| {
        let mut services = HashMap::new();
        for line in std::fs::read_to_string("/etc/services").unwrap_or_default().lines() {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let (Some(name), Some(place)) = (words.next(), words.next()) else { continue };
            let Some(port) = place.strip_suffix("/tcp").and_then(|port| port.parse().ok()) else { continue };
            for name in std::iter::once(name).chain(words) {
                services.entry(name.to_owned()).or_insert(port);
            }
        }
        services
    });
    SERVICES.get(name).copied()
}

/// Seconds, or a sum of times such as `1h30m`, as `convtime` in OpenSSH's misc.c: fractions for seconds only, and dropped.
pub(super) fn seconds(text: &str) -> Option<u32> {
    if text.is_empty() {
        return None;
    }
    let mut total = 0.0_f64;
    let mut seconds_given = false;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, unit) = rest.split_at(end);
        let value: f64 = number.parse().ok()?;
        let multiplier = match unit.bytes().next() {
            None | Some(b's' | b'S') => {
                if std::mem::replace(&mut seconds_given, true) || number.ends_with('.') {
                    return None;
                }
                1.0
            }
            Some(b'm' | b'M') => 60.0,
            Some(b'h' | b'H') => 3600.0,
            Some(b'd' | b'D') => 86_400.0,
            Some(b'w' | b'W') => 604_800.0,
            Some(_) => return None,
        };
        if multiplier > 1.0 && number.contains('.') {
            return None;
        }
        total += value * multiplier;
        rest = unit.get(1..).unwrap_or_default();
    }
    (total <= f64::from(i32::MAX)).then_some(total as u32)
}

/// A size with an optional suffix of powers of 1024, as scan_scaled(3): `64K`, `1.5G`.
pub(super) fn scaled(text: &str) -> Option<u64> {
    let text = text.trim_start().strip_prefix('+').unwrap_or(text.trim_start());
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    if number.matches('.').count() > 1 {
        return None;
    }
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut characters = suffix.chars();
    let Some(scale) = characters.next() else { return Some(whole) };
    let power = "BKMGTPE".find(scale.to_ascii_uppercase())? as u32;
    if characters.next().is_some_and(|next| next.is_ascii_alphanumeric()) {
        return None;
    }
    let factor = 1024_u64.pow(power);
    let fraction: f64 = format!("0.{fraction}0").parse().ok()?;
    let total = whole.checked_mul(factor)?.checked_add((fraction * factor as f64) as u64)?;
    (total <= i64::MAX as u64).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_sums_of_units() {
        let table = [
            ("0", Some(0)),
            ("90", Some(90)),
            ("1h", Some(3600)),
            ("1h30m", Some(5400)),
            ("1W2d3H4m5S", Some(788_645)),
            ("1m1m", Some(120)),
            ("1.5", Some(1)),
            (".5s", Some(0)),
            ("1.5m", None),
            ("1s1", None),
            ("5.", None),
            ("1.2.3", None),
            ("+5", None),
            ("-1", None),
            ("", None),
            ("1x", None),
            ("m", None),
            ("1e3", None),
            ("2147483647", Some(2_147_483_647)),
            ("2147483648", None),
            ("99999w", None),
        ];
        for (text, expected) in table {
            assert_eq!(seconds(text), expected, "{text:?}");
        }
    }

    #[test]
    fn ports_and_integers_hold_their_bounds() {
        let table = [
            ("22", Some(22)),
            ("+22", Some(22)),
            (" 22", Some(22)),
            ("0", Some(0)),
            ("65535", Some(65_535)),
            ("65536", None),
        ];
        for (text, expected) in table.into_iter().chain([("2000blah", None), ("-1", None), ("=22", None), ("", None)]) {
            assert_eq!(port(text), expected, "{text:?}");
        }
        assert_eq!(integer("2147483648", 0, i64::from(i32::MAX)), None);
    }

    #[test]
    fn sizes_take_suffixes_of_powers_of_1024() {
        let table = [("64K", Some(65_536)), ("1g", Some(1 << 30)), ("1.5M", Some(1_572_864)), ("100", Some(100))];
        for (text, expected) in table.into_iter().chain([("1KB", None), ("x", None), ("1..5K", None), ("9E", None)]) {
            assert_eq!(scaled(text), expected, "{text:?}");
        }
    }
}
