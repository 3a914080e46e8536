//! The files in `tests/cases`: zone in, question, answer in presentation format. A directory is a test.

use crate::support::case;

/// A test for each directory, and one that holds the list against what is there.
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
    places_decide_answers "geo"
    scripts_answer_for_their_type "lua"
    lua_records_are_read "lua-01-record"
    pieces_become_code "lua-02-code"
    code_is_run "lua-03-running"
    results_become_records "lua-04-results"
    scripts_stand_beside_other_records "lua-05-processing"
    scripts_are_switched_for_each_zone "lua-05-switched"
    scripts_earn_a_scope "lua-06-client-subnet"
    scripts_are_neither_signed_nor_transferred "lua-07-dnssec-and-transfers"
    scripts_know_the_query "lua-08-variables"
    arguments_are_converted "lua-09-arguments"
    values_are_picked "lua-10-pickers"
    addresses_and_names_are_synthesized "lua-12-synthesis"
    networks_decide "lua-13-view"
    scripts_write_lines_and_draw_numbers "lua-14-log-and-chance"
    objects_have_methods "lua-15-objects"
    targets_are_chosen "lua-16-health"
    settings_hold "lua-17-settings"
    what_others_stumbled_over_is_sound "lua-19-pitfalls"
    decisions_of_ours_are_kept "lua-21-decisions"
    names_are_looked_up "rfc1034"
    messages_are_read "rfc1035"
    load_is_spread_by_order "rfc1794"
    rrsets_go_whole_or_not_at_all "rfc2181"
    negative_answers_carry_the_soa "rfc2308"
    reverse_zones_are_split_between_octets "rfc2317"
    services_name_their_servers "rfc2782"
    rewriting_rules_lead_on "rfc3403"
    unknown_types_are_served "rfc3597"
    delegation_signers_are_the_parents "rfc4035"
    names_are_compared_without_letter_case "rfc4343"
    wildcards_cover_what_does_not_exist "rfc4592"
    the_server_tells_of_itself "rfc4892"
    servers_say_who_they_are "rfc5001"
    transfers_are_refused "rfc5936"
    rcodes_and_aa_speak_of_both_ends_of_a_chain "rfc6604"
    dnames_redirect_what_is_below "rfc6672"
    edns_is_spoken "rfc6891"
    streams_are_told_how_long_they_may_be_idle "rfc7828"
    client_subnets_are_echoed_with_a_scope "rfc7871"
    cookies_are_given_and_known "rfc7873"
    nothing_is_below_what_does_not_exist "rfc8020"
    any_is_answered_with_little "rfc8482"
    whatever_is_asked_is_answered "rfc8906"
    answers_say_why_they_are_none "rfc8914"
    cookies_are_those_of_other_servers "rfc9018"
    services_bring_their_addresses "rfc9460"
    glue_is_not_optional "rfc9471"
    queries_have_one_question "rfc9619"
}
