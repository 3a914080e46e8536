//! Is the zone sound: one SOA, NS at the apex, CNAME alone, records in zone, glue.
