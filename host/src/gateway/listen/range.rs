//! Addresses of one kind of peer, written as one address or as a network: in a cluster a proxy's address is not known
//! beforehand, its network is.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// One address, or all of a network: `192.0.2.1`, `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AddressRange(IpNet);

impl AddressRange {
    /// An address of an IPv4 network that a socket for both kinds has written as one of IPv6 is in it too.
    pub fn contains(&self, address: &IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl TryFrom<String> for AddressRange {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let one = || text.parse::<IpAddr>().map(IpNet::from);
        let range = text.parse::<IpNet>().or_else(|_| one());
        range
            .map(|range| Self(range.trunc()))
            .map_err(|_| format!("{text:?} is neither an address nor a network such as 10.0.0.0/8"))
    }
}

impl From<AddressRange> for String {
    fn from(range: AddressRange) -> Self {
        range.to_string()
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.prefix_len() == self.0.max_prefix_len() {
            return self.0.addr().fmt(to);
        }
        self.0.fmt(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> AddressRange {
        AddressRange::try_from(text.to_owned()).expect(text)
    }

    #[test]
    fn an_address_is_itself_alone_and_a_network_all_of_its_addresses() {
        let is_in = |address: &str, of: &str| range(of).contains(&address.parse().expect(address));
        assert!(is_in("192.0.2.1", "192.0.2.1"));
        assert!(!is_in("192.0.2.2", "192.0.2.1"));
        assert!(is_in("10.244.3.7", "10.244.0.0/16"));
        assert!(!is_in("10.245.3.7", "10.244.0.0/16"));
        assert!(is_in("::ffff:10.244.3.7", "10.244.0.0/16"));
        assert!(is_in("2001:db8::7", "2001:db8::/32"));
        assert!(!is_in("2001:db9::7", "2001:db8::/32"));
    }

    #[test]
    fn it_is_written_as_it_is_read() {
        for text in ["192.0.2.1", "10.244.0.0/16", "2001:db8::1", "::/0"] {
            assert_eq!(range(text).to_string(), text);
        }
        for text in ["", "here", "10.0.0.0/33", "10.0.0"] {
            assert!(AddressRange::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
