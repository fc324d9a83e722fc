//! A circuit breaker: after failures in a row a responder is left alone for a while, then one request tries it.

use std::time::{Duration, Instant};

/// Failures in a row that open the breaker.
const FAILURES_MAX: u32 = 5;
/// How long it stays open at first; doubles with each failed probe.
const PAUSE: Duration = Duration::from_secs(5);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// The breaker of one responder.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    failures: u32,
    open_until: Option<Instant>,
}

impl Breaker {
    /// Lets a request pass, or says how long to wait. When the pause is over, the first one passes as a probe and the
    /// next wait until its outcome is known.
    pub(super) fn admit(&mut self, now: Instant) -> Result<(), Duration> {
        match self.open_until {
            Some(until) if now < until => Err(until - now),
            Some(_) => {
                self.open_until = Some(now + self.pause());
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Takes in how an exchange ended.
    pub(super) fn observe(&mut self, is_well: bool, now: Instant) {
        if is_well {
            *self = Self::default();
            return;
        }
        self.failures = self.failures.saturating_add(1);
        if self.failures >= FAILURES_MAX {
            self.open_until = Some(now + self.pause());
        }
    }

    fn pause(&self) -> Duration {
        let probes = self.failures.saturating_sub(FAILURES_MAX).min(8);
        (PAUSE * 2_u32.pow(probes)).min(PAUSE_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn breaker_opens_after_failures_in_a_row_and_closes_with_the_first_success() {
        let start = Instant::now();
        let mut breaker = Breaker::default();
        for _ in 0..FAILURES_MAX - 1 {
            breaker.observe(false, start);
            assert_eq!(breaker.admit(start), Ok(()));
        }
        breaker.observe(false, start);
        assert_eq!(breaker.admit(start), Err(PAUSE));
        let later = start + PAUSE;
        assert_eq!(breaker.admit(later), Ok(()), "one probe passes");
        assert!(breaker.admit(later).is_err(), "and only one");
        breaker.observe(true, later);
        assert_eq!(breaker.admit(later), Ok(()));
    }

    #[test]
    fn pause_doubles_up_to_a_limit() {
        let start = Instant::now();
        let mut breaker = Breaker::default();
        for _ in 0..100 {
            breaker.observe(false, start);
        }
        assert_eq!(breaker.admit(start), Err(PAUSE_MAX));
    }

    #[test]
    fn success_between_failures_keeps_it_closed() {
        let start = Instant::now();
        let mut breaker = Breaker::default();
        for _ in 0..50 {
            breaker.observe(false, start);
            breaker.observe(true, start);
        }
        assert_eq!(breaker.admit(start), Ok(()));
    }
}
