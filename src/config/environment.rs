//! `PERIGEE_…` variables: each overrides the key it is named after.

use std::ffi::OsString;
use std::path::Path;

use super::Config;
use super::file::nearest;
use super::keys::{Field, KEYS};
use super::value::{Fault, Shape, Value};
use crate::diagnostic::Diagnostic;

/// How our variables begin.
const PREFIX: &str = "PERIGEE_";
/// The variable that names the configuration file; the command line reads it.
const CONFIG_FILE: &str = "PERIGEE_CONFIG";

/// Sets what the environment overrides in `config` and reports all that cannot be had.
///
/// Relative paths start at the current directory: a shell's words mean what they mean to the shell.
pub(super) fn apply(
    config: &mut Config,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let mut ours: Vec<_> = environment
        .into_iter()
        .filter_map(|(name, text)| Some((name.into_string().ok()?, text)))
        .filter(|(name, _)| name.starts_with(PREFIX) && name != CONFIG_FILE && !is_service_link(name))
        .collect();
    // The environment has no order of its own; messages had better have one.
    ours.sort();
    for (name, text) in ours {
        let Some(key) = KEYS.iter().find(|key| key.variable() == name) else {
            diagnostics.push(unknown(&name));
            continue;
        };
        let Some(text) = text.to_str() else {
            diagnostics.push(Diagnostic::error(None, format!("`{name}` is not UTF-8")).help("write it in UTF-8"));
            continue;
        };
        let field = (key.field)(config);
        let value = typed(text, &field);
        if let Err(faults) = field.assign(&name, &value, Path::new("")) {
            for Fault { message, help, .. } in faults {
                diagnostics.push(Diagnostic::error(None, message).help(help));
            }
        }
    }
}

/// Whether Kubernetes set the variable, for a service that happens to be called `perigee` or `perigee-…`.
fn is_service_link(name: &str) -> bool {
    // PERIGEE_SERVICE_HOST, PERIGEE_PORT, PERIGEE_DNS_PORT_53_UDP_ADDR and their like.
    name.contains("_SERVICE_") || name.contains("_PORT_") || name.ends_with("_PORT")
}

fn unknown(name: &str) -> Diagnostic {
    let variables: Vec<String> = KEYS.iter().map(|key| key.variable()).collect();
    let help = match nearest(name, variables.iter().map(String::as_str)) {
        Some(variable) => format!("did you mean `{variable}`?"),
        None => "variables are named `PERIGEE_<TABLE>_<KEY>`, as in `PERIGEE_HEALTH_INTERVAL`".into(),
    };
    Diagnostic::warning(None, format!("the variable `{name}` is none of ours: it has no effect")).help(help)
}

/// What was typed: a variable has no quotes or brackets, so the field decides how it is read.
fn typed<'v>(text: &'v str, field: &Field<'_>) -> Value<'v> {
    let text = text.trim();
    let integer = || text.parse().map(Shape::Integer).ok();
    let float = || text.parse().map(Shape::Float).ok();
    let shape = match field {
        Field::Bool(_) | Field::OptionalBool(_) => text.parse().map(Shape::Bool).ok(),
        Field::Number(..) | Field::Octets16(..) | Field::Size(..) => integer(),
        Field::Duration(..) => integer().or_else(float),
        Field::Addresses(..)
        | Field::Listen(..)
        | Field::Paths(_)
        | Field::Programs(_)
        | Field::Words(_)
        | Field::Classes(_)
        | Field::Names(_)
        | Field::Networks(_)
        | Field::SomeNetworks(_)
        | Field::Secrets(..) => {
            let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
            Some(Shape::List(entries.map(|entry| Value { shape: Shape::Text(entry), span: 0..0 }).collect()))
        }
        Field::Name(_)
        | Field::Path(_)
        | Field::Text(_)
        | Field::ShortText(..)
        | Field::Octets(..)
        | Field::Place(_)
        | Field::Share(..)
        | Field::Word(_) => None,
    };
    Value { shape: shape.unwrap_or(Shape::Text(text)), span: 0..0 }
}
