//! Everything that a history leaves to chance, decided by its seed.

use std::sync::Mutex;
use std::time::Duration;

/// A seeded sequence. Histories run in one thread, so the order of questions is always the same.
pub(crate) struct Chance(Mutex<fastrand::Rng>);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Mutex::new(fastrand::Rng::with_seed(seed)))
    }

    fn ask<T>(&self, question: impl FnOnce(&mut fastrand::Rng) -> T) -> T {
        question(&mut self.0.lock().expect("nothing panics while it holds the sequence"))
    }

    /// Whether something of this probability (0 to 1) happens.
    pub(crate) fn hits(&self, probability: f64) -> bool {
        probability > 0.0 && self.ask(|rng| rng.f64() < probability)
    }

    /// A number from `least` to `most`, both included.
    pub(crate) fn from(&self, least: u64, most: u64) -> u64 {
        self.ask(|rng| rng.u64(least..=most))
    }

    /// A position in something of so many elements.
    pub(crate) fn index(&self, len: usize) -> usize {
        self.ask(|rng| rng.usize(0..len))
    }

    /// One of several.
    pub(crate) fn pick<T: Clone>(&self, of: &[T]) -> T {
        of[self.index(of.len())].clone()
    }

    /// A time of so many milliseconds.
    pub(crate) fn millis(&self, least: u64, most: u64) -> Duration {
        Duration::from_millis(self.from(least, most))
    }

    /// Brings elements into any order.
    pub(crate) fn shuffle<T>(&self, elements: &mut [T]) {
        self.ask(|rng| rng.shuffle(elements));
    }
}
