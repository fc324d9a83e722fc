//! Sessions: rows of a key that follow each other by less than a gap.
//!
//! State is panes as long as the gap: rows of one key in one pane are of one session, so they are aggregated together, and
//! a session is a chain of groups in neighbouring panes. When the watermark has passed the last row of a group by the gap,
//! it is known whether the next pane goes on with the session: then the group is merged into that one, and otherwise the
//! session is over. So a key has its few latest groups, however long its session lasts.
//!
//! A monotone condition lets a session state itself as soon as it holds and no earlier row can move its start any more,
//! which is when the watermark has reached the start.

use std::collections::{BTreeMap, VecDeque};

use arrow::array::{RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::SchemaRef;

use super::form::{Form, Saved};
use super::groups::Groups;
use crate::error::EngineError;
use crate::graph::WindowSpec;
use crate::operator::admit::admitted;
use crate::operator::bytes::of_tree;
use crate::operator::{Operator, Outbox};
use crate::rows::Rows;
use crate::snapshot::{Saved as State, Scope};
use crate::sql::total::evaluate_predicate;
use crate::sql::window_kind::floor;
use crate::table::TableVersion;
use crate::time::EventTime;

/// The operator of sessions.
pub(in crate::operator) struct Sessions {
    gap_us: i64,
    form: Form,
    /// Panes by the start of their slice.
    panes: BTreeMap<i64, Pane>,
    /// Groups whose session may state itself once the watermark reaches this start: their slice and number.
    unripe: BTreeMap<i64, Vec<(i64, u32)>>,
    /// Sessions that end up to here are over.
    watermark: EventTime,
}

/// The groups of one slice.
struct Pane {
    groups: Groups,
    /// First and last time of each group. The first is that of the session, where earlier panes were merged into it.
    spans: Vec<(i64, i64)>,
    early: Vec<Early>,
    /// Groups in the order in which they end, as soon as the pane gets no more rows.
    ending: Option<VecDeque<(i64, u32)>>,
}

/// What a group did about its early condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Early {
    /// Nothing yet, or the condition did not hold.
    Not,
    /// It waits for its start to be certain.
    Waits,
    /// Its session has stated itself. This is not saved: who states itself once more is known to
    /// [`Emit`](crate::operator::emit::Emit), and says nothing new.
    Fired,
}

impl Sessions {
    pub(in crate::operator) fn new(
        gap_us: i64,
        spec: WindowSpec,
        output: SchemaRef,
        input: SchemaRef,
    ) -> Result<Self, EngineError> {
        let form = Form::new(spec, output, input)?;
        Ok(Self { gap_us, form, panes: BTreeMap::new(), unripe: BTreeMap::new(), watermark: EventTime::MIN })
    }

    /// When a group ends, if nothing goes on with it.
    const fn end_of(&self, (_, last): (i64, i64)) -> i64 {
        last.saturating_add(self.gap_us)
    }

    /// Resolves the groups of a pane that end up to the watermark. The pane gets no more rows. Gives the groups of the next
    /// pane that took up a group which waited.
    fn resolve(&mut self, slice: i64, out: &mut Outbox) -> Result<Vec<u32>, EngineError> {
        let Some(mut pane) = self.panes.remove(&slice) else { return Ok(vec![]) };
        let mut ending = pane.ending.take().unwrap_or_else(|| {
            let ends = pane.spans.iter().zip(0..).map(|(span, group)| (self.end_of(*span), group));
            let mut ends: Vec<(i64, u32)> = ends.collect();
            ends.sort_unstable();
            ends.into()
        });
        let mut next = self.panes.get_mut(&slice.saturating_add(self.gap_us));
        let (mut over, mut bridged, mut woken) = (vec![], vec![], vec![]);
        while let Some((end, group)) = ending.front().copied().filter(|(end, _)| *end <= self.watermark.0) {
            ending.pop_front();
            let key = pane.groups.keys.row(group as usize);
            let follower = next.as_ref().and_then(|next| next.groups.find(key));
            match (next.as_mut(), follower) {
                (Some(next), Some(follower)) if next.spans[follower as usize].0 < end => {
                    next.spans[follower as usize].0 = pane.spans[group as usize].0;
                    let early = &mut next.early[follower as usize];
                    *early = (*early).max(pane.early[group as usize]);
                    if *early == Early::Waits {
                        woken.push(follower);
                    }
                    bridged.push(group);
                }
                _ => over.push(group),
            }
        }
        if let Some(next) = next {
            next.groups.absorb(&mut pane.groups, &bridged)?;
        }
        if !over.is_empty() {
            let spans: Vec<(i64, i64)> = over.iter().map(|group| self.whole(pane.spans[*group as usize])).collect();
            out.rows.push(self.form.stated(&mut pane.groups, &over, &spans, false)?);
        }
        if !ending.is_empty() {
            pane.ending = Some(ending);
            self.panes.insert(slice, pane);
        }
        Ok(woken)
    }

    /// Start and end of a session whose rows have this first and last time.
    const fn whole(&self, span: (i64, i64)) -> (i64, i64) {
        (span.0, self.end_of(span))
    }

    /// The groups of the session that a group is in, the first first.
    fn chain(&self, slice: i64, group: u32) -> VecDeque<(i64, u32)> {
        let mut chain = VecDeque::from([(slice, group)]);
        let Some(pane) = self.panes.get(&slice) else { return chain };
        let key = pane.groups.keys.row(group as usize);
        let there = |slice: i64| {
            let pane = self.panes.get(&slice)?;
            let group = pane.groups.find(key)?;
            let span = pane.spans[group as usize];
            // What ended was merged into the next pane, or is over.
            (self.end_of(span) > self.watermark.0).then_some((group, span))
        };
        let own = pane.spans[group as usize];
        let (mut at, mut span) = (slice, own);
        while let Some((group, before)) = there(at.saturating_sub(self.gap_us)) {
            if span.0 >= self.end_of(before) {
                break;
            }
            (at, span) = (at.saturating_sub(self.gap_us), before);
            chain.push_front((at, group));
        }
        (at, span) = (slice, own);
        while let Some((group, after)) = there(at.saturating_add(self.gap_us)) {
            if after.0 >= self.end_of(span) {
                break;
            }
            (at, span) = (at.saturating_add(self.gap_us), after);
            chain.push_back((at, group));
        }
        chain
    }

    /// States sessions of a pane for which the early condition holds, once each. Those whose start is not certain wait.
    fn fire_early(&mut self, slice: i64, touched: &[u32], out: &mut Outbox) -> Result<(), EngineError> {
        let Some(early) = self.form.spec.early.clone() else { return Ok(()) };
        let mut touched = touched.to_vec();
        touched.sort_unstable();
        touched.dedup();
        let mut merged = self.form.groups()?;
        let (mut asked, mut spans) = (vec![], vec![]);
        let mut parts: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
        for group in touched {
            let chain = self.chain(slice, group);
            let part = |(slice, group): &(i64, u32)| {
                let pane = self.panes.get(slice)?;
                Some((pane.spans[*group as usize], pane.early[*group as usize]))
            };
            let known: Vec<((i64, i64), Early)> = chain.iter().filter_map(part).collect();
            let (Some(((start, _), _)), Some((last, _))) = (known.first(), known.last()) else { continue };
            if known.iter().any(|(_, early)| *early == Early::Fired) {
                continue;
            }
            let (start, end) = (*start, self.end_of(*last));
            if start > self.watermark.0 {
                self.wait(start, slice, group);
                continue;
            }
            if let Some(pane) = self.panes.get(&slice) {
                merged.find_or_add(pane.groups.keys.row(group as usize));
            }
            chain.iter().for_each(|(slice, group)| parts.entry(*slice).or_default().push(*group));
            asked.push(group);
            spans.push((start, end));
        }
        if asked.is_empty() {
            return Ok(());
        }
        for (slice, groups) in parts {
            if let Some(pane) = self.panes.get_mut(&slice) {
                merged.absorb(&mut pane.groups, &groups)?;
            }
        }
        let all: Vec<u32> = (0..merged.len() as u32).collect();
        let rows = self.form.stated(&mut merged, &all, &spans, true)?;
        let holds = evaluate_predicate(early.as_ref(), &rows.columns, &mut out.failures)?;
        if let Some(pane) = self.panes.get_mut(&slice) {
            for (group, holds) in asked.iter().zip(holds.values().iter()) {
                pane.early[*group as usize] = if holds { Early::Fired } else { Early::Not };
            }
        }
        if holds.true_count() > 0 {
            out.rows.push(rows.filter(&holds)?);
        }
        Ok(())
    }

    /// Lets a group wait until the watermark reaches the start of its session.
    fn wait(&mut self, start: i64, slice: i64, group: u32) {
        let Some(pane) = self.panes.get_mut(&slice) else { return };
        if std::mem::replace(&mut pane.early[group as usize], Early::Waits) == Early::Not {
            self.unripe.entry(start).or_default().push((slice, group));
        }
    }

    fn restore_pane(&mut self, saved: &Saved) -> Result<(), EngineError> {
        self.watermark = self.watermark.max(saved.watermark);
        let [firsts, lasts] = saved.instants.as_slice() else {
            return Err(EngineError::Snapshot("a saved session has a first and a last row".to_owned()));
        };
        let pane = pane_at(&mut self.panes, &self.form, saved.slice)?;
        let groups = pane.groups.merge(&saved.keys, &saved.arrival, &saved.states)?;
        pane.widen(&groups, firsts);
        pane.widen(&groups, lasts);
        if self.form.spec.early.is_some() {
            for (row, group) in groups.into_iter().enumerate() {
                self.wait(firsts.value(row), saved.slice, group);
            }
        }
        Ok(())
    }
}

impl Pane {
    fn bytes(&self) -> usize {
        let spans = self.spans.capacity() * size_of::<(i64, i64)>() + self.early.capacity();
        let ending = self.ending.as_ref().map_or(0, |ending| ending.capacity() * size_of::<(i64, u32)>());
        self.groups.bytes() + spans + ending
    }

    /// Takes up the times of rows that were added to these groups.
    fn widen(&mut self, groups: &[u32], times: &TimestampMicrosecondArray) {
        self.spans.resize(self.groups.len(), (i64::MAX, i64::MIN));
        self.early.resize(self.groups.len(), Early::Not);
        for (group, time) in groups.iter().zip(times.values()) {
            let (first, last) = &mut self.spans[*group as usize];
            (*first, *last) = ((*first).min(*time), (*last).max(*time));
        }
    }
}

/// The pane of a slice, which is new if it was not there.
fn pane_at<'a>(panes: &'a mut BTreeMap<i64, Pane>, form: &Form, slice: i64) -> Result<&'a mut Pane, EngineError> {
    Ok(match panes.entry(slice) {
        std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
        std::collections::btree_map::Entry::Vacant(entry) => {
            entry.insert(Pane { groups: form.groups()?, spans: vec![], early: vec![], ending: None })
        }
    })
}

impl Operator for Sessions {
    fn rows(&mut self, _input: usize, rows: Rows, out: &mut Outbox) -> Result<(), EngineError> {
        let rows = admitted(rows, self.watermark, out)?;
        if rows.is_empty() {
            return Ok(());
        }
        let gap_us = self.gap_us;
        for share in self.form.shares(&rows, |time| Some(floor(time, gap_us, 0)), &mut out.failures)? {
            let pane = pane_at(&mut self.panes, &self.form, share.slice)?;
            let groups = pane.groups.add(&share)?;
            pane.widen(&groups, &share.time);
            self.fire_early(share.slice, &groups, out)?;
        }
        Ok(())
    }

    fn watermark(&mut self, watermark: EventTime, out: &mut Outbox) -> Result<(), EngineError> {
        self.watermark = self.watermark.max(watermark);
        let mut woken: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
        let (gap_us, mut from) = (self.gap_us, i64::MIN);
        while let Some(slice) = self.panes.range(from..).next().map(|(slice, _)| *slice) {
            let next = slice.saturating_add(gap_us);
            if next > watermark.0 {
                break;
            }
            let taken_up = self.resolve(slice, out)?;
            woken.entry(next).or_default().extend(taken_up);
            from = slice.saturating_add(1);
        }
        while let Some(entry) = self.unripe.first_entry().filter(|entry| *entry.key() <= watermark.0) {
            for (slice, group) in entry.remove() {
                woken.entry(slice).or_default().push(group);
            }
        }
        for (slice, mut groups) in woken {
            let Some(pane) = self.panes.get_mut(&slice) else { continue };
            groups.retain(|group| pane.spans[*group as usize].1.saturating_add(gap_us) > watermark.0);
            groups.iter().for_each(|group| {
                let early = &mut pane.early[*group as usize];
                *early = if *early == Early::Fired { Early::Fired } else { Early::Not };
            });
            self.fire_early(slice, &groups, out)?;
        }
        Ok(())
    }

    fn table(&mut self, _table: &TableVersion) -> Result<(), EngineError> {
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        let unripe = self.unripe.values().map(|groups| groups.capacity() * size_of::<(i64, u32)>()).sum::<usize>();
        self.panes.values().map(Pane::bytes).sum::<usize>() + unripe + of_tree::<(i64, Vec<u8>)>(self.unripe.len())
    }

    /// One batch per pane, without the groups that have ended. Always everything: what has ended is not noted.
    fn save(&mut self, _scope: Scope) -> Result<State, EngineError> {
        let (gap_us, watermark) = (self.gap_us, self.watermark);
        let mut saved = vec![];
        for (slice, pane) in &mut self.panes {
            let is_open = |(_, (_, last)): &(u32, &(i64, i64))| last.saturating_add(gap_us) > watermark.0;
            let open: Vec<(u32, &(i64, i64))> = (0..).zip(&pane.spans).filter(is_open).collect();
            let which: Vec<u32> = open.iter().map(|(group, _)| *group).collect();
            let (firsts, lasts) = open.iter().map(|(_, span)| **span).unzip();
            let instants = vec![("first", firsts), ("last", lasts)];
            saved.push(self.form.collect(*slice, watermark, &mut pane.groups, &which, instants)?.rows()?);
        }
        Ok(State::whole(saved))
    }

    fn restore(&mut self, state: &[RecordBatch], owns: &dyn Fn(u32) -> bool) -> Result<(), EngineError> {
        for batch in state {
            if let Some(saved) = self.form.saved(batch, 2, owns)? {
                self.restore_pane(&saved)?;
            }
        }
        Ok(())
    }
}
