//! Answers by place: where the client is, and which target is closest to it.
//!
//! What is asked of the client's place tells how much of its address that took, so that the scope of the answer is the
//! network that the databases have it in.

use std::cell::Ref;
use std::net::{IpAddr, Ipv4Addr};

use mlua::LuaString;
use smallvec::SmallVec;

use super::arguments::{Options, read_address, read_network};
use super::pick::pick_random;
use super::{Api, CallError, Family};
use crate::geo::{Attribute, Databases, Place, Value};
use crate::script::context::Context;

/// Builtins that look places up.
pub(super) const FAMILY: Family = Family { install };

/// What `geoiplookup` can be asked for, as PowerDNS numbers it.
const ATTRIBUTES: [(&str, i64, Attribute); 8] = [
    ("ASn", 0, Attribute::AsNumber),
    ("City", 1, Attribute::City),
    ("Continent", 2, Attribute::Continent),
    ("Country", 3, Attribute::Country),
    ("Country2", 4, Attribute::Country),
    ("Name", 5, Attribute::AsName),
    ("Region", 6, Attribute::Region),
    ("Location", 7, Attribute::Location),
];
/// What stands for a value that no database has.
const UNKNOWN: &str = "unknown";
/// What stands for a code that no database has.
const UNKNOWN_CODE: &str = "--";
/// The most addresses of one call: each is looked up, and all of them together are to take about a millisecond.
const CANDIDATES_MAX: usize = 4096;

fn install(api: &mut Api<'_>) -> mlua::Result<()> {
    api.constants("GeoIPQueryAttribute", &ATTRIBUTES.map(|(name, number, _)| (name, number)))?;
    api.function("geoiplookup", |context, arguments| {
        let (address, attribute) = (arguments.text()?, arguments.integral()?);
        Ok(look_up(&databases(context), &address.to_string_lossy(), attribute))
    })?;
    install_comparisons(api)?;
    install_codes(api)?;
    api.function("latlon", |context, _| Ok(latitude_longitude(client_place(context, &databases(context)))))?;
    api.function("latlonloc", |context, _| Ok(loc(client_place(context, &databases(context)))))?;
    api.function("latlonMagic", |context, _| Ok(named_place(context)))?;
    api.function("distance", |context, arguments| distance(context, &arguments.text()?.to_string_lossy()))?;
    api.function("pickclosest", |context, arguments| {
        let candidates = read_candidates(&arguments.list()?)?;
        let unknown = Unknown::read(&arguments.options()?)?;
        answer_closest(context, &candidates, unknown)
    })?;
    api.function("closestMagic", |context, arguments| {
        let unknown = Unknown::read(&arguments.options()?)?;
        answer_closest(context, &named_candidates(context)?, unknown)
    })
}

/// Whether the client's value is one of those given: `continent`, `country`, `region`, `asnum`.
///
/// Takes one text or number, or a list of them; letter case makes no difference. Continents, countries and regions go
/// by their codes, systems by their number without `AS`. A client that no database knows is in `unknown`.
///
/// ```lua
/// www 60 IN LUA A "country({'de', 'at', 'ch'}) and '192.0.2.1' or '192.0.2.2'"
/// api 60 IN LUA A "asnum(64496) and '192.0.2.3' or continent('EU') and '192.0.2.1' or '192.0.2.2'"
/// ca  60 IN LUA A "country('us') and region('ca') and '192.0.2.4' or '192.0.2.2'"
/// ```
fn install_comparisons(api: &mut Api<'_>) -> mlua::Result<()> {
    api.function("continent", |context, arguments| {
        Ok(client_is_any(context, Attribute::Continent, &arguments.one_or_list()?))
    })?;
    api.function("country", |context, arguments| {
        Ok(client_is_any(context, Attribute::Country, &arguments.one_or_list()?))
    })?;
    api.function("region", |context, arguments| {
        Ok(client_is_any(context, Attribute::Region, &arguments.one_or_list()?))
    })?;
    api.function("asnum", |context, arguments| {
        Ok(client_is_any(context, Attribute::AsNumber, &arguments.one_or_list()?))
    })
}

/// The client's code in lower case, `--` when no database has one: `continentCode`, `countryCode`, `regionCode`.
///
/// ```lua
/// where 60 IN LUA TXT "continentCode() .. ' ' .. countryCode() .. ' ' .. regionCode()"
/// ```
fn install_codes(api: &mut Api<'_>) -> mlua::Result<()> {
    api.function("continentCode", |context, _| Ok(client_code(context, Attribute::Continent)))?;
    api.function("countryCode", |context, _| Ok(client_code(context, Attribute::Country)))?;
    api.function("regionCode", |context, _| Ok(client_code(context, Attribute::Region)))
}

/// The databases; where there are none, who wrote the record should know.
pub(in crate::script) fn databases(context: &Context) -> Ref<'_, Databases> {
    let databases = Ref::map(context.surroundings(), |surroundings| &*surroundings.geo);
    if databases.is_empty() {
        let lint = "the script asks where addresses are, and `geoip.databases` is empty: all places are unknown";
        context.lint(lint.to_owned());
    }
    databases
}

/// What a database has for an address, by one of `GeoIPQueryAttribute`: the builtin `geoiplookup`.
///
/// In lower case; `unknown` where no database has it, or for an attribute there is not. A text that is no address and no
/// network is an empty text. The client's own values are cheaper to have by `countryCode()` and its kin: `bestwho` counts
/// as looked at in full length.
///
/// ```lua
/// as 60 IN LUA TXT "geoiplookup('192.0.2.1', GeoIPQueryAttribute.ASn)"
/// ```
fn look_up(databases: &Databases, address: &str, attribute: i64) -> String {
    let Some(network) = read_network(address) else { return String::new() };
    let attribute = ATTRIBUTES.iter().find(|(_, number, _)| *number == attribute);
    let (Some(network), Some((_, _, attribute))) = (network, attribute) else { return UNKNOWN.to_owned() };
    let found = databases.look_up(network.addr(), *attribute);
    found.value.map_or_else(|| UNKNOWN.to_owned(), |value| value.to_string())
}

/// Hands what the databases have for `bestwho` to `then`.
fn with_client<T>(context: &Context, attribute: Attribute, then: impl FnOnce(Option<Value<'_>>) -> T) -> T {
    let databases = databases(context);
    if databases.is_empty() {
        return then(None);
    }
    context.look_client_up(|address| {
        let found = databases.look_up(address, attribute);
        (then(found.value), found.bits)
    })
}

fn client_is_any(context: &Context, attribute: Attribute, texts: &[String]) -> bool {
    with_client(context, attribute, |value| {
        let is = |text: &String| value.map_or_else(|| text.eq_ignore_ascii_case(UNKNOWN), |value| value.is(text));
        texts.iter().any(is)
    })
}

fn client_code(context: &Context, attribute: Attribute) -> String {
    with_client(context, attribute, |value| value.map_or_else(|| UNKNOWN_CODE.to_owned(), |value| value.to_string()))
}

/// Where `bestwho` is; nobody is looked at where there are no databases.
fn client_place(context: &Context, databases: &Databases) -> Option<Place> {
    if databases.is_empty() { None } else { context.look_client_up(|address| databases.place(address)) }
}

/// The client's latitude and longitude: the builtin `latlon`. Zeros where no database has them.
///
/// ```lua
/// where 60 IN LUA TXT "latlon()"
/// ```
fn latitude_longitude(place: Option<Place>) -> String {
    place.map_or_else(|| "0.000000 0.000000".to_owned(), |place| place.to_string())
}

/// The client's place as a LOC record has it (RFC 1876): the builtin `latlonloc`.
///
/// Sizes and precisions are made up. Where no database has a place, the text is one that is no LOC, as in PowerDNS: a
/// LOC record is then SERVFAIL.
///
/// ```lua
/// where 60 IN LUA TXT "latlonloc()"
/// ```
fn loc(place: Option<Place>) -> String {
    let (latitude, longitude) = match place {
        Some(place) => (angle(place.latitude(), 'N', 'S'), angle(place.longitude(), 'E', 'W')),
        None => ("0 0 -0 S".to_owned(), "0 0 -0 W".to_owned()),
    };
    format!("{latitude} {longitude} 0.00m 1.00m 10000.00m 10.00m")
}

/// Degrees, minutes, seconds and the half: seconds to the thousandth that LOC knows, and no more digits than it takes.
fn angle(degrees: f64, positive: char, negative: char) -> String {
    // From millionths of a degree, which is how places are written, to thousandths of a second.
    let thousandths = ((degrees.abs() * 1e6).round() as u64 * 36 + 5) / 10;
    let (seconds, minutes) = (thousandths % 60_000, thousandths / 60_000);
    let fraction = format!("{:03}", seconds % 1000);
    let fraction = fraction.trim_end_matches('0');
    let dot = if fraction.is_empty() { "" } else { "." };
    let half = if degrees > 0.0 { positive } else { negative };
    format!("{} {} {}{dot}{fraction} {half}", minutes / 60, minutes % 60, seconds / 1000)
}

/// The place of the IPv4 address that the first four labels of `qname` are, the last first: the builtin `latlonMagic`.
///
/// `unknown` for a name of fewer labels; zeros where they are no address, or no database has a place for it.
///
/// ```lua
/// *.where 60 IN LUA TXT "latlonMagic()"
/// ```
fn named_place(context: &Context) -> String {
    let databases = databases(context);
    let qname = context.qname();
    let labels: SmallVec<[&[u8]; 4]> = qname.as_ref().labels().take(4).collect();
    let [fourth, third, second, first] = &labels[..] else { return UNKNOWN.to_owned() };
    let address = read_ipv4(&[*first, *second, *third, *fourth].join(&b'.'));
    latitude_longitude(address.and_then(|address| databases.place(address).0))
}

/// Reads a dotted quad.
fn read_ipv4(text: &[u8]) -> Option<IpAddr> {
    std::str::from_utf8(text).ok()?.parse::<Ipv4Addr>().ok().map(IpAddr::V4)
}

/// How many kilometres it is from `bestwho` to an address or a place: the builtin `distance`.
///
/// A place is a text of latitude and longitude in degrees. Nothing where no database has a place for one of the two; for
/// a client of which that is so, `geoip.unknown-location` stands in. Errors on what is neither address nor place.
///
/// ```lua
/// www 60 IN LUA A "(distance('48.137 11.576') or 0) < 500 and '192.0.2.1' or '192.0.2.2'"
/// ```
fn distance(context: &Context, text: &str) -> Result<Option<f64>, CallError> {
    let databases = databases(context);
    let target = match (read_address(text), text.parse()) {
        (Some(address), _) => databases.place(address.ip()).0,
        (None, Ok(place)) => Some(place),
        (None, Err(_)) => {
            let why = "which is no address and no place; write a place as `48.137 11.576`";
            return Err(CallError::refused(format!("got `{text}`, {why}")));
        }
    };
    // Nobody's client is looked at for a target that is nowhere.
    let Some(target) = target else { return Ok(None) };
    let client = client_place(context, &databases).or_else(|| databases.unknown_location());
    Ok(client.map(|client| f64::from(client.metres_to(target)) / 1000.0))
}

/// Reads the addresses to choose among; a port is let go.
fn read_candidates(texts: &[LuaString]) -> Result<Vec<IpAddr>, CallError> {
    if texts.len() > CANDIDATES_MAX {
        return Err(CallError::refused(format!("got more than {CANDIDATES_MAX} addresses")));
    }
    let read = |text: &LuaString| {
        let text = text.to_string_lossy();
        let address = read_address(&text).map(|address| address.ip());
        address.ok_or_else(|| CallError::refused(format!("got `{text}`, which is no address")))
    };
    texts.iter().map(read).collect()
}

/// The addresses that a name begins with: labels with `-` for `.`, up to the first that is none.
fn named_candidates(context: &Context) -> Result<Vec<IpAddr>, CallError> {
    let qname = context.qname();
    let dotted =
        |label: &[u8]| label.iter().map(|octet| if *octet == b'-' { b'.' } else { *octet }).collect::<Vec<u8>>();
    let candidates: Vec<_> = qname.as_ref().labels().map_while(|label| read_ipv4(&dotted(label))).collect();
    if candidates.is_empty() && context.is_trial() && qname.as_ref().is_wildcard() {
        // Whatever a wildcard is asked for, it is not this.
        return Ok(vec![Ipv4Addr::UNSPECIFIED.into()]);
    }
    if candidates.is_empty() {
        let why = format!("was asked as `{qname}`, which begins with no address; write one as `192-0-2-1`");
        return Err(CallError::refused(why));
    }
    Ok(candidates)
}

fn answer_closest(context: &Context, candidates: &[IpAddr], unknown: Unknown) -> Result<String, CallError> {
    let closest = pick_closest(context, candidates, |address| *address, unknown);
    let closest = closest.ok_or_else(|| CallError::refused("got an empty list; give at least one address"))?;
    Ok(closest.to_string())
}

/// What becomes of a client that no database has a place for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::script) enum Unknown {
    /// What `geoip.unknown-location` says.
    Configured,
    /// Any candidate, each with the same chance.
    Random,
    /// The first candidate.
    First,
    /// It is taken to be there.
    At(Place),
}

impl Unknown {
    /// Reads the option `unknown`.
    pub(in crate::script) fn read(options: &Options) -> Result<Self, CallError> {
        Ok(match options.text("unknown")?.as_deref() {
            None => Self::Configured,
            Some("random") => Self::Random,
            Some("first") => Self::First,
            Some(text) => Self::At(text.parse().map_err(|_| {
                let why = "write `random`, `first` or a latitude and a longitude, as in `48.137 11.576`";
                CallError::refused(format!("got `{text}` for the option `unknown`; {why}"))
            })?),
        })
    }
}

/// Picks the candidate that is closest to `bestwho`, as the crow flies: `pickclosest` and `closestMagic`.
///
/// `closestMagic` takes its candidates from `qname`: labels from the left that are IPv4 addresses with `-` for `.`.
/// Of equally close candidates one is drawn. Candidates that no database has a place for are left out, unless it has none
/// for all: then one of all is drawn. A client without a place is sent to any, or where `geoip.unknown-location` or the
/// option `unknown` says: `'random'`, `'first'` or a latitude and a longitude. Errors on an empty list, and on what is no
/// address.
///
/// ```lua
/// www 60 IN LUA A "pickclosest({'192.0.2.1', '198.51.100.1'}, {unknown='48.137 11.576'})"
/// *.near 60 IN LUA A ";return closestMagic()"
/// ```
pub(in crate::script) fn pick_closest<T: Copy>(
    context: &Context,
    candidates: &[T],
    address_of: impl Fn(&T) -> IpAddr,
    unknown: Unknown,
) -> Option<T> {
    let databases = databases(context);
    // There is nothing to choose, whoever asks.
    if let [only] = candidates {
        return Some(*only);
    }
    let known = if candidates.is_empty() { None } else { client_place(context, &databases) };
    let place = known.or(match unknown {
        Unknown::Configured => databases.unknown_location(),
        Unknown::At(place) => Some(place),
        Unknown::Random => None,
        Unknown::First => return candidates.first().copied(),
    });
    let Some(place) = place else { return pick_random(&mut *context.random(), candidates).copied() };
    let closest = closest(place, candidates, |candidate| databases.place(address_of(candidate)).0);
    pick_random(&mut *context.random(), &closest).copied()
}

/// The candidates with the shortest way to a place; all of them if none has a place.
fn closest<T: Copy>(from: Place, candidates: &[T], place_of: impl Fn(&T) -> Option<Place>) -> SmallVec<[T; 8]> {
    let mut shortest = u32::MAX;
    let mut closest = SmallVec::new();
    for candidate in candidates {
        let Some(metres) = place_of(candidate).map(|place| from.metres_to(place)) else { continue };
        if metres < shortest {
            shortest = metres;
            closest.clear();
        }
        if metres == shortest {
            closest.push(*candidate);
        }
    }
    if closest.is_empty() { candidates.into() } else { closest }
}
