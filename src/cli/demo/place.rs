//! Where a demo takes place: its directory, its stores' URLs, and the plan that a person can read afterwards.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::{NATS_VARIABLE, SOURCE_VARIABLE, TARGET_VARIABLE};
use crate::cli::args::Demo as Args;
use crate::error::{Error, Kind, Result};
use crate::store::playground::{Demo, engine};

/// Where it takes place.
#[derive(Debug, PartialEq, Eq)]
pub struct Place {
    pub dir: PathBuf,
    pub plan: PathBuf,
    pub source: Store,
    pub target: Store,
    pub nats: bool,
}

/// One store of the demo.
#[derive(Debug, PartialEq, Eq)]
pub struct Store {
    pub url: String,
    pub engine: String,
    /// Not in the demo's directory: what it made there it removes.
    pub external: bool,
}

impl Place {
    pub fn make(args: &Args) -> Result<Self> {
        if args.source.is_some() && args.source == args.target {
            let error = Error::new(Kind::Usage, "source and target are the same store");
            return Err(error.hint("leave one of them out: it will be a SQLite file in the demo's directory"));
        }
        // Before the directory is made: a bad URL leaves nothing behind.
        for url in args.source.iter().chain(&args.target) {
            engine(url)?;
        }
        let dir = directory(args.dir.as_deref())?;
        let source = Store::new(&dir, "source", args.source.as_deref())?;
        let target = Store::new(&dir, "target", args.target.as_deref())?;
        Ok(Self { plan: dir.join("demo.yaml"), dir, source, target, nats: args.nats.is_some() })
    }

    pub fn external(&self) -> bool {
        self.source.external || self.target.external || self.nats
    }

    /// Removes the directory: all in it is the demo's own, since it was empty.
    pub fn remove(&self) {
        // What can't be removed hides no error that matters more.
        let _ = fs::remove_dir_all(&self.dir);
    }

    /// The variables that the plan needs to be used again.
    pub fn variables(&self) -> Vec<&'static str> {
        let of = [
            (self.source.external, SOURCE_VARIABLE),
            (self.target.external, TARGET_VARIABLE),
            (self.nats, NATS_VARIABLE),
        ];
        of.into_iter().filter(|(needed, _)| *needed).map(|(_, name)| name).collect()
    }

    /// Writes the plan, readable by its owner alone.
    pub fn write_plan(&self) -> Result<()> {
        let failed = |error| Error::give_up(format!("cannot write {}: {error}", self.plan.display()));
        let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.plan);
        file.and_then(|mut file| file.write_all(self.plan_text().as_bytes())).map_err(failed)
    }

    fn plan_text(&self) -> String {
        let url = |store: &Store, variable: &str| match store.external {
            true => format!("\"${{{variable}}}\""),
            false => yaml(&store.url),
        };
        let events = match self.nats {
            true => format!("events: {{ url: \"${{{NATS_VARIABLE}}}\" }}\n"),
            false => "# No `events`: the log goes through this process. With NATS it reads\n\
                      # events: { url: \"${NATS_URL:-nats://127.0.0.1:4222}\" }\n"
                .to_owned(),
        };
        let tables: String = Demo::ALL.iter().map(|table| format!("  - from: {}\n", table.name())).collect();
        format!(
            "# The plan of a `migrate demo`: every column of three tables, under the same names.\n\
             version: 1\n\
             migration: demo\n\
             source: {{ team: crm, url: {} }}\n\
             target: {{ team: marketing, url: {} }}\n\
             {events}\
             create_tables: true # the target has none yet\n\
             # One shop goes first. Usually less patient: this is any machine, and it is busy.\n\
             cutover: {{ scope_by: shop, max_write_pause: 30s, max_lag: 30s }}\n\
             tables:\n\
             {tables}",
            url(&self.source, SOURCE_VARIABLE),
            url(&self.target, TARGET_VARIABLE)
        )
    }
}

impl Store {
    fn new(dir: &Path, name: &str, url: Option<&str>) -> Result<Self> {
        let external = url.is_some();
        let url = match url {
            Some(url) => url.to_owned(),
            None => format!("sqlite://{}", percent(&dir.join(format!("{name}.db")).display().to_string())),
        };
        Ok(Self { engine: engine(&url)?.to_string(), url, external })
    }
}

/// A text in YAML's double quotes; `$` is doubled, since a plan replaces variables.
fn yaml(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "$$"))
}

/// What has a meaning in a URL's path, spelled so that it has none.
fn percent(path: &str) -> String {
    let spell = |c: char| match c {
        '%' | '?' | '#' | ' ' => format!("%{:02X}", u32::from(c)),
        c => c.to_string(),
    };
    path.chars().map(spell).collect()
}

/// The directory asked for, which must hold nothing, or a fresh one.
fn directory(asked: Option<&Path>) -> Result<PathBuf> {
    let make = |dir: &Path, parents: bool| fs::DirBuilder::new().mode(0o700).recursive(parents).create(dir);
    let failed = |dir: &Path, error| Error::give_up(format!("cannot make the directory {}: {error}", dir.display()));
    if let Some(dir) = asked {
        make(dir, true).map_err(|error| failed(dir, error))?;
        let mut entries = fs::read_dir(dir).map_err(|error| failed(dir, error))?;
        if entries.next().is_some() {
            return Err(Error::new(Kind::Usage, format!("the directory {} is not empty", dir.display()))
                .hint("name one that does not exist yet"));
        }
        return std::path::absolute(dir).map_err(|error| failed(dir, error));
    }
    let base = std::env::temp_dir();
    for number in 0..1000 {
        let dir = base.join(format!("migrate-demo-{}-{number}", std::process::id()));
        match make(&dir, false) {
            Ok(()) => return Ok(dir),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(&dir, error).hint("name a directory with --dir")),
        }
    }
    Err(Error::give_up(format!("no name is free in {}", base.display())).hint("name a directory with --dir"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(dir: &Path) -> Args {
        let dir = Some(dir.to_owned());
        Args { rows: 10, writers: 1, source: None, target: None, nats: None, dir, json: false }
    }

    #[test]
    fn the_plan_holds_no_url_that_was_given() {
        let dir = tempfile::tempdir().unwrap();
        let target = Some("postgres://u:s3cret@h/d".to_owned());
        let place = Place::make(&Args { target, ..args(&dir.path().join("a $b#")) }).unwrap();
        place.write_plan().unwrap();
        let text = fs::read_to_string(&place.plan).unwrap();
        assert!(text.contains("url: \"${MIGRATE_DEMO_TARGET_URL}\"") && !text.contains("s3cret"), "{text}");
        assert!(text.contains("/a%20$$b%23/source.db\""), "{text}");
        assert!(text.contains("create_tables: true") && text.contains("- from: demo_notes"), "{text}");
        assert_eq!(place.variables(), [TARGET_VARIABLE]);
    }

    #[test]
    fn what_is_there_already_is_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("precious"), "x").unwrap();
        let error = Place::make(&args(dir.path())).unwrap_err();
        assert_eq!(error.kind, Kind::Usage);
        let url = Some("sqlite:a.db".to_owned());
        let same = Args { source: url.clone(), target: url, ..args(dir.path()) };
        assert!(Place::make(&same).unwrap_err().message().contains("the same store"));
        let missing = dir.path().join("not made");
        let bad = Args { source: Some("oracle://x".into()), ..args(&missing) };
        assert_eq!(Place::make(&bad).unwrap_err().kind, Kind::Usage);
        assert!(!missing.exists());
    }
}
