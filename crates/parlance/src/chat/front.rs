//! The person's side: a terminal with an editor, or plain lines in and out.

use std::{
    io::{self, BufRead, IsTerminal, Write},
    thread,
};

use crossterm::{
    event::{self, DisableBracketedPaste, EnableBracketedPaste, Event},
    execute, terminal,
};
use tokio::sync::mpsc;

use super::{
    editor::{Edited, Editor},
    screen::Screen,
    state::{Input, State},
    text::{self, Span, Style},
};

const PROMPT: &str = "> ";
/// Full: keys and lines wait in the terminal or the pipe.
const PENDING_INPUTS: usize = 16;

/// Where lines come from and go to.
pub(crate) enum Front {
    Plain(mpsc::Receiver<String>),
    Terminal(Box<Terminal>),
}

/// A terminal in raw mode; restored when this is dropped.
pub(crate) struct Terminal {
    events: mpsc::Receiver<Event>,
    editor: Editor,
    screen: Screen,
    coloured: bool,
}

impl Front {
    /// A terminal if both ends are one, plain lines otherwise.
    ///
    /// # Errors
    /// When the terminal cannot be switched to raw mode.
    pub(crate) fn open() -> io::Result<Self> {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        if io::stdin().is_terminal() && io::stdout().is_terminal() && !dumb {
            Terminal::open().map(|terminal| Self::Terminal(Box::new(terminal)))
        } else {
            Ok(Self::Plain(stdin_lines()))
        }
    }

    /// What the person did next. Cancel-safe. Pending for ever when no more will come.
    pub(crate) async fn next(&mut self) -> Input {
        match self {
            Self::Plain(lines) => match lines.recv().await {
                Some(line) => Input::Entered(line),
                None => Input::Ended,
            },
            Self::Terminal(terminal) => match terminal.events.recv().await {
                Some(event) => terminal.on_event(&event),
                None => Input::Leave,
            },
        }
    }

    /// Shows a line to those who cannot see the transcript.
    ///
    /// # Errors
    /// When nobody reads any more.
    pub(crate) fn print(&mut self, line: &str) -> io::Result<()> {
        match self {
            Self::Plain(_) => writeln!(io::stdout().lock(), "{line}"),
            Self::Terminal(_) => Ok(()),
        }
    }

    /// Shows the transcript as it is now.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub(crate) fn draw(&mut self, state: &State) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Terminal(terminal) => terminal.draw(state),
        }
    }
}

// === impl Terminal ===

impl Terminal {
    fn open() -> io::Result<Self> {
        terminal::enable_raw_mode()?;
        execute!(io::stdout(), EnableBracketedPaste)?;
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Ok(Self {
            events: terminal_events(),
            editor: Editor::default(),
            screen: Screen::default(),
            coloured: !no_color,
        })
    }

    fn on_event(&mut self, event: &Event) -> Input {
        match self.editor.on_event(event) {
            Edited::Nothing => Input::Tick,
            Edited::Changed => {
                let text = self.editor.text();
                let said = !text.trim().is_empty();
                Input::Typing(said && (!text.starts_with('/') || text.starts_with("//")))
            }
            Edited::Entered(line) => Input::Entered(line),
            Edited::Leave => Input::Leave,
            Edited::Resized => {
                let clear = self.screen.clear();
                // A terminal that is gone is noticed by the drawing that follows.
                let _ = io::stdout().lock().write_all(clear.as_bytes());
                Input::Tick
            }
        }
    }

    fn draw(&mut self, state: &State) -> io::Result<()> {
        let (columns, height) = terminal::size()?;
        let (columns, height) = (usize::from(columns.max(8)), usize::from(height.max(3)));
        let mut rows: Vec<String> = state
            .lines()
            .flat_map(|line| text::rows(&line, columns, self.coloured))
            .collect();
        let status = state.status();
        if !status.is_empty() {
            let line = vec![Span::new(Style::Alert, &format!("({status})"))];
            rows.extend(
                text::rows(&line, columns, self.coloured)
                    .into_iter()
                    .take(1),
            );
        }
        let (typed, column) = self.editor.view(columns - PROMPT.len() - 1);
        rows.push(format!("{PROMPT}{}", text::neutral(&typed)));
        let bytes = self.screen.update(rows, height, PROMPT.len() + column);
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes.as_bytes())?;
        stdout.flush()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Nothing better can be done about a terminal that does not obey.
        let _ = execute!(io::stdout(), DisableBracketedPaste);
        let _ = io::stdout().lock().write_all(b"\r\x1b[J");
        let _ = terminal::disable_raw_mode();
    }
}

// === threads: both end with the process, for reading a key or a line cannot be given up ===

fn stdin_lines() -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel(PENDING_INPUTS);
    thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            let Ok(line) = line else { return };
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}

fn terminal_events() -> mpsc::Receiver<Event> {
    let (sender, events) = mpsc::channel(PENDING_INPUTS);
    thread::spawn(move || {
        while let Ok(event) = event::read() {
            if sender.blocking_send(event).is_err() {
                return;
            }
        }
    });
    events
}
