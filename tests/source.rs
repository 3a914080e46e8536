//! Zone files that come, change, break and go, and what is told of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use perigee::config;
use perigee::dns::Name;
use perigee::source::{Event, FileSource, Loaded, Pass, Reload, Text, ZoneReader, reloads};
use tempfile::TempDir;
use tokio::sync::mpsc;

/// How long an event may take; far above what it does take, as machines that build are busy.
const DEADLINE: Duration = Duration::from_secs(20);
/// How often files are looked at if the test is to prove that the system's reports are enough: never.
const NEVER: Duration = Duration::from_secs(3600);
/// How often files are looked at if the system reports nothing.
const OFTEN: Duration = Duration::from_millis(50);

/// Stands for a parser: the zone is the text with its includes put in place, and `broken` in it is an error.
fn load(_: &Name, text: &Text, reader: &mut ZoneReader) -> Loaded<String> {
    let mut zone = String::new();
    expand(text, reader, &mut zone)
        .and_then(|()| if zone.contains("broken") { Err(format!("{}: broken", text.file)) } else { Ok(()) })
        .map_err(|message| vec![perigee::diagnostic::Diagnostic::error(None, message)])?;
    Ok((zone, Vec::new()))
}

fn expand(text: &Text, reader: &mut ZoneReader, zone: &mut String) -> Result<(), String> {
    let octets = String::from_utf8_lossy(&text.octets);
    for line in octets.lines() {
        match line.strip_prefix("$INCLUDE ") {
            Some(path) => {
                let included = reader.include(&text.file, path).map_err(|error| error.to_string())?;
                expand(&included, reader, zone)?;
            }
            None => zone.push_str(line),
        }
    }
    Ok(())
}

/// A directory of zone files, the configuration that names it, and what is told of it in short.
struct Bench {
    directory: TempDir,
    zones: config::Zones,
    configured: Vec<config::Zone>,
}

impl Bench {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let zones = config::Zones { directory: directory.path().to_owned(), ..config::Zones::default() };
        Self { directory, zones, configured: Vec::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("written");
    }

    /// Writes beside the file and renames over it, as most editors do.
    fn replace(&self, name: &str, text: &str) {
        let new = self.path("4913");
        fs::write(&new, text).expect("written");
        fs::rename(new, self.path(name)).expect("renamed");
    }

    fn configure(&mut self, name: &str, file: &str) {
        let name = name.parse().expect("a name");
        let file = self.path(file);
        self.configured.push(config::Zone { file: Some(file), ..config::Zone::new(name) });
    }

    fn source(&self) -> FileSource<String> {
        FileSource::new(&self.zones, &self.configured, load)
    }

    /// What a first reading tells, one line an event.
    fn load_all(&self) -> Vec<String> {
        self.source().load_all().into_iter().map(|event| self.brief(event)).collect()
    }

    /// Reads everything, expects it to tell `expected`, and watches from then on.
    fn watch(&self, expected: &[&str]) -> Watched<'_> {
        let mut source = self.source();
        let told: Vec<String> = source.load_all().into_iter().map(|event| self.brief(event)).collect();
        assert_eq!(told, expected);
        let (sender, events) = mpsc::channel(4);
        let (reload, asked) = reloads();
        let task = tokio::spawn(source.watch(sender, asked));
        Watched { bench: self, events, reload, task }
    }

    /// An event in one line, without the directory's name.
    fn brief(&self, event: Event<String>) -> String {
        let text = match event {
            Event::Changed { name, zone, .. } => format!("{name} is {zone}"),
            Event::Removed { name } => format!("{name} is gone"),
            Event::Failed { name, diagnostics } => {
                let messages: Vec<_> = diagnostics.iter().map(|diagnostic| diagnostic.message.as_str()).collect();
                format!("{} failed: {}", name.map(|name| name.to_string()).unwrap_or_default(), messages.join("; "))
            }
        };
        text.replace(&format!("{}/", self.directory.path().display()), "")
            .replace(&self.path("").display().to_string(), "")
    }
}

struct Watched<'b> {
    bench: &'b Bench,
    events: mpsc::Receiver<Event<String>>,
    reload: Reload,
    task: tokio::task::JoinHandle<()>,
}

impl Watched<'_> {
    async fn next(&mut self) -> String {
        let event = tokio::time::timeout(DEADLINE, self.events.recv()).await.expect("an event in time");
        self.bench.brief(event.expect("the source goes on"))
    }

    /// Waits for `expected`, whatever half-done state is told on the way.
    async fn until(&mut self, expected: &str) {
        let mut told = Vec::new();
        loop {
            let event = self.next().await;
            if event == expected {
                return;
            }
            told.push(event);
            assert!(told.len() < 100, "waiting for {expected}, got {told:?}");
        }
    }
}

/// Runs a test once with the system's reports alone, and once with polling alone.
async fn in_both_ways<T: AsyncFn(Bench)>(test: T) {
    for (watch, reload_interval) in [(true, NEVER), (false, OFTEN)] {
        let mut bench = Bench::new();
        bench.zones.watch = watch;
        bench.zones.reload_interval = reload_interval;
        test(bench).await;
    }
}

#[test]
fn every_zone_file_is_read_and_nothing_else() {
    let mut bench = Bench::new();
    bench.write("b.example.zone", "B");
    bench.write("A.example.zone", "A");
    bench.write("root.zone", "root");
    bench.write("A.example.zone~", "old");
    bench.write(".a.example.zone.swp", "swap");
    bench.write(".#a.example.zone", "lock");
    bench.write("notes.txt", "notes");
    fs::create_dir(bench.path("sub")).expect("created");
    bench.write("sub/c.example.zone", "C");
    bench.configure("c.example", "sub/c.example.zone");
    assert_eq!(bench.load_all(), [". is root", "A.example. is A", "b.example. is B", "c.example. is C"]);
}

#[test]
fn includes_are_read_from_the_directory_of_the_including_file() {
    let bench = Bench::new();
    fs::create_dir_all(bench.path("parts/more")).expect("created");
    bench.write("a.example.zone", "1\n$INCLUDE parts/two\n5");
    bench.write("parts/two", "2\n$INCLUDE more/three\n$INCLUDE ./four");
    bench.write("parts/more/three", "3");
    bench.write("parts/four", "4");
    assert_eq!(bench.load_all(), ["a.example. is 12345"]);
}

#[test]
fn what_is_no_file_is_refused_without_waiting() {
    let bench = Bench::new();
    fs::create_dir(bench.path("a.zone")).expect("created");
    make_fifo(&bench.path("b.zone"));
    std::os::unix::fs::symlink("/dev/zero", bench.path("c.zone")).expect("linked");
    std::os::unix::fs::symlink("nowhere", bench.path("d.zone")).expect("linked");
    let _socket = std::os::unix::net::UnixListener::bind(bench.path("e.zone")).expect("bound");
    bench.write("f.zone", "$INCLUDE b.zone");
    bench.write("a..b.zone", "");
    assert_eq!(
        bench.load_all(),
        [
            " failed: `a..b.zone` is not called after a zone: the name has an empty label",
            "a. failed: zone `a.`: `a.zone` is a directory, not a file",
            "b. failed: zone `b.`: `b.zone` is a FIFO, not a file",
            "c. failed: zone `c.`: `c.zone` is a device, not a file",
            "d. failed: zone `d.`: there is no file `d.zone`",
            "e. failed: zone `e.`: `e.zone` is a socket, not a file",
            "f. failed: `b.zone` is a FIFO, not a file",
        ]
    );
}

/// Makes a FIFO that nobody writes to.
fn make_fifo(path: &Path) {
    let path = std::ffi::CString::new(path.as_os_str().as_encoded_bytes()).expect("no zero octet");
    // SAFETY: the path is a string that ends with a zero octet and outlives the call.
    assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
}

#[test]
fn a_zone_is_bounded_with_its_includes() {
    let mut bench = Bench::new();
    bench.zones.size_max = 1024;
    bench.write("a.zone", &"a".repeat(1025));
    bench.write("b.zone", "$INCLUDE part\n$INCLUDE part\n");
    bench.write("c.zone", "$INCLUDE c.zone");
    bench.write("d.zone", &"d".repeat(1024));
    bench.write("part", &"b".repeat(600));
    let told = bench.load_all();
    assert_eq!(told[0], "a. failed: zone `a.`: with `a.zone`, the zone has more than 1024 octets");
    assert_eq!(told[1], "b. failed: with `part`, the zone has more than 1024 octets");
    assert_eq!(told[2], "c. failed: with `c.zone`, the zone has more than 1024 octets");
    assert_eq!(told[3], format!("d. is {}", "d".repeat(1024)));
}

#[test]
fn a_zone_from_two_files_is_refused_and_both_are_named() {
    let mut bench = Bench::new();
    bench.write("a.example.zone", "1");
    bench.write("A.EXAMPLE.zone", "2");
    bench.write("b.example.zone", "3");
    bench.configure("B.example.", "elsewhere");
    assert_eq!(
        bench.load_all(),
        [
            "A.EXAMPLE. failed: zone `A.EXAMPLE.` comes from more than one file: `A.EXAMPLE.zone`, `a.example.zone`",
            "B.example. failed: zone `B.example.` comes from more than one file: `elsewhere`, `b.example.zone`",
        ]
    );
}

#[test]
fn a_missing_directory_is_an_error_unless_zones_come_from_elsewhere() {
    let mut bench = Bench::new();
    bench.write("elsewhere", "A");
    bench.zones.directory = bench.path("absent");
    let events = bench.source().load_all();
    assert!(events[0].diagnostics()[0].is_error());
    bench.configure("a.example", "elsewhere");
    let events = bench.source().load_all();
    assert!(!events[0].diagnostics()[0].is_error());
    bench.zones.directory = PathBuf::new();
    assert_eq!(bench.load_all(), ["a.example. is A"]);
}

#[tokio::test]
async fn files_that_come_change_and_go_are_noticed() {
    in_both_ways(async |bench| {
        bench.write("a.zone", "1");
        let mut watched = bench.watch(&["a. is 1"]);
        bench.write("b.zone", "new");
        watched.until("b. is new").await;
        bench.replace("a.zone", "renamed over");
        watched.until("a. is renamed over").await;
        bench.write("a.zone", "in place");
        watched.until("a. is in place").await;
        fs::remove_file(bench.path("b.zone")).expect("removed");
        watched.until("b. is gone").await;
        bench.write("b.zone", "back");
        watched.until("b. is back").await;
    })
    .await;
}

#[tokio::test]
async fn a_broken_edit_is_told_once_and_its_repair_is_noticed() {
    in_both_ways(async |bench| {
        bench.write("a.zone", "1");
        let mut watched = bench.watch(&["a. is 1"]);
        bench.replace("a.zone", "broken");
        assert_eq!(watched.next().await, "a. failed: a.zone: broken");
        bench.replace("a.zone", "2");
        assert_eq!(watched.next().await, "a. is 2");
    })
    .await;
}

#[tokio::test]
async fn a_changed_include_changes_its_zones() {
    in_both_ways(async |bench| {
        fs::create_dir(bench.path("parts")).expect("created");
        bench.write("a.zone", "$INCLUDE parts/p");
        bench.write("b.zone", "alone");
        bench.write("parts/p", "1");
        let mut watched = bench.watch(&["a. is 1", "b. is alone"]);
        bench.replace("parts/p", "2");
        assert_eq!(watched.next().await, "a. is 2");
        fs::remove_file(bench.path("parts/p")).expect("removed");
        assert_eq!(watched.next().await, "a. failed: there is no file `parts/p`");
        bench.replace("parts/p", "3");
        assert_eq!(watched.next().await, "a. is 3");
    })
    .await;
}

#[tokio::test]
async fn a_directory_of_links_that_is_swapped_as_a_whole_is_noticed() {
    // As Kubernetes mounts a ConfigMap: a.zone -> ..data/a.zone, ..data -> ..1, and `..data` is renamed over.
    in_both_ways(async |bench| {
        use std::os::unix::fs::symlink;
        for (directory, text) in [("..1", "1"), ("..2", "2")] {
            fs::create_dir(bench.path(directory)).expect("created");
            bench.write(&format!("{directory}/a.zone"), text);
        }
        symlink("..1", bench.path("..data")).expect("linked");
        symlink("..data/a.zone", bench.path("a.zone")).expect("linked");
        let mut watched = bench.watch(&["a. is 1"]);
        symlink("..2", bench.path("..data_tmp")).expect("linked");
        fs::rename(bench.path("..data_tmp"), bench.path("..data")).expect("renamed");
        fs::remove_dir_all(bench.path("..1")).expect("removed");
        assert_eq!(watched.next().await, "a. is 2");
    })
    .await;
}

#[tokio::test]
async fn the_target_of_a_link_is_watched() {
    in_both_ways(async |bench| {
        fs::create_dir(bench.path("elsewhere")).expect("created");
        bench.write("elsewhere/text", "1");
        std::os::unix::fs::symlink("elsewhere/text", bench.path("a.zone")).expect("linked");
        let mut watched = bench.watch(&["a. is 1"]);
        bench.replace("elsewhere/text", "2");
        assert_eq!(watched.next().await, "a. is 2");
    })
    .await;
}

#[tokio::test]
async fn a_touched_file_is_not_sent_again() {
    in_both_ways(async |bench| {
        bench.write("a.zone", "1");
        bench.write("b.zone", "1");
        let mut watched = bench.watch(&["a. is 1", "b. is 1"]);
        bench.replace("a.zone", "1");
        bench.replace("b.zone", "2");
        assert_eq!(watched.next().await, "b. is 2");
        bench.replace("a.zone", "3");
        assert_eq!(watched.next().await, "a. is 3");
    })
    .await;
}

#[tokio::test]
async fn a_reload_sends_everything_again() {
    let mut bench = Bench::new();
    bench.zones.watch = false;
    bench.zones.reload_interval = NEVER;
    bench.write("a.zone", "1");
    bench.write("b.zone", "broken");
    let mut watched = bench.watch(&["a. is 1", "b. failed: b.zone: broken"]);
    let (pass, mut passing) = Pass::begin();
    watched.reload.ask(&pass);
    drop(pass);
    let mut told = [watched.next().await, watched.next().await];
    told.sort();
    assert_eq!(told, ["a. is 1", "b. failed: b.zone: broken"]);
    passing.over().await;
}

#[tokio::test]
async fn a_configured_zone_stays_when_its_file_goes() {
    in_both_ways(async |mut bench| {
        bench.write("elsewhere", "1");
        bench.configure("a.example", "elsewhere");
        let mut watched = bench.watch(&["a.example. is 1"]);
        fs::remove_file(bench.path("elsewhere")).expect("removed");
        assert_eq!(watched.next().await, "a.example. failed: zone `a.example.`: there is no file `elsewhere`");
        bench.replace("elsewhere", "2");
        assert_eq!(watched.next().await, "a.example. is 2");
    })
    .await;
}

#[tokio::test]
async fn a_directory_that_cannot_be_read_withdraws_nothing() {
    let mut bench = Bench::new();
    bench.zones.directory = bench.path("zones");
    bench.zones.reload_interval = OFTEN;
    fs::create_dir(bench.path("zones")).expect("created");
    bench.write("zones/a.zone", "1");
    let mut watched = bench.watch(&["a. is 1"]);
    fs::rename(bench.path("zones"), bench.path("moved")).expect("renamed");
    assert_eq!(watched.next().await, " failed: there is no zones directory `zones`");
    bench.write("moved/b.zone", "2");
    fs::rename(bench.path("moved"), bench.path("zones")).expect("renamed");
    assert_eq!(watched.next().await, "b. is 2");
}

#[tokio::test]
async fn a_second_file_for_a_zone_is_told_and_its_removal_heals() {
    in_both_ways(async |bench| {
        bench.write("a.zone", "1");
        let mut watched = bench.watch(&["a. is 1"]);
        bench.replace("A.zone", "2");
        assert_eq!(watched.next().await, "A. failed: zone `A.` comes from more than one file: `A.zone`, `a.zone`");
        fs::remove_file(bench.path("a.zone")).expect("removed");
        assert_eq!(watched.next().await, "A. is 2");
    })
    .await;
}

#[tokio::test]
async fn watching_ends_when_nobody_listens() {
    let bench = Bench::new();
    let Watched { events, task, .. } = bench.watch(&[]);
    drop(events);
    tokio::time::timeout(DEADLINE, task).await.expect("in time").expect("without a panic");
}
