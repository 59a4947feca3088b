//! Lines in, lines out. On a terminal what arrives never destroys the line being typed; elsewhere lines are plain, so
//! that scripts can read and write them. It knows nothing of messages.

use std::io::{BufRead, IsTerminal, Write};
use std::thread;

use anyhow::{Context, Result, bail};
use rustyline::error::ReadlineError;
use rustyline::history::MemHistory;
use rustyline::{Editor, ExternalPrinter};
use tokio::sync::mpsc;

/// Lines that may wait to be printed while somebody types.
const PRINTED: usize = 1024;

/// The two directions of one terminal, or of two pipes.
pub(super) struct Terminal {
    lines: mpsc::Receiver<String>,
    /// Tells the reader which prompt the next line gets; each line read must be followed by one.
    prompts: mpsc::Sender<String>,
    screen: Screen,
}

enum Screen {
    Plain,
    /// Through the line editor; a thread of its own, because it waits for the editor.
    Edited(mpsc::Sender<String>, Option<thread::JoinHandle<()>>),
}

impl Terminal {
    pub(super) fn open() -> Result<Self> {
        let (line, lines) = mpsc::channel(1);
        let (prompts, prompt) = mpsc::channel(1);
        let edited = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        let screen = if edited {
            let mut editor = Editor::<(), MemHistory>::with_history(
                rustyline::Config::default(),
                MemHistory::new(),
            )?;
            let printer = editor.create_external_printer()?;
            let (text, texts) = mpsc::channel(PRINTED);
            let printing = thread::spawn(move || print(printer, texts));
            thread::spawn(move || edit(editor, line, prompt));
            Screen::Edited(text, Some(printing))
        } else {
            thread::spawn(move || read_plainly(line, prompt));
            Screen::Plain
        };
        Ok(Self {
            lines,
            prompts,
            screen,
        })
    }

    /// Whether a person sits there.
    pub(super) fn is_edited(&self) -> bool {
        matches!(self.screen, Screen::Edited(..))
    }

    /// Lets the next line be typed.
    pub(super) async fn prompt(&self, prompt: &str) {
        let _ = self.prompts.send(prompt.to_owned()).await;
    }

    /// The next line; `None` at the end of the input.
    pub(super) async fn line(&mut self) -> Option<String> {
        self.lines.recv().await
    }

    /// Prints one line.
    pub(super) async fn print(&self, text: &str) {
        match &self.screen {
            Screen::Plain => {
                let mut out = std::io::stdout().lock();
                // Whoever read our output may be gone; there is nobody to tell.
                let _ = writeln!(out, "{text}").and_then(|()| out.flush());
            }
            Screen::Edited(sender, _) => {
                let _ = sender.send(format!("{text}\n")).await;
            }
        }
    }

    /// Prints what still waits, as far as the line editor lets it.
    pub(super) fn close(self) {
        if let Screen::Edited(sender, printing) = self.screen {
            // The editor must stand outside its raw mode, or else it takes the last lines with it.
            drop((sender, self.prompts, self.lines));
            if let Some(printing) = printing
                && printing.is_finished()
            {
                let _ = printing.join();
            }
        }
    }
}

fn print(mut printer: impl ExternalPrinter, mut texts: mpsc::Receiver<String>) {
    while let Some(text) = texts.blocking_recv() {
        if printer.print(text).is_err() {
            return;
        }
    }
}

fn edit(
    mut editor: Editor<(), MemHistory>,
    lines: mpsc::Sender<String>,
    mut prompts: mpsc::Receiver<String>,
) {
    while let Some(prompt) = prompts.blocking_recv() {
        let line = loop {
            match editor.readline(&prompt) {
                Ok(line) => break line,
                // The window has another size, or the process was stopped and went on: the prompt stands.
                Err(ReadlineError::Signal(_)) => {}
                Err(_) => return,
            }
        };
        let _ = editor.add_history_entry(line.as_str());
        if lines.blocking_send(line).is_err() {
            return;
        }
    }
}

fn read_plainly(lines: mpsc::Sender<String>, mut prompts: mpsc::Receiver<String>) {
    let mut input = std::io::stdin().lock().lines();
    while prompts.blocking_recv().is_some() {
        let Some(Ok(line)) = input.next() else {
            return;
        };
        if lines.blocking_send(line).is_err() {
            return;
        }
    }
}

/// Asks a person for a line.
pub(super) fn ask(question: &str) -> Result<String> {
    if !std::io::stdin().is_terminal() {
        bail!("nobody is there to ask: the input is no terminal");
    }
    eprint!("{question}");
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    match line.trim() {
        "" => bail!("nothing was typed"),
        line => Ok(line.to_owned()),
    }
}

/// Asks for a line that must not be seen.
pub(super) fn ask_hidden(question: &str) -> Result<String> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    let input = std::io::stdin();
    if !input.is_terminal() {
        bail!("nobody is there to ask: the input is no terminal");
    }
    let shown = tcgetattr(&input).context("cannot read the terminal's state")?;
    let mut hidden = shown.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&input, OptionalActions::Now, &hidden).context("cannot hide what is typed")?;
    let answer = ask(question);
    tcsetattr(&input, OptionalActions::Now, &shown).context("cannot show what is typed again")?;
    eprintln!();
    answer
}
