//! The values that options take: what sshd accepts when it reads the line, and what it would trip over at a login.

use std::net::IpAddr;

/// Checks a value that is to be written.
pub(super) fn check(name: &str, value: &str) -> Result<(), String> {
    match name {
        "command" if value.trim().is_empty() => Err("the command is empty".into()),
        "from" => value.split(',').try_for_each(from),
        "principals" => match value.split(',').find(|name| name.trim().is_empty()) {
            Some(_) => Err("a name in the list is empty".into()),
            None => Ok(()),
        },
        "environment" => environment(value),
        "expiry-time" => expiry(value),
        "permitopen" => forward(value, Bare::Refused),
        "permitlisten" => forward(value, Bare::Port),
        "tunnel" if value != "any" && value.parse::<i32>().ok().is_none_or(|unit| unit < 0) => {
            Err(format!("`{value}` is no tunnel device: write its number, or `any`"))
        }
        _ => Ok(()),
    }
}

/// A pattern, or a network: one that is wrong makes sshd refuse every login with the key (`addr_match_cidr_list`).
fn from(pattern: &str) -> Result<(), String> {
    let bare = pattern.strip_prefix('!').unwrap_or(pattern);
    if bare.is_empty() || bare.contains(char::is_whitespace) {
        return Err("a pattern in the list is empty or has a blank in it".into());
    }
    let Some((address, length)) = bare.split_once('/') else { return Ok(()) };
    let parsed: IpAddr = address.parse().map_err(|_| format!("`{bare}` is no network: `{address}` is no address"))?;
    let (bits, width) = match parsed {
        IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    };
    let length: u32 = length
        .parse()
        .ok()
        .filter(|length| *length <= width)
        .ok_or_else(|| format!("`{bare}` is no network: `/{length}` is not from 0 to {width}"))?;
    let host = bits.checked_shl(length).unwrap_or(0);
    if host != 0 { Err(format!("`{bare}` is no network: it has host bits, and sshd would refuse it")) } else { Ok(()) }
}

fn environment(value: &str) -> Result<(), String> {
    let is_name = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    match value.split_once('=') {
        Some((name, _)) if is_name(name) => Ok(()),
        _ => Err("write NAME=value".into()),
    }
}

/// `YYYYMMDD[Z]` or `YYYYMMDDHHMM[SS][Z]`.
fn expiry(value: &str) -> Result<(), String> {
    let digits = value.strip_suffix('Z').unwrap_or(value);
    let wrong = || format!("`{value}` is no time: write YYYYMMDD or YYYYMMDDHHMM[SS], with Z for UTC");
    if !matches!(digits.len(), 8 | 12 | 14) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let number =
        |range: std::ops::Range<usize>| digits.get(range).and_then(|text| text.parse::<u32>().ok()).unwrap_or(0);
    let (year, month, day) = (number(0..4), number(4..6), number(6..8));
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    let is_time = number(8..10) < 24 && number(10..12) < 60 && number(12..14) < 60;
    if (1..=days).contains(&day) && year >= 1970 && is_time { Ok(()) } else { Err(wrong()) }
}

/// Whether a port may stand alone.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bare {
    Port,
    Refused,
}

/// `host:port`, `[address]:port`, with `*` for any port.
fn forward(value: &str, bare: Bare) -> Result<(), String> {
    let is_port = |port: &str| port == "*" || port.parse::<u16>().is_ok_and(|port| port > 0);
    let (host, port) = match value.rsplit_once(':') {
        Some(parts) => parts,
        None if bare == Bare::Port => ("localhost", value),
        None => return Err("write host:port".into()),
    };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if host.is_empty() || host.contains(char::is_whitespace) {
        return Err("write host:port".into());
    }
    if is_port(port) { Ok(()) } else { Err(format!("`{port}` is no port: a number from 1 to 65535, or `*`")) }
}
