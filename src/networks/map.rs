//! A map: networks with values in named columns, as the rows of a table have them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::{Duplicate, Found, Networks};

/// Maps by their names.
pub type Maps = HashMap<Box<str>, Arc<Map>>;

/// The values of a network, one for each column.
pub type Row = Box<[Box<str>]>;

/// Networks with values in named columns; never changed.
#[derive(Debug)]
pub struct Map {
    columns: Row,
    /// Each row by its position among the rows.
    networks: Networks<u32>,
    /// The rows that differ: many networks share few.
    rows: Box<[Row]>,
}

impl Map {
    /// Builds a map of fewer than 2^32 networks, each given once; every row has a value for each column.
    pub fn build(columns: Row, networks: impl IntoIterator<Item = (IpNet, Row)>) -> Result<Self, Duplicate> {
        let mut known: HashMap<Row, u32> = HashMap::new();
        let numbered = networks.into_iter().map(|(network, row)| {
            let next = known.len() as u32;
            (network, *known.entry(row).or_insert(next))
        });
        let networks = Networks::build(numbered.collect())?;
        let mut rows: Vec<(Row, u32)> = known.into_iter().collect();
        rows.sort_unstable_by_key(|(_, number)| *number);
        Ok(Self { columns, networks, rows: rows.into_iter().map(|(row, _)| row).collect() })
    }

    /// The names of the columns.
    pub fn columns(&self) -> &[Box<str>] {
        &self.columns
    }

    /// The networks, with the numbers of their rows.
    pub fn networks(&self) -> &Networks<u32> {
        &self.networks
    }

    /// The row of a number.
    pub fn row(&self, number: u32) -> &[Box<str>] {
        &self.rows[number as usize]
    }

    /// Finds the row of the most specific network that holds `address`.
    pub fn lookup(&self, address: IpAddr) -> Found<'_, u32> {
        self.networks.lookup(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_are_equal_are_kept_once() {
        let row = |values: &[&str]| values.iter().map(|value| Box::from(*value)).collect::<Row>();
        let networks = [("10.0.0.0/8", "a"), ("10.1.0.0/16", "b"), ("192.0.2.0/24", "a")];
        let networks = networks.map(|(network, value)| (network.parse().unwrap(), row(&[value, "x"])));
        let map = Map::build(row(&["site", "other"]), networks).unwrap();
        assert_eq!((map.rows.len(), map.networks().len()), (2, 3));
        for (address, values) in [("10.2.0.1", Some(["a", "x"])), ("10.1.0.1", Some(["b", "x"])), ("192.0.3.1", None)] {
            let found = map.lookup(address.parse().unwrap()).entry.map(|(_, row)| map.row(*row));
            assert_eq!(found, values.map(|values| row(&values)).as_deref(), "{address}");
        }
    }
}
