//! Chance that a seed decides, so that a test that failed can be run again with the same plan.

use std::str::FromStr;

/// The variable that sets the seed of every test that asks for one.
const VARIABLE: &str = "CHAOS_SEED";

/// A source of chance (`SplitMix64`).
pub(crate) struct Dice(u64);

impl Dice {
    /// The dice of a test: its own, unless the environment says otherwise. How to run it again is told where the test
    /// fails, since only then its output is shown.
    pub(crate) fn of_test(test: &str, default: u64) -> Self {
        let set = shared::config::environment(VARIABLE).and_then(|text| u64::from_str(&text).ok());
        let seed = set.unwrap_or(default);
        println!("again with: {VARIABLE}={seed} cargo test -p local --test process -- {test}");
        Self(seed)
    }

    /// Other dice, whose falls do not depend on how often these are used.
    pub(crate) fn fork(&mut self) -> Self {
        Self(self.next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 up to, and without, `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// One of them, if there is any.
    pub(crate) fn choose<'a, T>(&mut self, among: &'a [T]) -> Option<&'a T> {
        let count = u64::try_from(among.len()).ok().filter(|count| *count > 0)?;
        among.get(usize::try_from(self.below(count)).ok()?)
    }
}
