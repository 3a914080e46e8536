//! The story perigee was founded on: weights, an edit while it serves, answers by source network, both together.

use std::collections::BTreeMap;

use crate::support::process::{Perigee, Question, answers};

/// The founding post's zone, to the letter.
const ZONE: &str = include_str!("../zones/example.com.zone");

/// The value that chi-square with one degree of freedom exceeds once in a million times.
const CHI_SQUARE_MAX: f64 = 23.93;

fn serve() -> Perigee {
    Perigee::start(&[("zones/example.com.zone", ZONE)])
}

/// Asks many times; how often each answer came.
fn count(perigee: &Perigee, question: &Question, times: u32) -> BTreeMap<String, u32> {
    let client = perigee.client();
    let mut counts = BTreeMap::new();
    for _ in 0..times {
        *counts.entry(answers(&client.ask(question)).join(" ")).or_insert(0) += 1;
    }
    counts
}

/// How far counts are from shares, as chi-square.
fn chi_square(counts: &BTreeMap<String, u32>, shares: &[(&str, f64)]) -> f64 {
    let total = f64::from(counts.values().sum::<u32>());
    assert!(counts.keys().all(|answer| shares.iter().any(|(known, _)| known == answer)), "{counts:?}");
    let whole: f64 = shares.iter().map(|(_, share)| share).sum();
    shares
        .iter()
        .map(|(answer, share)| {
            let expected = total * share / whole;
            let got = f64::from(counts.get(*answer).copied().unwrap_or(0));
            (got - expected).powi(2) / expected
        })
        .sum()
}

#[test]
fn answers_follow_the_weights() {
    let counts = count(&serve(), &Question::a("random.example.com"), 10_000);
    let distance = chi_square(&counts, &[("1.2.3.4", 1.0), ("4.3.2.1", 2.0)]);
    assert!(distance < CHI_SQUARE_MAX, "{counts:?}");
}

#[test]
fn edited_weights_are_served_without_a_restart() {
    let mut perigee = serve();
    perigee.edit("zones/example.com.zone", &ZONE.replace("{2, '4.3.2.1'}", "{100, '4.3.2.1'}"));
    perigee.wait_for_log("zone published");
    // The last step of the way is a worker's own: it takes the new world with its next query.
    let counts = count(&perigee, &Question::a("random.example.com"), 10_000);
    let distance = chi_square(&counts, &[("1.2.3.4", 1.0), ("4.3.2.1", 100.0)]);
    assert!(distance < CHI_SQUARE_MAX, "{counts:?}");
}

#[test]
fn answers_follow_the_network_of_the_client() {
    let perigee = serve();
    let question = Question::a("src.example.com");
    assert_eq!(perigee.answers(&question), ["192.0.2.1"]);
    assert_eq!(perigee.answers(&question.clone().from("192.168.1.0/24")), ["192.168.1.54"]);
    assert_eq!(perigee.answers(&question.from("198.51.100.0/24")), ["192.0.2.1"]);
}

#[test]
fn picks_inside_a_view_are_uniform() {
    let perigee = serve();
    let rows = [("192.168.1.0/24", ["1.2.3.4", "1.2.3.5"]), ("198.51.100.0/24", ["4.3.2.1", "4.3.2.2"])];
    for (network, [one, other]) in rows {
        let counts = count(&perigee, &Question::a("src-rand.example.com").from(network), 4_000);
        let distance = chi_square(&counts, &[(one, 1.0), (other, 1.0)]);
        assert!(distance < CHI_SQUARE_MAX, "{counts:?}");
    }
}
