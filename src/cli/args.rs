//! The command line: what can be asked for. Anything wrong with it exits 64.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::exit;

/// Moves one team's store into another team's store while both are in use.
#[derive(Debug, Parser)]
#[command(name = "migrate", version, after_help = exit::HELP, disable_help_subcommand = true, max_term_width = 110)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    pub global: Global,
}

#[derive(Debug, Clone, Args)]
pub struct Global {
    /// How results come on stdout: text, or JSON lines of which the first names the version
    #[arg(long, global = true, value_enum, default_value_t = Output::Text, value_name = "FORM")]
    pub output: Output,
    /// How often progress is told where stderr is no terminal (10s, 1m, 500ms)
    #[arg(long, global = true, default_value = "10s", value_parser = parse_duration, value_name = "TIME")]
    pub heartbeat: Duration,
    /// No colours; NO_COLOR in the environment does the same
    #[arg(long, global = true)]
    pub no_color: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a plan from both stores' catalogues, with a comment at each thing to decide
    #[command(after_help = exit::HELP)]
    Init(Init),
    /// Say what `apply` would do; change nothing
    #[command(after_help = exit::HELP)]
    Plan(Plan),
    /// Move the store: dual-write, backfill, verify; run it again to resume
    #[command(after_help = exit::HELP)]
    Apply(Apply),
    /// Compare everything, exactly, while writes go on
    #[command(after_help = exit::HELP)]
    Verify(Verify),
    /// Tell how far it is, who runs it, and what comes next
    #[command(after_help = exit::HELP)]
    Status(Status),
    /// Show before a cut over that the way back works, with real rows, and leave nothing behind
    #[command(after_help = exit::HELP)]
    Rehearse(Rehearse),
    /// Approve of exactly this plan for a team; `cutover` may ask for it
    #[command(after_help = exit::HELP)]
    Approve(Approve),
    /// Let the target own the data: writes move there within a short, bounded pause
    #[command(after_help = exit::HELP)]
    Cutover(Cutover),
    /// Let the source own the data again, with every write that the target took
    #[command(after_help = exit::HELP)]
    Rollback(Cutover),
    /// Rows that a store refused and that wait: list them, bring them again, or forget them
    #[command(after_help = exit::HELP)]
    DeadLetters(DeadLetters),
    /// After a store was rewound behind a cut over: name the side whose data counts, and make the other equal to it
    #[command(after_help = exit::HELP)]
    Survive(Survive),
    /// End a migration whose target owns the data: remove what carried it, keep the old tables fenced
    #[command(after_help = exit::HELP)]
    Finish(Finish),
    /// Remove everything that migrate installed; leave the data alone
    #[command(after_help = exit::HELP)]
    Abort(Abort),
    /// Print the least rights that each login of a plan needs, as statements for the owner to run
    #[command(after_help = exit::HELP)]
    Grants(Grants),
    /// Say what a check of `plan` means, why it is made, and the way out
    #[command(after_help = exit::HELP)]
    Explain(Explain),
    /// See it at work on a store of its own, with writers that prove that nothing is lost
    #[command(after_help = exit::HELP)]
    Demo(Demo),
}

impl Command {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Init(_) => "init",
            Self::Plan(_) => "plan",
            Self::Apply(_) => "apply",
            Self::Verify(_) => "verify",
            Self::Status(_) => "status",
            Self::Rehearse(_) => "rehearse",
            Self::Approve(_) => "approve",
            Self::Cutover(_) => "cutover",
            Self::Rollback(_) => "rollback",
            Self::DeadLetters(_) => "dead-letters",
            Self::Survive(_) => "survive",
            Self::Finish(_) => "finish",
            Self::Abort(_) => "abort",
            Self::Grants(_) => "grants",
            Self::Explain(_) => "explain",
            Self::Demo(_) => "demo",
        }
    }
}

#[derive(Debug, Clone, Args)]
pub struct Init {
    /// The source's URL, or the variable that holds it ('${NAME}'); never written into the plan
    #[arg(long, value_name = "URL")]
    pub source: String,
    /// The target's URL, or the variable that holds it
    #[arg(long, value_name = "URL")]
    pub target: String,
    /// Only these tables of the source, by commas; all if left out
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub tables: Vec<String>,
    /// What the migration is called; from both databases' names if left out
    #[arg(long, value_name = "NAME", value_parser = parse_migration)]
    pub migration: Option<String>,
    /// Who owns the source
    #[arg(long, value_name = "TEAM")]
    pub source_team: Option<String>,
    /// Who owns the target
    #[arg(long, value_name = "TEAM")]
    pub target_team: Option<String>,
    /// Write it to this file, not to stdout
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Overwrite the file
    #[arg(long, requires = "out")]
    pub force: bool,
}

fn parse_migration(text: &str) -> Result<String, String> {
    let fits = (1..=48).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if fits { Ok(text.to_owned()) } else { Err("take up to 48 of a-z, 0-9 and -".to_owned()) }
}

#[derive(Debug, Clone, Args)]
pub struct Plan {
    /// The plan file
    pub plan: PathBuf,
    /// Print one JSON object in place of the text
    #[arg(long)]
    pub json: bool,
    /// Exit 2 where there is something to do
    #[arg(long)]
    pub detailed_exitcode: bool,
}

#[derive(Debug, Clone, Args)]
pub struct Apply {
    /// The plan file
    pub plan: PathBuf,
    /// Stop after this phase
    #[arg(long, value_enum, value_name = "PHASE", conflicts_with = "follow")]
    pub until: Option<Until>,
    /// Stay and keep both stores in step until SIGINT or SIGTERM
    #[arg(long)]
    pub follow: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Until {
    DualWrite,
    Backfill,
    Verify,
}

#[derive(Debug, Clone, Args)]
pub struct Verify {
    /// The plan file
    pub plan: PathBuf,
    /// Show the values of differing rows, which are masked otherwise
    #[arg(long)]
    pub show_values: bool,
    /// Send the differing rows again, as they are now at the source
    #[arg(long)]
    pub repair: bool,
}

#[derive(Debug, Clone, Args)]
pub struct Status {
    /// The plan file
    pub plan: PathBuf,
    /// Print one JSON object in place of the text
    #[arg(long)]
    pub json: bool,
    /// Look again every two seconds until SIGINT
    #[arg(long)]
    pub watch: bool,
}

#[derive(Debug, Clone, Args)]
pub struct Rehearse {
    /// The plan file
    pub plan: PathBuf,
    /// Print one JSON object in place of the text
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Args)]
pub struct Approve {
    /// The plan file
    pub plan: PathBuf,
    /// Which team: one that the plan lists under cutover.approvals
    #[arg(long, value_name = "TEAM")]
    pub team: String,
    /// Print one JSON object in place of the text
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Args)]
pub struct Cutover {
    /// The plan file
    pub plan: PathBuf,
    /// Only the rows of these values of the plan's `scope_by` column, separated by commas
    #[arg(long, value_name = "V,...", value_delimiter = ',', conflicts_with = "all")]
    pub scope: Vec<String>,
    /// Everything that is not there yet; must be said where the plan has `scope_by`
    #[arg(long)]
    pub all: bool,
    /// Only say whether the gates are open; change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask first
    #[arg(long)]
    pub yes: bool,
    /// Print one JSON object in place of the text
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Args)]
pub struct DeadLetters {
    #[command(subcommand)]
    pub verb: DeadLettersVerb,
}

#[derive(Debug, Clone, Subcommand)]
pub enum DeadLettersVerb {
    /// Each row that waits, why, and since when
    List {
        /// The plan file
        plan: PathBuf,
        /// Print one JSON object in place of the text
        #[arg(long)]
        json: bool,
        /// Show the keys, which are masked otherwise
        #[arg(long)]
        show_values: bool,
    },
    /// One of them
    Show {
        /// The plan file
        plan: PathBuf,
        /// As `list` shows it
        id: String,
        /// Print one JSON object in place of the text
        #[arg(long)]
        json: bool,
        /// Show the key, which is masked otherwise
        #[arg(long)]
        show_values: bool,
    },
    /// Bring the rows again, as they are by then
    Retry {
        /// The plan file
        plan: PathBuf,
        #[command(flatten)]
        which: LetterIds,
        /// Print one JSON object in place of the text
        #[arg(long)]
        json: bool,
    },
    /// Forget them; the rows stay different, and `verify` says so
    Drop {
        /// The plan file
        plan: PathBuf,
        #[command(flatten)]
        which: LetterIds,
        /// Do not ask first
        #[arg(long)]
        yes: bool,
        /// Print one JSON object in place of the text
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Clone, Args)]
pub struct LetterIds {
    /// As `list` shows them
    #[arg(value_name = "ID", conflicts_with = "all")]
    pub ids: Vec<String>,
    /// Every one
    #[arg(long)]
    pub all: bool,
}

#[derive(Debug, Clone, Args)]
pub struct Survive {
    /// The plan file
    pub plan: PathBuf,
    /// The store whose data counts; what only the other one has is lost
    #[arg(long, value_enum)]
    pub side: Survivor,
    /// Do it; without this it only compares, or asks at a terminal
    #[arg(long)]
    pub yes: bool,
    /// Print one JSON object in place of the text
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Survivor {
    Source,
    Target,
}

#[derive(Debug, Clone, Args)]
pub struct Finish {
    /// The plan file
    pub plan: PathBuf,
    /// Let the old tables take writes again, of which nobody hears
    #[arg(long, conflicts_with = "drop_source")]
    pub release_source: bool,
    /// Drop the old tables, with their rows
    #[arg(long)]
    pub drop_source: bool,
    /// Do not ask first
    #[arg(long)]
    pub yes: bool,
    /// Print one JSON object in place of the text
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Args)]
pub struct Abort {
    /// The plan file
    pub plan: PathBuf,
    /// Where to remove it: one store may be gone for good
    #[arg(long, value_enum, default_value_t = Sides::Both, value_name = "SIDE")]
    pub side: Sides,
    /// Drop the tables that `create_tables` made, too, with their rows
    #[arg(long)]
    pub drop_created: bool,
    /// Do not ask before tables are dropped
    #[arg(long)]
    pub yes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Sides {
    Source,
    Target,
    Both,
}

#[derive(Debug, Clone, Args)]
pub struct Grants {
    /// The plan file
    pub plan: PathBuf,
    /// First what is missing for a cut over and its way back
    #[arg(long)]
    pub cutover: bool,
    /// Print one JSON object in place of the text
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Args)]
pub struct Explain {
    /// A check's id or name, as a message shows it (MG0101, no-key); all of them in a list if left out
    pub check: Option<String>,
    /// Print JSON in place of the text
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Args)]
pub struct Demo {
    /// Rows at the source before it begins
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(10..=100_000_000))]
    pub rows: u64,
    /// How many write meanwhile
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub writers: u16,
    /// The source's URL (postgres://, mysql:// or sqlite:); SQLite in the demo's directory if left out
    #[arg(long, value_name = "URL", env = super::demo::SOURCE_VARIABLE, hide_env_values = true)]
    pub source: Option<String>,
    /// The target's URL (postgres://, mysql:// or sqlite:); SQLite in the demo's directory if left out
    #[arg(long, value_name = "URL", env = super::demo::TARGET_VARIABLE, hide_env_values = true)]
    pub target: Option<String>,
    /// NATS JetStream to go through; in process if left out
    #[arg(long, value_name = "URL", env = super::demo::NATS_VARIABLE, hide_env_values = true)]
    pub nats: Option<String>,
    /// Where to put the plan and the files; a fresh temporary directory if left out
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Print one JSON object in place of the text
    #[arg(long)]
    pub json: bool,
}

/// `10s`, `1m`, `500ms`; a bare number is seconds.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let ms = match unit.trim() {
        "ms" => 1,
        "" | "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err("write it as 10s, 1m or 500ms".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| "write it as 10s, 1m or 500ms".to_owned())?;
    let time = Duration::from_millis(number.saturating_mul(ms));
    let bounds = Duration::from_millis(50)..=Duration::from_secs(86_400);
    if bounds.contains(&time) { Ok(time) } else { Err("take something between 50ms and 24h".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_have_units() {
        let parsed = ["10", "10s", "500ms", "2m", "24h"].map(|t| parse_duration(t).unwrap().as_millis());
        assert_eq!(parsed, [10_000, 10_000, 500, 120_000, 86_400_000]);
        for wrong in ["", "s", "10 parsecs", "0s", "49ms", "25h", "-1s", "99999999999999999999s"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }
}
