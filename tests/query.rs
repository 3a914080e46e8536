//! RFC 1034, 2308, 4592 and those that amend them: the answering rules.

use crate::support::case;

/// A test for each directory of cases, and one that none is left out.
macro_rules! cases {
    ($($test:ident $directory:literal)*) => {
        $(#[test] fn $test() { case::run($directory); })*

        #[test]
        fn every_directory_of_cases_is_run() {
            assert_eq!(case::directories(), [$($directory),*]);
        }
    };
}

cases! {
    names_are_looked_up "rfc1034"
    rrsets_are_whole "rfc2181"
    negative_answers_carry_the_soa "rfc2308"
    unknown_types_are_served "rfc3597"
    delegation_signers_are_the_parents "rfc4035"
    wildcards_cover_what_does_not_exist "rfc4592"
    dnames_redirect_what_is_below "rfc6672"
    nothing_is_below_what_does_not_exist "rfc8020"
    services_bring_their_addresses "rfc9460"
}
