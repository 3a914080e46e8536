//! The secrets that cookies are signed with: those of the configuration, those of a file, or one that is drawn.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use rand::TryRng;
use rand::rngs::SysRng;
use tokio::sync::mpsc;

use super::{blocking, log_diagnostics};
use crate::config::{COOKIE_SECRETS_MAX, COOKIE_SECRETS_OCTETS_MAX, Config, Edns};
use crate::diagnostic::{Diagnostic, Position};
use crate::dns::edns::cookie::Secret;
use crate::source::{Reloads, Watched, read_regular};

/// The bit of a file's mode by which everyone may read it.
const READABLE_BY_ALL: u32 = 0o004;

/// The secrets as they are, and what looks after their file.
pub struct Secrets {
    config: Edns,
    held: Arc<[Secret]>,
    watched: Watched,
}

impl Secrets {
    /// Reads the file if one is set, and draws a secret if none is; without cookies there are none.
    ///
    /// A secret that is drawn is this process's alone: a client that comes back after a restart gets a new cookie.
    pub fn open(config: &Config) -> Result<(Self, Vec<Diagnostic>), Vec<Diagnostic>> {
        let edns = config.edns.clone();
        // The file is watched from before it is read, so that no change is missed.
        let paths = [edns.cookie_secrets_file.clone()].into_iter().filter(|path| !path.as_os_str().is_empty());
        let watched = Watched::new(paths.filter(|_| edns.cookies), config.zones.reload_interval);
        let (mut held, warnings) = read(&edns)?;
        if held.is_empty() && edns.cookies {
            held = [draw()?].into();
        }
        Ok((Self { config: edns, held, watched }, warnings))
    }

    /// The secrets, the one that signs first.
    pub fn held(&self) -> Arc<[Secret]> {
        self.held.clone()
    }

    /// Sends all secrets anew whenever their file has other ones, until the receiver is dropped.
    ///
    /// A file that is not sound replaces none. `reload` asks for it to be read again.
    pub(super) async fn keep_up(self, renewed: mpsc::Sender<Arc<[Secret]>>, mut reload: Reloads) {
        let Self { config, mut held, watched } = self;
        if config.cookie_secrets_file.as_os_str().is_empty() || !config.cookies {
            return;
        }
        let (settled_in, mut settled) = mpsc::channel(1);
        let watching = watched.watch(settled_in, &mut reload);
        let renewing = async {
            while let Some(_settled) = settled.recv().await {
                let file = config.clone();
                match blocking(move || read(&file)).await {
                    Ok((read, warnings)) => {
                        log_diagnostics(&warnings);
                        if read != held {
                            held = read;
                            if renewed.send(held.clone()).await.is_err() {
                                return;
                            }
                        }
                    }
                    Err(faults) => {
                        log_diagnostics(&faults);
                        tracing::error!("secrets of cookies refused, the old ones hold on");
                    }
                }
            }
        };
        tokio::select! {
            () = watching => {}
            () = renewing => {}
            () = renewed.closed() => {}
        }
    }
}

/// Secrets, and what is odd about where they come from.
type Read = (Arc<[Secret]>, Vec<Diagnostic>);

/// What is set: the secrets of the file, then those of the configuration. Blocks.
///
/// Those of the file come first: they can change while perigee runs, and who puts another in front means it to sign.
pub fn read(edns: &Edns) -> Result<Read, Vec<Diagnostic>> {
    if !edns.cookies {
        return Ok((Arc::new([]), Vec::new()));
    }
    let path = &edns.cookie_secrets_file;
    let (mut secrets, mut warnings) = (Vec::new(), Vec::new());
    if !path.as_os_str().is_empty() {
        let text = read_regular(path, COOKIE_SECRETS_OCTETS_MAX).map_err(|refusal| {
            let message = format!("`edns.cookie-secrets-file`: cannot read `{}`: {refusal}", path.display());
            let help = format!("name a file of at most {COOKIE_SECRETS_OCTETS_MAX} octets with one secret a line");
            vec![Diagnostic::error(None, message).help(help)]
        })?;
        secrets = parse(&path.display().to_string(), &text)?;
        warnings.extend(is_readable_by_all(path).then(|| {
            let message = format!("every user may read the secrets in `{}`", path.display());
            Diagnostic::warning(None, message).help("whoever knows them can make cookies; `chmod o-r` the file")
        }));
    }
    secrets.extend_from_slice(&edns.cookie_secrets);
    Ok((secrets.into(), warnings))
}

/// Reads one secret a line; `#` and `;` begin a remark.
fn parse(file: &str, text: &[u8]) -> Result<Vec<Secret>, Vec<Diagnostic>> {
    let (mut secrets, mut faults) = (Vec::new(), Vec::new());
    for (index, line) in text.split(|octet| *octet == b'\n').enumerate() {
        let said = line.split(|octet| matches!(octet, b'#' | b';')).next().unwrap_or_default();
        let column = said.iter().position(|octet| !octet.is_ascii_whitespace());
        let Some(column) = column else { continue };
        let number = |count: usize| u32::try_from(count + 1).unwrap_or(u32::MAX);
        let position = Position::new(file, number(index), number(column));
        match std::str::from_utf8(said.trim_ascii()).ok().and_then(Secret::parse) {
            Some(_) if secrets.len() == COOKIE_SECRETS_MAX => {
                let message = format!("there are more than {COOKIE_SECRETS_MAX} secrets");
                faults.push(Diagnostic::error(position, message).help("drop those at the end: they are the oldest"));
                break;
            }
            Some(secret) => secrets.push(secret),
            None => faults.push(
                Diagnostic::error(position, "this line is no secret")
                    .help("write 32 hexadecimal digits; `openssl rand -hex 16` makes some"),
            ),
        }
    }
    if secrets.is_empty() && faults.is_empty() {
        let fault = Diagnostic::error(Position::new(file, 1, 1), "there is no secret in this file");
        faults.push(fault.help("write one of 32 hexadecimal digits, or leave `edns.cookie-secrets-file` empty"));
    }
    if faults.is_empty() { Ok(secrets) } else { Err(faults) }
}

fn is_readable_by_all(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.mode() & READABLE_BY_ALL != 0)
}

/// Draws a secret from the system.
fn draw() -> Result<Secret, Vec<Diagnostic>> {
    let mut octets = [0; 16];
    SysRng
        .try_fill_bytes(&mut octets)
        .map_err(|error| vec![Diagnostic::error(None, format!("the system has no random numbers: {error}"))])?;
    Ok(Secret::new(octets))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> String {
        match parse("secrets", text.as_bytes()) {
            Ok(secrets) => format!("{} secrets", secrets.len()),
            Err(faults) => faults.iter().map(|fault| format!("{fault}\n")).collect(),
        }
    }

    #[test]
    fn a_file_has_a_secret_a_line() {
        let (first, second) = ("000102030405060708090a0b0c0d0e0f", "101112131415161718191A1B1C1D1E1F");
        let text = format!("# ours\n\n {first} ; since May\r\n{second}");
        let secrets = parse("secrets", text.as_bytes()).expect("sound");
        assert_eq!(secrets, [first, second].map(|text| Secret::parse(text).expect("a secret")));
    }

    #[test]
    fn what_is_no_secret_is_told_by_its_place_and_never_shown() {
        assert!(told("").starts_with("secrets:1:1: error: there is no secret in this file"));
        let short = "000102030405060708090a0b0c0d0e";
        let came = told(&format!("{short}\n  {short}f0f\n"));
        assert!(came.starts_with("secrets:1:1: error: this line is no secret\n"), "{came}");
        assert!(came.contains("secrets:2:3: error: this line is no secret\n"), "{came}");
        assert!(!came.contains(short), "{came}");
        let many = "000102030405060708090a0b0c0d0e0f\n".repeat(COOKIE_SECRETS_MAX + 1);
        assert!(told(&many).starts_with("secrets:9:1: error: there are more than 8 secrets"), "{}", told(&many));
    }

    #[test]
    fn secrets_of_the_file_come_before_those_of_the_configuration() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("secrets");
        std::fs::write(&path, "000102030405060708090a0b0c0d0e0f\n").expect("written");
        let configured = Secret::new([7; 16]);
        let mut config = Config::default();
        config.edns.cookie_secrets = vec![configured.clone()];
        config.edns.cookie_secrets_file = path;
        let (secrets, _) = Secrets::open(&config).expect("sound");
        assert_eq!(*secrets.held(), [Secret::new(std::array::from_fn(|index| index as u8)), configured]);
        config.edns.cookies = false;
        assert_eq!(*Secrets::open(&config).expect("nothing is read").0.held(), []);
    }

    #[test]
    fn without_any_one_is_drawn() {
        let drawn = || Secrets::open(&Config::default()).expect("the system has random numbers").0.held();
        assert_eq!(drawn().len(), 1);
        assert_ne!(drawn(), drawn());
    }
}
