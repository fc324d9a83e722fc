//! Addresses and networks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address as logs write it: a zone (`fe80::1%eth0`), square brackets and an IPv4 address in IPv6 clothes
/// (`::ffff:10.0.0.1`) all mean the address itself. Numbers with leading zeros are refused, since some read them as octal.
pub(super) fn parse_address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let text = text.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(text);
    let text = text.split_once('%').map_or(text, |(address, _)| address);
    text.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

/// A block of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Network {
    is_v4: bool,
    bits: u128,
    mask: u128,
}

impl Network {
    /// `10.0.0.0/8`, `2001:db8::/32`, or a bare address, which is a network of one. Bits behind the prefix are ignored.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.trim().split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let written: IpAddr = address.trim().parse().ok()?;
        let width = if written.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(prefix) if prefix.bytes().all(|byte| byte.is_ascii_digit()) => prefix.parse::<u32>().ok()?,
            Some(_) => return None,
            None => width,
        };
        let host_bits = width.checked_sub(prefix)?;
        // A network of IPv4 addresses in IPv6 clothes is one of IPv4 addresses, as the addresses are.
        let address = if host_bits <= 32 { written.to_canonical() } else { written };
        let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
        Some(Self { is_v4: address.is_ipv4(), bits: bits(address) & mask, mask })
    }

    pub(super) fn holds(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.is_v4 && bits(address) & self.mask == self.bits
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// Whether an address means nothing outside its own network: RFC 1918, unique local (RFC 4193), loopback, link-local,
/// the shared space of providers (RFC 6598) and the unspecified address.
pub(super) fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let is_shared = v4.to_bits() & 0xffc0_0000 == Ipv4Addr::new(100, 64, 0, 0).to_bits();
            v4.is_private() || v4.is_loopback() || v4.is_link_local() || is_shared || v4.octets()[0] == 0
        }
        IpAddr::V6(v6) => {
            v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local() || v6 == Ipv6Addr::UNSPECIFIED
        }
    }
}
