//! What the checks take from the tests, under the name it has there.

#[expect(dead_code, reason = "every question here is asked at the same moment")]
#[path = "../../../tests/support/authority.rs"]
pub(crate) mod authority;
#[expect(dead_code, reason = "no target looks places up")]
#[path = "../../../tests/support/mmdb.rs"]
pub(crate) mod mmdb;
