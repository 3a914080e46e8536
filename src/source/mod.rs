//! Where zones come from; publishes whole zones, knows nothing of queries.
