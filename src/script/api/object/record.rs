//! Types and records, as scripts make them and as look-ups return them.

use std::net::SocketAddr;

use mlua::{LuaString, MetaMethod, UserData, UserDataFields, UserDataMethods, UserDataRef, Value};

use super::address::Address;
use super::name::DnsName;
use super::{Api, CallError, method, method_mut, refused};
use crate::dns::{Class, Name, Rtype, rdata};
use crate::script::api::arguments::Arguments;
use crate::zone::lexer;

/// The port of the addresses in records.
const DNS_PORT: u16 = 53;

pub(super) fn install(api: &mut Api<'_>) -> mlua::Result<()> {
    // A type: `newQType('AAAA')`, `newQType('TYPE28')`, `newQType('#28')`; the number 0 for what is none.
    api.function("newQType", |_, arguments| Ok(QType(read_type(&arguments.text()?))))?;
    // A record as databases have it: `newDRR(qname, 'A', 60, '192.0.2.1')`. What it holds is not checked.
    api.function("newDRR", |_, arguments| {
        let name = arguments.object::<DnsName>("a DNSName")?.name()?.to_owned();
        let rtype = read_type(&arguments.text()?);
        let (ttl, content) = (read_ttl(arguments)?, (*arguments.text()?.as_bytes()).into());
        let (zone, auth) = (arguments.optional_number()?.unwrap_or(-1), arguments.value());
        let auth = match auth {
            Value::Nil => true,
            Value::Boolean(auth) => auth,
            other => arguments.read_number(&other)? != 0,
        };
        Ok(ResourceRecord { zone, auth, ..ResourceRecord::new(name, rtype, ttl, content) })
    })?;
    // A record as messages have it: `newDR(qname, 'A', 60, '192.0.2.1', pdns.place.ANSWER)`.
    api.function("newDR", |_, arguments| {
        let name = arguments.object::<DnsName>("a DNSName")?.clone();
        name.name()?;
        let type_text = arguments.text()?;
        let rtype = read_type(&type_text);
        if rtype == NO_TYPE {
            return Err(refused(&type_text, "it is no type"));
        }
        let ttl = read_ttl(arguments)?;
        let rdata = read_rdata(rtype, &arguments.text()?)?;
        let place = arguments.whole_number()?;
        Ok(MessageRecord { name, rtype, ttl, rdata, place })
    })
}

/// The number of what is no type.
const NO_TYPE: Rtype = Rtype(0);

/// Reads a mnemonic, `TYPEnnn` or `#nnn`.
fn read_type(text: &LuaString) -> Rtype {
    let text = text.as_bytes();
    let number = text.strip_prefix(b"#").and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok().map(Rtype));
    number.or_else(|| Rtype::parse(&text)).unwrap_or(NO_TYPE)
}

/// Takes a TTL; one out of range becomes the nearest that is in it.
fn read_ttl(arguments: &mut Arguments<'_>) -> Result<u32, CallError> {
    // In range after this.
    arguments.whole_number().map(|ttl| ttl.clamp(0, i64::from(u32::MAX)) as u32)
}

/// Reads the presentation form of RDATA.
fn read_rdata(rtype: Rtype, text: &LuaString) -> Result<Vec<u8>, CallError> {
    let octets = text.as_bytes();
    let fields = lexer::value_fields(&octets).map_err(|error| refused(text, &error.to_string()))?;
    let mut wire = Vec::new();
    rdata::read(rtype, &fields, None, &mut wire)
        .map_err(|error| refused(text, &format!("it is no {rtype}: {error}")))?;
    Ok(wire)
}

/// A type.
#[derive(Clone, Copy, PartialEq, Eq)]
struct QType(Rtype);

impl UserData for QType {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_meta_method(MetaMethod::ToString, |_, this, ()| Ok(this.0.to_string()));
        methods.add_meta_method(MetaMethod::Eq, |_, this, other: UserDataRef<Self>| Ok(*this == *other));
        method(methods, "getCode", |this, _| Ok(this.0.0));
        method(methods, "getName", |this, _| Ok(this.0.to_string()));
    }
}

/// A record as databases have it, and as `resolve` returns it: DNSResourceRecord.
///
/// All is read with methods, as in PowerDNS. There is nothing behind some of them here, and they return what they do
/// there for a record that was just made.
pub(in crate::script::api) struct ResourceRecord {
    name: Name,
    rtype: Rtype,
    ttl: u32,
    /// RDATA in presentation form.
    content: Box<[u8]>,
    /// The number of its zone; -1 for none.
    zone: i64,
    auth: bool,
}

impl ResourceRecord {
    /// A record of no zone; `content` is its RDATA in presentation form.
    pub(in crate::script::api) fn new(name: Name, rtype: Rtype, ttl: u32, content: Box<[u8]>) -> Self {
        Self { name, rtype, ttl, content, zone: -1, auth: true }
    }
}

impl UserData for ResourceRecord {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_meta_method(MetaMethod::ToString, |lua, this, ()| lua.create_string(&this.content));
        for name in ["toString", "content"] {
            method(methods, name, |this, arguments| Ok(arguments.lua().create_string(&this.content)?));
        }
        method(methods, "qname", |this, _| Ok(DnsName::from(this.name.clone())));
        method(methods, "wildcardName", |_, _| Ok(DnsName::NONE));
        method(methods, "ttl", |this, _| Ok(this.ttl));
        method(methods, "qtype", |this, _| Ok(this.rtype.0));
        method(methods, "qclass", |_, _| Ok(Class::IN.0));
        method(methods, "domainId", |this, _| Ok(this.zone));
        for name in ["signttl", "lastModified", "scopeMask"] {
            method(methods, name, |_, _| Ok(0));
        }
        method(methods, "auth", |this, _| Ok(this.auth));
        method(methods, "disabled", |_, _| Ok(false));
    }
}

/// A record as messages have it: DNSRecord.
struct MessageRecord {
    name: DnsName,
    rtype: Rtype,
    ttl: u32,
    rdata: Vec<u8>,
    place: i64,
}

impl MessageRecord {
    /// The address of an A or AAAA record.
    fn address(&self) -> Option<Address> {
        let address = match self.rtype {
            Rtype::A => <[u8; 4]>::try_from(&*self.rdata).ok()?.into(),
            Rtype::AAAA => <[u8; 16]>::try_from(&*self.rdata).ok()?.into(),
            _ => return None,
        };
        Some(Address(SocketAddr::new(address, DNS_PORT)))
    }
}

impl UserData for MessageRecord {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_field_method_get("name", |_, this| Ok(this.name.clone()));
        fields.add_field_method_set("name", |_, this, name: UserDataRef<DnsName>| {
            this.name = name.clone();
            Ok(())
        });
        fields.add_field_method_get("type", |_, this| Ok(this.rtype.0));
        fields.add_field_method_get("ttl", |_, this| Ok(this.ttl));
        fields.add_field_method_set("ttl", |_, this, ttl: u32| {
            this.ttl = ttl;
            Ok(())
        });
        fields.add_field_method_get("place", |_, this| Ok(this.place));
        fields.add_field_method_set("place", |_, this, place: i64| {
            this.place = place;
            Ok(())
        });
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        method(methods, "getContent", |this, _| Ok(rdata::write(this.rtype, &this.rdata)));
        method(methods, "getCA", |this, _| Ok(this.address()));
        method_mut(methods, "changeContent", |this, arguments| {
            this.rdata = read_rdata(this.rtype, &arguments.text()?)?;
            Ok(())
        });
    }
}
