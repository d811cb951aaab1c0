//! x
pub fn markdown(r:&crate::figure::Run)->String {format!("{r:#?}")}
pub fn write(_:&crate::figure::Run,_:&std::path::Path)->anyhow::Result<()> {Ok(())}
