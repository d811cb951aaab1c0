//! x
#[derive(clap::Args)] pub struct Question {}
pub fn answer(_:&Question,_:&crate::figure::Run,_:&std::path::Path)->anyhow::Result<()> {Ok(())}
