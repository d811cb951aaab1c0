//! What the subjects in `src/bin` share.

/// A variable of the environment that a subject cannot run without.
///
/// # Errors
/// It is not set.
pub fn required(name: &str) -> Result<String, String> {
    shared::config::environment(name).ok_or_else(|| format!("{name} is not set"))
}
