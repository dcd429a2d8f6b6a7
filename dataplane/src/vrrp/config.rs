//! One virtual router as configured.

use alloc::vec::Vec;
use core::net::IpAddr;

use super::codec::{Advertisement, Auth, CENTISECOND_US, SECOND_CS, Version};
use super::{OWNER, RESIGNED};

/// Most addresses of an IPv4 router: the count is one byte.
const MOST_V4: usize = 255;
/// Most addresses of an IPv6 router: the packet fits 1500 bytes.
const MOST_V6: usize = 90;
/// Longest interval of version 3: twelve bits.
const MOST_V3_CS: u16 = 4095;
/// Longest interval of version 2: a byte of seconds.
const MOST_V2_CS: u16 = 255 * SECOND_CS;

/// One virtual router as configured.
///
/// There is no accept mode (RFC 9568 section 6.1): a master always answers for the addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Identifier, 1 to 255; the same at all routers that share the addresses.
    pub vrid: u8,
    /// Version of the protocol.
    pub version: Version,
    /// The router's own address, from which it advertises: with IPv6 a link-local one. Its family
    /// is the virtual router's.
    pub source: IpAddr,
    /// The virtual addresses; the same at all routers, in any order.
    pub addresses: Vec<IpAddr>,
    /// Priority, 1 to 255; [`OWNER`] for the one that always is master while it runs.
    pub priority: u8,
    /// Time between advertisements in hundredths of a second: 1 to 4095, and whole seconds in
    /// version 2.
    pub interval_cs: u16,
    /// Whether it takes over from a master of lower priority.
    pub preempt: bool,
    /// How long a master of lower priority is put up with before, in microseconds since it was
    /// first heard.
    pub preempt_delay_us: u64,
    /// How long after its start it does nothing, in microseconds.
    pub initial_delay_us: u64,
    /// Authentication; none in version 3.
    pub auth: Auth,
    /// Whether checksums of version 3 over IPv4 cover a pseudo-header: yes for keepalived, no for
    /// strict RFC 9568. Both are accepted.
    pub pseudo_header: bool,
}

/// What is wrong with a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// The identifier is 0.
    Vrid,
    /// The priority is 0.
    Priority,
    /// The interval is 0, too long, or not whole seconds in version 2.
    Interval,
    /// No virtual address, or more than an advertisement takes.
    AddressCount,
    /// A virtual address is of the other family.
    AddressFamily,
    /// A virtual address is there twice.
    AddressTwice,
    /// Version 2 has no IPv6.
    VersionFamily,
    /// Version 3 has no authentication.
    VersionAuth,
}

impl ConfigError {
    /// What it means, for operators.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Vrid => "identifier of the virtual router is not 1 to 255",
            Self::Priority => "priority is not 1 to 255",
            Self::Interval => {
                "interval is not 0.01 to 40.95 seconds, or in version 2 not 1 to 255 whole seconds"
            }
            Self::AddressCount => "not 1 to 255 virtual addresses, or with IPv6 not 1 to 90",
            Self::AddressFamily => "virtual address and own address are of two families",
            Self::AddressTwice => "virtual address is there twice",
            Self::VersionFamily => "version 2 is for IPv4 only",
            Self::VersionAuth => "version 3 has no authentication",
        }
    }
}

impl Config {
    /// Whether a router can be made of it.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.vrid == 0 {
            return Err(ConfigError::Vrid);
        }
        if self.priority == RESIGNED {
            return Err(ConfigError::Priority);
        }
        let is_possible = match self.version {
            Version::V2 => {
                self.interval_cs <= MOST_V2_CS && self.interval_cs.is_multiple_of(SECOND_CS)
            }
            Version::V3 => self.interval_cs <= MOST_V3_CS,
        };
        if self.interval_cs == 0 || !is_possible {
            return Err(ConfigError::Interval);
        }
        let most = if self.source.is_ipv4() { MOST_V4 } else { MOST_V6 };
        if !(1..=most).contains(&self.addresses.len()) {
            return Err(ConfigError::AddressCount);
        }
        if self.addresses.iter().any(|address| address.is_ipv4() != self.source.is_ipv4()) {
            return Err(ConfigError::AddressFamily);
        }
        if sorted(&self.addresses).windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(ConfigError::AddressTwice);
        }
        match (self.version, self.auth) {
            (Version::V2, _) if self.source.is_ipv6() => Err(ConfigError::VersionFamily),
            (Version::V3, Auth::Simple(_)) => Err(ConfigError::VersionAuth),
            _ => Ok(()),
        }
    }

    /// Whether it owns the addresses.
    #[must_use]
    pub fn is_owner(&self) -> bool {
        self.priority == OWNER
    }

    /// The advertisement that it sends at some priority.
    #[must_use]
    pub fn advertisement(&self, priority: u8) -> Advertisement {
        Advertisement {
            version: self.version,
            vrid: self.vrid,
            priority,
            interval_cs: self.interval_cs,
            auth: self.auth,
            addresses: self.addresses.clone(),
        }
    }

    /// Whether these are the configured addresses, in any order.
    pub(super) fn has_addresses(&self, addresses: &[IpAddr]) -> bool {
        self.addresses == addresses || sorted(&self.addresses) == sorted(addresses)
    }

    /// Time between advertisements in microseconds.
    pub(super) fn interval_us(&self) -> u64 {
        u64::from(self.interval_cs) * CENTISECOND_US
    }
}

fn sorted(addresses: &[IpAddr]) -> Vec<IpAddr> {
    let mut sorted = addresses.to_vec();
    sorted.sort_unstable();
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config {
            vrid: 51,
            version: Version::V3,
            source: [192, 0, 2, 1].into(),
            addresses: [[192, 0, 2, 10].into(), [192, 0, 2, 11].into()].into(),
            priority: 100,
            interval_cs: 100,
            preempt: true,
            preempt_delay_us: 0,
            initial_delay_us: 0,
            auth: Auth::None,
            pseudo_header: true,
        }
    }

    #[test]
    fn what_cannot_be_is_named() {
        let check = |change: &dyn Fn(&mut Config)| {
            let mut config = config();
            change(&mut config);
            config.check()
        };
        assert_eq!(check(&|_| ()), Ok(()));
        assert_eq!(check(&|config| config.vrid = 0), Err(ConfigError::Vrid));
        assert_eq!(check(&|config| config.priority = 0), Err(ConfigError::Priority));
        for (version, good, bad) in [
            (Version::V3, [1, 150, 4095], [0, 4096, u16::MAX]),
            (Version::V2, [100, 200, 25_500], [0, 150, 25_600]),
        ] {
            let with = |interval_cs| {
                check(&|config| (config.version, config.interval_cs) = (version, interval_cs))
            };
            assert!(good.into_iter().all(|interval| with(interval) == Ok(())));
            assert!(bad.into_iter().all(|interval| with(interval) == Err(ConfigError::Interval)));
        }
        assert_eq!(check(&|config| config.addresses.clear()), Err(ConfigError::AddressCount));
        let other = "fe80::1".parse::<IpAddr>().unwrap();
        assert_eq!(check(&|config| config.addresses.push(other)), Err(ConfigError::AddressFamily));
        assert_eq!(check(&|config| config.source = other), Err(ConfigError::AddressFamily));
        let again = config().addresses[0];
        assert_eq!(check(&|config| config.addresses.push(again)), Err(ConfigError::AddressTwice));
        assert_eq!(
            check(&|config| config.auth = Auth::password("x")),
            Err(ConfigError::VersionAuth)
        );
        let six = |config: &mut Config, count: u16| {
            config.source = other;
            config.addresses = (0..count).map(|n| [0xfd00, 0, 0, 0, 0, 0, 0, n].into()).collect();
        };
        assert_eq!(check(&|config| six(config, 90)), Ok(()));
        assert_eq!(check(&|config| six(config, 91)), Err(ConfigError::AddressCount));
        let six_v2 = |config: &mut Config| {
            six(config, 1);
            config.version = Version::V2;
        };
        assert_eq!(check(&six_v2), Err(ConfigError::VersionFamily));
    }

    #[test]
    fn addresses_are_compared_as_sets() {
        let config = config();
        let [a, b] = [config.addresses[0], config.addresses[1]];
        assert!(config.has_addresses(&[a, b]) && config.has_addresses(&[b, a]));
        assert!(
            ![&[a][..], &[a, a], &[b, b], &[a, b, b], &[]]
                .into_iter()
                .any(|addresses| config.has_addresses(addresses))
        );
    }
}
