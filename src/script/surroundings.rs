//! What scripts may look up beside the query: immutable, and swapped whole.

use std::sync::Arc;

use super::Program;
use crate::geo::Databases;
use crate::networks::Maps;
use crate::resolve::table::Table;
use crate::zone::ZoneSet;

/// The scripts of a zone, compiled, in the order of [`crate::zone::Zone::scripts`].
pub type Programs = Arc<[Arc<Program>]>;

/// What scripts may look up beside the query.
///
/// Workers hold one together; a change of any part is a new one.
#[derive(Default)]
pub struct Surroundings {
    /// The zones and their scripts.
    pub zones: ZoneSet<Programs>,
    /// Tables of networks, for `map`.
    pub maps: Arc<Maps>,
    /// Where addresses are.
    pub geo: Arc<Databases>,
    /// What resolvers say. The one part that is live; by default it has room for no name.
    pub names: Arc<Table>,
}

impl Surroundings {
    /// The same with other zones.
    pub fn with_zones(&self, zones: ZoneSet<Programs>) -> Self {
        let (geo, names, maps) = (Arc::clone(&self.geo), Arc::clone(&self.names), Arc::clone(&self.maps));
        Self { zones, geo, names, maps }
    }

    /// The same with other maps, and without zones.
    pub fn with_maps(&self, maps: Arc<Maps>) -> Self {
        Self { maps, ..self.with_zones(ZoneSet::default()) }
    }
}
