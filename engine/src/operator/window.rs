//! Grouped aggregates over windows. State is panes: each holds the groups of one slice of time that no boundary of a
//! window cuts, so that a row is aggregated once however many windows it is in. A window that closes merges its panes,
//! and a pane is dropped whole when no open window needs it.
//!
//! A monotone condition lets a group state itself as soon as it holds. Where windows overlap, a group is first measured
//! over a stretch that covers all windows of the row: only where the condition holds there can it hold in one of them.
//!
//! Where late rows are allowed for, a window that closes states its groups provisionally and keeps its panes. A late row
//! states its group again, and all is stated for good when the watermark has passed the end by the allowance. Readers learn
//! of the watermark by as much later.

mod form;
mod groups;
mod session;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use arrow::array::{BooleanArray, RecordBatch};
use arrow::datatypes::SchemaRef;
use datafusion::physical_expr::utils::collect_columns;

use self::form::{Form, Saved, Share};
use self::groups::Groups;
pub(super) use self::session::Sessions;
use super::admit::admitted_within;
use super::bytes::{of_box, of_table};
use super::{Operator, Outbox};
use crate::error::EngineError;
use crate::graph::WindowSpec;
use crate::rows::Rows;
use crate::snapshot::{Change, Later, Noted, Saved as State, Scope};
use crate::sql::total::evaluate_predicate;
use crate::sql::window_kind::{WindowKind, floor};
use crate::table::TableVersion;
use crate::time::EventTime;

/// The operator of all windows that go by the rows' times alone; their kind is data.
pub(super) struct Window {
    kind: WindowKind,
    form: Form,
    /// Panes by the start of their slice.
    panes: BTreeMap<i64, Groups>,
    /// Keys that have stated themselves early, by the end of their window. They are not saved: who states itself once more
    /// is known to [`Emit`](super::emit::Emit), and says nothing new.
    fired: BTreeMap<i64, HashSet<Box<[u8]>>>,
    /// The bytes of these keys.
    fired_bytes: usize,
    /// Stretches as long as the longest window, kept where early conditions meet overlapping windows.
    stretches: BTreeMap<i64, Groups>,
    /// Whether the early condition can be asked of a stretch, which has no window.
    has_stretches: bool,
    /// Windows that end up to here are closed.
    watermark: EventTime,
    /// Slices whose panes were dropped.
    dropped: Noted<i64>,
    /// The watermark that was saved last.
    saved: EventTime,
}

impl Window {
    pub(super) fn new(
        kind: WindowKind,
        spec: WindowSpec,
        output: SchemaRef,
        input: SchemaRef,
    ) -> Result<Self, EngineError> {
        let names_window = |place: usize| spec.starts.contains(&place) || spec.ends.contains(&place);
        let has_stretches = !kind.is_disjoint()
            && spec
                .early
                .as_ref()
                .is_some_and(|early| !collect_columns(early).iter().any(|column| names_window(column.index())));
        Ok(Self {
            kind,
            form: Form::new(spec, output, input)?,
            panes: BTreeMap::new(),
            fired: BTreeMap::new(),
            fired_bytes: 0,
            stretches: BTreeMap::new(),
            has_stretches,
            watermark: EventTime::MIN,
            dropped: Noted::default(),
            saved: EventTime::MIN,
        })
    }

    /// States groups for which the early condition first holds in a window of the slice.
    fn fire_early(&mut self, slice: i64, touched: &[u32], out: &mut Outbox) -> Result<(), EngineError> {
        let Some(early) = self.form.spec.early.clone() else { return Ok(()) };
        let mut touched = touched.to_vec();
        touched.sort_unstable();
        touched.dedup();
        if self.has_stretches {
            self.retain_near(slice, &mut touched)?;
        }
        if touched.is_empty() {
            return Ok(());
        }
        let windows = self.kind.windows_of(slice).filter(|(_, end)| *end > self.watermark.0);
        for (start, end) in windows.collect::<Vec<_>>() {
            let Some(pane) = self.panes.get_mut(&slice) else { return Ok(()) };
            let fired = self.fired.get(&end);
            let has_fired =
                |group: u32| fired.is_some_and(|fired| fired.contains(pane.keys.row(group as usize).as_ref()));
            let waiting: Vec<u32> = touched.iter().copied().filter(|group| !has_fired(*group)).collect();
            if waiting.is_empty() {
                continue;
            }
            let mut merged: Groups;
            let (groups, which) = if self.kind.is_disjoint() {
                (pane, waiting)
            } else {
                merged = self.merged_some(slice, &waiting, start, end)?;
                let all = (0..merged.len() as u32).collect();
                (&mut merged, all)
            };
            let rows = self.form.stated(groups, &which, &vec![(start, end); which.len()], true)?;
            let holds = evaluate_predicate(early.as_ref(), &rows.columns, &mut out.failures)?;
            if holds.true_count() > 0 {
                let crossed = which.iter().zip(holds.values().iter()).filter(|(_, holds)| *holds);
                let keys = crossed.map(|(group, _)| groups.keys.row(*group as usize));
                let fired = self.fired.entry(end).or_default();
                for key in keys {
                    let key: Box<[u8]> = key.as_ref().into();
                    let bytes = of_box(key.len());
                    self.fired_bytes += if fired.insert(key) { bytes } else { 0 };
                }
                out.rows.push(rows.filter(&holds)?);
            }
        }
        Ok(())
    }

    /// Leaves only groups of a pane for which the early condition holds over the stretches around it.
    fn retain_near(&mut self, slice: i64, touched: &mut Vec<u32>) -> Result<(), EngineError> {
        let (Some(early), Some(pane)) = (&self.form.spec.early, self.panes.get(&slice)) else { return Ok(()) };
        let stretch = self.stretch_of(slice);
        let size = self.kind.size_us();
        let mut near = self.form.groups()?;
        for group in touched.iter() {
            near.find_or_add(pane.keys.row(*group as usize));
        }
        let around = self.stretches.range_mut(stretch.saturating_sub(size)..=stretch.saturating_add(size));
        for (_, stretch) in around {
            let here: Vec<u32> = near.keys.iter().filter_map(|key| stretch.find(key)).collect();
            near.absorb(stretch, &here)?;
        }
        let all: Vec<u32> = (0..near.len() as u32).collect();
        let rows = self.form.stated(&mut near, &all, &vec![(slice, slice); all.len()], true)?;
        // What cannot be computed is counted where a window is stated.
        let holds = evaluate_predicate(early.as_ref(), &rows.columns, &mut 0)?;
        let mut holds = holds.values().iter();
        touched.retain(|_| holds.next().unwrap_or(false));
        Ok(())
    }

    fn stretch_of(&self, slice: i64) -> i64 {
        floor(slice, self.kind.size_us(), 0)
    }

    /// Some groups of a pane, merged over a window that the pane is in.
    fn merged_some(&mut self, slice: i64, some: &[u32], start: i64, end: i64) -> Result<Groups, EngineError> {
        let mut merged = self.form.groups()?;
        if let Some(pane) = self.panes.get(&slice) {
            for group in some {
                merged.find_or_add(pane.keys.row(*group as usize));
            }
        }
        for (_, pane) in self.panes.range_mut(start..end) {
            let here: Vec<u32> = merged.keys.iter().filter_map(|key| pane.find(key)).collect();
            merged.absorb(pane, &here)?;
        }
        Ok(merged)
    }

    /// States groups of a slice again in windows that have closed and still allow for late rows.
    fn revise(&mut self, slice: i64, touched: &[u32], out: &mut Outbox) -> Result<(), EngineError> {
        let settled = self.settled(self.watermark);
        let is_kept = |(_, end): &(i64, i64)| *end <= self.watermark.0 && *end > settled.0;
        let windows: Vec<(i64, i64)> = self.kind.windows_of(slice).filter(is_kept).collect();
        for (start, end) in windows {
            let mut groups = self.merged_some(slice, touched, start, end)?;
            let which: Vec<u32> = (0..groups.len() as u32).collect();
            let rows = self.form.stated(&mut groups, &which, &vec![(start, end); which.len()], true)?;
            out.rows.push(Rows { withdrawn: Some(BooleanArray::from(vec![false; which.len()])), ..rows });
        }
        Ok(())
    }

    /// Windows that end up to here are stated for good at a watermark.
    fn settled(&self, watermark: EventTime) -> EventTime {
        watermark.less(self.form.spec.allowed_us)
    }

    /// The ends after `after` and up to `last` of windows that have rows.
    fn ends(&self, after: i64, last: i64) -> BTreeSet<i64> {
        let next = |slice: i64, after: i64| self.kind.first_end(slice, after).filter(|end| *end <= last);
        let panes = self.panes.range(after.saturating_sub(self.kind.size_us())..);
        let ends = |slice: i64| std::iter::successors(next(slice, after), move |end| next(slice, *end));
        panes.flat_map(|(slice, _)| ends(*slice)).collect()
    }

    /// States all groups of a window.
    fn close(&mut self, end: i64, is_provisional: bool, out: &mut Outbox) -> Result<(), EngineError> {
        let start = self.kind.start_of(end);
        let mut panes: Vec<&mut Groups> = self.panes.range_mut(start..end).map(|(_, pane)| pane).collect();
        let all = |groups: &Groups| (0..groups.len() as u32).collect::<Vec<_>>();
        let rows = if let [pane] = panes.as_mut_slice() {
            let groups = all(pane);
            self.form.stated(pane, &groups, &vec![(start, end); groups.len()], is_provisional)?
        } else {
            let mut merged = self.form.groups()?;
            for pane in panes {
                let groups = all(pane);
                merged.absorb(pane, &groups)?;
            }
            let groups = all(&merged);
            self.form.stated(&mut merged, &groups, &vec![(start, end); groups.len()], is_provisional)?
        };
        out.rows.push(rows);
        Ok(())
    }

    fn restore_pane(&mut self, saved: &Saved) -> Result<(), EngineError> {
        self.watermark = self.watermark.max(saved.watermark);
        let mut pane = match self.panes.remove(&saved.slice) {
            Some(pane) => pane,
            None => self.form.groups()?,
        };
        let groups = pane.merge(&saved.keys, &saved.arrival, &saved.states)?;
        if self.has_stretches {
            let stretch = self.stretch_of(saved.slice);
            let mut around = match self.stretches.remove(&stretch) {
                Some(around) => around,
                None => self.form.groups()?,
            };
            around.absorb(&mut pane, &groups)?;
            self.stretches.insert(stretch, around);
        }
        self.panes.insert(saved.slice, pane);
        Ok(())
    }
}

/// Adds the rows of one slice to the groups of a stretch of time.
fn add_rows(form: &Form, into: &mut BTreeMap<i64, Groups>, at: i64, share: &Share) -> Result<Vec<u32>, EngineError> {
    let pane = match into.entry(at) {
        std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
        std::collections::btree_map::Entry::Vacant(entry) => entry.insert(form.groups()?),
    };
    pane.add(share)
}

impl Operator for Window {
    fn rows(&mut self, _input: usize, rows: Rows, out: &mut Outbox) -> Result<(), EngineError> {
        let rows = admitted_within(rows, self.watermark, self.form.spec.allowed_us, out)?;
        if rows.is_empty() {
            return Ok(());
        }
        let kind = self.kind;
        for share in self.form.shares(&rows, |time| kind.slice_of(time), &mut out.failures)? {
            let groups = add_rows(&self.form, &mut self.panes, share.slice, &share)?;
            if self.has_stretches {
                let stretch = self.stretch_of(share.slice);
                add_rows(&self.form, &mut self.stretches, stretch, &share)?;
            }
            self.fire_early(share.slice, &groups, out)?;
            if self.form.spec.allowed_us > 0 {
                self.revise(share.slice, &groups, out)?;
            }
        }
        Ok(())
    }

    fn watermark(&mut self, watermark: EventTime, out: &mut Outbox) -> Result<(), EngineError> {
        let before = self.watermark;
        self.watermark = self.watermark.max(watermark);
        let settled = self.settled(self.watermark);
        if self.form.spec.allowed_us > 0 {
            for end in self.ends(before.0.max(settled.0), self.watermark.0) {
                self.close(end, true, out)?;
            }
        }
        let mut closed = self.settled(before).0;
        // The first pane has the first window to settle, since later panes are in no earlier windows.
        while let Some((slice, _)) = self.panes.first_key_value() {
            match self.kind.first_end(*slice, closed) {
                Some(end) if end > settled.0 => break,
                Some(end) => {
                    self.close(end, false, out)?;
                    closed = end;
                }
                None => {
                    let slice = *slice;
                    self.dropped.note(|| slice);
                    self.panes.pop_first();
                }
            }
        }
        while let Some(fired) = self.fired.first_entry().filter(|fired| *fired.key() <= self.watermark.0) {
            self.fired_bytes -= fired.remove().iter().map(|key| of_box(key.len())).sum::<usize>();
        }
        // A row that may still come is in windows that reach back by their size, and so are its neighbours.
        let size = self.kind.size_us();
        let needed = |stretch: i64| stretch.saturating_add(size).saturating_add(size) > settled.0;
        while self.stretches.first_key_value().is_some_and(|(stretch, _)| !needed(*stretch)) {
            self.stretches.pop_first();
        }
        Ok(())
    }

    fn forwards(&self, watermark: EventTime) -> EventTime {
        self.settled(watermark)
    }

    fn table(&mut self, _table: &TableVersion) -> Result<(), EngineError> {
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        let groups = self.panes.values().chain(self.stretches.values()).map(Groups::bytes);
        let fired = self.fired.values().map(|fired| of_table::<Box<[u8]>>(fired.capacity()));
        groups.sum::<usize>() + fired.sum::<usize>() + self.fired_bytes
    }

    /// One section per pane, whose groups are told apart by their keys.
    fn save(&mut self, scope: Scope) -> Result<State, EngineError> {
        let dropped = self.dropped.take();
        let mut changes = vec![];
        if scope == Scope::Changes {
            changes.extend(dropped.into_iter().map(|section| Change::Drop { section }));
        }
        for (slice, pane) in &mut self.panes {
            let touched = pane.take_touched();
            let which = if scope == Scope::Whole { (0..pane.len() as u32).collect() } else { touched };
            if !which.is_empty() {
                let collected = self.form.collect(*slice, self.watermark, pane, &which, vec![])?;
                let ids = collected.keys.clone();
                changes.push(Change::PutLater { section: *slice, ids, rows: Later::new(move || collected.rows()) });
            }
        }
        // Without panes there is nothing that a watermark says anything about.
        if !self.panes.is_empty() && (scope == Scope::Whole || self.saved != self.watermark) {
            self.saved = self.watermark;
            changes.push(Change::Watermark(self.watermark.0));
        }
        Ok(State::of(scope, changes))
    }

    fn resume(&mut self, watermark: EventTime) {
        self.watermark = self.watermark.max(watermark);
    }

    fn restore(&mut self, state: &[RecordBatch], owns: &dyn Fn(u32) -> bool) -> Result<(), EngineError> {
        for batch in state {
            if let Some(saved) = self.form.saved(batch, 0, owns)? {
                self.restore_pane(&saved)?;
            }
        }
        Ok(())
    }
}
