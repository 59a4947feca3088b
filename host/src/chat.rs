//! `kith chat`: a client for the terminal, to talk through a server and to try its rules.
//! It signs in and hands over to the conversation; it speaks the public protocol and nothing else.

mod account;
mod commands;
mod files;
mod finding;
mod groups;
mod lists;
mod messages;
mod outbox;
mod people;
mod profile;
mod render;
mod requests;
mod state;
mod talk;
mod terminal;
mod transfers;

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::client::{Device, Rest, WireError};
use account::Account;
use talk::Talk;
use terminal::Terminal;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The server's address.
    #[arg(long, env = "KITH_URL", default_value = "http://127.0.0.1:7700")]
    pub server: String,
    /// Who signs in; asked for when a terminal is there.
    #[arg(long)]
    pub user: Option<String>,
    /// The environment variable that holds the password; without it the terminal asks.
    #[arg(long, value_name = "VAR")]
    pub password_env: Option<String>,
    /// Make the user first.
    #[arg(long)]
    pub register: bool,
    /// Whom to talk to, or in which group; `:open` changes it.
    pub peer: Option<String>,
}

/// Talks until the input ends, `:quit`, or the server says that this is over.
pub async fn run(args: Args) -> Result<ExitCode> {
    let user = match &args.user {
        Some(user) => user.clone(),
        None => terminal::ask("user: ").context("no user: say --user NAME")?,
    };
    let password = password(&args)?;
    let rest = Rest::new(&args.server)?;
    if args.register {
        match rest.register(&user, &password, None).await {
            Ok(_) => {}
            Err(error) if error.code() == "conflict" => {
                bail!("the name {user} is taken; leave --register out to sign in");
            }
            Err(error) => return Err(reached(error)),
        }
    }
    let device = Device::new(device_id(), "desktop", "kith chat");
    let account = Account::sign_in(rest, &user, &password, device)
        .await
        .map_err(|error| match error.code() {
            "invalid_grant" => anyhow::anyhow!(
                "the server does not let {user} in: the name or the password is wrong, or the \
                 account is disabled (--register makes a new user)"
            ),
            _ => reached(error),
        })?;
    let terminal = Terminal::open()?;
    Talk::new(account, terminal).run(args.peer).await
}

fn password(args: &Args) -> Result<String> {
    match &args.password_env {
        Some(name) => std::env::var(name)
            .with_context(|| format!("the environment variable {name} has no password")),
        None => terminal::ask_hidden("password: ")
            .context("no password: say --password-env VAR and set that variable"),
    }
}

/// An error as people should read it: where nothing answers, it says what would.
fn reached(error: WireError) -> anyhow::Error {
    match error {
        WireError::Unreachable { url, why } => anyhow::anyhow!(
            "no server answers at {url}: {why}\n`cargo dev` or `kith serve` starts one; \
             --server URL names another"
        ),
        error => error.into(),
    }
}

/// The same for the same terminal, so that starting again replaces the session and not another terminal's.
fn device_id() -> String {
    let terminal = std::io::stdin()
        .is_terminal()
        .then(|| rustix::termios::ttyname(std::io::stdin(), Vec::new()).ok())
        .flatten()
        .and_then(|name| name.into_string().ok());
    let place = terminal.unwrap_or_else(|| format!("{:016x}", rand::random::<u64>()));
    let host = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    let id = format!("chat-{host}{}", place.replace('/', "-"));
    id.chars().take(128).collect()
}
