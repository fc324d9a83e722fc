//! `weir test`: runs the rule tests of a project and shows what differs from what was expected.

pub(crate) mod outside;

use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use anyhow::Context as _;
use globset::{Glob, GlobMatcher};
use weir_detections::compile::Compiled;
use weir_detections::junit::{self, Case, Suite};
use weir_detections::rule_test::{self, CaseResult, RuleTest};
use weir_engine::{Diagnostic, Level};

use crate::check;
use crate::cli::{Globals, TestArgs};
use crate::compile;
use crate::config::Need;
use crate::exit::{Blame, CommandError, CommandResult, Outcome};
use crate::project::Project;
use crate::render::{self, Texts};
use crate::stdout::{self, Stdout};

/// Runs the tests that the pattern names, or all.
pub(crate) fn run(globals: &Globals, args: &TestArgs) -> CommandResult {
    let (project, diagnostics) = Project::load(&globals.dir, Need::Texts);
    let texts = project.texts();
    check::stop_on_errors(&project, diagnostics)?;
    let rules = compile::rules(&project, &project.detections);
    let (tests, mut errors) = compile::tests(&project, &rules);
    errors.extend(rules.diagnostics.iter().cloned());
    errors.retain(|diagnostic| diagnostic.level == Level::Error);
    let pattern = args.pattern.as_deref().map(Pattern::new).transpose().usage()?;
    let tests = match &pattern {
        Some(pattern) => tests.into_iter().filter_map(|test| pattern.select(test, &rules)).collect(),
        None => tests,
    };
    if let Some(pattern) = &pattern {
        // Mistakes elsewhere in the project are not what was asked about.
        let files = tests.iter().filter_map(|test| rule_test::subject(test, &rules.detections));
        let files = files.map(|(_, detection)| detection.file.as_str()).collect::<Vec<_>>();
        let is_about = |file: &str| files.contains(&file) || pattern.is_match(file);
        errors.retain(|error| error.file.as_deref().is_some_and(is_about));
        if tests.is_empty() && errors.is_empty() {
            refuse_misspelt_file(&project, &pattern.text)?;
            return Err(CommandError::usage(anyhow::anyhow!("no test matches `{}`", pattern.text)));
        }
    }
    let suites = run_all(&tests, &project, &rules, &mut errors, &texts)?;
    conclude(&suites, errors, &texts, args.junit.as_deref())
}

/// Selects tests by a detection's id, a path or a case's name: as a part of it, or as a whole with `*`.
struct Pattern {
    text: String,
    glob: Option<GlobMatcher>,
}

impl Pattern {
    fn new(text: &str) -> anyhow::Result<Self> {
        let glob = text.contains(['*', '?', '[', '{']).then(|| Glob::new(text)).transpose();
        let glob = glob.with_context(|| format!("`{text}` is not a pattern"))?;
        Ok(Self { text: text.to_owned(), glob: glob.map(|glob| glob.compile_matcher()) })
    }

    fn is_match(&self, name: &str) -> bool {
        match &self.glob {
            Some(glob) => glob.is_match(name),
            None => name.to_lowercase().contains(&self.text.to_lowercase()),
        }
    }

    /// The whole test where its file or detection matches, else those of its cases that do.
    fn select(&self, mut test: RuleTest, rules: &Compiled) -> Option<RuleTest> {
        let subject = rule_test::subject(&test, &rules.detections).map(|(_, detection)| detection);
        let is_whole = self.is_match(&test.file)
            || subject.is_some_and(|detection| self.is_match(&detection.id) || self.is_match(&detection.file));
        if !is_whole {
            test.cases.retain(|case| self.is_match(&case.name));
        }
        (!test.cases.is_empty()).then_some(test)
    }
}

/// A pattern that names a file, and no file that holds tests, says more than that nothing matches.
fn refuse_misspelt_file(project: &Project, pattern: &str) -> Result<(), CommandError> {
    if !pattern.ends_with(".yaml") && !pattern.ends_with(".yml") || pattern.contains('*') {
        return Ok(());
    }
    if project.playbook_tests.iter().any(|file| file.path == pattern) {
        return Err(CommandError::usage(anyhow::anyhow!("{pattern}: tests of playbooks do not run in this version")));
    }
    let file = project.dir.join(pattern);
    let reason = match std::fs::metadata(&file) {
        Err(error) => format!("cannot read it: {error}"),
        Ok(_) => "a rule test lies in `detections/` and its name ends in `.test.yaml`".to_owned(),
    };
    let known = project.tests.iter().map(|file| file.path.as_str());
    let hint = weir_engine::error::nearest(pattern, known).map(|hint| format!("; {hint}")).unwrap_or_default();
    Err(CommandError::usage(anyhow::anyhow!("{pattern}: {reason}{hint}")))
}

fn run_all(
    tests: &[RuleTest],
    project: &Project,
    rules: &Compiled,
    errors: &mut Vec<Diagnostic>,
    texts: &Texts<'_>,
) -> Result<Vec<Suite>, CommandError> {
    let mut out = Stdout::lock();
    let mut suites = Vec::new();
    for test in tests {
        let begun = Instant::now();
        let results = outside::run(test, rules, &project.dir);
        tracing::debug!(file = test.file, took_ms = begun.elapsed().as_millis() as u64, "test has run");
        let cases = match results {
            Ok(results) => results.iter().map(case).collect(),
            Err(found) => {
                // A detection that does not compile fails every case about it.
                let why = found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
                errors.extend(found);
                let failed = |name: &str| Case { name: name.to_owned(), seconds: None, outcome: failed(why.clone()) };
                test.cases.iter().map(|case| failed(&case.name)).collect()
            }
        };
        let suite = Suite { name: test.file.clone(), cases };
        print_suite(&mut out, &suite, test)?;
        suites.push(suite);
    }
    out.finish()?;
    suites.extend(unreadable(errors, texts));
    Ok(suites)
}

fn failed(text: String) -> junit::Outcome {
    junit::Outcome::Failed(text)
}

fn case(result: &CaseResult) -> Case {
    let problems = result.problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    let outcome = if problems.is_empty() { junit::Outcome::Passed } else { failed(problems) };
    Case { name: result.name.clone(), seconds: None, outcome }
}

/// A file that cannot be read is a failed test of that file, so that a report of results shows it too.
fn unreadable(errors: &mut Vec<Diagnostic>, texts: &Texts<'_>) -> Vec<Suite> {
    render::sort(errors);
    let mut suites: Vec<Suite> = Vec::new();
    for error in errors.iter() {
        let file = error.file.clone().unwrap_or_default();
        let text = render::report(error, texts, false);
        let case = Case { name: error.to_string(), seconds: None, outcome: failed(text) };
        match suites.iter_mut().find(|suite| suite.name == file) {
            Some(suite) => suite.cases.push(case),
            None => suites.push(Suite { name: file, cases: vec![case] }),
        }
    }
    suites
}

fn print_suite(out: &mut Stdout, suite: &Suite, test: &RuleTest) -> std::io::Result<()> {
    let color = stdout::has_color();
    let paint = |code: &str, word: &str| if color { format!("\u{1b}[{code}m{word}\u{1b}[0m") } else { word.to_owned() };
    writeln!(out, "{}", suite.name)?;
    for case in &suite.cases {
        match &case.outcome {
            junit::Outcome::Passed => writeln!(out, "  {}    {}", paint("32", "ok"), case.name)?,
            junit::Outcome::Skipped(why) => writeln!(out, "  skip  {} ({why})", case.name)?,
            junit::Outcome::Failed(text) => {
                let line = test.cases.iter().find(|written| written.name == case.name).map(|case| case.span.start.line);
                let place = line.map(|line| format!(" (line {line})")).unwrap_or_default();
                writeln!(out, "  {}  {}{place}", paint("1;31", "FAIL"), case.name)?;
                text.lines().try_for_each(|line| writeln!(out, "        {line}"))?;
            }
        }
    }
    Ok(())
}

/// Shows mistakes in texts, writes the report file, and prints the count.
fn conclude(suites: &[Suite], errors: Vec<Diagnostic>, texts: &Texts<'_>, junit: Option<&Path>) -> CommandResult {
    let color = stdout::stderr_has_color();
    for error in &errors {
        eprintln!("{}", render::report(error, texts, color));
    }
    if let Some(path) = junit {
        std::fs::write(path, junit::xml(suites))
            .with_context(|| format!("cannot write {}", path.display()))
            .outside()?;
    }
    let cases = || suites.iter().flat_map(|suite| &suite.cases);
    let passed = cases().filter(|case| case.outcome == junit::Outcome::Passed).count();
    let failed = cases().filter(|case| matches!(case.outcome, junit::Outcome::Failed(_))).count();
    stdout::print(&format!("{passed} passed, {failed} failed"))?;
    Ok(if failed > 0 { Outcome::FoundFailures } else { Outcome::Done })
}
