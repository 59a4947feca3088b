//! `kith serve`: reads the configuration,
//! starts the server, drains it when told to stop.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::settings;
use crate::app::{self, App, Launch};
use crate::config::Config;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file; without one, every setting is its default or the environment's.
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// Where clients connect [default: 127.0.0.1:7700]
    #[arg(long)]
    pub listen: Option<String>,
    /// Where administrators connect [default: 127.0.0.1:7701]
    #[arg(long)]
    pub admin_listen: Option<String>,
    /// The folder everything is kept in [default: data]
    #[arg(long)]
    pub data: Option<String>,
    /// Components loaded and activated at first start [default: `plugins` beside the program]
    #[arg(long)]
    pub plugins: Option<String>,
}

/// Serves until it is told to stop.
pub fn run(args: Args) -> Result<()> {
    let mut config = settings::load(args.config.as_deref(), None)?;
    let flags = [
        (&mut config.server.listen, args.listen),
        (&mut config.server.admin_listen, args.admin_listen),
        (&mut config.server.data, args.data),
        (&mut config.server.plugins, args.plugins),
    ];
    for (setting, flag) in flags {
        if let Some(flag) = flag {
            *setting = flag;
        }
    }
    log_to_stderr();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve(&config))
}

async fn serve(config: &Config) -> Result<()> {
    let launch = Launch {
        bootstrap_token: std::env::var("KITH_BOOTSTRAP_TOKEN").ok(),
    };
    let mut stop = signals()?;
    let app = App::start(config, launch).await?;
    eprintln!(
        "kith: clients http://{}  administration http://{}",
        app.address, app.admin_address
    );
    stop.recv().await;
    tracing::info!("draining");
    app.drain().await;
    Ok(())
}

/// SIGTERM and SIGINT drain. SIGHUP asks for a reload: no setting can be changed while it runs, so it is only said.
fn signals() -> Result<tokio::sync::mpsc::Receiver<()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let mut stream = signal(kind).context("cannot listen for signals")?;
        let sender = sender.clone();
        tokio::spawn(async move {
            stream.recv().await;
            let _ = sender.send(()).await;
        });
    }
    let mut reload = signal(SignalKind::hangup()).context("cannot listen for signals")?;
    tokio::spawn(async move {
        while reload.recv().await.is_some() {
            tracing::warn!("asked to reload: every setting needs a restart, nothing was changed");
        }
    });
    Ok(receiver)
}

/// Human on a terminal, JSON otherwise. `KITH_LOG` filters, as `info` or `kith=debug`.
fn log_to_stderr() {
    use std::io::IsTerminal;
    let filter = tracing_subscriber::EnvFilter::try_from_env("KITH_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let set = if std::io::stderr().is_terminal() {
        builder.try_init()
    } else {
        builder.json().try_init()
    };
    if set.is_err() {
        eprintln!("kith: logging was set up before");
    }
}

/// `kith admin repair`.
pub fn repair(data: &Path) -> Result<()> {
    app::upkeep::repair(data)
}

/// `kith admin compact`.
pub async fn compact(settings: settings::Args) -> Result<()> {
    app::upkeep::compact(&settings.config()?).await
}
