//! Where addresses are: MaxMind DB files, looked up.
//!
//! A look-up tells how many bits of the address it went by, so that an answer can say for whom else it holds. `place.rs`
//! has points on the globe, and how far they are apart. Nothing is opened here: `open.rs`, of the shell, maps the files. Absent on purpose: places that are looked up by name, and any
//! idea of what a script does with a place.

pub mod open;
mod place;

use std::fmt::{self, Write};
use std::net::IpAddr;
use std::sync::Arc;

use maxminddb::{LookupResult, PathElement, Reader};

pub use place::Place;

/// The octets of a database file, wherever they are kept.
struct Octets(Box<dyn AsRef<[u8]> + Send + Sync>);

impl AsRef<[u8]> for Octets {
    fn as_ref(&self) -> &[u8] {
        (*self.0).as_ref()
    }
}

/// One database.
pub struct Database {
    reader: Reader<Octets>,
}

/// Octets that are no database; tells why.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NoDatabase(String);

impl Database {
    /// Reads the head of a database; its entries are read as they are asked for.
    pub fn new(octets: impl AsRef<[u8]> + Send + Sync + 'static) -> Result<Self, NoDatabase> {
        let reader = Reader::from_source(Octets(Box::new(octets))).map_err(|error| NoDatabase(error.to_string()))?;
        Ok(Self { reader })
    }

    /// What its maker calls it, as in `GeoLite2-City`.
    pub fn kind(&self) -> &str {
        &self.reader.metadata().database_type
    }

    /// When it was made, in seconds since 1970.
    pub fn built(&self) -> u64 {
        self.reader.metadata().build_epoch
    }

    /// Looks up one attribute; finds nothing where the file is damaged.
    fn look_up(&self, address: IpAddr, attribute: Attribute, language: &str) -> Found<'_> {
        // It errors for an IPv6 address in a database of IPv4 ones: that is so for all IPv6 addresses.
        let Ok(entry) = self.reader.lookup(address) else { return Found::NOTHING };
        let bits = match (entry.network(), address) {
            (Ok(network), IpAddr::V4(_)) if network.is_ipv4() => network.prefix(),
            // A network of IPv6 addresses that holds all IPv4 ones.
            (_, IpAddr::V4(_)) => 0,
            (network, IpAddr::V6(_)) => network.map_or(0, |network| network.prefix()),
        };
        let value = if entry.has_data() { value(&entry, attribute, language) } else { None };
        Found { value, bits }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("kind", &self.kind()).field("built", &self.built()).finish_non_exhaustive()
    }
}

/// Several databases, and what is settled about asking them. Immutable: another file makes other `Databases`.
#[derive(Debug, Default)]
pub struct Databases {
    databases: Vec<Arc<Database>>,
    language: String,
    unknown_location: Option<Place>,
}

impl Databases {
    /// Databases in the order in which they are asked.
    ///
    /// `language` is the one names of cities are in, and `unknown_location` where clients are taken to be that no
    /// database has a place for.
    pub fn new(databases: Vec<Arc<Database>>, language: &str, unknown_location: Option<Place>) -> Self {
        Self { databases, language: language.to_owned(), unknown_location }
    }

    /// Whether there is none, so that nothing is ever found.
    pub fn is_empty(&self) -> bool {
        self.databases.is_empty()
    }

    /// Where clients are taken to be that no database has a place for; `None` for nowhere.
    pub fn unknown_location(&self) -> Option<Place> {
        self.unknown_location
    }

    /// Looks up an attribute of an address: the first database that has one tells it.
    pub fn look_up(&self, address: IpAddr, attribute: Attribute) -> Found<'_> {
        let mut bits = 0;
        for database in &self.databases {
            let found = database.look_up(address, attribute, &self.language);
            bits = found.bits.max(bits);
            if found.value.is_some() {
                return Found { bits, ..found };
            }
        }
        Found { value: None, bits }
    }

    /// Looks up where an address is.
    pub fn place(&self, address: IpAddr) -> (Option<Place>, u8) {
        let Found { value, bits } = self.look_up(address, Attribute::Location);
        let place = value.and_then(|value| match value {
            Value::Place(place) => Some(place),
            Value::Text(_) | Value::Number(_) => None,
        });
        (place, bits)
    }
}

/// What can be looked up of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attribute {
    /// The number of its autonomous system.
    AsNumber,
    /// Who runs that system.
    AsName,
    /// The city, by its name in one language.
    City,
    /// The continent, by its code of two letters.
    Continent,
    /// The country, by its code of two letters (ISO 3166-1).
    Country,
    /// The largest part of the country, by its code (ISO 3166-2, without the country's).
    Region,
    /// Latitude and longitude.
    Location,
}

/// What a look-up came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found<'d> {
    /// The value, never an empty text; `None` if no database has one.
    pub value: Option<Value<'d>>,
    /// How many bits of the address decided it: all addresses that share them get the same.
    ///
    /// Of several databases that were asked, the one that looked at the most.
    pub bits: u8,
}

impl Found<'_> {
    /// Nothing, for every address of the family.
    const NOTHING: Self = Self { value: None, bits: 0 };
}

/// A value of a database. Displayed in lower case.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'d> {
    /// A name or a code, in the letter case of the database.
    Text(&'d str),
    /// A number.
    Number(u32),
    /// A place.
    Place(Place),
}

impl Value<'_> {
    /// Whether this is how it is displayed; letter case makes no difference.
    pub fn is(&self, text: &str) -> bool {
        match self {
            Self::Text(value) => value.eq_ignore_ascii_case(text),
            Self::Number(_) | Self::Place(_) => self.to_string() == text,
        }
    }
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Letters outside ASCII stay, as in PowerDNS.
            Self::Text(text) => text.chars().try_for_each(|character| f.write_char(character.to_ascii_lowercase())),
            Self::Number(number) => number.fmt(f),
            Self::Place(place) => place.fmt(f),
        }
    }
}

/// Reads one attribute of an entry.
fn value<'d>(entry: &LookupResult<'d, Octets>, attribute: Attribute, language: &str) -> Option<Value<'d>> {
    use PathElement::{Index, Key};
    let text = |path: &[PathElement<'_>]| {
        let text = entry.decode_path::<&'d str>(path).ok().flatten();
        text.filter(|text| !text.is_empty()).map(Value::Text)
    };
    match attribute {
        Attribute::AsNumber => as_number(entry),
        Attribute::AsName => text(&[Key("autonomous_system_organization")]),
        Attribute::City => {
            text(&[Key("cities"), Index(0)]).or_else(|| text(&[Key("city"), Key("names"), Key(language)]))
        }
        Attribute::Continent => text(&[Key("continent"), Key("code")]),
        Attribute::Country => text(&[Key("country"), Key("iso_code")]),
        Attribute::Region => text(&[Key("subdivisions"), Index(0), Key("iso_code")]),
        Attribute::Location => {
            let degrees = |axis| degrees(entry, axis);
            Place::new(degrees("latitude")?, degrees("longitude")?).map(Value::Place)
        }
    }
}

/// One coordinate of an entry's location; a double, as a rule.
fn degrees(entry: &LookupResult<'_, Octets>, axis: &str) -> Option<f64> {
    let path = [PathElement::Key("location"), PathElement::Key(axis)];
    match entry.decode_path::<f64>(&path) {
        Ok(degrees) => degrees,
        Err(_) => any(entry, &path)?.as_f64(),
    }
}

/// The number of an autonomous system; some databases have it as a text, with `AS` before it.
fn as_number<'d>(entry: &LookupResult<'d, Octets>) -> Option<Value<'d>> {
    let path = [PathElement::Key("autonomous_system_number")];
    if let Ok(number) = entry.decode_path::<u32>(&path) {
        return number.map(Value::Number);
    }
    if let Ok(text) = entry.decode_path::<&'d str>(&path) {
        let text = text?;
        let digits = text.get(..2).filter(|head| head.eq_ignore_ascii_case("as")).map_or(text, |_| &text[2..]);
        return Some(Value::Text(digits)).filter(|_| !digits.is_empty());
    }
    any(entry, &path)?.as_u64().and_then(|number| number.try_into().ok()).map(Value::Number)
}

/// A value whose type is another than the usual: the decoder takes no number for one of another width.
fn any(entry: &LookupResult<'_, Octets>, path: &[PathElement<'_>]) -> Option<serde_json::Value> {
    entry.decode_path(path).ok().flatten()
}
