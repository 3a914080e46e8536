//! Addresses with a port, and sets of addresses.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::IpNet;
use mlua::{LuaString, MetaMethod, UserData, UserDataMethods, Value};

use super::{Api, CallError, method, method_mut, refused};
use crate::script::api::arguments::{list, read_address, string};
use crate::script::api::health::clamp_port;

/// The most addresses a set holds.
const ADDRESSES_MAX: usize = 16_384;

pub(super) fn install(api: &mut Api<'_>) -> mlua::Result<()> {
    // An address: `newCA('192.0.2.1')`, `newCA('[2001:db8::1]:53')`.
    api.function("newCA", |_, arguments| {
        let text = arguments.text()?;
        read_text(&text).map(Address)
    })?;
    // An address of its 4 or 16 octets; of any other number of them, 0.0.0.0.
    api.function("newCAFromRaw", |_, arguments| {
        let (octets, port) = (arguments.text()?, arguments.optional_number()?);
        Ok(Address(from_octets(&octets.as_bytes(), clamp_port(port.unwrap_or(0)))))
    })?;
    // An empty set of addresses.
    api.function("newCAS", |_, _| Ok(AddressSet::default()))
}

/// Reads an address with or without a port.
fn read_text(text: &LuaString) -> Result<SocketAddr, CallError> {
    read_address(&text.to_string_lossy()).ok_or_else(|| refused(text, "it is no address"))
}

/// The address with these octets; 0.0.0.0 without a port if their number is that of no address.
fn from_octets(octets: &[u8], port: u16) -> SocketAddr {
    const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
    let v4 = octets.try_into().map(|octets: [u8; 4]| IpAddr::from(octets));
    let address = v4.or_else(|_| octets.try_into().map(|octets: [u8; 16]| IpAddr::from(octets)));
    address.map_or(NOWHERE, |address| SocketAddr::new(address, port))
}

/// An address as C's `inet_ntop` writes it: an IPv6 one that begins with 96 zero bits ends in dots.
pub(in crate::script::api) fn text_of(address: IpAddr) -> String {
    match address {
        IpAddr::V6(address) if matches!(address.segments(), [0, 0, 0, 0, 0, 0, high, _] if high > 0) => {
            let [.., a, b, c, d] = address.octets();
            format!("::{}", Ipv4Addr::new(a, b, c, d))
        }
        other => other.to_string(),
    }
}

/// An address with a port: `who`, `bestwho`, `localwho`.
///
/// `==` compares identity as in PowerDNS; `equal` compares the addresses.
#[derive(Clone, Copy)]
pub(in crate::script::api) struct Address(pub(in crate::script::api) SocketAddr);

impl Address {
    fn text(&self) -> String {
        text_of(self.0.ip())
    }

    fn text_with_port(&self) -> String {
        match self.0 {
            SocketAddr::V4(address) => address.to_string(),
            SocketAddr::V6(address) => format!("[{}]:{}", self.text(), address.port()),
        }
    }
}

impl UserData for Address {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_meta_method(MetaMethod::ToString, |_, this, ()| Ok(this.text()));
        method(methods, "toString", |this, _| Ok(this.text()));
        method(methods, "toStringNoInterface", |this, _| Ok(this.text()));
        method(methods, "toStringWithPort", |this, _| Ok(this.text_with_port()));
        method(methods, "toStringReversed", |this, _| Ok(reversed(this.0.ip())));
        method(methods, "getPort", |this, _| Ok(this.0.port()));
        method(methods, "isIPv4", |this, _| Ok(this.0.is_ipv4()));
        method(methods, "isIPv6", |this, _| Ok(this.0.is_ipv6()));
        method(methods, "isMappedIPv4", |this, _| Ok(mapped(this.0.ip()).is_some()));
        method(methods, "mapToIPv4", |this, _| match mapped(this.0.ip()) {
            Some(address) => Ok(Self(SocketAddr::new(address, this.0.port()))),
            None => Err(CallError::refused("needs an IPv4 address mapped into IPv6")),
        });
        method_mut(methods, "truncate", |this, arguments| {
            let longest = if this.0.is_ipv4() { 32 } else { 128 };
            // In range after this.
            let bits = arguments.whole_number()?.clamp(0, longest) as u8;
            let network = IpNet::new(this.0.ip(), bits).expect("the length was cut to the family's");
            this.0.set_ip(network.network());
            Ok(())
        });
        method(methods, "getRaw", |this, arguments| match this.0.ip() {
            IpAddr::V4(address) => Ok(arguments.lua().create_string(address.octets())?),
            IpAddr::V6(address) => Ok(arguments.lua().create_string(address.octets())?),
        });
        method(methods, "equal", |this, arguments| {
            Ok(this.0.ip() == arguments.object::<Self>("a ComboAddress")?.0.ip())
        });
    }
}

/// The IPv4 address inside an IPv6 one (RFC 4291 section 2.5.5.2).
fn mapped(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(_) => None,
        IpAddr::V6(address) => address.to_ipv4_mapped().map(IpAddr::V4),
    }
}

/// The octets or nibbles of an address from the last to the first, with dots between them, as reverse names have it.
fn reversed(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.octets().iter().rev().map(u8::to_string).collect::<Vec<_>>().join("."),
        IpAddr::V6(address) => {
            let nibbles = address.octets().into_iter().rev().flat_map(|octet| [octet & 0xf, octet >> 4]);
            nibbles.map(|nibble| format!("{nibble:x}")).collect::<Vec<_>>().join(".")
        }
    }
}

/// A set of addresses; ports do not count.
#[derive(Default)]
struct AddressSet(HashSet<IpAddr>);

impl AddressSet {
    fn add(&mut self, address: IpAddr) -> Result<(), CallError> {
        self.0.insert(address);
        if self.0.len() > ADDRESSES_MAX {
            return Err(CallError::refused(format!("got more than {ADDRESSES_MAX} addresses for one set")));
        }
        Ok(())
    }
}

impl UserData for AddressSet {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        method_mut(methods, "add", |this, arguments| {
            let value = arguments.value();
            let lua = arguments.lua();
            let texts = match &value {
                Value::UserData(object) => {
                    let address = object.borrow::<Address>().map(|address| address.0.ip());
                    return this.add(address.map_err(|_| arguments.refuse("an address or a list of them", &value))?);
                }
                Value::Table(_) => list(lua, &value),
                other => string(lua, other).map(|text| vec![text]),
            };
            let texts = texts.ok_or_else(|| arguments.refuse("an address or a list of them", &value))?;
            texts.iter().try_for_each(|text| this.add(read_text(text)?.ip()))
        });
        method(methods, "check", |this, arguments| {
            Ok(this.0.contains(&arguments.object::<Address>("a ComboAddress")?.0.ip()))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_c_writes_them() {
        let cases = ["192.0.2.1", "::", "::1", "::ffff", "::0.1.0.2", "::1.2.3.4", "::ffff:1.2.3.4", "2001:db8::1"];
        for text in cases {
            let address = if text == "::0.1.0.2" { "::1:2" } else { text };
            assert_eq!(text_of(address.parse().unwrap()), text);
        }
    }

    #[test]
    fn octets_of_no_address_are_the_unspecified_one() {
        assert_eq!(from_octets(&[1, 2, 3, 4], 53), "1.2.3.4:53".parse().unwrap());
        assert_eq!(from_octets(&[0; 16], 53), "[::]:53".parse().unwrap());
        assert_eq!(from_octets(&[1, 2, 3], 53), "0.0.0.0:0".parse().unwrap());
    }
}
