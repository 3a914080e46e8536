//! The objects scripts hold, and the query's variables, which are such objects.
//!
//! - `name.rs`: names
//! - `address.rs`: addresses, and sets of them
//! - `network.rs`: networks, and groups of them
//! - `record.rs`: types and records
//! - `header.rs`: the header of the request
//!
//! A method takes its arguments as a builtin does, and its errors carry its name.

mod address;
mod header;
mod name;
mod network;
mod record;

use mlua::{IntoLua, IntoLuaMulti, Lua, LuaString, MultiValue, UserDataMethods, Value};

use super::arguments::Arguments;
use super::hash::hash_name;
use super::{Api, CallError, Family, conclude};
use crate::script::context::Context;

pub(super) use address::{Address, text_of};
pub(super) use name::DnsName;
pub(super) use network::{Network, NetworkGroup};
pub(super) use record::ResourceRecord;

use header::RequestHeader;

/// Constructors of objects.
pub(super) const FAMILY: Family = Family { install };

fn install(api: &mut Api<'_>) -> mlua::Result<()> {
    name::install(api)?;
    address::install(api)?;
    network::install(api)?;
    record::install(api)
}

/// The query's variables, as scripts name them.
pub(in crate::script) const VARIABLES: [&str; 11] =
    ["qname", "zone", "zoneid", "who", "bestwho", "localwho", "ecswho", "tcp", "dnssecOK", "ednsPKTSize", "dh"];

/// The value of a query variable; `Nil` for a name that is none.
///
/// Variables are made when a script first names one, so a script pays for what it uses.
pub(in crate::script) fn variable(lua: &Lua, context: &Context, name: &[u8]) -> mlua::Result<Value> {
    match name {
        b"qname" => DnsName::from(context.qname()).into_lua(lua),
        b"zone" => DnsName::from(context.zone()).into_lua(lua),
        b"zoneid" => zone_id(context).into_lua(lua),
        b"who" => Address(context.sender()).into_lua(lua),
        b"bestwho" => Address(context.client()).into_lua(lua),
        b"localwho" => Address(context.local()).into_lua(lua),
        b"ecswho" => context.subnet().map(Network::from).into_lua(lua),
        b"tcp" => context.is_tcp().into_lua(lua),
        b"dnssecOK" => context.edns().is_some_and(|edns| edns.dnssec_ok).into_lua(lua),
        b"ednsPKTSize" => context.edns().map_or(-1, |edns| i64::from(edns.udp_payload)).into_lua(lua),
        b"dh" => RequestHeader(context.header()).into_lua(lua),
        _ => Ok(Value::Nil),
    }
}

/// A number for the zone that stays as long as its name: there are no zones by number here.
fn zone_id(context: &Context) -> u32 {
    hash_name(context.zone().as_ref()) & 0x7fff_ffff
}

fn refused(text: &LuaString, why: &str) -> CallError {
    CallError::refused(format!("cannot read `{}`: {why}", text.to_string_lossy()))
}

/// Adds a method that leaves its object as it is.
pub(super) fn method<T, R: IntoLuaMulti>(
    methods: &mut impl UserDataMethods<T>,
    name: &'static str,
    function: impl Fn(&T, &mut Arguments<'_>) -> Result<R, CallError> + 'static,
) {
    methods.add_method(name, move |lua, this, values: MultiValue| {
        let mut arguments = Arguments::new(lua, values);
        let returned = function(this, &mut arguments);
        conclude(name, &arguments, returned)
    });
}

/// Adds a method that changes its object.
fn method_mut<T, R: IntoLuaMulti>(
    methods: &mut impl UserDataMethods<T>,
    name: &'static str,
    function: impl Fn(&mut T, &mut Arguments<'_>) -> Result<R, CallError> + 'static,
) {
    methods.add_method_mut(name, move |lua, this, values: MultiValue| {
        let mut arguments = Arguments::new(lua, values);
        let returned = function(this, &mut arguments);
        conclude(name, &arguments, returned)
    });
}
