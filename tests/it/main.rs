//! Holdfast as a whole: what goes in by HTTP, and what is in the tables in the end.

mod accept;
mod bad_input;
mod delivery;
mod profiles;
mod samples;
mod trouble;
