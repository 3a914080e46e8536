//! Names: `qname`, `zone`.

use std::fmt::Write;

use mlua::{MetaMethod, UserData, UserDataMethods, UserDataRef};

use super::{Api, CallError, method, method_mut, refused};
use crate::dns::{Name, NameRef};

pub(super) fn install(api: &mut Api<'_>) -> mlua::Result<()> {
    // A name: `newDN('www.example.com')`; the empty text is the root.
    api.function("newDN", |_, arguments| {
        let text = arguments.text()?;
        let name = if text.as_bytes().is_empty() { Ok(Name::root()) } else { Name::parse_absolute(&text.as_bytes()) };
        name.map(DnsName::from).map_err(|error| refused(&text, &error.to_string()))
    })
}

/// A name. Without one inside it is what `makeRelative` makes of a name that is not part of the other: it has no labels,
/// and no text.
#[derive(Clone)]
pub(in crate::script::api) struct DnsName(Option<Name>);

impl From<Name> for DnsName {
    fn from(name: Name) -> Self {
        Self(Some(name))
    }
}

impl DnsName {
    /// What has no name inside.
    pub(super) const NONE: Self = Self(None);

    /// The name; an error if it has none inside.
    pub(in crate::script::api) fn name(&self) -> Result<NameRef<'_>, CallError> {
        self.0.as_ref().map(Name::as_ref).ok_or_else(|| CallError::refused("got a name that is empty"))
    }

    /// The text with a final dot; only what cannot be read otherwise is escaped.
    fn text(&self) -> Result<String, CallError> {
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
        methods.add_meta_method(MetaMethod::ToString, |_, this, ()| {
            this.text().map_err(|_| mlua::Error::runtime("the name is empty"))
        });
        methods.add_meta_method(MetaMethod::Eq, |_, this, other: UserDataRef<Self>| Ok(this.0 == other.0));
        method(methods, "toString", |this, _| this.text());
        method(methods, "toStringNoDot", |this, _| {
            let mut text = this.text()?;
            text.pop();
            Ok(text)
        });
        method(methods, "countLabels", |this, _| Ok(this.0.as_ref().map_or(0, |name| name.as_ref().label_count())));
        for name in ["wireLength", "wirelength"] {
            method(methods, name, |this, _| Ok(this.0.as_ref().map_or(0, |name| name.wire().len())));
        }
        method(methods, "getRawLabels", |this, arguments| {
            let labels = this.0.iter().flat_map(|name| name.as_ref().labels());
            Ok(labels.map(|label| arguments.lua().create_string(label)).collect::<mlua::Result<Vec<_>>>()?)
        });
        method(methods, "isPartOf", |this, arguments| {
            Ok(this.name()?.is_in(arguments.object::<Self>("a DNSName")?.name()?))
        });
        method(methods, "makeRelative", |this, arguments| {
            let (name, other) = (this.name()?, arguments.object::<Self>("a DNSName")?);
            let relative = name.suffix_at(other.name()?).and_then(|at| NameRef::ROOT.prepend(&name.wire()[..at]).ok());
            Ok(Self(relative))
        });
        method_mut(methods, "chopOff", |this, _| {
            let parent = this.0.as_ref().and_then(|name| name.as_ref().parent()).map(NameRef::to_owned);
            let removed = parent.is_some();
            if removed {
                this.0 = parent;
            }
            Ok(removed)
        });
        method(methods, "equal", |this, arguments| {
            let text = arguments.text()?;
            let other = Name::parse_absolute(&text.as_bytes()).map_err(|error| refused(&text, &error.to_string()))?;
            Ok(this.0.as_ref() == Some(&other))
        });
        method(methods, "canonCompare", |this, arguments| {
            // What has no name inside comes before the root.
            Ok(this.0 < arguments.object::<Self>("a DNSName")?.0)
        });
    }
}
