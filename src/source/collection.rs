//! A directory whose files are each read into one thing: which there are, which have changed, and what is in them.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::read::{Refusal, Stamp, read_regular};
use super::reload::Reloads;
use super::watched::{Settled, Watched};
use crate::diagnostic::{Diagnostic, Position};

/// How many errors of one file are told; the rest are counted.
pub(super) const ERRORS_MAX: usize = 20;

/// What the files of a directory are.
#[derive(Debug)]
pub(super) struct Form<T> {
    /// What their names end in.
    pub(super) suffix: &'static str,
    /// What messages call one; they say "it is a" before it, and put an "s" behind it.
    pub(super) noun: &'static str,
    /// The key that names the directory.
    pub(super) key: &'static str,
    /// How many there may be.
    pub(super) files_max: usize,
    /// The most octets one may have.
    pub(super) octets_max: usize,
    /// Reads the text of one; the first argument is what messages call its file.
    pub(super) parse: Parse<T>,
}

/// Reads a text, or tells every error in it.
type Parse<T> = fn(&Arc<str>, &[u8]) -> Result<T, Vec<Diagnostic>>;

/// The things in a directory by the names of their files, each as it was last found sound.
pub(super) type Held<T> = HashMap<Box<str>, Arc<T>>;

/// A directory and what its files were last found to hold.
#[derive(Debug)]
pub struct Collection<T: 'static> {
    form: &'static Form<T>,
    directory: PathBuf,
    files: BTreeMap<PathBuf, File<T>>,
}

/// A file.
#[derive(Debug)]
struct File<T> {
    name: Box<str>,
    /// What the system said of it before it was last read.
    stamp: Option<Stamp>,
    /// What it last held without an error.
    held: Option<Arc<T>>,
}

/// What came of a look at all files.
#[derive(Debug)]
pub struct Looked {
    /// Whether there is anything new.
    pub changed: bool,
    /// What is wrong with what was read.
    pub diagnostics: Vec<Diagnostic>,
}

impl<T: Send + Sync> Collection<T> {
    /// Takes a directory, which need not exist; an empty path for none. Nothing is read yet.
    pub(super) fn of(directory: &Path, form: &'static Form<T>) -> Self {
        Self { form, directory: directory.into(), files: BTreeMap::new() }
    }

    /// Reads what has changed since the last time, and all that is in `again`; tells what is wrong with it.
    ///
    /// A file that cannot be had keeps what it held before, and what was in one that is gone is gone too.
    pub fn read(&mut self, again: &[PathBuf]) -> Looked {
        let (paths, mut diagnostics) = self.list();
        let before = self.files.len();
        self.files.retain(|path, _| paths.iter().any(|(known, _)| known == path));
        let mut changed = self.files.len() < before;
        for (path, name) in paths {
            let stamp = Stamp::of(&path);
            let known = self.files.get(&path);
            if known.is_some_and(|file| file.stamp == stamp) && !again.contains(&path) {
                continue;
            }
            let before = known.and_then(|file| file.held.clone());
            let held = match self.form.read(&path) {
                Ok(held) => Some(Arc::new(held)),
                Err(errors) => {
                    diagnostics.extend(errors);
                    before
                }
            };
            self.files.insert(path, File { name, stamp, held });
            changed = true;
        }
        Looked { changed, diagnostics }
    }

    /// Everything there is.
    pub fn held(&self) -> Arc<Held<T>> {
        let held = self.files.values().filter_map(|file| Some((file.name.clone(), file.held.clone()?)));
        Arc::new(held.collect())
    }

    /// Sends everything, and what is wrong with what was just read, whenever a file has changed, until nobody listens.
    ///
    /// `reload` asks for all files to be read again, which is done once they are sent.
    pub async fn watch(
        mut self,
        interval: Duration,
        changed: mpsc::Sender<(Arc<Held<T>>, Vec<Diagnostic>)>,
        mut reload: Reloads,
    ) {
        if self.directory.as_os_str().is_empty() {
            return;
        }
        let mut again = Settled { paths: Vec::new(), passes: Vec::new() };
        loop {
            let look = tokio::task::spawn_blocking(move || {
                // What is watched from before it is read changes with a word.
                let watched = self.watched(interval);
                let looked = self.read(&again.paths);
                (self, watched, looked, again.passes)
            });
            let (watched, looked, passes);
            (self, watched, looked, passes) = match look.await {
                Ok(looked) => looked,
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                // The runtime is shutting down.
                Err(_) => return,
            };
            let news = looked.changed || !looked.diagnostics.is_empty();
            if news && changed.send((self.held(), looked.diagnostics)).await.is_err() {
                return;
            }
            drop(passes);
            let (sender, mut settled) = mpsc::channel(1);
            again = tokio::select! {
                () = watched.watch(sender, &mut reload) => return,
                Some(again) = settled.recv() => again,
                () = changed.closed() => return,
            };
        }
    }

    /// The directory, which tells of files that come and go, and the files in it.
    fn watched(&self, interval: Duration) -> Watched {
        // The directory's stamp is taken before its files are listed: one that comes later changes it.
        let files = std::iter::once_with(|| self.list().0).flatten().map(|(path, _)| path);
        Watched::new(std::iter::once(self.directory.clone()).chain(files), interval)
    }

    /// The files of the directory and their names, sorted.
    fn list(&self) -> (Vec<(PathBuf, Box<str>)>, Vec<Diagnostic>) {
        if self.directory.as_os_str().is_empty() {
            return (Vec::new(), Vec::new());
        }
        let Form { noun, key, files_max, .. } = self.form;
        let entries = fs::read_dir(&self.directory)
            .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>());
        let paths = match entries {
            Ok(paths) => paths,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return (Vec::new(), Vec::new()),
            Err(error) => {
                let directory = self.directory.display();
                let message = format!("the {noun}s in `{directory}` cannot be read: {}", error.kind());
                let help = format!("make the directory readable, or set `{key}`; `\"\"` stands for none");
                let kept = self.files.iter().map(|(path, file)| (path.clone(), file.name.clone())).collect();
                return (kept, vec![Diagnostic::error(None, message).help(help)]);
            }
        };
        let named = |path: PathBuf| Some((path.clone(), self.form.name(&path)?));
        let mut files: Vec<_> = paths.into_iter().filter_map(named).collect();
        files.sort();
        let mut diagnostics = Vec::new();
        if files.len() > *files_max {
            let message = format!("`{}` holds more than {files_max} {noun}s", self.directory.display());
            diagnostics.push(Diagnostic::error(None, message).help("the rest, in the order of names, are left out"));
            files.truncate(*files_max);
        }
        (files, diagnostics)
    }
}

impl<T> Form<T> {
    /// The name of what a file holds; `None` if it is no such file.
    pub(super) fn name(&self, path: &Path) -> Option<Box<str>> {
        let name = path.file_name()?.to_str()?.strip_suffix(self.suffix)?;
        // Hidden files, and the locks that editors make.
        if name.is_empty() || name.starts_with(['.', '#']) { None } else { Some(name.into()) }
    }

    /// Reads a file; tells every error there is in it.
    fn read(&self, path: &Path) -> Result<T, Vec<Diagnostic>> {
        let file: Arc<str> = path.display().to_string().into();
        let text = read_regular(path, self.octets_max).map_err(|refusal| {
            let why = match refusal {
                Refusal::Absent => "it is not there".to_owned(),
                Refusal::NotAFile(kind) => format!("it is {kind}, not a file"),
                Refusal::TooLarge => format!("it has more than {} octets", self.octets_max),
                Refusal::System(error) => error.kind().to_string(),
            };
            let position = Position::new(file.clone(), 1, 1);
            let message = format!("the {} cannot be read: {why}", self.noun);
            vec![Diagnostic::error(position, message).help(format!("the {} stays as it was", self.noun))]
        })?;
        (self.parse)(&file, &text)
    }
}

/// The errors of a file, up to their bound.
#[derive(Default)]
pub(super) struct Errors {
    told: Vec<Diagnostic>,
    untold: usize,
}

impl Errors {
    /// Takes one more.
    pub(super) fn add(&mut self, error: Diagnostic) {
        if self.told.len() < ERRORS_MAX {
            self.told.push(error);
        } else {
            self.untold += 1;
        }
    }

    /// All that are told; none if there was none. `noun` is what the file is called.
    pub(super) fn end(mut self, file: &Arc<str>, noun: &str) -> Result<(), Vec<Diagnostic>> {
        if self.untold > 0 {
            let message = format!("{} more lines of the {noun} cannot be read", self.untold);
            self.told.push(Diagnostic::error(Position::new(file.clone(), 1, 1), message));
        }
        if self.told.is_empty() { Ok(()) } else { Err(self.told) }
    }
}
