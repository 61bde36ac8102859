//! What `serve --dev` tells a person: where the demo is, where it listens, and commands that work as
//! they stand.

use std::{env, net::SocketAddr, path::Path};

use crate::{
    cli::{Global, Serve},
    commands::{print, reachable},
    demo::pages,
    failure::Failure,
};

/// How this process was started, as far as another command has to repeat it.
pub(super) struct Shell {
    program: String,
    config: Option<String>,
    data_dir: Option<String>,
}

impl Shell {
    pub(super) fn new(global: &Global, serve: &Serve) -> Self {
        let program = env::args_os().next().unwrap_or_else(|| "parlance".into());
        Self {
            program: program.to_string_lossy().into_owned(),
            config: global
                .config
                .as_deref()
                .map(Path::to_string_lossy)
                .map(Into::into),
            data_dir: serve.data_dir.path.clone(),
        }
    }

    /// A command line for a POSIX shell in the same directory.
    fn command(&self, words: &[&str]) -> String {
        let config = self.config.iter().flat_map(|file| ["--config", file]);
        let data_dir = self.data_dir.iter().flat_map(|dir| ["--data-dir", dir]);
        let program = [self.program.as_str()];
        let all = program
            .into_iter()
            .chain(words.iter().copied())
            .chain(config)
            .chain(data_dir);
        all.map(quoted).collect::<Vec<_>>().join(" ")
    }
}

/// Prints it to stdout.
pub(super) fn show(listen: SocketAddr, admin: SocketAddr, shell: &Shell) -> Result<(), Failure> {
    print(&text(reachable(listen), reachable(admin), shell))
}

fn text(listen: SocketAddr, admin: SocketAddr, shell: &Shell) -> String {
    let url = format!("ws://{listen}");
    let chat = |sub| shell.command(&["chat", pages::CONVERSATION, "--sub", sub, "--url", &url]);
    format!(
        "\nSee it work, as two people side by side, in a browser on this machine:\n\n  \
         http://{listen}{}\n\n\
         parlance listens on {url}, for one machine and for trying out.\n\
         Its health and metrics are on http://{admin}/readyz and http://{admin}/metrics.\n\n\
         Chat as the same two people, each in a terminal of their own:\n\n  {}\n  {}\n\n\
         A token for a client of yours:\n\n  {}\n\n",
        pages::PATH,
        chat("alice"),
        chat("bob"),
        shell.command(&["token", "--sub", "carol"]),
    )
}

fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=@[]".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printed_command_repeats_what_the_server_was_started_with() {
        let shell = Shell {
            program: "target/release/parlance".into(),
            config: None,
            data_dir: Some("it's here".into()),
        };
        let command = shell.command(&["token", "--sub", "carol"]);
        assert_eq!(
            command,
            r"target/release/parlance token --sub carol --data-dir 'it'\''s here'"
        );
    }
}
