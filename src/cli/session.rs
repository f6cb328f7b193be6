//! What does one run work with?

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::cli::args::{Color, Global};
use crate::cli::exit::Failure;
use crate::codex::home::{CodexHome, Surroundings};
use crate::codex::program::{self, ProgramError};
use crate::config::{self, Config, Key, Settings};
use crate::disk::read::{self, resolved};
use crate::snapshot::operations::{self, Record};
use crate::snapshot::store::{MAX_CONFIG, Opened, Store};
use crate::time::Zone;
use crate::world::World;

/// One run: the world, the options that every command takes, and what is worth a warning.
pub(crate) struct Session {
    pub(crate) world: World,
    pub(crate) global: Global,
    warnings: Vec<String>,
}

/// Where everything is, and what the user prefers.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    pub(crate) store: Store,
    pub(crate) home: CodexHome,
    pub(crate) settings: Settings,
    pub(crate) config: Config,
    pub(crate) zone: Zone,
}

impl Session {
    pub(crate) fn new(global: Global, world: World) -> Self {
        Self { world, global, warnings: Vec::new() }
    }

    /// Tells something that did not stop the command, once.
    pub(crate) fn warn(&mut self, warning: impl Into<String>) {
        let warning = warning.into();
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    pub(crate) fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// A text for a stream, without its styles where colour is not wanted.
    pub(crate) fn dressed(&self, text: &str) -> String {
        match crate::cli::is_colorful(self) {
            true => text.to_owned(),
            false => crate::cli::picture::undressed(text),
        }
    }

    /// A path for people: `~` for the user's own folder.
    pub(crate) fn show(&self, path: &Path) -> String {
        crate::cli::picture::path(path, self.world.user_home.as_deref())
    }

    /// The manager home: `--home`, else `CODEX_MANAGER_HOME`, else `~/.codex-manager`.
    pub(crate) fn store(&self) -> Result<Store, Failure> {
        let named = self
            .global
            .home
            .as_deref()
            .or_else(|| self.world.variable("CODEX_MANAGER_HOME").map(Path::new));
        let root = match (named, &self.world.user_home) {
            (Some(named), _) => self.world.absolute(named),
            (None, Some(user)) => user.join(".codex-manager"),
            (None, None) => return Err(no_home("--home")),
        };
        Ok(Store::at(speakable(resolved(&root), "--home")?))
    }

    /// Reads the configuration of a store; an odd one is an error for every command but those
    /// that mend it.
    pub(crate) fn config(&mut self, store: &Store) -> Result<Config, Failure> {
        let config = self.read_config(store)?;
        for unknown in &config.unknown {
            self.warn(format!("config.toml: {unknown}"));
        }
        Ok(config)
    }

    fn read_config(&self, store: &Store) -> Result<Config, Failure> {
        let bytes = read::optional(&store.config(), MAX_CONFIG)?;
        let text =
            String::from_utf8(bytes.unwrap_or_default()).map_err(|_| self.not_text(store))?;
        Ok(Config::parse(&text)?)
    }

    /// The configuration is no text at all.
    pub(crate) fn not_text(&self, store: &Store) -> Failure {
        let path = self.show(&store.config());
        Failure::usage(format!("{path} is not UTF-8"))
            .hint("move it aside; `codex-manager config set` begins a new one")
    }

    /// The flags and variables that stand above the configuration.
    pub(crate) fn overrides(&self) -> (BTreeMap<Key, String>, BTreeMap<String, String>) {
        let mut flags = BTreeMap::new();
        let color = self.global.color.map(|color| match color {
            Color::Auto => "auto",
            Color::Always => "always",
            Color::Never => "never",
        });
        let given = [
            (Key::CodexHome, self.global.codex_home.as_ref().and_then(|path| path.to_str())),
            (Key::Timezone, self.global.tz.as_deref()),
            (Key::Color, color),
        ];
        for (key, value) in given {
            flags.extend(value.map(|value| (key, value.to_owned())));
        }
        flags.extend(self.global.lock_timeout.map(|wait| (Key::LockTimeout, wait.to_string())));
        flags.extend(self.global.jobs.map(|threads| (Key::Jobs, threads.to_string())));
        let variables = self
            .world
            .environment
            .iter()
            .filter_map(|(name, value)| {
                Some((name.to_str()?.to_owned(), value.to_str()?.to_owned()))
            })
            .filter(|(name, _)| name.starts_with("CODEX_MANAGER_"))
            .collect();
        (flags, variables)
    }

    /// When output is coloured: `--color`, else `CODEX_MANAGER_COLOR`, else the configuration. What
    /// cannot be read there is for the command to tell, and counts as unset here.
    pub(crate) fn color(&self) -> config::Color {
        let (flags, variables) = self.overrides();
        let flag = flags.get(&Key::Color).map(String::as_str);
        let config = self.store().and_then(|store| self.read_config(&store)).unwrap_or_default();
        let found = config::resolve(&Key::Color, flag, &variables, &config).ok();
        let value = found.and_then(|(value, _)| value);
        value.and_then(|value| value.as_text()?.parse().ok()).unwrap_or_default()
    }

    /// Finds everything.
    pub(crate) fn places(&mut self) -> Result<Places, Failure> {
        let store = self.store()?;
        let config = self.config(&store)?;
        let (flags, variables) = self.overrides();
        let settings = Settings::gather(&flags, &variables, &config)?;
        let zone = self.zone(&settings);
        let home = self.home_beside(&store, &settings)?;
        Ok(Places { store, home, settings, config, zone })
    }

    /// The Codex home, which must not hold the manager home: snapshots would grow by themselves,
    /// and a restore would take them away.
    pub(crate) fn home_beside(
        &self,
        store: &Store,
        settings: &Settings,
    ) -> Result<CodexHome, Failure> {
        let home = CodexHome::at(self.codex_home(settings)?);
        if store.root().starts_with(home.root()) {
            return Err(Failure::usage(format!(
                "the manager home {} lies inside the Codex home {}",
                self.show(store.root()),
                self.show(home.root())
            ))
            .hint("name another folder with --home DIR or CODEX_MANAGER_HOME"));
        }
        Ok(home)
    }

    /// Finds everything for a look at what is wrong: a configuration that cannot be read counts
    /// as empty, odd variables as unset, and both are named in the second part of the answer.
    pub(crate) fn places_despite_faults(&mut self) -> Result<(Places, Vec<Failure>), Failure> {
        let store = self.store()?;
        let mut faults = Vec::new();
        let config = self.read_config(&store).unwrap_or_else(|fault| {
            faults.push(fault);
            Config::default()
        });
        let (flags, variables) = self.overrides();
        let settings = Settings::gather(&flags, &variables, &config).or_else(|fault| {
            // An odd flag stays an error: without the variables it is still there.
            let settings = Settings::gather(&flags, &BTreeMap::new(), &config)?;
            faults.push(fault.into());
            Ok::<_, Failure>(settings)
        })?;
        let zone = self.zone(&settings);
        let home = CodexHome::at(self.codex_home(&settings)?);
        Ok((Places { store, home, settings, config, zone }, faults))
    }

    /// `--codex-home`, else `CODEX_HOME`, else the configured one, else `~/.codex`; a link is
    /// followed to the folder it leads to.
    fn codex_home(&self, settings: &Settings) -> Result<PathBuf, Failure> {
        let flag = self.global.codex_home.clone();
        let named = flag
            .or_else(|| self.world.variable("CODEX_HOME").map(PathBuf::from))
            .or_else(|| settings.codex_home.as_ref().map(PathBuf::from));
        let root = match (named, &self.world.user_home) {
            (Some(named), _) => resolved(&self.world.absolute(&named)),
            (None, Some(user)) => resolved(&user.join(".codex")),
            (None, None) => return Err(no_home("--codex-home")),
        };
        speakable(root, "--codex-home")
    }

    /// The Codex that is started where it is asked itself: the setting `codex_program`, else
    /// `codex` on PATH.
    pub(crate) fn codex(&self, places: &Places) -> Result<PathBuf, ProgramError> {
        let named = places.settings.codex_program.as_ref().map(Path::new);
        let named = named.map(|named| match program::is_bare(named) {
            true => named.to_owned(),
            false => self.world.absolute(named),
        });
        program::find(named.as_deref(), self.world.variable("PATH"))
    }

    /// What outside the Codex home says where its databases are.
    pub(crate) fn surroundings(&self) -> Surroundings {
        let named = self.world.variable("CODEX_SQLITE_HOME").map(Path::new);
        Surroundings {
            sqlite_home: named.map(|folder| self.world.absolute(folder)),
            user_home: self.world.user_home.clone(),
        }
    }

    /// `--tz`, else the configuration, else `TZ`, else the system's, else UTC.
    fn zone(&mut self, settings: &Settings) -> Zone {
        if let Some(zone) = &settings.timezone {
            return zone.clone();
        }
        let variable = self.world.variable("TZ").and_then(|name| name.to_str()).map(str::to_owned);
        let named = variable.or_else(|| self.world.system_zone.clone());
        match named.as_deref().map(str::parse) {
            Some(Ok(zone)) => zone,
            Some(Err(error)) => {
                self.warn(format!("{error}; times are in UTC. Set one with --tz or `codex-manager config set timezone ZONE`"));
                Zone::UTC
            }
            None => Zone::UTC,
        }
    }

    /// What `operations.jsonl` will say of this run, but for what it changes; `what` tells a person
    /// what it did. The lock is held.
    pub(crate) fn record(
        &self,
        store: &Store,
        zone: &Zone,
        command: &str,
        what: String,
    ) -> Result<Record, Failure> {
        let now = self.world.now;
        let wall = zone.wall(now).format("%Y-%m-%d-%H%M%S");
        let wanted = format!("{wall}-{}", command.replace("--", "").replace(' ', "-"));
        let id = operations::log::read(store)?.free_id(&wanted, &store.undo());
        Ok(Record::new(id, zone.stamp(now), command, what))
    }

    /// Takes the lock for changes.
    pub(crate) fn open(&mut self, places: &Places, doing: &str) -> Result<Opened, Failure> {
        self.open_store(&places.store, places.settings.lock_timeout, doing)
    }

    /// Takes the lock of a store for changes, and tells what was found on the way.
    pub(crate) fn open_store(
        &mut self,
        store: &Store,
        timeout: std::time::Duration,
        doing: &str,
    ) -> Result<Opened, Failure> {
        let opened = store.open(timeout, doing)?;
        if let Some(mode) = opened.narrowed {
            let root = self.show(store.root());
            self.warn(format!("{root} was open to others (mode {mode:04o}); it is 0700 now"));
        }
        for told in &opened.finished {
            self.warn(told.clone());
        }
        for aside in &opened.torn {
            let file = aside.with_extension("");
            let (file, aside) = (self.show(&file), self.show(aside));
            self.warn(format!("{file} ended in half a line, which was moved to {aside}"));
        }
        Ok(opened)
    }
}

#[cfg(test)]
impl Session {
    /// A run of a test in the user's folder `home`, which says nothing anywhere.
    pub(crate) fn of_test(home: &Path) -> Self {
        let world = World {
            now: "2026-11-21T10:00:00Z".parse().unwrap(),
            environment: BTreeMap::new(),
            user_home: Some(home.to_owned()),
            folder: home.to_owned(),
            host: None,
            system_zone: None,
            input: Box::new(std::io::empty()),
            out: Box::new(std::io::sink()),
            err: Box::new(std::io::sink()),
            terminals: crate::world::Terminals::default(),
            width: None,
            interrupted: std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false)),
            clock: crate::world::patient_clock(),
        };
        Self::new(Global::default(), world)
    }
}

/// Refuses a path that no document and no journal could name.
pub(crate) fn speakable(path: PathBuf, flag: &str) -> Result<PathBuf, Failure> {
    if path.to_str().is_some() {
        return Ok(path);
    }
    let shown = crate::cli::picture::path(&path, None);
    Err(Failure::usage(format!("the path {shown} is not UTF-8, so it could not be written down"))
        .hint(format!("rename that folder, or name another one with {flag} DIR")))
}

fn no_home(flag: &str) -> Failure {
    Failure::usage("this user has no home folder").hint(format!("name the folder with {flag} DIR"))
}
