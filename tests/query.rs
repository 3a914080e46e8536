//! RFC 1034, 2308, 4592 and those that amend them: the answering rules.

use crate::support::case;

#[test]
fn names_are_looked_up_by_rfc_1034() {
    case::run("rfc1034");
}
