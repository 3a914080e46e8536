//! When to probe, how many at once, and when to forget.
