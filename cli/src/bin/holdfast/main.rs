//! `holdfast`: what an operator does, from a terminal or a script. It reads arguments, calls the library, and prints.

mod args;
mod dead;
mod dead_many;
mod doctor;
mod erase;
mod keys;
mod load;
mod output;
mod people;
mod progress;
mod receipt;
mod send;
mod status;
mod tail;
mod text;
mod when;
mod world;

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use clap_complete::Shell;

use args::{Cli, Command, Global};
use output::Output;

/// What a command found, as far as its exit status tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// It was done, and all is well.
    Yes,
    /// It was done, and what was asked is not so: something is missing, refused or not well.
    No,
}

/// The exit status of [`Answer::No`]. 1 is that of what could not be done, 2 that of arguments that clap refuses.
const NO: u8 = 3;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = if let Command::Completions { shell } = cli.command {
        completions(shell)
    } else {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        runtime.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(run(&cli.global, cli.command)))
    };
    match result {
        Ok(Answer::Yes) => ExitCode::SUCCESS,
        Ok(Answer::No) => ExitCode::from(NO),
        // Who reads has seen enough, as `head` has.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            anstream::eprintln!("{}error:{} {error:#}", text::BAD.render(), text::BAD.render_reset());
            ExitCode::FAILURE
        }
    }
}

fn completions(shell: Shell) -> anyhow::Result<Answer> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "holdfast", &mut text);
    std::io::stdout().write_all(&text)?;
    Ok(Answer::Yes)
}

async fn run(global: &Global, command: Command) -> anyhow::Result<Answer> {
    let mut output = Output::new(global.json);
    let world = world::World::connect(global).await?;
    match command {
        Command::Status(args) => status::status(&world, &mut output, &args).await,
        Command::Doctor(args) => doctor::doctor(&world, &mut output, &args).await,
        Command::Dead(command) => dead::dead(&world, &mut output, command).await,
        Command::Keys(command) => keys::keys(&world, &mut output, command).await,
        Command::Projects => keys::projects(&world, &mut output).await,
        Command::Profile(command) => people::profile(&world, &mut output, command).await,
        Command::Events(command) => people::events(&world, &mut output, command).await,
        Command::People(command) => erase::people(&world, &mut output, command).await,
        Command::Receipt(args) => receipt::receipt(&world, &mut output, &args).await,
        Command::Send(args) => send::send(&world, &mut output, &args).await,
        Command::Load(args) => load::load(&world, &mut output, &args).await,
        Command::Completions { shell } => completions(shell),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
