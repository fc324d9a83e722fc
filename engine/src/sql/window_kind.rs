//! Kinds of windows, and the arithmetic of their boundaries. All measures are microseconds.
//!
//! A *slice* is the greatest stretch of time that no boundary of a window cuts: rows of one slice belong to the same
//! windows, so they are aggregated together once.

use std::fmt;

/// The kind of a window, with its measures in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum WindowKind {
    /// Back to back.
    Tumble {
        /// Length.
        size_us: i64,
        /// Shift of all windows against 1970-01-01T00:00:00Z.
        offset_us: i64,
    },
    /// One begins at each multiple of the slide.
    Hop {
        /// From one start to the next.
        slide_us: i64,
        /// Length.
        size_us: i64,
        /// Shift of all windows against 1970-01-01T00:00:00Z.
        offset_us: i64,
    },
    /// Growing by a step from a common start, until the full size is reached.
    Cumulate {
        /// From one end to the next; divides the size.
        step_us: i64,
        /// Greatest length.
        size_us: i64,
        /// Shift of all windows against 1970-01-01T00:00:00Z.
        offset_us: i64,
    },
}

/// How rows come to their windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Windows {
    /// By their times alone.
    Fixed(WindowKind),
    /// By the rows of their key: one is in the session of the one before it if it is less than the gap behind it.
    Sessions {
        /// How long a key is silent when its session ends.
        gap_us: i64,
    },
}

impl Windows {
    /// The kind of windows that go by the rows' times alone.
    pub(crate) const fn fixed(self) -> Option<WindowKind> {
        match self {
            Self::Fixed(kind) => Some(kind),
            Self::Sessions { .. } => None,
        }
    }

    /// Whether every row is in exactly one window, which its time alone tells.
    pub(crate) const fn is_tumbling(self) -> bool {
        matches!(self, Self::Fixed(WindowKind::Tumble { .. }))
    }

    pub(crate) const fn is_sessions(self) -> bool {
        matches!(self, Self::Sessions { .. })
    }
}

impl fmt::Display for Windows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(kind) => kind.fmt(f),
            Self::Sessions { gap_us } => write!(f, "session {}", span_in_words(*gap_us)),
        }
    }
}

impl WindowKind {
    /// The slice that holds an instant; `None` if no window does.
    pub(crate) const fn slice_of(self, time: i64) -> Option<i64> {
        match self {
            Self::Tumble { size_us, offset_us } => Some(floor(time, size_us, offset_us)),
            Self::Cumulate { step_us, size_us, offset_us } => {
                Some(floor(time, step_us, floor(time, size_us, offset_us)))
            }
            Self::Hop { slide_us, size_us, offset_us } => {
                let start = floor(time, slide_us, offset_us);
                let rest = size_us.rem_euclid(slide_us);
                if rest == 0 || time < start.saturating_add(rest) {
                    Some(start)
                } else if size_us < slide_us {
                    None
                } else {
                    Some(start.saturating_add(rest))
                }
            }
        }
    }

    /// The first end, greater than `after`, of a window that holds `time`; `None` if there is none.
    pub(crate) fn first_end(self, time: i64, after: i64) -> Option<i64> {
        let (first, last) = match self {
            Self::Tumble { size_us, offset_us } => {
                let end = floor(time, size_us, offset_us).saturating_add(size_us);
                (end, end)
            }
            Self::Cumulate { step_us, size_us, offset_us } => {
                let start = floor(time, size_us, offset_us);
                (floor(time.max(after), step_us, start).saturating_add(step_us), start.saturating_add(size_us))
            }
            Self::Hop { slide_us, size_us, offset_us } => {
                let ends = offset_us.saturating_add(size_us);
                (floor(time.max(after), slide_us, ends).saturating_add(slide_us), time.saturating_add(size_us))
            }
        };
        (first > after && first <= last).then_some(first)
    }

    /// Start of the window that ends at `end`.
    pub(crate) const fn start_of(self, end: i64) -> i64 {
        match self {
            Self::Tumble { size_us, .. } | Self::Hop { size_us, .. } => end.saturating_sub(size_us),
            Self::Cumulate { size_us, offset_us, .. } => floor(end.saturating_sub(1), size_us, offset_us),
        }
    }

    /// Start and end of every window that holds an instant, the first to end first.
    pub(crate) fn windows_of(self, time: i64) -> impl Iterator<Item = (i64, i64)> {
        let first = self.first_end(time, i64::MIN);
        std::iter::successors(first, move |end| self.first_end(time, *end)).map(move |end| (self.start_of(end), end))
    }

    /// The length of the longest window.
    pub(crate) const fn size_us(self) -> i64 {
        match self {
            Self::Tumble { size_us, .. } | Self::Hop { size_us, .. } | Self::Cumulate { size_us, .. } => size_us,
        }
    }

    /// The length of the shortest window.
    pub(crate) const fn shortest_us(self) -> i64 {
        match self {
            Self::Tumble { size_us, .. } | Self::Hop { size_us, .. } => size_us,
            Self::Cumulate { step_us, .. } => step_us,
        }
    }

    /// Whether every row is in one window at most.
    pub(crate) const fn is_disjoint(self) -> bool {
        match self {
            Self::Tumble { .. } => true,
            Self::Hop { slide_us, size_us, .. } => size_us <= slide_us,
            Self::Cumulate { step_us, size_us, .. } => size_us <= step_us,
        }
    }

    /// In how many windows a row is at most.
    pub(crate) const fn windows_per_row(self) -> i64 {
        match self {
            Self::Tumble { .. } => 1,
            Self::Hop { slide_us, size_us, .. } => size_us.saturating_add(slide_us - 1) / slide_us,
            Self::Cumulate { step_us, size_us, .. } => size_us / step_us,
        }
    }
}

/// The greatest instant up to `time` that is `offset` and a multiple of `unit`.
pub(crate) const fn floor(time: i64, unit: i64, offset: i64) -> i64 {
    time.saturating_sub(time.saturating_sub(offset).rem_euclid(unit))
}

impl fmt::Display for WindowKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let offset = match self {
            Self::Tumble { size_us, offset_us } => {
                write!(f, "tumble {}", span_in_words(*size_us))?;
                offset_us
            }
            Self::Hop { slide_us, size_us, offset_us } => {
                write!(f, "hop {} of {}", span_in_words(*slide_us), span_in_words(*size_us))?;
                offset_us
            }
            Self::Cumulate { step_us, size_us, offset_us } => {
                write!(f, "cumulate {} up to {}", span_in_words(*step_us), span_in_words(*size_us))?;
                offset_us
            }
        };
        if *offset == 0 { Ok(()) } else { write!(f, ", offset {}", span_in_words(*offset)) }
    }
}

/// A span of time in the largest unit that it is a whole number of.
pub(crate) fn span_in_words(us: i64) -> String {
    let units = [(86_400_000_000, "d"), (3_600_000_000, "h"), (60_000_000, "min"), (1_000_000, "s"), (1_000, "ms")];
    let whole = units.iter().find(|(unit, _)| us != 0 && us % unit == 0);
    whole.map_or_else(|| format!("{us} µs"), |(unit, name)| format!("{} {name}", us / unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Windows by trying every start and length.
    fn naive(kind: WindowKind, time: i64) -> Vec<(i64, i64)> {
        let mut windows = vec![];
        for start in -60..60 {
            match kind {
                WindowKind::Tumble { size_us, offset_us } => {
                    if (start - offset_us).rem_euclid(size_us) == 0 {
                        windows.push((start, start + size_us));
                    }
                }
                WindowKind::Hop { slide_us, size_us, offset_us } => {
                    if (start - offset_us).rem_euclid(slide_us) == 0 {
                        windows.push((start, start + size_us));
                    }
                }
                WindowKind::Cumulate { step_us, size_us, offset_us } => {
                    if (start - offset_us).rem_euclid(size_us) == 0 {
                        windows.extend((1..=size_us / step_us).map(|steps| (start, start + steps * step_us)));
                    }
                }
            }
        }
        windows.retain(|(start, end)| (*start..*end).contains(&time));
        windows.sort_by_key(|(_, end)| *end);
        windows
    }

    #[test]
    fn every_instant_is_in_the_windows_of_the_definition() {
        for offset_us in [0, 2, -3, 11] {
            let kinds = [
                WindowKind::Tumble { size_us: 5, offset_us },
                WindowKind::Hop { slide_us: 5, size_us: 10, offset_us },
                WindowKind::Hop { slide_us: 5, size_us: 12, offset_us },
                WindowKind::Hop { slide_us: 7, size_us: 3, offset_us },
                WindowKind::Hop { slide_us: 4, size_us: 4, offset_us },
                WindowKind::Cumulate { step_us: 3, size_us: 12, offset_us },
                WindowKind::Cumulate { step_us: 5, size_us: 5, offset_us },
            ];
            for kind in kinds {
                for time in -20..20 {
                    let expected = naive(kind, time);
                    assert_eq!(kind.windows_of(time).collect::<Vec<_>>(), expected, "{kind} at {time}");
                    assert!(expected.len() as i64 <= kind.windows_per_row());
                    let slice = kind.slice_of(time);
                    assert_eq!(slice.is_none(), expected.is_empty(), "{kind} at {time}");
                    // All of a slice is in the same windows.
                    slice.into_iter().flat_map(|slice| slice..=time).for_each(|same| {
                        assert_eq!(naive(kind, same), expected, "{kind}: {same} is in the slice of {time}");
                    });
                }
            }
        }
    }
}
