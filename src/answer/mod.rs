//! One request in, one outcome out; no socket, no await, no clock.
