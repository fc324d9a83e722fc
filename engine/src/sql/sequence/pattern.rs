//! Patterns: from the syntax tree to steps that a matcher follows, the preferred way first.

use datafusion::sql::sqlparser::ast::{MatchRecognizePattern, MatchRecognizeSymbol, RepetitionQuantifier};

/// The most steps of a pattern; a repetition counts once per repeat.
pub(crate) const STEPS_MAX: usize = 1000;

/// One step of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    /// The next row matches a variable.
    Row(usize),
    /// Goes on at either step; the first is preferred.
    Either(usize, usize),
    /// Goes on elsewhere.
    Jump(usize),
    /// No later row of the span matches a variable.
    Missing(usize),
    /// The match is complete.
    Done,
}

/// A pattern as steps.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Pattern {
    pub(crate) steps: Vec<Step>,
    /// The variable that must not follow.
    pub(crate) missing: Option<usize>,
    /// The variable of the last row of every match, where there is only one.
    pub(crate) last: Option<usize>,
    text: String,
}

impl Pattern {
    /// The pattern as it was written.
    pub(crate) fn show(&self, _variables: &[String]) -> String {
        format!("pattern ({})", self.text)
    }
}

/// The variables of a pattern, by exact name and in order.
pub(crate) fn variables(pattern: &MatchRecognizePattern) -> Vec<String> {
    let mut names: Vec<String> = vec![];
    each_symbol(pattern, &mut |symbol| {
        if let MatchRecognizeSymbol::Named(name) = symbol
            && !names.contains(&name.value)
        {
            names.push(name.value.clone());
        }
    });
    names
}

/// Visits every symbol of a pattern.
pub(crate) fn each_symbol(pattern: &MatchRecognizePattern, visit: &mut dyn FnMut(&MatchRecognizeSymbol)) {
    match pattern {
        MatchRecognizePattern::Symbol(symbol) | MatchRecognizePattern::Exclude(symbol) => visit(symbol),
        MatchRecognizePattern::Permute(symbols) => symbols.iter().for_each(visit),
        MatchRecognizePattern::Concat(parts) | MatchRecognizePattern::Alternation(parts) => {
            parts.iter().for_each(|part| each_symbol(part, visit));
        }
        MatchRecognizePattern::Group(inner) | MatchRecognizePattern::Repetition(inner, _) => each_symbol(inner, visit),
    }
}

/// Least and greatest number of repeats, and whether few are preferred; and what is repeated. `a+?` is parsed as a
/// repetition of a repetition, which means nothing else, since two quantifiers need a group between them.
pub(crate) fn repeats(pattern: &MatchRecognizePattern) -> Option<(&MatchRecognizePattern, u32, Option<u32>, bool)> {
    let MatchRecognizePattern::Repetition(inner, quantifier) = pattern else { return None };
    if let (MatchRecognizePattern::Repetition(of, quantifier), RepetitionQuantifier::AtMostOne) = (&**inner, quantifier)
    {
        let (least, most) = range(quantifier);
        return Some((of, least, most, true));
    }
    let (least, most) = range(quantifier);
    Some((inner, least, most, false))
}

fn range(quantifier: &RepetitionQuantifier) -> (u32, Option<u32>) {
    match quantifier {
        RepetitionQuantifier::ZeroOrMore => (0, None),
        RepetitionQuantifier::OneOrMore => (1, None),
        RepetitionQuantifier::AtMostOne => (0, Some(1)),
        RepetitionQuantifier::Exactly(n) => (*n, Some(*n)),
        RepetitionQuantifier::AtLeast(n) => (*n, None),
        RepetitionQuantifier::AtMost(n) => (0, Some(*n)),
        RepetitionQuantifier::Range(n, m) => (*n, Some(*m)),
    }
}

/// Whether a pattern can match no row at all.
pub(crate) fn is_nullable(pattern: &MatchRecognizePattern) -> bool {
    match pattern {
        MatchRecognizePattern::Concat(parts) => parts.iter().all(is_nullable),
        MatchRecognizePattern::Alternation(parts) => parts.iter().any(is_nullable),
        MatchRecognizePattern::Group(inner) => is_nullable(inner),
        MatchRecognizePattern::Repetition(..) => {
            repeats(pattern).is_some_and(|(inner, least, _, _)| least == 0 || is_nullable(inner))
        }
        MatchRecognizePattern::Symbol(_) | MatchRecognizePattern::Exclude(_) | MatchRecognizePattern::Permute(_) => {
            false
        }
    }
}

/// The variable of `v{0}` at the end, and what stands before it.
pub(crate) fn split_missing(pattern: &MatchRecognizePattern) -> Option<(&[MatchRecognizePattern], &str)> {
    let MatchRecognizePattern::Concat(parts) = pattern else { return None };
    let (last, before) = parts.split_last()?;
    match last {
        MatchRecognizePattern::Repetition(inner, RepetitionQuantifier::Exactly(0)) => match &**inner {
            MatchRecognizePattern::Symbol(MatchRecognizeSymbol::Named(name)) => Some((before, &name.value)),
            _ => None,
        },
        _ => None,
    }
}

/// How many steps a pattern takes, without writing them down.
pub(crate) fn size(pattern: &MatchRecognizePattern) -> usize {
    match pattern {
        MatchRecognizePattern::Concat(parts) | MatchRecognizePattern::Alternation(parts) => {
            parts.iter().fold(parts.len(), |sum, part| sum.saturating_add(size(part)))
        }
        MatchRecognizePattern::Group(inner) => size(inner),
        MatchRecognizePattern::Repetition(..) => repeats(pattern).map_or(1, |(inner, least, most, _)| {
            let times = most.unwrap_or(0).max(least.saturating_add(1)) as usize;
            size(inner).saturating_add(2).saturating_mul(times)
        }),
        MatchRecognizePattern::Symbol(_) | MatchRecognizePattern::Exclude(_) | MatchRecognizePattern::Permute(_) => 1,
    }
}

/// The steps of a pattern that resolving has found to be one that runs.
pub(crate) fn compile(pattern: &MatchRecognizePattern, variables: &[String]) -> Pattern {
    let index = |name: &str| variables.iter().position(|variable| variable == name);
    let mut steps = vec![];
    let (missing, last) = match split_missing(pattern) {
        Some((before, name)) => {
            before.iter().for_each(|part| emit(part, variables, &mut steps));
            (index(name), before.last())
        }
        None => {
            emit(pattern, variables, &mut steps);
            (None, Some(pattern))
        }
    };
    steps.extend(missing.map(Step::Missing));
    steps.push(Step::Done);
    Pattern { steps, missing, last: last.and_then(last_variable).and_then(index), text: pattern.to_string() }
}

/// The variable that the last row of every match of a pattern has.
fn last_variable(pattern: &MatchRecognizePattern) -> Option<&str> {
    match pattern {
        MatchRecognizePattern::Symbol(MatchRecognizeSymbol::Named(name)) => Some(&name.value),
        MatchRecognizePattern::Concat(parts) => last_variable(parts.last()?),
        MatchRecognizePattern::Group(inner) => last_variable(inner),
        MatchRecognizePattern::Repetition(..) => {
            repeats(pattern).filter(|(_, least, _, _)| *least > 0).and_then(|(inner, ..)| last_variable(inner))
        }
        _ => None,
    }
}

fn emit(pattern: &MatchRecognizePattern, variables: &[String], steps: &mut Vec<Step>) {
    match pattern {
        MatchRecognizePattern::Symbol(MatchRecognizeSymbol::Named(name)) => {
            steps.extend(variables.iter().position(|variable| *variable == name.value).map(Step::Row));
        }
        MatchRecognizePattern::Concat(parts) => parts.iter().for_each(|part| emit(part, variables, steps)),
        MatchRecognizePattern::Group(inner) => emit(inner, variables, steps),
        MatchRecognizePattern::Alternation(parts) => {
            let mut jumps = vec![];
            for (at, part) in parts.iter().enumerate() {
                let fork = steps.len();
                let is_last = at + 1 == parts.len();
                if !is_last {
                    steps.push(Step::Done);
                }
                emit(part, variables, steps);
                if !is_last {
                    jumps.push(steps.len());
                    steps.push(Step::Done);
                    steps[fork] = Step::Either(fork + 1, steps.len());
                }
            }
            let end = steps.len();
            jumps.into_iter().for_each(|jump| steps[jump] = Step::Jump(end));
        }
        MatchRecognizePattern::Repetition(..) => {
            if let Some((inner, least, most, is_reluctant)) = repeats(pattern) {
                repetition(inner, (least, most, is_reluctant), variables, steps);
            }
        }
        MatchRecognizePattern::Symbol(_) | MatchRecognizePattern::Exclude(_) | MatchRecognizePattern::Permute(_) => {}
    }
}

fn repetition(
    inner: &MatchRecognizePattern,
    (least, most, is_reluctant): (u32, Option<u32>, bool),
    variables: &[String],
    steps: &mut Vec<Step>,
) {
    let fork = |more: usize, enough: usize| match is_reluctant {
        true => Step::Either(enough, more),
        false => Step::Either(more, enough),
    };
    (0..least).for_each(|_| emit(inner, variables, steps));
    match most {
        None => {
            let at = steps.len();
            steps.push(Step::Done);
            emit(inner, variables, steps);
            steps.push(Step::Jump(at));
            steps[at] = fork(at + 1, steps.len());
        }
        Some(most) => {
            let mut forks = vec![];
            for _ in least..most {
                forks.push(steps.len());
                steps.push(Step::Done);
                emit(inner, variables, steps);
            }
            let end = steps.len();
            forks.into_iter().for_each(|at| steps[at] = fork(at + 1, end));
        }
    }
}
