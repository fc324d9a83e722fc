//! A query in words: its plan, its operators, what they remember and for how long, what is read, and when it speaks.

use super::reads::Reads;
use super::{Program, weight};
use crate::error::counted;
use crate::graph::{
    AggregateKind, AggregateSpec, CooldownSpec, Graph, JoinKind, JoinSpec, Keep, Node, NodeId, Spec, WindowSpec,
};
use crate::sql::in_order::VALUES_MAX;
use crate::sql::over::kept_in_words;
use crate::sql::window_kind::{Windows, span_in_words};

impl Program {
    /// Plan, operators, state, columns and emission rule of a query, in words; `None` if it did not compile.
    #[must_use]
    pub fn explain(&self, query: usize) -> Option<String> {
        let compiled = self.queries.get(query)?;
        let plan = compiled.plan.as_ref()?.display_indent().to_string();
        let nodes = || compiled.nodes.iter().map(|id| (*id, &self.graph.nodes[*id]));
        let waits = nodes().any(
            |(_, node)| matches!(&node.spec, Spec::Join(join) if matches!(join.kind, JoinKind::Left | JoinKind::Anti)),
        );
        let is_sequence = nodes().any(|(_, node)| matches!(node.spec, Spec::Sequence(_)));
        let has_sessions =
            nodes().any(|(_, node)| matches!(&node.spec, Spec::Window(window) if window.windows.is_sessions()));
        let emission = match (compiled.is_row_level, compiled.is_early) {
            (true, _) if nodes().any(|(_, node)| matches!(node.spec, Spec::Over(_))) => {
                "when the watermark passes the event, so that its predecessors are certain"
            }
            (true, _) if waits => {
                "at the event that completes it; for what is absent, when the watermark passes the bound"
            }
            (true, _) if is_sequence => "when the watermark has passed the sequence and no later row can change it",
            (true, _) => "at the event",
            (false, true) if has_sessions => {
                "when the threshold is crossed and the watermark has reached the session's start, and again when it is over if \
                 values differ"
            }
            (false, true) => {
                "at the event that crosses the threshold, and again when the window closes if values differ"
            }
            (false, false) if has_sessions => "when the watermark has passed the session's last event by its gap",
            (false, false) => "when the watermark closes the window",
        };
        let certainty = nodes().find_map(|(_, node)| match &node.spec {
            Spec::Cooldown(cooldown) => Some(certainty(cooldown)),
            _ => None,
        });
        let sections = [
            ("plan", plan.lines().map(str::to_owned).collect()),
            ("operators", nodes().map(|(id, node)| operator(&self.graph, id, node)).collect()),
            ("state", nodes().filter_map(|(_, node)| weighed(&self.graph, node)).collect()),
            ("reads", compiled.reads.iter().map(Reads::in_words).collect()),
            ("emission", std::iter::once(emission).chain(certainty).map(str::to_owned).collect()),
        ];
        let section = |(title, lines): &(&str, Vec<String>)| {
            let lines: String = lines.iter().map(|line| format!("  {line}\n")).collect();
            format!("{title}\n{lines}")
        };
        Some(sections.iter().map(section).collect::<Vec<_>>().join("\n"))
    }
}

/// When a cooldown knows whether an alert is a repeat.
const fn certainty(cooldown: &CooldownSpec) -> &'static str {
    match (cooldown.grain_us > 0, cooldown.settles_in_silence) {
        (true, _) => {
            "its cooldown leaves it provisional until the watermark has passed the end of the window before, or all its streams \
             are silent"
        }
        (false, true) => {
            "its cooldown leaves it provisional until the watermark has passed it, or all its streams are silent"
        }
        (false, false) => "its cooldown leaves it provisional until the watermark has passed it",
    }
}

/// One operator, and how many other detections it hears of where it reads their alerts.
fn operator(graph: &Graph, id: NodeId, node: &Node) -> String {
    let published = node.inputs.iter().filter(|edge| matches!(graph.nodes[edge.from].spec, Spec::Publish(_))).count();
    if published > 0 {
        return format!("#{id} the alerts of {}", counted(published, "detection"));
    }
    format!("#{id} {}", node.fingerprint)
}

/// What an operator remembers, when it forgets it, and how much it is.
fn weighed(graph: &Graph, node: &Node) -> Option<String> {
    let state = state(node)?;
    Some(weight::in_words(graph, node).map_or_else(|| state.clone(), |weight| format!("{state}; {weight}")))
}

/// What an operator remembers, and when it forgets it.
fn state(node: &Node) -> Option<String> {
    match &node.spec {
        Spec::Join(join) => Some(remembered(join)),
        Spec::Window(window) => Some(format!("{}{}", groups_in_words(window), lists_in_words(window))),
        Spec::Over(over) => {
            let kept: Vec<String> = over.functions.iter().map(kept_in_words).collect();
            let keys = counted(over.keys.len(), "column");
            Some(format!("per key ({keys}) {}; dropped as the watermark passes", kept.join(", ")))
        }
        Spec::Sequence(sequence) => {
            let (keys, within) = (counted(sequence.keys.len(), "key column"), span_in_words(sequence.within_us));
            Some(format!(
                "the rows of each partition ({keys}) that a sequence can begin with or go on with, for at most {within}"
            ))
        }
        Spec::Emit(emit) if emit.is_row_level => {
            Some("one entry per alert, for 24 h of event time: a repeated record raises its count".to_owned())
        }
        Spec::Emit(_) => Some("one entry per alert, until its window closes".to_owned()),
        Spec::Cooldown(cooldown) => {
            let period = span_in_words(cooldown.period_us);
            Some(format!(
                "one entry per entity for {period}, one per alert for 24 h, the alerts that are not certain yet"
            ))
        }
        _ => None,
    }
}

/// What a join remembers, and when it speaks.
fn remembered(join: &JoinSpec) -> String {
    let for_long = |us: i64| if us < 0 { "not at all".to_owned() } else { format!("for {}", span_in_words(us)) };
    let (first, second) = (for_long(join.most_us), for_long(join.least_us.saturating_neg()));
    let (left, right) = if join.is_swapped { (second, first) } else { (first, second) };
    let kept = if join.is_swapped { "right" } else { "left" };
    let speaks = match join.kind {
        JoinKind::Inner => "a pair leaves when its later row comes".to_owned(),
        JoinKind::Left => format!(
            "a pair leaves when its later row comes, a {kept} row without a match when the watermark passes its bound"
        ),
        JoinKind::Semi => format!("a {kept} row leaves at its first match"),
        JoinKind::Anti => format!("a {kept} row leaves when the watermark passes its bound without a match"),
    };
    format!("the rows of each key: left {left}, right {right} of event time behind the watermark; {speaks}")
}

/// What a window remembers of its groups.
fn groups_in_words(window: &WindowSpec) -> String {
    let keys = counted(window.keys.len(), "key column");
    let kind = match window.windows {
        Windows::Fixed(kind) => kind,
        Windows::Sessions { gap_us } => {
            let gap = span_in_words(gap_us);
            return format!(
                "one entry per group ({keys}) and {gap} of event time, merged into the next one as the \
                 watermark passes; dropped when the session is over, after {gap} without an event"
            );
        }
    };
    let size = span_in_words(kind.size_us());
    let after = match window.allowed_us {
        0 => String::new(),
        allowed_us => format!(", {} later for late events", span_in_words(allowed_us)),
    };
    if kind.is_disjoint() {
        format!("one entry per group ({keys}) and open window of {size}; dropped when it closes{after}")
    } else {
        format!(
            "one entry per group ({keys}) and pane; windows of {size} share their panes, and a pane \
             is dropped when its last window closes{after}"
        )
    }
}

/// How many values the lists of a window hold, if it has any.
fn lists_in_words(window: &WindowSpec) -> String {
    let is_list = |aggregate: &AggregateSpec| match &aggregate.function {
        AggregateKind::InOrder(kept) => matches!(kept.keep, Keep::All | Keep::Distinct),
        _ => false,
    };
    match window.aggregates.iter().any(is_list) {
        true => format!("; of each list at most {VALUES_MAX} values"),
        false => String::new(),
    }
}
