//! All texts of a project to one program, and everything that is wrong with them.

mod outputs;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use chrono::NaiveDate;
use globset::{Glob, GlobMatcher};
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
    let exceptions = read_exceptions(texts, today, &mut diagnostics);
    let mut compiled = link(catalog, read, exceptions);
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
fn link(catalog: Catalog, read: Read, exceptions: ReadExceptions) -> Compiled {
    let mut diagnostics = Vec::new();
    let Read { whole: detections, drafts, without_params } = read;
    let everything: Vec<_> = detections.iter().chain(&drafts).map(Arc::clone).collect();
    let ReadExceptions { current, idle } = exceptions;
    let told: Vec<Exception> = current.iter().chain(&idle).cloned().collect();
    diagnostics.extend(told.iter().flat_map(|exception| about_nothing(exception, &everything)));
    let mut exceptions = distinct_exceptions(current, &mut diagnostics);
    let published = published();
    let queries =
        |of: &[Arc<Detection>], exceptions: &[Exception]| of.iter().map(|one| one.query(exceptions)).collect();
    let (mut program, mut faults) = Program::compile(&catalog, &published, queries(&detections, &exceptions));
    let mut schemas = output_schemas(&program, &detections);
    let faulty: Vec<usize> =
        faulty(&faults).into_iter().filter(|at| told.iter().any(|one| one.covers(&detections[*at].id))).collect();
    for at in &faulty {
        // What is wrong may be an exception's condition.
        let alone = detections[*at].query(&[]);
        schemas[*at] = Program::compile(&catalog, &published, vec![alone]).0.output_schema(0).cloned();
    }
    let before = exceptions.len();
    let of_faulty = || faulty.iter().map(|at| (&detections[*at], &schemas[*at]));
    exceptions.retain(|exception| misfits(exception, of_faulty()).is_empty());
    if exceptions.len() < before {
        // A detection must not go blind because an exception about it is wrong.
        (program, faults) = Program::compile(&catalog, &published, queries(&detections, &exceptions));
    }
    if drafts.is_empty() {
        diagnostics.extend(judged(&program, faults, &detections));
    } else {
        // Drafts are judged among the others, who may read their alerts, and then left out.
        let mut all: Vec<Query> = queries(&detections, &exceptions);
        all.extend(drafts.iter().map(|draft| draft.query(&[])));
        let (with_drafts, faults) = Program::compile(&catalog, &published, all);
        let mut found = judged(&with_drafts, faults, &everything);
        schemas.extend(output_schemas(&with_drafts, &everything).drain(detections.len()..));
        let is_follow_up = |one: &Diagnostic| {
            one.code == engine_codes::UNKNOWN_PARAMETER
                && one.file.as_ref().is_some_and(|file| without_params.contains(file))
        };
        found.retain(|diagnostic| !is_follow_up(diagnostic));
        diagnostics.extend(found);
    }
    for exception in &told {
        // One that is part of the program fits what is part of the program.
        let is_in_use = exceptions.iter().any(|used| (&used.file, used.span) == (&exception.file, exception.span));
        let fits = if is_in_use { detections.len() } else { 0 };
        diagnostics.extend(misfits(exception, everything.iter().zip(&schemas).skip(fits)));
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
        let missing = outputs::entities_without_a_column(detection, schema, &diagnostics);
        diagnostics.extend(missing);
    }
    diagnostics
}

fn sort(diagnostics: &mut Vec<Diagnostic>) {
    diagnostics.sort_by(|one, other| (&one.file, one.span).cmp(&(&other.file, other.span)));
    diagnostics.dedup();
}

impl Compiled {
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

/// The columns of each detection's rows, where it was compiled.
fn output_schemas(program: &Program, detections: &[Arc<Detection>]) -> Vec<Option<SchemaRef>> {
    (0..detections.len()).map(|at| program.output_schema(at).cloned()).collect()
}

/// The queries with a fault.
fn faulty(faults: &[Fault]) -> BTreeSet<usize> {
    let queries = faults.iter().filter_map(|fault| match fault.text {
        FaultyText::Query(query) => Some(query),
        FaultyText::View(_) => None,
    });
    queries.collect()
}

/// What is wrong with an exception's condition over the columns of the detections that it covers, each place once. Where no
/// columns are known, what is wrong with its syntax.
fn misfits<'a>(
    exception: &Exception,
    detections: impl Iterator<Item = (&'a Arc<Detection>, &'a Option<SchemaRef>)>,
) -> Vec<Diagnostic> {
    if exception.condition.is_empty() {
        return Vec::new();
    }
    let mut found: Vec<Diagnostic> = Vec::new();
    let covered = detections.filter(|(detection, _)| exception.covers(&detection.id));
    let mut known = covered.filter_map(|(detection, schema)| Some((detection, schema.as_ref()?))).peekable();
    if known.peek().is_none() {
        return broken_syntax(exception);
    }
    for (detection, schema) in known {
        for mistake in check_condition(&exception.condition, schema).err().into_iter().flatten() {
            let span = exception.place_in_condition(mistake.span);
            if found.iter().any(|told| told.span == span) {
                continue;
            }
            let message = format!("the condition does not fit {}: {}", detection.id, of_the_row(&mistake.message));
            let hint = mistake.hint.as_deref().map(of_the_row);
            let diagnostic = Diagnostic { message, hint, span, ..mistake };
            found.push(diagnostic.in_file(exception.file.clone()));
        }
    }
    found
}

/// What is wrong with the syntax of an exception's condition, whatever its columns are.
fn broken_syntax(exception: &Exception) -> Vec<Diagnostic> {
    let mistakes = check_condition(&exception.condition, &Arc::new(Schema::empty())).err().into_iter().flatten();
    let of_syntax = mistakes.filter(|mistake| mistake.code == engine_codes::SYNTAX);
    let at_place = |mistake: Diagnostic| {
        let span = exception.place_in_condition(mistake.span);
        Diagnostic { span, ..mistake }.in_file(exception.file.clone())
    };
    of_syntax.map(at_place).collect()
}

/// The engine calls the row that a condition is about `hit`. Authors know the row of the alert.
fn of_the_row(text: &str) -> String {
    text.replace("the columns of `hit` are", "the columns of the alert's row, `hit`, are")
        .replace("`hit` has no column", "the alert's row, `hit`, has no column")
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
    let mut without_sql = Vec::new();
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
        } else {
            without_sql.push(Arc::new(draft));
        }
        diagnostics.extend(found);
    }
    let everything: Vec<_> = read.whole.iter().chain(&read.drafts).chain(&without_sql).collect();
    diagnostics.extend(everything.iter().flat_map(|detection| unknown_related(detection, &everything)));
    read
}

/// The ids under `related` that no detection has.
fn unknown_related(detection: &Detection, everything: &[&Arc<Detection>]) -> Vec<Diagnostic> {
    // A detection whose id cannot be read may be the one that is meant.
    let is_known = |id: &str| everything.iter().any(|other| other.id.is_empty() || *other.id == *id);
    let unknown = detection.related.iter().filter(|id| !is_known(id)).map(|id| {
        let message = format!("`related` names `{id}`, and no detection of this project has that id");
        let others = everything.iter().filter(|other| other.id != detection.id);
        let hint = nearest(id, others.map(|other| &*other.id))
            .unwrap_or_else(|| "write the `id` of another file's header, or take it out".to_owned());
        let warning = Diagnostic::warning(codes::UNKNOWN_RELATED, message).hint(hint);
        warning.at(detection.place(&format!("related.{id}"))).in_file(detection.file.clone())
    });
    unknown.collect()
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

/// The exceptions of a project.
#[derive(Default)]
struct ReadExceptions {
    /// Those that hold.
    current: Vec<Exception>,
    /// Those that hide nothing: what has expired, which is told because it would be worse to go on being silent, and what
    /// has mistakes, which are told.
    idle: Vec<Exception>,
}

fn read_exceptions(texts: &Texts, today: Option<NaiveDate>, diagnostics: &mut Vec<Diagnostic>) -> ReadExceptions {
    let mut read = ReadExceptions::default();
    for (file, text) in &texts.exceptions {
        let (exceptions, found) = exceptions::parse(file, text);
        diagnostics.extend(found);
        for exception in exceptions {
            match today.and_then(|today| exception.expired(today)) {
                Some(expired) => {
                    diagnostics.push(expired);
                    read.idle.push(exception);
                }
                None if !exception.is_whole => read.idle.push(exception),
                None => read.current.push(exception),
            }
        }
    }
    read
}

fn distinct_exceptions(exceptions: Vec<Exception>, diagnostics: &mut Vec<Diagnostic>) -> Vec<Exception> {
    let mut distinct: Vec<Exception> = Vec::new();
    for exception in exceptions {
        if let Some(other) = distinct.iter().find(|other| other.name == exception.name) {
            let message = format!("{} has an exception `{}` already", other.file, exception.name);
            diagnostics.push(about(&exception, Diagnostic::error(codes::EXCEPTION_DUPLICATE_NAME, message)));
        } else {
            distinct.push(exception);
        }
    }
    distinct
}

/// The ids and patterns of an exception that no detection answers to.
fn about_nothing(exception: &Exception, detections: &[Arc<Detection>]) -> Vec<Diagnostic> {
    let is_dead = |pattern: &GlobMatcher| {
        // A detection whose id cannot be read may be the one that is meant.
        !detections.iter().any(|detection| detection.id.is_empty() || pattern.is_match(&*detection.id))
    };
    let dead = exception.patterns.iter().filter(|(pattern, _)| is_dead(pattern)).map(|(pattern, span)| {
        let pattern = pattern.glob().glob();
        let message = format!("the exception is about `{pattern}`, and no detection of this project has such an id");
        let hint = nearest(pattern, detections.iter().map(|detection| &*detection.id));
        let warning = Diagnostic::warning(codes::EXCEPTION_UNKNOWN_DETECTION, message).maybe_hint(hint);
        warning.at(*span).in_file(exception.file.clone())
    });
    dead.collect()
}

fn about(exception: &Exception, diagnostic: Diagnostic) -> Diagnostic {
    diagnostic.at(exception.span).in_file(exception.file.clone())
}

#[cfg(test)]
mod tests;
