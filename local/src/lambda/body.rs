//! Reading an HTTP body with a bound on what is kept.

use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt as _;

/// What is read of a body that is too large, and thrown away, so that its sender reads our answer instead of a broken
/// connection. A sender of more than this does lose its connection.
const DISCARDED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A body that has been read.
pub(crate) enum Collected {
    /// All of it.
    Whole(Bytes),
    /// It was larger than allowed, and nothing of it was kept.
    TooLarge,
}

/// Reads a body of at most `most` bytes. The caller sets the deadline.
///
/// # Errors
///
/// When the connection breaks, or the body is not framed as HTTP demands.
pub(crate) async fn collect(mut body: Body, most: usize) -> Result<Collected, axum::Error> {
    let mut kept = Vec::new();
    let mut seen = 0_usize;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        seen = seen.saturating_add(data.len());
        if seen <= most {
            kept.extend_from_slice(&data);
        } else {
            kept = Vec::new();
            if seen - most > DISCARDED_BYTES_MAX {
                break;
            }
        }
    }
    Ok(if seen <= most { Collected::Whole(kept.into()) } else { Collected::TooLarge })
}
