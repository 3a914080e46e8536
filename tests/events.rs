//! Flips told in the log and to a webhook, which fails and recovers.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::backend::{Backend, Reply};
use crate::support::process::{Perigee, Question, check};
use crate::support::receiver::{Answer, Post, Receiver};

/// A zone whose `a` and `b` hang on one backend, by two checks.
fn zone(backend: &Backend) -> String {
    let script = |path: &str| {
        format!("\"ifurlup('{}', {{'127.0.0.1'}}, {{interval=0.1, timeout=5}})\"", backend.url("www.example.net", path))
    };
    format!(
        "@ 1 IN SOA ns hostmaster 1 3600 900 604800 1\n@ 1 IN NS ns\nns 1 IN A 192.0.2.53\n\
         a 1 LUA A {}\nalso 1 LUA A {}\nb 1 LUA A {}\n",
        script("/a"),
        script("/a"),
        script("/b"),
    )
}

fn start(backend: &Backend, config: &str) -> Perigee {
    Perigee::start(&[("zones/example.net.zone", &*zone(backend)), ("perigee.toml", config)])
}

/// Takes posts until there are as many; which they are, by check, in the order they came in.
fn taken(receiver: &Receiver, count: usize) -> [Vec<Post>; 2] {
    let posts: Vec<Post> = (0..count).map(|_| receiver.next()).collect();
    let (of_a, of_b) = posts.into_iter().partition(|post| post.text("check").contains("/a at"));
    [of_a, of_b]
}

#[test]
fn flips_are_posted_again_until_they_are_taken_and_in_their_order() {
    let backend = Backend::start();
    let receiver = Receiver::start(&[Answer::Nothing, Answer::Status(503)]);
    let config = format!("[health]\nwebhook = \"{}\"\nwebhook-token = \"secret\"\n", receiver.url());
    let mut perigee = start(&backend, &config);
    // Each of the two is tried twice. That both were up at first is not told.
    backend.reply(Reply::status(500));
    for posts in taken(&receiver, 4) {
        assert_eq!(posts.iter().map(|post| post.text("to")).collect::<Vec<_>>(), ["down", "down"]);
        assert_eq!(posts[0].event, posts[1].event);
        assert_eq!(posts[0].head[0], "POST /hook HTTP/1.1");
        for header in ["authorization: Bearer secret", "content-type: application/json"] {
            assert!(posts[0].head.iter().any(|line| line.eq_ignore_ascii_case(header)), "{:?}", posts[0].head);
        }
        assert_eq!(posts[0].event["reason"], json!({ "name": "status", "text": "status 500, expected 200" }));
    }
    // What is refused comes only once.
    receiver.answer(&[Answer::Status(404), Answer::Status(302)]);
    backend.reply(Reply::status(200));
    for posts in taken(&receiver, 2) {
        assert_eq!((posts[0].text("from"), posts[0].text("to")), ("down", "up"));
        assert_eq!(posts[0].event["reason"], Value::Null);
    }
    for _ in 0..2 {
        let line = perigee.wait_for_log("webhook did not take an event");
        assert!(line.contains("status 404") || line.contains("status 302"), "{line}");
    }
    backend.reply_at("/a", Reply::Cut);
    let event = receiver.next().event;
    assert_eq!(event["number"], 5);
    assert_eq!(event["target"], "127.0.0.1");
    assert_eq!(event["zones"], json!(["example.net"]));
    let names = event["records"].as_array().unwrap().iter().map(|record| &record["name"]).collect::<Vec<_>>();
    assert_eq!(names, ["a.example.net/A", "also.example.net/A"]);
    assert_eq!(event["records"][0]["position"], "zones/example.net.zone:4:12");
    assert_eq!(event["records_left_out"], 0);
    assert!(perigee.stop());
}

#[test]
fn a_webhook_that_hangs_delays_no_probe_and_no_stop_for_long() {
    let backend = Backend::start();
    let receiver = Receiver::start(&[Answer::Hang; 100]);
    let config = format!("[health]\nwebhook = \"{}\"\nwebhook-queue-max = 2\n", receiver.url());
    let mut perigee = start(&backend, &config);
    let question = Question::a("a.example.net");
    for round in 0..3 {
        backend.reply(Reply::status(500));
        perigee.wait_for_log("to=down");
        if round == 1 {
            // Two are under way, two wait, and this is one more.
            perigee.wait_for_log("events come faster than the webhook takes them, the oldest are dropped waiting=2");
        }
        perigee.wait_for_log("to=down");
        backend.reply(Reply::status(200));
        perigee.wait_for_log("to=up");
        perigee.wait_for_log("to=up");
    }
    assert_eq!(perigee.answers(&question), ["127.0.0.1"]);
    let before = Instant::now();
    perigee.signal("TERM");
    perigee.wait_for_log("stopped before the webhook had taken all events lost=4");
    assert!(perigee.stop());
    assert!(before.elapsed() < Duration::from_secs(5), "{:?}", before.elapsed());
}

#[test]
fn the_certificate_of_a_webhook_is_verified() {
    let backend = Backend::start();
    let (receiver, _) = Backend::start_tls("localhost");
    let config = format!("[health]\nwebhook = \"{}\"\n[log]\nlevel = \"debug\"\n", receiver.url("localhost", "/"));
    let mut perigee = start(&backend, &config);
    backend.reply(Reply::status(500));
    let line = perigee.wait_for_log("webhook failed, to be tried again");
    assert!(line.contains("certificate"), "{line}");
}

#[test]
fn a_flip_is_one_object_in_a_log_of_json() {
    let backend = Backend::start();
    let mut perigee = start(&backend, "[log]\nformat = \"json\"\n");
    backend.reply_at("/a", Reply::redirect("ftp://other.example/"));
    let line = perigee.wait_for_log("\"to\":\"down\"");
    assert_eq!(line.matches("\"target\":").count(), 1, "{line}");
    let flip: Value = serde_json::from_str(&line).unwrap();
    let check = format!("{} at 127.0.0.1", backend.url("www.example.net", "/a"));
    let expected = [
        ("message", "target flips"),
        ("target", "127.0.0.1"),
        ("check", &check),
        ("zone", "example.net"),
        ("records", "a.example.net/A also.example.net/A"),
        ("from", "up"),
        ("to", "down"),
        ("cause", "http"),
        ("reason", "http: redirect to `ftp://other.example/`, only http and https are followed"),
    ];
    for (field, value) in expected {
        assert_eq!(flip[field], value, "{field}");
    }
    assert!(flip["took_ms"].is_u64(), "{line}");
}

#[test]
fn a_webhook_that_is_no_url_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let config = "[health]\nwebhook = \"hooks.example.net\"\n[zones]\ndirectory = \"\"\n";
    std::fs::write(directory.path().join("perigee.toml"), config).unwrap();
    let told = check(directory.path());
    assert!(told.contains("cannot post to `health.webhook`: relative URL without a base"), "{told}");
}
