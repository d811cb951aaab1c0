//! `holdfast`: what an operator does, from a terminal or a script.
fn main() {}
