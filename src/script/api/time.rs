//! Answers by the time of day and the calendar, in any time zone.
//!
//! The time is that of the query. Time zones are those of the tz database that is built in: no file is read, and a
//! server without them on its disk answers the same.

use std::cell::RefCell;
use std::collections::HashMap;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use mlua::{LuaString, Table};

use super::{Api, CallError, Family};
use crate::script::context::Context;
use crate::script::schedule::Window;

/// Builtins that tell the time.
pub(super) const FAMILY: Family = Family { install };

/// The time zone when none is named.
const ZONE_DEFAULT: &str = "UTC";
/// The longest name of a time zone; the longest there is has half of it.
const ZONE_OCTETS_MAX: usize = 64;
/// How many windows, and how many time zones, a worker keeps as it has read them.
const KEPT_MAX: usize = 512;

fn install(api: &mut Api<'_>) -> mlua::Result<()> {
    let zones = Kept::default();
    api.function("now", move |context, arguments| {
        let zone = zone(&zones, arguments.optional_text()?)?;
        now(arguments.lua(), timestamp(context), &zone)
    })?;
    let (zones, windows) = (Kept::default(), Kept::default());
    api.function("during", move |context, arguments| {
        let texts = arguments.texts()?;
        let zone = zone(&zones, arguments.optional_text()?)?;
        during(&windows, zone.to_datetime(timestamp(context)), &texts)
    })
}

/// The time of the query as a table: the builtin `now`.
///
/// `zone` is a name of the tz database, `UTC` if not given. The fields are numbers: `unix` (seconds since 1970-01-01
/// 00:00 UTC), `year`, `month`, `day`, `hour`, `minute`, `second`, `weekday` (1 is Monday), `yearday` (1 is the first
/// of January) and `offset` (seconds east of UTC); and the text `zone`. Errors on a zone that does not exist.
///
/// ```lua
/// sale 30 IN LUA CNAME "now('Asia/Seoul').hour < 12 and 'morning.example.org' or 'evening.example.org'"
/// ```
fn now(lua: &mlua::Lua, at: Timestamp, zone: &TimeZone) -> Result<Table, CallError> {
    let time = at.to_zoned(zone.clone());
    let table = lua.create_table_with_capacity(0, 11)?;
    table.raw_set("unix", at.as_second())?;
    table.raw_set("year", time.year())?;
    table.raw_set("month", time.month())?;
    table.raw_set("day", time.day())?;
    table.raw_set("hour", time.hour())?;
    table.raw_set("minute", time.minute())?;
    table.raw_set("second", time.second())?;
    table.raw_set("weekday", time.weekday().to_monday_one_offset())?;
    table.raw_set("yearday", time.day_of_year())?;
    table.raw_set("offset", time.offset().seconds())?;
    table.raw_set("zone", zone.iana_name().unwrap_or(ZONE_DEFAULT))?;
    Ok(table)
}

/// Whether any of the windows is open: the builtin `during`.
///
/// A window is a text such as `Mon-Fri 09:00-17:30`, `Sat,Sun 22:00-06:00` (which ends the morning after),
/// `12-24 - 12-26` (in every year) or `2026-12-24 - 2026-12-26`; several are a list. They are times on the clocks of
/// `zone`, `UTC` if not given, so summer time moves them as it moves people. Errors on a text that is no window and
/// on a zone that does not exist.
///
/// ```lua
/// desk 60 IN LUA A "during('Mon-Fri 09:00-17:30', 'Europe/Berlin') and '192.0.2.1' or '192.0.2.2'"
/// ```
fn during(windows: &Kept<Window>, moment: DateTime, texts: &[LuaString]) -> Result<bool, CallError> {
    for text in texts {
        let read = |octets: &[u8]| {
            let window = Window::parse(&String::from_utf8_lossy(octets));
            window.map_err(|error| CallError::refused(error.to_string()))
        };
        if windows.with(&text.as_bytes(), read, |window| window.holds(moment))? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn timestamp(context: &Context) -> Timestamp {
    let second = i64::try_from(context.now().unix_secs).unwrap_or(i64::MAX);
    Timestamp::from_second(second).unwrap_or(Timestamp::MAX)
}

/// The time zone of a name.
fn zone(zones: &Kept<TimeZone>, name: Option<LuaString>) -> Result<TimeZone, CallError> {
    let Some(name) = name else { return Ok(TimeZone::UTC) };
    let read = |octets: &[u8]| {
        let name = std::str::from_utf8(octets).ok().filter(|name| name.len() <= ZONE_OCTETS_MAX);
        let zone = name.and_then(|name| TimeZoneDatabase::bundled().get(name).ok());
        zone.ok_or_else(|| {
            let shown: String = String::from_utf8_lossy(octets).chars().take(ZONE_OCTETS_MAX).collect();
            CallError::refused(format!(
                "got the time zone `{shown}`, which does not exist; write one as `Europe/Berlin`"
            ))
        })
    };
    zones.with(&name.as_bytes(), read, TimeZone::clone)
}

/// What was read from texts, by the text: most records say the same each time.
///
/// It holds nothing that the text does not tell, so no run learns anything of another.
struct Kept<V>(RefCell<HashMap<Box<[u8]>, V>>);

impl<V> Default for Kept<V> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

impl<V> Kept<V> {
    /// Uses what `text` stands for, reading it if it is not known.
    fn with<T>(
        &self,
        text: &[u8],
        read: impl Fn(&[u8]) -> Result<V, CallError>,
        use_it: impl Fn(&V) -> T,
    ) -> Result<T, CallError> {
        let mut kept = self.0.borrow_mut();
        if let Some(known) = kept.get(text) {
            return Ok(use_it(known));
        }
        let value = read(text)?;
        let used = use_it(&value);
        // Who makes up more texts than that has no use for any of them again.
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        kept.insert(text.into(), value);
        Ok(used)
    }
}
