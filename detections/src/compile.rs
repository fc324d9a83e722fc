//! All texts of a project to one program, and everything that is wrong with them.

mod outputs;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use chrono::NaiveDate;
use globset::Glob;
use weir_engine::error::{codes as engine_codes, nearest};
use weir_engine::sql::{check_condition, parse_catalog_beside};
use weir_engine::{Catalog, Diagnostic, Fault, FaultyText, Level, Program, Published, Query};

use crate::exceptions::{self, Exception};
use crate::own::own_streams;
use crate::published::ALERTS;
use crate::{Detection, codes, header, published};

/// The texts of a project: file name and content.
#[derive(Debug, Clone, Default)]
pub struct Texts {
    /// `streams/*.sql`
    pub streams: Vec<(String, String)>,
    /// `detections/**/*.sql`
    pub detections: Vec<(String, String)>,
    /// `detections/**/*.md`, the runbooks of the detections of the same name.
    pub runbooks: Vec<(String, String)>,
    /// `exceptions/*.yaml`
    pub exceptions: Vec<(String, String)>,
}

/// A project that was compiled as far as its texts allow.
#[derive(Debug, Clone)]
pub struct Compiled {
    /// Its streams, views and tables.
    pub catalog: Arc<Catalog>,
    /// Its detections; [`Hit::query`](weir_engine::Hit::query) is an index into them. One whose SQL is wrong is here
    /// and never hits.
    pub detections: Vec<Arc<Detection>>,
    /// Files whose header has mistakes, or the id of another. Their SQL is judged as far as it can be, and they do not run.
    pub drafts: Vec<Arc<Detection>>,
    /// Its exceptions.
    pub exceptions: Vec<Exception>,
    /// All detections as one dataflow.
    pub program: Arc<Program>,
    /// The schema of `alerts`.
    pub published: Published,
    /// Everything that is wrong, by file and place.
    pub diagnostics: Vec<Diagnostic>,
}

/// Some detections of a project, compiled without the others.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) program: Arc<Program>,
    pub(crate) detections: Vec<Arc<Detection>>,
}

/// Compiles a project. `today` decides which exceptions have expired; without it, none has.
#[must_use]
pub fn compile(texts: &Texts, today: Option<NaiveDate>) -> Compiled {
    let (catalog, mut diagnostics) = parse_catalog_beside(&own_streams(), &texts.streams);
    let read = read_detections(texts, &mut diagnostics);
    let (exceptions, expired) = read_exceptions(texts, today, &mut diagnostics);
    let mut compiled = link(catalog, read, exceptions);
    diagnostics.extend(compiled.misfits(&expired));
    compiled.diagnostics.append(&mut diagnostics);
    sort(&mut compiled.diagnostics);
    compiled
}

/// The detections of a project, in the order of their files.
#[derive(Default)]
struct Read {
    whole: Vec<Arc<Detection>>,
    drafts: Vec<Arc<Detection>>,
    /// Files of drafts whose parameters are not all known.
    without_params: BTreeSet<String>,
}

/// Compiles what was read already. The diagnostics are those that no file shows alone: ids and names given twice,
/// exceptions about nothing, SQL that does not fit the catalog, entities that are no columns.
///
/// Of two detections of one id, or two exceptions of one name, the first is kept.
fn link(catalog: Catalog, read: Read, exceptions: Vec<Exception>) -> Compiled {
    let mut diagnostics = Vec::new();
    let Read { whole: detections, drafts, without_params } = read;
    let everything: Vec<_> = detections.iter().chain(&drafts).map(Arc::clone).collect();
    let mut exceptions = distinct_exceptions(exceptions, &everything, &mut diagnostics);
    let published = published();
    let queries =
        |of: &[Arc<Detection>], exceptions: &[Exception]| of.iter().map(|one| one.query(exceptions)).collect();
    let (mut program, mut faults) = Program::compile(&catalog, &published, queries(&detections, &exceptions));
    let broken = broken_conditions(&catalog, &published, &detections, &exceptions, &faults);
    if !broken.is_empty() {
        // A detection must not go blind because an exception about it is wrong.
        let names: Vec<_> = broken.iter().map(|(name, _)| Arc::clone(name)).collect();
        exceptions.retain(|exception| !names.contains(&exception.name));
        (program, faults) = Program::compile(&catalog, &published, queries(&detections, &exceptions));
    }
    diagnostics.extend(broken.into_iter().map(|(_, diagnostic)| diagnostic));
    if drafts.is_empty() {
        diagnostics.extend(judged(&program, faults, &detections));
    } else {
        // Drafts are judged among the others, who may read their alerts, and then left out.
        let mut all: Vec<Query> = queries(&detections, &exceptions);
        all.extend(drafts.iter().map(|draft| draft.query(&[])));
        let (with_drafts, faults) = Program::compile(&catalog, &published, all);
        let mut found = judged(&with_drafts, faults, &everything);
        let is_follow_up = |one: &Diagnostic| {
            one.code == engine_codes::UNKNOWN_PARAMETER
                && one.file.as_ref().is_some_and(|file| without_params.contains(file))
        };
        found.retain(|diagnostic| !is_follow_up(diagnostic));
        diagnostics.extend(found);
    }
    sort(&mut diagnostics);
    let (catalog, program) = (Arc::new(catalog), Arc::new(program));
    Compiled { catalog, detections, drafts, exceptions, program, published, diagnostics }
}

/// What is wrong with detections that were compiled to `program`: their SQL, and what their headers say of its columns.
fn judged(program: &Program, faults: Vec<Fault>, detections: &[Arc<Detection>]) -> Vec<Diagnostic> {
    let mut diagnostics = in_files(faults, detections);
    // A name that is misspelt in one of the two places is told once.
    let is_misspelt = |one: &Diagnostic| one.code == engine_codes::UNKNOWN_PARAMETER;
    let misspelt: BTreeSet<_> =
        diagnostics.iter().filter(|one| is_misspelt(one)).filter_map(|one| one.file.clone()).collect();
    for (at, detection) in detections.iter().enumerate() {
        if !misspelt.contains(&detection.file) {
            diagnostics.extend(outputs::unused_params(detection));
        }
        let schema = program.output_schema(at);
        diagnostics.extend(outputs::bad_values(detection, schema));
        if let Some(schema) = schema {
            diagnostics.extend(outputs::entities_without_a_column(detection, schema));
        }
    }
    diagnostics
}

fn sort(diagnostics: &mut Vec<Diagnostic>) {
    diagnostics.sort_by(|one, other| (&one.file, one.span).cmp(&(&other.file, other.span)));
    diagnostics.dedup();
}

impl Compiled {
    /// What is wrong with the conditions of exceptions that are not part of the program, once for each.
    fn misfits(&self, exceptions: &[Exception]) -> Vec<Diagnostic> {
        let of_one = |exception: &Exception| {
            let covered = self.detections.iter().enumerate().filter(|(_, one)| exception.covers(&one.id));
            covered.filter_map(|(at, detection)| misfit(exception, detection, self.program.output_schema(at)?)).next()
        };
        exceptions.iter().filter_map(of_one).collect()
    }

    /// The detections that have to run so that the one at `at` shows what it does: itself, and for one that reads
    /// `alerts` those whose ids match `with`, or all of them.
    pub(crate) fn company(&self, at: usize, with: &[String]) -> Vec<usize> {
        if !reads_alerts(&self.detections[at].sql) {
            return vec![at];
        }
        let patterns: Vec<_> =
            with.iter().filter_map(|with| Glob::new(with).ok()).map(|glob| glob.compile_matcher()).collect();
        let joins = |id: &str| with.is_empty() || patterns.iter().any(|pattern| pattern.is_match(id));
        (0..self.detections.len()).filter(|other| *other == at || joins(&self.detections[*other].id)).collect()
    }

    /// A program of some detections alone, without exceptions.
    ///
    /// # Errors
    /// What is wrong with their SQL.
    pub(crate) fn program_of(&self, picks: &[usize]) -> Result<Part, Vec<Diagnostic>> {
        let detections: Vec<_> = picks.iter().map(|at| Arc::clone(&self.detections[*at])).collect();
        let queries: Vec<Query> = detections.iter().map(|detection| detection.query(&[])).collect();
        let (program, found) = Program::compile(&self.catalog, &self.published, queries);
        let mut errors = in_files(found, &detections);
        errors.retain(|diagnostic| diagnostic.level == Level::Error);
        if errors.is_empty() { Ok(Part { program: Arc::new(program), detections }) } else { Err(errors) }
    }
}

/// What the engine says about a query is said about the file of its detection. Views know their file.
fn in_files(faults: Vec<Fault>, detections: &[Arc<Detection>]) -> Vec<Diagnostic> {
    let in_file = |Fault { text, diagnostic }: Fault| match text {
        FaultyText::Query(query) => {
            at_its_entity(&detections[query], diagnostic).in_file(detections[query].file.clone())
        }
        FaultyText::View(_) => diagnostic,
    };
    faults.into_iter().map(in_file).collect()
}

/// A cooldown is over the entities; where the engine misses one of their columns, the header is the place to look. So it is
/// for an allowance that the SQL cannot keep.
fn at_its_entity(detection: &Detection, diagnostic: Diagnostic) -> Diagnostic {
    if diagnostic.span.is_none() && diagnostic.message.contains("`allowed_lateness`") {
        return diagnostic.at(detection.place("allowed_lateness"));
    }
    if diagnostic.code != engine_codes::NOT_AN_OUTPUT || diagnostic.span.is_some() {
        return diagnostic;
    }
    let named = |(_, column): &(_, &String)| diagnostic.message.contains(&format!("`{column}`"));
    match detection.entities.iter().find(named) {
        Some((kind, column)) => Diagnostic {
            message: outputs::no_column(*kind, column),
            span: detection.place(&format!("entities.{kind}")),
            ..diagnostic
        },
        None => diagnostic,
    }
}

/// The exceptions whose condition does not fit a detection that they cover, by name, and what is wrong with each.
fn broken_conditions(
    catalog: &Catalog,
    published: &Published,
    detections: &[Arc<Detection>],
    exceptions: &[Exception],
    faults: &[Fault],
) -> Vec<(Arc<str>, Diagnostic)> {
    let mut broken: Vec<(Arc<str>, Diagnostic)> = Vec::new();
    let faulty: BTreeSet<usize> = faults
        .iter()
        .filter_map(|fault| match fault.text {
            FaultyText::Query(query) => Some(query),
            FaultyText::View(_) => None,
        })
        .collect();
    for detection in faulty.into_iter().map(|at| &detections[at]) {
        let covering: Vec<_> = exceptions.iter().filter(|exception| exception.covers(&detection.id)).collect();
        if covering.is_empty() {
            continue;
        }
        let (alone, _) = Program::compile(catalog, published, vec![detection.query(&[])]);
        let Some(schema) = alone.output_schema(0) else { continue };
        for exception in covering {
            if broken.iter().any(|(name, _)| *name == exception.name) {
                continue;
            }
            if let Some(diagnostic) = misfit(exception, detection, schema) {
                broken.push((Arc::clone(&exception.name), diagnostic));
            }
        }
    }
    broken
}

/// What is wrong with an exception's condition over the columns of a detection.
fn misfit(exception: &Exception, detection: &Detection, schema: &SchemaRef) -> Option<Diagnostic> {
    let diagnostic = check_condition(&exception.condition, schema).err()?;
    let message = format!("the condition does not fit {}: {}", detection.id, diagnostic.message);
    let diagnostic = Diagnostic { message, span: exception.place_in_condition(diagnostic.span), ..diagnostic };
    Some(diagnostic.in_file(exception.file.clone()))
}

/// Whether the word `alerts` stands in the text outside of a longer word. A false yes costs time and nothing else.
fn reads_alerts(sql: &str) -> bool {
    let words = sql.split(|c: char| !c.is_alphanumeric() && c != '_');
    words.into_iter().any(|word| word.eq_ignore_ascii_case(ALERTS))
}

/// Reads all detection files. Of two detections of one id the first runs, because alert ids are made of it.
fn read_detections(texts: &Texts, diagnostics: &mut Vec<Diagnostic>) -> Read {
    let runbooks: HashMap<_, _> = texts.runbooks.iter().map(|(file, text)| (stem(file), text)).collect();
    let mut read = Read::default();
    let mut files: HashMap<Arc<str>, String> = HashMap::new();
    for (file, text) in &texts.detections {
        let header::Reading { mut draft, params_are_known, diagnostics: found } = header::read(file, text);
        draft.runbook = runbooks.get(stem(file)).map(|text| (*text).clone()).or(draft.runbook);
        let other = files.get(&draft.id);
        diagnostics.extend(other.map(|other| duplicate(&draft, other)));
        let is_first = other.is_none();
        if is_first && !draft.id.is_empty() {
            files.insert(Arc::clone(&draft.id), file.clone());
        }
        if is_first && found.is_empty() {
            read.whole.push(Arc::new(draft));
            continue;
        }
        if !params_are_known {
            read.without_params.insert(file.clone());
        }
        if !found.iter().any(|diagnostic| diagnostic.code == codes::NO_SQL) {
            read.drafts.push(Arc::new(draft));
        }
        diagnostics.extend(found);
    }
    read
}

fn duplicate(detection: &Detection, other: &str) -> Diagnostic {
    let message = format!("the id `{}` is that of {other} already", detection.id);
    let hint = "an id is for one detection, because alert ids are made of it";
    let error = Diagnostic::error(codes::DUPLICATE_ID, message).at(detection.place("id")).hint(hint);
    error.in_file(detection.file.clone())
}

fn stem(file: &str) -> &str {
    file.rsplit_once('.').map_or(file, |(stem, _)| stem)
}

/// The exceptions that hold, and those that hide nothing: what has expired, which is told because it would be worse to go
/// on being silent, and what has mistakes, which are told.
fn read_exceptions(
    texts: &Texts,
    today: Option<NaiveDate>,
    diagnostics: &mut Vec<Diagnostic>,
) -> (Vec<Exception>, Vec<Exception>) {
    let (mut current, mut old) = (Vec::new(), Vec::new());
    for (file, text) in &texts.exceptions {
        let (exceptions, found) = exceptions::parse(file, text);
        diagnostics.extend(found);
        for exception in exceptions {
            match today.and_then(|today| exception.expired(today)) {
                Some(expired) => {
                    diagnostics.push(expired);
                    old.push(exception);
                }
                None if !exception.is_whole => old.push(exception),
                None => current.push(exception),
            }
        }
    }
    (current, old)
}

fn distinct_exceptions(
    exceptions: Vec<Exception>,
    detections: &[Arc<Detection>],
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<Exception> {
    let mut distinct: Vec<Exception> = Vec::new();
    for exception in exceptions {
        if let Some(other) = distinct.iter().find(|other| other.name == exception.name) {
            let message = format!("{} has an exception `{}` already", other.file, exception.name);
            diagnostics.push(about(&exception, Diagnostic::error(codes::EXCEPTION_DUPLICATE_NAME, message)));
            continue;
        }
        // A detection whose id cannot be read may be the one that is meant.
        let may_be_about = |one: &Arc<Detection>| one.id.is_empty() || exception.covers(&one.id);
        if !detections.iter().any(may_be_about) {
            let message = format!("the exception `{}` is about no detection of this project", exception.name);
            let ids = detections.iter().map(|detection| &*detection.id);
            let hint = exception.detections.first().and_then(|pattern| nearest(pattern, ids));
            let warning = Diagnostic::warning(codes::EXCEPTION_UNKNOWN_DETECTION, message).maybe_hint(hint);
            diagnostics.push(about(&exception, warning));
        }
        distinct.push(exception);
    }
    distinct
}

fn about(exception: &Exception, diagnostic: Diagnostic) -> Diagnostic {
    diagnostic.at(exception.span).in_file(exception.file.clone())
}

#[cfg(test)]
mod tests;
