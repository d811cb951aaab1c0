//! The arguments.

mod dead;

use std::num::{NonZeroU16, NonZeroU32};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

pub(crate) use self::dead::*;
use crate::when::When;

const EXAMPLES: &str = "\
Examples:
  holdfast --local status                                 how the pipeline on this machine is
  holdfast --stack prod dead list --since 7d              what was refused in the last week
  holdfast --stack prod dead show 'shop#2026-11-23T…'     one of these, with its body
  holdfast --stack prod dead redrive --project shop --reason event_too_large
                                                          what sending them again would do; --yes does it
  holdfast --stack prod keys create shop web              a write key
  holdfast --stack prod people erase ann --project shop    what erasing a user would do; --yes does it
  holdfast --local send '{\"userId\":\"ann\",\"event\":\"Signed Up\"}'

Exit status:
  0  done, and all is well
  1  it could not be done; the last line says why
  2  these arguments make no sense
  3  done, and the answer is no: not found, not healthy, refused, or would come back";

/// Operates Holdfast: the pipeline on this machine, or a stack on AWS.
#[derive(Parser)]
#[command(name = "holdfast", version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Args, Clone)]
pub(crate) struct Global {
    /// The pipeline on this machine, as `cargo run -p local` starts it
    #[arg(long, global = true, conflicts_with = "stack")]
    pub(crate) local: bool,
    /// A stack on AWS, by its name in CloudFormation; with neither, the one that HOLDFAST_STACK names
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) stack: Option<String>,
    /// The region of the stack, if not the one of the environment or of the profile
    #[arg(long, global = true)]
    pub(crate) region: Option<String>,
    /// The profile of the AWS CLI whose credentials are taken
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// Where the HTTP API is, if not where the stack says: a domain of your own, or another port
    #[arg(long, global = true, value_name = "URL", env = "HOLDFAST_API")]
    pub(crate) api: Option<String>,
    /// Where SQS is on this machine
    #[arg(long, global = true, value_name = "URL", env = "HOLDFAST_SQS", default_value = "http://127.0.0.1:9324")]
    pub(crate) sqs: String,
    /// Where DynamoDB is on this machine
    #[arg(long, global = true, value_name = "URL", env = "HOLDFAST_DYNAMODB", default_value = "http://127.0.0.1:8000")]
    pub(crate) dynamodb: String,
    /// Print JSON objects, one a line
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Say whether ingestion is healthy, with the figures of the last minutes
    Status(StatusArgs),
    /// Check a stack, or the local pipeline, end to end
    Doctor(DoctorArgs),
    /// Find dead letters, test them, send them round again, discard or erase them
    #[command(subcommand)]
    Dead(DeadCommand),
    /// Make, list, disable and rotate write keys
    #[command(subcommand)]
    Keys(KeysCommand),
    /// List projects with their sources
    Projects,
    /// Show what is known of a user
    #[command(subcommand)]
    Profile(ProfileCommand),
    /// Show what a user has done
    #[command(subcommand)]
    Events(EventsCommand),
    /// Erase a user
    #[command(subcommand)]
    People(PeopleCommand),
    /// Say what has become of the events of a request
    Receipt(ReceiptArgs),
    /// Send one event, or a file of them, as a producer does
    Send(SendArgs),
    /// Send bounded load, and prove that each acknowledged event is stored exactly once
    Load(LoadArgs),
    /// Print the completions of a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

#[derive(Args)]
pub(crate) struct StatusArgs {
    /// Look again every few seconds, until Ctrl-C: 2 on this machine, 30 on AWS, unless given
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "0")]
    pub(crate) watch: Option<u16>,
    /// How many minutes the figures go back
    #[arg(long, default_value = "15", value_parser = clap::value_parser!(u16).range(2..=180))]
    pub(crate) minutes: u16,
}

#[derive(Args)]
pub(crate) struct DoctorArgs {
    /// Send no canary event: nothing is written then
    #[arg(long)]
    pub(crate) no_canary: bool,
}

#[derive(Args)]
pub(crate) struct ReceiptArgs {
    /// What the answer's header X-Holdfast-Receipt says
    pub(crate) id: String,
    /// The project; without it, the one whose receipt it is
    #[arg(long, value_name = "NAME")]
    pub(crate) project: Option<String>,
}

/// Where the events of a source live.
#[derive(Clone, Copy, ValueEnum, PartialEq, Eq)]
pub(crate) enum HomeArg {
    Device,
    User,
}

#[derive(Subcommand)]
pub(crate) enum KeysCommand {
    /// Make a write key. It is shown once: only its hash is kept
    Create {
        /// The project, which needs nothing but a key to be there
        project: String,
        /// The source: what its events are marked with
        source: String,
        /// A file with the secret that a webhook of Segment's is signed with, or - for the standard input
        #[arg(long, value_name = "FILE")]
        webhook_secret: Option<PathBuf>,
        /// `user`: events of this source live with the user that they name; for sources whose anonymousId is a constant
        #[arg(long, default_value = "device")]
        home: HomeArg,
    },
    /// List keys by their ids, which are the beginnings of their hashes
    List {
        /// Only those of this project
        #[arg(long)]
        project: Option<String>,
    },
    /// Take a key out of use: it is refused within a minute
    Disable {
        #[command(flatten)]
        which: WhichKey,
    },
    /// Take a key into use again: it is accepted within five seconds
    Enable {
        #[command(flatten)]
        which: WhichKey,
    },
    /// Make another key for a source, so that producers can be moved to it before the former is disabled
    Rotate {
        /// The project
        project: String,
        /// The source
        source: String,
        /// Disable the former keys after so many minutes, which this command waits for; otherwise do it with `keys disable`
        #[arg(long, value_name = "MINUTES")]
        disable_after: Option<NonZeroU16>,
    },
    /// List a key that was made by other means, from now on
    Register {
        #[command(flatten)]
        which: WhichKey,
    },
    /// Take over existing keys from a file with the columns key,project,source and perhaps home, or with such objects, one a line
    Import {
        /// The file, or - for the standard input
        file: PathBuf,
        /// Only read the file, and say what is in it
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Args, Clone)]
#[group(required = true, multiple = false)]
pub(crate) struct WhichKey {
    /// The key's id, as the list has it, or its whole hash
    pub(crate) id: Option<String>,
    /// The key itself
    #[arg(long, value_name = "KEY")]
    pub(crate) write_key: Option<String>,
}

#[derive(Args, Clone)]
pub(crate) struct UserArgs {
    /// The user's id: a user id, an anonymous id or an e-mail address
    pub(crate) user: String,
    /// The project; `dev` on this machine unless given
    #[arg(long, env = "HOLDFAST_PROJECT")]
    pub(crate) project: Option<String>,
}

#[derive(Subcommand)]
pub(crate) enum ProfileCommand {
    /// Show a user's traits, tags and groups, over all ids that became theirs
    Show(UserArgs),
}

#[derive(Subcommand)]
pub(crate) enum PeopleCommand {
    /// Erase everything of a user up to now: all ids that became theirs, events, profiles, and dead letters. What is older and
    /// comes later is erased when it comes
    Erase {
        #[command(flatten)]
        user: UserArgs,
        #[command(flatten)]
        searched: SearchedArgs,
        /// Do it. Without this, it is only said what would be erased
        #[arg(long, short, conflicts_with = "dry_run")]
        yes: bool,
        /// Only say what would be erased
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Subcommand)]
pub(crate) enum EventsCommand {
    /// List a user's events, over all ids that became theirs, the newest first
    List {
        #[command(flatten)]
        user: UserArgs,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Show a user's events as they are stored, until Ctrl-C
    Tail {
        #[command(flatten)]
        user: UserArgs,
        /// End after so many seconds
        #[arg(long, value_name = "SECONDS")]
        seconds: Option<NonZeroU32>,
    },
}

#[derive(Args, Clone)]
pub(crate) struct PageArgs {
    /// The most events
    #[arg(long, default_value = "20", value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub(crate) count: u16,
    /// The oldest first
    #[arg(long)]
    pub(crate) oldest_first: bool,
    /// Only this id, without those that became it
    #[arg(long)]
    pub(crate) this_id_only: bool,
    /// What happened then or later: 2026-11-23, 2026-11-23T21:00:00Z, or 2h for two hours ago
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<When>,
    /// What happened then or before; with a day, until its end
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<When>,
    /// Go on behind this place, which the page before has told
    #[arg(long, value_name = "PLACE")]
    pub(crate) after: Option<String>,
}

#[derive(Clone, Copy, ValueEnum, PartialEq, Eq)]
pub(crate) enum ProtocolArg {
    Segment,
    Vero,
}

#[derive(Args)]
pub(crate) struct SendArgs {
    /// The event as JSON
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    pub(crate) event: Option<String>,
    /// A file of events, one a line, or - for the standard input. It may be sent again: nothing is stored twice
    #[arg(long, short)]
    pub(crate) file: Option<PathBuf>,
    /// The write key; `dev` on this machine unless given
    #[arg(long, env = "HOLDFAST_WRITE_KEY", hide_env_values = true)]
    pub(crate) write_key: Option<String>,
    /// How the events are sent
    #[arg(long, default_value = "segment")]
    pub(crate) protocol: ProtocolArg,
    /// The call of Vero's API
    #[arg(long, default_value = "events/track", value_name = "PATH")]
    pub(crate) call: String,
}

#[derive(Args)]
pub(crate) struct LoadArgs {
    /// Events a second
    #[arg(long, default_value = "100")]
    pub(crate) rate: NonZeroU32,
    /// For how long
    #[arg(long, default_value = "10")]
    pub(crate) seconds: NonZeroU32,
    /// Events of a request
    #[arg(long, default_value = "10")]
    pub(crate) batch: NonZeroU32,
    /// The most requests at the same time
    #[arg(long, default_value = "8")]
    pub(crate) clients: NonZeroU32,
    /// Users that the events are spread over
    #[arg(long, default_value = "100")]
    pub(crate) users: NonZeroU32,
    /// The write key; `dev` on this machine unless given
    #[arg(long, env = "HOLDFAST_WRITE_KEY", hide_env_values = true)]
    pub(crate) write_key: Option<String>,
    /// How long events may take to be stored, in seconds, after the last was sent
    #[arg(long, default_value = "60", value_parser = clap::value_parser!(u16).range(1..=3_600))]
    pub(crate) patience: u16,
    /// Send it, also to an API that is not on this machine
    #[arg(long, short)]
    pub(crate) yes: bool,
}
