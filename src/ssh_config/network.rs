//! Addresses: numeric host names in their canonical form, networks, and the addresses of this machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

use super::options::AddressFamily;

/// Whether a name can only be meant as an address (`is_addr_fast` in OpenSSH's ssh.c).
pub(super) fn looks_like_address(name: &str) -> bool {
    name.contains(['%', ':']) || name.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

/// The canonical form of a numeric address of the family, with inet_aton(3)'s odd forms: `127.1` is `127.0.0.1`.
pub(super) fn canonical_address(name: &str, family: AddressFamily) -> Option<String> {
    if family != AddressFamily::Inet {
        let (address, scope) = name.split_once('%').map_or((name, None), |(address, scope)| (address, Some(scope)));
        if let Ok(address) = address.parse::<Ipv6Addr>() {
            return match scope {
                None => Some(address.to_string()),
                Some("") => None,
                Some(scope) => Some(format!("{address}%{scope}")),
            };
        }
    }
    match family {
        AddressFamily::Inet6 => None,
        _ => inet_aton(name).map(|address| address.to_string()),
    }
}

/// An IPv4 address of one to four parts in decimal, octal or hexadecimal, as inet_aton(3).
fn inet_aton(text: &str) -> Option<Ipv4Addr> {
    let parts: Option<Vec<u32>> = text
        .split('.')
        .map(|part| {
            let digits = |digits: &str, radix| {
                let clean = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
                clean.then(|| u32::from_str_radix(digits, radix).ok()).flatten()
            };
            match part.strip_prefix("0x").or_else(|| part.strip_prefix("0X")) {
                Some(hexadecimal) => digits(hexadecimal, 16),
                None if part.len() > 1 && part.starts_with('0') => digits(part, 8),
                None => digits(part, 10),
            }
        })
        .collect();
    let parts = parts.filter(|parts| parts.len() <= 4)?;
    let (last, leading) = parts.split_last()?;
    let free = 32 - 8 * leading.len() as u32;
    if leading.iter().any(|&part| part > 255) || u64::from(*last) >= 1_u64 << free {
        return None;
    }
    let high = leading.iter().enumerate().fold(0_u32, |sum, (i, part)| sum | part << (24 - 8 * i as u32));
    Some(Ipv4Addr::from(high | last))
}

/// A network in CIDR notation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Network {
    address: IpAddr,
    prefix: u32,
}

impl Network {
    /// Reads `10.0.0.0/8`, or an address alone; bits of the host must be zero.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(super::number::integer(prefix, 0, 128)? as u32)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let (bits, width) = number(address);
        let prefix = prefix.unwrap_or(width);
        let host_bits = width.checked_sub(prefix)?;
        let clean = host_bits == 0 || bits & (u128::MAX >> (128 - host_bits)) == 0;
        clean.then_some(Self { address, prefix })
    }

    /// Whether an address lies in it.
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        let ((network, width), (bits, other)) = (number(self.address), number(address));
        width == other && (network ^ bits).checked_shr(width - self.prefix).unwrap_or(0) == 0
    }
}

fn number(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(address) => (u32::from(address).into(), 32),
        IpAddr::V6(address) => (address.into(), 128),
    }
}

/// The addresses of the interfaces of this machine that are up (`Match localnetwork`).
pub(super) fn local_addresses() -> Vec<IpAddr> {
    let Ok(interfaces) = getifaddrs() else { return Vec::new() };
    interfaces
        .filter(|interface| interface.flags.contains(InterfaceFlags::IFF_UP))
        .filter_map(|interface| {
            let address = interface.address?;
            let four = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
            four.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numeric_addresses_take_their_canonical_form() {
        use AddressFamily::{Any, Inet, Inet6};
        let table = [
            ("127.1", Any, Some("127.0.0.1")),
            ("0x7f.1", Any, Some("127.0.0.1")),
            ("0177.0.0.1", Any, Some("127.0.0.1")),
            ("2130706433", Any, Some("127.0.0.1")),
            ("10.0.0.1", Inet6, None),
            ("FE80:0:0::1", Any, Some("fe80::1")),
            ("::1", Inet, None),
            ("fe80::1%eth0", Any, Some("fe80::1%eth0")),
            ("256.1.1.1", Any, None),
            ("1.2.3.4.5", Any, None),
            ("1..2", Any, None),
            ("08.1", Any, None),
            ("web01", Any, None),
            ("", Any, None),
        ];
        for (name, family, expected) in table {
            assert_eq!(canonical_address(name, family).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn networks_contain_their_addresses() {
        let table = [
            ("10.0.0.0/8", "10.1.2.3", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("0.0.0.0/0", "1.2.3.4", true),
            ("::/0", "::1", true),
            ("::/0", "1.2.3.4", false),
            ("fe80::/10", "fe80::1", true),
            ("127.0.0.1", "127.0.0.1", true),
        ];
        for (network, address, expected) in table {
            let network = Network::parse(network).unwrap();
            assert_eq!(network.contains(address.parse().unwrap()), expected, "{network:?} {address}");
        }
        for bad in ["10.0.0.1/8", "10.0.0.0/33", "x", "10.0.0.0/", "", "1.2.3"] {
            assert_eq!(Network::parse(bad), None, "{bad}");
        }
    }
}
