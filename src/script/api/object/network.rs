//! Networks, and groups of them.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use mlua::{LuaString, MetaMethod, UserData, UserDataMethods, UserDataRef};

use super::address::Address;
use super::{Api, CallError, method, method_mut, refused};
use crate::script::api::arguments::{read_address, read_network};

/// The most networks a group holds.
const NETWORKS_MAX: usize = 16_384;

pub(super) fn install(api: &mut Api<'_>) -> mlua::Result<()> {
    // A network: `newNetmask('192.0.2.0/24')`.
    api.function("newNetmask", |_, arguments| {
        let text = arguments.text()?;
        // One with more bits than its family has is the empty one, and holds nobody.
        read_network(&text.to_string_lossy()).map(Network).ok_or_else(|| refused(&text, "it is no network"))
    })?;
    // A group of networks: `newNMG({'192.0.2.0/24', '!192.0.2.7'})`; without a list, an empty one.
    api.function("newNMG", |_, arguments| {
        let mut group = NetworkGroup::default();
        group.add_all(&arguments.optional_list()?.unwrap_or_default())?;
        Ok(group)
    })
}

/// A network: `ecswho`. Without one inside it is the empty one.
#[derive(Clone, Copy)]
pub(in crate::script::api) struct Network(Option<IpNet>);

impl From<IpNet> for Network {
    fn from(network: IpNet) -> Self {
        Self(Some(network))
    }
}

impl Network {
    fn text(self) -> String {
        self.0.map_or_else(String::new, |network| network.to_string())
    }
}

impl UserData for Network {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_meta_method(MetaMethod::ToString, |_, this, ()| Ok(this.text()));
        methods.add_meta_method(MetaMethod::Eq, |_, this, other: UserDataRef<Self>| Ok(this.0 == other.0));
        method(methods, "toString", |this, _| Ok(this.text()));
        method(methods, "getBits", |this, _| Ok(this.0.map_or(0, |network| network.prefix_len())));
        for name in ["getNetwork", "getMaskedNetwork"] {
            method(methods, name, |this, _| Ok(this.0.map(|network| Address(SocketAddr::new(network.network(), 0)))));
        }
        for name in ["isIPv4", "isIpv4"] {
            method(methods, name, |this, _| Ok(matches!(this.0, Some(IpNet::V4(_)))));
        }
        for name in ["isIPv6", "isIpv6"] {
            method(methods, name, |this, _| Ok(matches!(this.0, Some(IpNet::V6(_)))));
        }
        method(methods, "empty", |this, _| Ok(this.0.is_none()));
        method(methods, "match", |this, arguments| {
            let text = arguments.text()?;
            let address = read_address(&text.to_string_lossy()).ok_or_else(|| refused(&text, "it is no address"))?;
            Ok(this.0.is_some_and(|network| network.contains(&address.ip())))
        });
    }
}

/// Networks that are in a group, or kept out of it. The most specific one that holds an address decides.
#[derive(Default)]
pub(in crate::script::api) struct NetworkGroup(Vec<(IpNet, bool)>);

impl NetworkGroup {
    /// Takes in `network`, or `!network` for one that is kept out.
    fn add(&mut self, text: &LuaString) -> Result<(), CallError> {
        if self.0.len() == NETWORKS_MAX {
            return Err(CallError::refused(format!("got more than {NETWORKS_MAX} networks for one group")));
        }
        let mask = text.to_string_lossy();
        let bare = mask.strip_prefix('!');
        let network = read_network(bare.unwrap_or(&mask)).ok_or_else(|| refused(text, "it is no network"))?;
        // One with more bits than its family has holds nobody.
        self.0.extend(network.map(|network| (network, bare.is_none())));
        Ok(())
    }

    fn add_all(&mut self, texts: &[LuaString]) -> Result<(), CallError> {
        texts.iter().try_for_each(|text| self.add(text))
    }

    /// Whether an address is in the group; of two equal networks the later decides.
    pub(in crate::script::api) fn holds(&self, address: IpAddr) -> bool {
        let holding = self.0.iter().filter(|(network, _)| network.contains(&address));
        holding.max_by_key(|(network, _)| network.prefix_len()).is_some_and(|(_, is_in)| *is_in)
    }
}

impl UserData for NetworkGroup {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        method_mut(methods, "addMask", |this, arguments| this.add(&arguments.text()?));
        method_mut(methods, "addMasks", |this, arguments| this.add_all(&arguments.list()?));
        method(methods, "match", |this, arguments| {
            Ok(this.holds(arguments.object::<Address>("a ComboAddress")?.0.ip()))
        });
    }
}
