//! The words of `holdfast dead`.

use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::when::When;

#[derive(Subcommand)]
pub(crate) enum DeadCommand {
    /// List letters: what can never be stored, with the reason
    List {
        #[command(flatten)]
        filter: FilterArgs,
        /// The most letters that are listed
        #[arg(long, default_value = "100")]
        max: NonZeroU32,
    },
    /// Show one letter, with its body and what would become of it now
    Show {
        /// The letter's name, as the list has it
        name: String,
        #[command(flatten)]
        rules: RulesArgs,
    },
    /// Say how many letters would be stored if they were sent round now
    Test {
        #[command(flatten)]
        selected: SelectedArgs,
        #[command(flatten)]
        rules: RulesArgs,
    },
    /// Send letters round again. It may be stopped and repeated: nothing is stored twice
    Redrive {
        #[command(flatten)]
        selected: SelectedArgs,
        #[command(flatten)]
        rules: RulesArgs,
        #[command(flatten)]
        consent: ConsentArgs,
        /// Letters a second
        #[arg(long, default_value = "50")]
        rate: NonZeroU32,
        /// Take letters, too, that were sent round within the last hour
        #[arg(long)]
        again: bool,
        /// How often a letter may be sent round, all in all
        #[arg(long, default_value_t = cli::dead_letters::REDRIVES_MAX, value_parser = clap::value_parser!(i64).range(1..=1_000))]
        redrives_max: i64,
    },
    /// Decide that letters need not be stored. They are kept until they expire
    Discard {
        #[command(flatten)]
        selected: SelectedArgs,
        #[command(flatten)]
        consent: ConsentArgs,
        /// Why, for whoever looks at them later
        #[arg(long)]
        note: String,
    },
    /// Erase the bodies of letters. Reasons and times stay; nothing brings a body back
    Erase {
        #[command(flatten)]
        whose: WhoseLetters,
        #[command(flatten)]
        consent: ConsentArgs,
    },
    /// Write letters with their bodies as JSON, one a line
    Export {
        #[command(flatten)]
        selected: SelectedArgs,
        /// The file, which must not exist; otherwise they are printed
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

/// Which letters.
#[derive(Args, Clone)]
pub(crate) struct FilterArgs {
    /// Of this project; `?` for those of which none is known. Otherwise of every project that has a key, and of none
    #[arg(long)]
    pub(crate) project: Option<String>,
    /// With this reason
    #[arg(long)]
    pub(crate) reason: Option<String>,
    /// That came by this source
    #[arg(long)]
    pub(crate) source: Option<String>,
    /// That came on this day (UTC) or later: 2026-11-23, or 7d for seven days ago
    #[arg(long, default_value = "7d", value_name = "DAY")]
    pub(crate) since: When,
    /// That came on this day or before; today unless given
    #[arg(long, value_name = "DAY")]
    pub(crate) until: Option<When>,
    /// With this text in their detail or their body, letter for letter
    #[arg(long, value_name = "TEXT")]
    pub(crate) like: Option<String>,
    /// In this state; `open` is waiting or redriven
    #[arg(long, default_value = "open")]
    pub(crate) state: StateArg,
}

#[derive(Clone, Copy, ValueEnum, PartialEq, Eq)]
pub(crate) enum StateArg {
    Open,
    Waiting,
    Redriven,
    Settled,
    Discarded,
    Erased,
    Any,
}

#[derive(Args, Clone)]
pub(crate) struct SelectedArgs {
    /// Names of letters, as the list has them. Without any, all that the filter means
    pub(crate) names: Vec<String>,
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    /// The most letters that are taken
    #[arg(long, default_value = "10000", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) max: u32,
}

/// Letters by their names, or those of a user.
#[derive(Args, Clone)]
pub(crate) struct WhoseLetters {
    /// Names of letters, as the list has them
    #[arg(required_unless_present = "user", conflicts_with = "user")]
    pub(crate) names: Vec<String>,
    /// All letters that name this user: those that were noted under one of the user's ids, and those whose text names the user
    #[arg(long)]
    pub(crate) user: Option<String>,
    /// The project of the user; `dev` on this machine unless given
    #[arg(long, env = "HOLDFAST_PROJECT")]
    pub(crate) project: Option<String>,
    #[command(flatten)]
    pub(crate) searched: SearchedArgs,
}

/// Which letters are looked through by their texts.
#[derive(Args, Clone)]
pub(crate) struct SearchedArgs {
    /// Look for letters by their texts that came on this day (UTC) or later; 115 days ago unless given, which is as long as a
    /// letter is kept by default
    #[arg(long, value_name = "DAY")]
    pub(crate) since: Option<When>,
}

/// By which rules a letter is judged.
#[derive(Args, Clone)]
pub(crate) struct RulesArgs {
    /// The largest event in bytes, if not the stack's EventBytesMax (on this machine: the template's default)
    #[arg(long, value_name = "BYTES")]
    pub(crate) event_bytes_max: Option<usize>,
}

#[derive(Args, Clone)]
pub(crate) struct ConsentArgs {
    /// Do it, also with more than one letter
    #[arg(long, short, conflicts_with = "dry_run")]
    pub(crate) yes: bool,
    /// Only say what would be done, also with a single letter
    #[arg(long)]
    pub(crate) dry_run: bool,
}
