//! The command line as a whole: parsed, or what is said where it cannot be.

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{CommandFactory, FromArgMatches, ValueEnum};

use crate::args::{Cli, Format, PlatformName, VARIABLES};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

/// Parses the command line and the environment.
pub(crate) fn parse() -> Result<Cli, clap::Error> {
    let mut command = Cli::command();
    for (option, variable) in VARIABLES {
        // An empty variable is one that is not set.
        if std::env::var_os(variable).is_some_and(|value| value.is_empty()) {
            command = command.mut_arg(option, |argument| argument.env(None));
        }
    }
    let matches = command.try_get_matches_from_mut(std::env::args_os())?;
    let mut cli = Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
    // What the line says of another platform outweighs the environment's machine of the fabric.
    let elsewhere = cli.global.from.is_some()
        || matches!(cli.global.platform, PlatformName::Linux | PlatformName::Vfio);
    if elsewhere && matches.value_source("fabric") == Some(ValueSource::EnvVariable) {
        cli.global.fabric = None;
    }
    Ok(cli)
}

/// Help and version, or a command line that is none. That is data too where JSON was asked for.
pub(crate) fn not_parsed(error: &clap::Error) -> Exit {
    let exit = if error.use_stderr() { Exit::Usage } else { Exit::Done };
    // A reader that has left needs no help.
    let _ = error.print();
    let words: Vec<String> =
        std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    if exit == Exit::Usage
        && let Some(format) = json_wanted(&words, std::env::var("P2PDMA_OUTPUT").ok())
    {
        Output::plain(format).error_document(&failure(error));
    }
    exit
}

/// What is wrong with the command line: the first paragraph of what people are told, on one line.
fn failure(error: &clap::Error) -> Failure {
    let text = error.to_string();
    let tip = text.lines().find_map(|line| line.trim().strip_prefix("tip: "));
    let remedy = tip.unwrap_or("p2pdma --help lists commands and options").to_owned();
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return Failure::usage("there is no command").remedy(remedy);
    }
    let first = text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
    let message = first.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    Failure::usage(message).remedy(remedy)
}

/// Whether a command line that could not be parsed asks for JSON all the same. `set` is what the
/// environment says, over which the line has the last word.
fn json_wanted(words: &[String], set: Option<String>) -> Option<Format> {
    let mut words = words.iter().map(String::as_str).take_while(|word| *word != "--");
    let mut wanted = set;
    while let Some(word) = words.next() {
        let value = match word.strip_prefix("--output") {
            Some("") => words.next(),
            Some(rest) => rest.strip_prefix('='),
            None => match short(word) {
                Some("") => words.next(),
                value => value,
            },
        };
        wanted = value.map(str::to_owned).or(wanted);
    }
    let format = Format::from_str(&wanted?, false).ok()?;
    matches!(format, Format::Json | Format::Jsonl).then_some(format)
}

/// What follows `-o`, on its own or after flags without a value: `-ojson`, `-qo`.
fn short(word: &str) -> Option<&str> {
    let letters = word.strip_prefix('-').filter(|letters| !letters.starts_with('-'))?;
    let (flags, value) = letters.split_once('o')?;
    let value = value.strip_prefix('=').unwrap_or(value);
    flags.chars().all(|flag| "vqny".contains(flag)).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_of_output_is_found_on_a_line_that_is_wrong() {
        let wanted = |line: &str, set: &str| {
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            json_wanted(&words, (!set.is_empty()).then(|| set.to_owned()))
        };
        for line in
            ["-o json x", "x -ojson", "--output json", "-qo=json -x", "-vqo json", "-o csv -o json"]
        {
            assert_eq!(wanted(line, ""), Some(Format::Json), "{line}");
        }
        assert_eq!(wanted("--output=jsonl", "json"), Some(Format::Jsonl));
        assert_eq!(wanted("copy a", "json"), Some(Format::Json));
        for line in
            ["", "-o csv", "-o table", "json", "-- -o json", "--output", "-o", "--only json"]
        {
            assert_eq!(wanted(line, ""), None, "{line}");
        }
        assert_eq!(wanted("-o table", "json"), None);
    }
}
