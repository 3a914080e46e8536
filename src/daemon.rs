//! Wiring: build the World, start workers, sources and checker; reload; shut down.
