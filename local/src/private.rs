//! Files and folders that are nobody else's business: they hold whole events, and so whatever producers say of people.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::path::Path;

/// Makes a folder, and those above it, for its owner alone (0700). One that is there already is left as it is.
///
/// # Errors
/// It cannot be made, or something else has its name.
pub(crate) fn make_folder(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Like [`make_folder`], and takes one that is there already away from others too.
///
/// # Errors
/// As [`make_folder`].
pub(crate) fn own_folder(path: &Path) -> io::Result<()> {
    make_folder(path)?;
    keep_from_others(path, 0o700);
    Ok(())
}

/// Opens a file to be written, made empty if it is missing, for its owner alone (0600). What is in it stays.
///
/// # Errors
/// It cannot be opened.
pub(crate) fn own_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    keep_from_others(path, 0o600);
    Ok(file)
}

/// Some file systems have no permissions, which is no reason not to work on them.
fn keep_from_others(path: &Path, mode: u32) {
    #[cfg(unix)]
    if let Err(error) = std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)) {
        tracing::warn!(path = %path.display(), %error, "others may be able to read this");
    }
    // Elsewhere it is the folder above that says who may read.
    #[cfg(not(unix))]
    let _ = (path, mode);
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn what_is_made_and_what_was_there_is_for_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let (folder, file) = (directory.path().join("above/folder"), directory.path().join("above/folder/file"));
        own_folder(&folder).unwrap();
        own_file(&file).unwrap();
        assert_eq!((mode(&directory.path().join("above")), mode(&folder), mode(&file)), (0o700, 0o700, 0o600));
        fs::write(&file, "kept").unwrap();
        for (path, open) in [(&folder, 0o755), (&file, 0o644)] {
            fs::set_permissions(path, PermissionsExt::from_mode(open)).unwrap();
        }
        make_folder(&folder).unwrap();
        assert_eq!(mode(&folder), 0o755, "it may be a folder that others have a use for");
        own_folder(&folder).unwrap();
        own_file(&file).unwrap();
        assert_eq!((mode(&folder), mode(&file)), (0o700, 0o600));
        assert_eq!(fs::read_to_string(&file).unwrap(), "kept");
    }
}
