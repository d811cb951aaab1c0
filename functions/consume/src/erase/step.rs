//! The steps of an erasure, in their order.

use crate::letters;
use crate::links;
use crate::store::EVENT_SORT;

/// The steps of an erasure of one id, by what the sort keys begin with that they go through. A cursor tells its step.
pub(super) const STEPS: [Step; 4] = [Step::Events, Step::Devices, Step::Former, Step::Letters];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Events,
    Devices,
    Former,
    Letters,
}

impl Step {
    /// What the sort keys begin with that it goes through.
    pub(super) fn prefix(self) -> &'static str {
        match self {
            Step::Events => EVENT_SORT,
            Step::Devices => links::Kind::Device.prefix(),
            Step::Former => links::Kind::Former.prefix(),
            Step::Letters => letters::LINK_PREFIX,
        }
    }
}
