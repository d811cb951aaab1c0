//! Builds, installs and finds everything that is measured.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::process::Command;

use crate::subject::{Function, Kind, Subject};

/// How long compiling may take: from clean, each binary is optimised as a whole.
const BUILD_LIMIT: Duration = Duration::from_secs(3_600);
/// How long the packages of one language may take to be installed.
const INSTALL_LIMIT: Duration = Duration::from_secs(600);
/// The folders of the project that are worked in.
#[derive(Clone, Debug)]
pub struct Folders {
    /// The project's own.
    pub root: PathBuf,
    /// What cargo builds.
    pub target: PathBuf,
    /// Whatever else comes of a run.
    pub scratch: PathBuf,
}

impl Folders {
    /// Those of the project that this was compiled in.
    ///
    /// # Errors
    /// The project is not there any more, or the folder for a run cannot be made.
    pub fn find() -> anyhow::Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let root = root.canonicalize().context("the project has been moved; build this again")?;
        let target =
            shared::config::environment("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |to| root.join(to));
        let scratch = target.join("bench");
        std::fs::create_dir_all(&scratch)?;
        Ok(Self { root, target, scratch })
    }
}

/// Builds and installs what the kinds need, and says how each is started.
///
/// # Errors
/// Something cannot be built or installed; the output of the tool says why.
pub async fn prepare(folders: &Folders, kinds: &[Kind]) -> anyhow::Result<Vec<Subject>> {
    if kinds.contains(&Kind::Holdfast) {
        // As it is deployed: built by themselves, the two have only their own features.
        run("cargo", &["build", "--release", "-p", "ingest", "-p", "consume"], &folders.root, BUILD_LIMIT).await?;
    }
    if kinds.contains(&Kind::Floor) || kinds.contains(&Kind::NaiveRust) {
        run("cargo", &["build", "--release", "-p", "subjects"], &folders.root, BUILD_LIMIT).await?;
    }
    if kinds.contains(&Kind::Python) {
        install_python(folders).await?;
    }
    if kinds.contains(&Kind::Node) {
        install_node(folders).await?;
    }
    let functions = |kind: Kind| Function::ALL.into_iter().filter(move |function| function.differs(kind));
    Ok(kinds.iter().flat_map(|kind| functions(*kind).map(|function| subject(folders, *kind, function))).collect())
}

fn subject(folders: &Folders, kind: Kind, function: Function) -> Subject {
    let name = function.name();
    let release = |binary: String| (folders.target.join("release").join(binary), vec![], folders.scratch.clone());
    let (command, args, folder) = match kind {
        Kind::Holdfast | Kind::Packed => release(name.to_owned()),
        Kind::Floor => release(format!("floor_{name}")),
        Kind::NaiveRust => release(format!("naive_{name}")),
        Kind::Python => (
            python(folders),
            vec!["-m".to_owned(), "awslambdaric".to_owned(), format!("{name}.handler")],
            folders.root.join("bench/python"),
        ),
        Kind::Node => (
            PathBuf::from("node"),
            vec!["runtime.mjs".to_owned(), format!("dist/{name}.cjs")],
            folders.scratch.join("node"),
        ),
    };
    Subject { kind, function, command, args, folder }
}

fn python(folders: &Folders) -> PathBuf {
    folders.root.join(".venv/bench/bin/python")
}

/// Installs the pinned packages, unless these very ones have been.
async fn install_python(folders: &Folders) -> anyhow::Result<()> {
    let wanted = std::fs::read_to_string(folders.root.join("bench/python/requirements.txt"))?;
    let installed = folders.root.join(".venv/bench/requirements.txt");
    if std::fs::read_to_string(&installed).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    run("python3", &["-m", "venv", ".venv/bench"], &folders.root, INSTALL_LIMIT).await?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", "bench/python/requirements.txt"];
    run(&python(folders).to_string_lossy(), &pip, &folders.root, INSTALL_LIMIT).await?;
    Ok(std::fs::write(installed, wanted)?)
}

/// Installs the locked packages, and bundles each function with what it uses, as SAM does.
async fn install_node(folders: &Folders) -> anyhow::Result<()> {
    let (from, to) = (folders.root.join("bench/node"), folders.scratch.join("node"));
    std::fs::create_dir_all(&to)?;
    let lock = "package-lock.json";
    let is_installed = || Some(std::fs::read(from.join(lock)).ok()? == std::fs::read(to.join(lock)).ok()?);
    let installed = is_installed() == Some(true) && to.join("node_modules").exists();
    for file in std::fs::read_dir(&from)? {
        let file = file?;
        std::fs::copy(file.path(), to.join(file.file_name()))?;
    }
    if !installed {
        run("npm", &["ci", "--ignore-scripts", "--no-audit", "--no-fund"], &to, INSTALL_LIMIT).await?;
    }
    let bundle = [
        "ingest.mjs",
        "consume.mjs",
        "--bundle",
        "--minify",
        "--platform=node",
        "--target=node20",
        "--format=cjs",
        "--outdir=dist",
        "--out-extension:.js=.cjs",
        "--log-level=warning",
    ];
    run("node_modules/.bin/esbuild", &bundle, &to, INSTALL_LIMIT).await
}

async fn run(program: &str, arguments: &[&str], folder: &Path, limit: Duration) -> anyhow::Result<()> {
    eprintln!("$ {program} {}", arguments.join(" "));
    let path = folder.join(program);
    let mut command = if program.contains('/') { Command::new(path) } else { Command::new(program) };
    command.args(arguments).current_dir(folder).stdin(Stdio::null()).kill_on_drop(true);
    let ran = tokio::time::timeout(limit, command.status()).await;
    let status = ran.with_context(|| format!("it took longer than {} s: {program}", limit.as_secs()))?;
    let status = status.with_context(|| format!("cannot run {program}; is it installed?"))?;
    ensure!(status.success(), "{program} ended with {status}");
    Ok(())
}
