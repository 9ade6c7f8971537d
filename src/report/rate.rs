//! How fast a count grows, smoothed: [`Rate`].

use std::time::{Duration, Instant};

/// What is older than a few times this hardly counts.
const MEMORY: Duration = Duration::from_secs(3);
/// The least time between two samples: shorter ones only tell how events are bundled.
const SAMPLE: Duration = Duration::from_millis(100);

/// The rate of a count: a mean of its samples over time, in which a sample weighs less the older it is.
#[derive(Debug)]
pub(super) struct Rate {
    sampled_at: Instant,
    count: u64,
    /// The samples, each times its weight.
    sum: f64,
    weight: f64,
}

impl Rate {
    /// The rate of a count that is 0 now.
    pub(super) fn new(now: Instant) -> Self {
        Self { sampled_at: now, count: 0, sum: 0.0, weight: 0.0 }
    }

    /// Tells what the count is now.
    pub(super) fn sample(&mut self, count: u64, now: Instant) {
        let passed = now.saturating_duration_since(self.sampled_at);
        if passed < SAMPLE {
            return;
        }
        let kept = (-passed.as_secs_f64() / MEMORY.as_secs_f64()).exp();
        let grown = count.saturating_sub(self.count) as f64 / passed.as_secs_f64();
        self.sum = self.sum * kept + grown * (1.0 - kept);
        self.weight = self.weight * kept + (1.0 - kept);
        (self.sampled_at, self.count) = (now, count);
    }

    /// How much the count grows in a second; nothing where that is not known yet.
    pub(super) fn per_second(&self) -> Option<f64> {
        (self.weight > 0.0).then(|| self.sum / self.weight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_even_rate_is_told_from_the_first_sample_on() {
        let began = Instant::now();
        let mut rate = Rate::new(began);
        assert_eq!(rate.per_second(), None);
        for step in 1..50u32 {
            rate.sample(u64::from(step) * 300, began + step * Duration::from_millis(300));
            let told = rate.per_second().unwrap();
            assert!((told - 1000.0).abs() < 1e-6, "{told}");
        }
    }

    #[test]
    fn bursts_are_smoothed_and_an_end_is_seen_within_seconds() {
        let began = Instant::now();
        let mut rate = Rate::new(began);
        let mut now = began;
        for step in 1..=100u64 {
            now += Duration::from_millis(100);
            rate.sample(step / 5 * 500, now);
        }
        let told = rate.per_second().unwrap();
        assert!((800.0..1200.0).contains(&told), "{told}");
        now += 4 * MEMORY;
        rate.sample(10_000, now);
        assert!(rate.per_second().unwrap() < 30.0);
    }
}
