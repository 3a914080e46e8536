//! The objects scripts hold: names, addresses and networks; and the query's variables, which are such objects.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use mlua::{IntoLua, Lua, LuaString, MetaMethod, UserData, UserDataMethods, UserDataRef, Value};

use super::arguments::{read_address, read_network};
use super::{Api, CallError, Family};
use crate::dns::{Name, NameRef};
use crate::script::context::Context;

/// Constructors of objects.
pub(super) const FAMILY: Family = Family { install };

fn install(api: &mut Api<'_>) -> mlua::Result<()> {
    // A name: `newDN('www.example.com')`; the empty text is the root.
    api.function("newDN", |_, arguments| {
        let text = arguments.text()?;
        let name = if text.as_bytes().is_empty() { Ok(Name::root()) } else { Name::parse_absolute(&text.as_bytes()) };
        name.map(|name| DnsName(Some(name))).map_err(|error| refused(&text, &error.to_string()))
    })?;
    // An address: `newCA('192.0.2.1')`, `newCA('[2001:db8::1]:53')`.
    api.function("newCA", |_, arguments| {
        let text = arguments.text()?;
        read_address(&text.to_string_lossy()).map(Address).ok_or_else(|| refused(&text, "it is no address"))
    })?;
    // A network: `newNetmask('192.0.2.0/24')`.
    api.function("newNetmask", |_, arguments| {
        let text = arguments.text()?;
        let network = read_network(&text.to_string_lossy()).flatten();
        network.map(|network| Network(Some(network))).ok_or_else(|| refused(&text, "it is no network"))
    })
}

fn refused(text: &LuaString, why: &str) -> CallError {
    CallError::refused(format!("cannot read `{}`: {why}", text.to_string_lossy()))
}

/// The value of a query variable; `Nil` for a name that is none.
///
/// Variables are made when a script first names one, so a script pays for what it uses.
pub(in crate::script) fn variable(lua: &Lua, context: &Context, name: &[u8]) -> mlua::Result<Value> {
    match name {
        b"qname" => DnsName(Some(context.qname())).into_lua(lua),
        b"zone" => DnsName(Some(context.zone())).into_lua(lua),
        b"who" => Address(context.sender()).into_lua(lua),
        b"bestwho" => Address(context.client()).into_lua(lua),
        b"localwho" => Address(context.local()).into_lua(lua),
        b"ecswho" => context.subnet().map(|network| Network(Some(network))).into_lua(lua),
        b"tcp" => context.is_tcp().into_lua(lua),
        _ => Ok(Value::Nil),
    }
}

/// An address with a port: `who`, `bestwho`, `localwho`.
///
/// `==` compares identity as in PowerDNS; `equal` compares the addresses.
#[derive(Clone, Copy)]
struct Address(SocketAddr);

impl UserData for Address {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_meta_method(MetaMethod::ToString, |_, this, ()| Ok(this.0.ip().to_string()));
        methods.add_method("toString", |_, this, ()| Ok(this.0.ip().to_string()));
        methods.add_method("toStringNoInterface", |_, this, ()| Ok(this.0.ip().to_string()));
        methods.add_method("toStringWithPort", |_, this, ()| Ok(this.0.to_string()));
        methods.add_method("toStringReversed", |_, this, ()| Ok(reversed(this.0.ip())));
        methods.add_method("getPort", |_, this, ()| Ok(this.0.port()));
        methods.add_method("isIPv4", |_, this, ()| Ok(this.0.is_ipv4()));
        methods.add_method("isIPv6", |_, this, ()| Ok(this.0.is_ipv6()));
        methods.add_method("isMappedIPv4", |_, this, ()| Ok(mapped(this.0.ip()).is_some()));
        methods.add_method("mapToIPv4", |_, this, ()| match mapped(this.0.ip()) {
            Some(address) => Ok(Self(SocketAddr::new(address, this.0.port()))),
            None => Err(mlua::Error::runtime("`mapToIPv4` needs an IPv4 address mapped into IPv6")),
        });
        methods.add_method_mut("truncate", |_, this, bits: u8| {
            let longest = if this.0.is_ipv4() { 32 } else { 128 };
            let network = IpNet::new(this.0.ip(), bits.min(longest)).expect("the length was cut to the family's");
            this.0.set_ip(network.network());
            Ok(())
        });
        methods.add_method("getRaw", |lua, this, ()| match this.0.ip() {
            IpAddr::V4(address) => lua.create_string(address.octets()),
            IpAddr::V6(address) => lua.create_string(address.octets()),
        });
        methods.add_method("equal", |_, this, other: UserDataRef<Self>| Ok(this.0.ip() == other.0.ip()));
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

/// A network: `ecswho`. Without one inside it is the empty one.
#[derive(Clone, Copy)]
struct Network(Option<IpNet>);

impl Network {
    fn text(self) -> String {
        self.0.map_or_else(String::new, |network| network.to_string())
    }
}

impl UserData for Network {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_meta_method(MetaMethod::ToString, |_, this, ()| Ok(this.text()));
        methods.add_meta_method(MetaMethod::Eq, |_, this, other: UserDataRef<Self>| Ok(this.0 == other.0));
        methods.add_method("toString", |_, this, ()| Ok(this.text()));
        methods.add_method("getBits", |_, this, ()| Ok(this.0.map_or(0, |network| network.prefix_len())));
        for name in ["getNetwork", "getMaskedNetwork"] {
            methods.add_method(name, |_, this, ()| {
                Ok(this.0.map(|network| Address(SocketAddr::new(network.network(), 0))))
            });
        }
        for name in ["isIPv4", "isIpv4"] {
            methods.add_method(name, |_, this, ()| Ok(matches!(this.0, Some(IpNet::V4(_)))));
        }
        for name in ["isIPv6", "isIpv6"] {
            methods.add_method(name, |_, this, ()| Ok(matches!(this.0, Some(IpNet::V6(_)))));
        }
        methods.add_method("empty", |_, this, ()| Ok(this.0.is_none()));
        methods.add_method("match", |_, this, text: LuaString| {
            let text = text.to_string_lossy();
            let address = read_address(&text)
                .ok_or_else(|| mlua::Error::runtime(format!("`match` got `{text}`, which is no address")))?;
            Ok(this.0.is_some_and(|network| network.contains(&address.ip())))
        });
    }
}

/// A name: `qname`, `zone`. Without one inside it is what `makeRelative` makes of a name that is not part of the other.
pub(super) struct DnsName(pub(super) Option<Name>);

impl DnsName {
    fn name(&self) -> mlua::Result<NameRef<'_>> {
        self.0.as_ref().map(Name::as_ref).ok_or_else(|| mlua::Error::runtime("the name is empty"))
    }

    /// The text with a final dot; only what cannot be read otherwise is escaped.
    fn text(&self) -> mlua::Result<String> {
        use std::fmt::Write;
        let name = self.name()?;
        let mut text = String::new();
        for label in name.labels() {
            for &octet in label {
                match octet {
                    b'.' | b'\\' => text.extend(['\\', char::from(octet)]),
                    b'!'..=b'~' => text.push(char::from(octet)),
                    _ => write!(text, "\\{octet:03}").expect("writing to a string cannot fail"),
                }
            }
            text.push('.');
        }
        Ok(if text.is_empty() { ".".to_owned() } else { text })
    }
}

impl UserData for DnsName {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_meta_method(MetaMethod::ToString, |_, this, ()| this.text());
        methods.add_meta_method(MetaMethod::Eq, |_, this, other: UserDataRef<Self>| Ok(this.0 == other.0));
        methods.add_method("toString", |_, this, ()| this.text());
        methods.add_method("toStringNoDot", |_, this, ()| {
            let mut text = this.text()?;
            text.pop();
            Ok(text)
        });
        methods.add_method("countLabels", |_, this, ()| Ok(this.name()?.label_count()));
        for name in ["wireLength", "wirelength"] {
            methods.add_method(name, |_, this, ()| Ok(this.name()?.wire().len()));
        }
        methods.add_method("getRawLabels", |lua, this, ()| {
            this.name()?.labels().map(|label| lua.create_string(label)).collect::<mlua::Result<Vec<_>>>()
        });
        methods.add_method("isPartOf", |_, this, other: UserDataRef<Self>| Ok(this.name()?.is_in(other.name()?)));
        methods.add_method("makeRelative", |_, this, other: UserDataRef<Self>| {
            let name = this.name()?;
            let relative = name.suffix_at(other.name()?).and_then(|at| NameRef::ROOT.prepend(&name.wire()[..at]).ok());
            Ok(Self(relative))
        });
        methods.add_method_mut("chopOff", |_, this, ()| {
            let parent = this.name()?.parent().map(NameRef::to_owned);
            let removed = parent.is_some();
            if removed {
                this.0 = parent;
            }
            Ok(removed)
        });
        methods.add_method("equal", |_, this, text: LuaString| {
            let other = Name::parse_absolute(&text.as_bytes()).map_err(mlua::Error::external)?;
            Ok(this.0.as_ref() == Some(&other))
        });
        methods.add_method("canonCompare", |_, this, other: UserDataRef<Self>| Ok(this.name()? < other.name()?));
    }
}
