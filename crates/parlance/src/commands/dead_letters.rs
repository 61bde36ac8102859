//! `parlance dead-letters`: what the store refused.

use anyhow::anyhow;
use parlance_core::{ports::Unavailable, store::NoStore};
use parlance_redis::{Letter, LetterId, Redis};

use crate::{
    cli::{DeadLetters, Global, Letters, RedisFlags},
    commands::{load, print},
    config::Purpose,
    deployment::{self, RedisUse},
    failure::{Exit, Failure},
    logging::{self, Speaker},
};

pub(super) fn run(global: &Global, command: DeadLetters) -> Result<(), Failure> {
    match command {
        DeadLetters::List { texts, redis } => list(&connect(global, &redis)?, texts),
        DeadLetters::Retry(letters) => act(global, &letters, "given back", |redis, id| {
            redis.retry_dead_letter(id)
        }),
        DeadLetters::Drop(letters) => act(global, &letters, "dropped", |redis, id| {
            redis.drop_dead_letter(id)
        }),
    }
}

fn connect(global: &Global, flags: &RedisFlags) -> Result<Redis<NoStore>, Failure> {
    let config = load(global, [flags.setting()], Purpose::AskRedis)?.config;
    logging::start(global, Speaker::Command);
    deployment::install_cryptography()?;
    deployment::redis(&config, None, RedisUse::Asking)
}

fn list(redis: &Redis<NoStore>, texts: bool) -> Result<(), Failure> {
    let letters = redis.dead_letters().map_err(unavailable)?;
    if letters.is_empty() {
        return print("no dead letters\n");
    }
    let shown: String = letters.iter().map(|letter| show(letter, texts)).collect();
    print(&shown)
}

fn show(letter: &Letter, texts: bool) -> String {
    let Letter {
        id,
        conversation,
        text,
        reason,
    } = letter;
    // Neither may break out of its line, or drive the terminal.
    let line = format!("{id}  {}  {}\n", plain(conversation), plain(reason));
    match texts {
        true => format!("{line}    {}\n", plain(text)),
        false => line,
    }
}

fn plain(text: &str) -> String {
    text.chars()
        .flat_map(|c| match c.is_control() {
            true => c.escape_default().collect::<Vec<_>>(),
            false => vec![c],
        })
        .collect()
}

fn act(
    global: &Global,
    letters: &Letters,
    done: &str,
    act: impl Fn(&Redis<NoStore>, &LetterId) -> Result<bool, Unavailable>,
) -> Result<(), Failure> {
    let ids = letters.ids.iter().map(|text| parse(text));
    let mut ids: Vec<LetterId> = ids.collect::<Result<_, _>>()?;
    let redis = connect(global, &letters.redis)?;
    if letters.all {
        let all = redis.dead_letters().map_err(unavailable)?;
        ids = all.into_iter().map(|letter| letter.id).collect();
    }
    let mut missing = Vec::new();
    for id in &ids {
        match act(&redis, id).map_err(unavailable)? {
            true => print(&format!("{id} {done}\n"))?,
            false => missing.push(id.to_string()),
        }
    }
    if missing.is_empty() {
        return print(&format!("{} dead letters {done}\n", ids.len()));
    }
    let error = anyhow!("there is no dead letter {}", missing.join(", "));
    let fix = "see `parlance dead-letters list` for those that there are";
    Err(Failure::new(Exit::Usage, error).fix(fix))
}

fn parse(text: &str) -> Result<LetterId, Failure> {
    LetterId::parse(text).ok_or_else(|| {
        let error =
            anyhow!("{text:?} is no id of a dead letter; expected one like p9b/1795723119978-0");
        Failure::new(Exit::Usage, error)
    })
}

fn unavailable(error: Unavailable) -> Failure {
    Failure::new(Exit::Unavailable, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_letter_says_cannot_drive_the_terminal() {
        let letter = Letter {
            id: LetterId::parse("p00/1-0").unwrap(),
            conversation: "a\nb".to_owned(),
            text: "\u{1b}[2Jhello".to_owned(),
            reason: "too big".to_owned(),
        };
        assert_eq!(
            show(&letter, true),
            "p00/1-0  a\\nb  too big\n    \\u{1b}[2Jhello\n"
        );
    }
}
