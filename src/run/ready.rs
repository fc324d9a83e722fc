//! A project that can run: its texts, read, compiled, and found without mistakes.

use std::collections::BTreeMap;
use std::path::Path;

use blake3::Hash;
use weir_connectors::kafka::{KafkaSettings, Start};
use weir_connectors::location::Location;
use weir_connectors::state::StateStore;
use weir_detections::compile::Compiled;
use weir_engine::{Diagnostic, StateBudget, TableVersion};
use weir_playbooks::run::Mode;

use crate::compile::{self, Response};
use crate::config::{self, Config, Need};
use crate::exit::{Blame, CommandError};
use crate::project::{Project, SourceFile};
use crate::pump::{Setup, Topics};
use crate::respond::{Respond, Role};
use crate::{check, hunt, service};

/// A project that can run.
pub(super) struct Ready {
    pub(super) project: Project,
    rules: Compiled,
    response: Response,
    /// Rows for the `enrich` steps of playbooks.
    tables: Vec<TableVersion>,
}

/// A project that cannot, and why.
pub(super) struct Refused {
    pub(super) project: Project,
    pub(super) diagnostics: Vec<Diagnostic>,
}

impl Ready {
    /// Reads a project. Where one runs already, its configuration holds: that of the folder needs a restart.
    pub(super) fn load(dir: &Path, running: Option<&Config>) -> Result<Self, Box<Refused>> {
        let (mut project, mut diagnostics) = Project::load(dir, Need::Everything);
        if let Some(running) = running {
            project.config = running.clone();
            diagnostics.retain(|diagnostic| diagnostic.file.as_deref() != Some(config::FILE));
        }
        let rules = compile::rules(&project, &project.detections);
        diagnostics.extend(rules.diagnostics.iter().cloned());
        let (response, found) = compile::response(&project, &rules);
        diagnostics.extend(found);
        diagnostics.extend(compile::without_fast_topic(&rules, &project.config));
        if project.config.playbooks.mode == Mode::Live {
            diagnostics.extend(compile::unset(&response, &project.config));
        }
        let names = rules.catalog.tables().map(|table| table.name.as_str());
        let (tables, found) = compile::tables(names, &rules, &project.dir);
        diagnostics.extend(found);
        if check::has_errors(&diagnostics) {
            return Err(Box::new(Refused { project, diagnostics }));
        }
        Ok(Self { project, rules, response, tables })
    }

    /// Starts response to its alerts. Without a playbook there are still cases.
    pub(super) async fn respond(&self) -> Result<Respond, CommandError> {
        let lookup = service::lookup_in(self.tables.clone());
        service::start(&self.project.config, self.response.clone(), lookup, Role::Service).await
    }

    /// The parts of the pipeline as the project describes them.
    pub(super) fn setup(&self, respond: Respond) -> Result<Setup, CommandError> {
        let config = &self.project.config;
        let state = Location::at(&config.state.url, &config::exposed(&config.state.options)).usage()?;
        Ok(Setup {
            rules: self.rules.clone(),
            digests: self.detections(),
            dir: self.project.dir.clone(),
            kafka: kafka(config)?,
            is_transactional: true,
            start: config.kafka.as_ref().map_or(Start::Earliest, |kafka| kafka.start),
            topics: Topics {
                alerts: config.alerts_topic.as_str().into(),
                fast: config.fast_topic.as_deref().map(Into::into),
                dead_letters: config.dead_letters_topic.as_str().into(),
            },
            state: StateStore::new(&state),
            archive: Some(hunt::archive(config)?),
            archives_raw: config.archive.raw,
            respond: Some(respond),
            parallelism: config.engine.parallelism,
            epoch: config.engine.epoch,
            queue_bytes: config.engine.queue_bytes,
            idle: config.engine.idle,
            budget: StateBudget { of_each: config.engine.detection_memory_bytes, of_all: config.engine.memory_bytes },
            silent_after: config.engine.silent_after,
        })
    }

    /// The digest of each detection's text and runbook, by its id.
    fn detections(&self) -> BTreeMap<String, String> {
        let texts: BTreeMap<&str, &str> = of(&[&self.project.detections, &self.project.runbooks]).collect();
        let digest = |file: &str| {
            let runbook = file.strip_suffix(".sql").map(|stem| format!("{stem}.md"));
            let parts = [Some(file), runbook.as_deref()].map(|name| name.and_then(|name| texts.get(name)));
            blake3::hash(parts.into_iter().flatten().copied().collect::<Vec<_>>().join("\n").as_bytes())
        };
        let detections = self.rules.detections.iter();
        detections.map(|one| (one.id.to_string(), digest(&one.file).to_hex().to_string())).collect()
    }

    /// The digests of all texts that decide what runs, by file.
    pub(super) fn digests(&self) -> BTreeMap<String, Hash> {
        digests(&self.project)
    }

    /// Those among them that response reads.
    pub(super) fn response_digests(&self) -> BTreeMap<String, Hash> {
        let Project { streams, playbooks, responders, .. } = &self.project;
        hashed(of(&[streams, playbooks, responders]))
    }
}

/// The digests of all texts of a project that decide what runs, by file. Tests are not among them.
pub(super) fn digests(project: &Project) -> BTreeMap<String, Hash> {
    let Project { streams, detections, runbooks, playbooks, responders, exceptions, .. } = project;
    hashed(of(&[streams, detections, runbooks, playbooks, responders, exceptions]))
}

fn of<'p>(files: &[&'p Vec<SourceFile>]) -> impl Iterator<Item = (&'p str, &'p str)> + use<'p> {
    let files: Vec<&'p SourceFile> = files.iter().flat_map(|files| files.iter()).collect();
    files.into_iter().map(|file| (file.path.as_str(), file.text.as_str()))
}

fn hashed<'p>(texts: impl Iterator<Item = (&'p str, &'p str)>) -> BTreeMap<String, Hash> {
    texts.map(|(name, text)| (name.to_owned(), blake3::hash(text.as_bytes()))).collect()
}

fn kafka(config: &Config) -> Result<KafkaSettings, CommandError> {
    config.kafka.as_ref().and_then(|kafka| kafka.settings.clone()).ok_or_else(|| {
        let needed = "`weir run` needs a [kafka] section with bootstrap_servers in";
        CommandError::usage(anyhow::anyhow!("{needed} {}", config::FILE))
    })
}
