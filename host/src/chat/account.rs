//! Who is signed in: keeps the tokens fresh.
//! It keeps no password.

use std::time::{Duration, Instant};

use crate::client::{Codec, Connection, Device, Events, Rest, Tokens, WireError};
use serde_json::Value;

/// A refresh is asked for this long before the access token is over.
const EARLY: Duration = Duration::from_secs(30);

pub(super) struct Account {
    rest: Rest,
    device: Device,
    tokens: Tokens,
    until: Instant,
}

impl Account {
    pub(super) async fn sign_in(
        rest: Rest,
        user: &str,
        password: &str,
        device: Device,
    ) -> Result<Self, WireError> {
        let tokens = rest.sign_in(user, password, &device).await?;
        let until = good_until(&tokens);
        Ok(Self {
            rest,
            device,
            tokens,
            until,
        })
    }

    /// REST as this user.
    pub(super) async fn rest(&mut self) -> Result<Rest, WireError> {
        if Instant::now() >= self.until {
            self.refresh().await?;
        }
        Ok(self.rest.with_token(&self.tokens.access_token))
    }

    /// A connection that has said hello. A token that is good no more is exchanged once.
    pub(super) async fn connect(&mut self) -> Result<(Connection, Events, Value), WireError> {
        self.rest().await?;
        match self.try_connect().await {
            Err(error) if matches!(error.code(), "expired" | "unauthenticated") => {
                self.refresh().await?;
                self.try_connect().await
            }
            result => result,
        }
    }

    async fn try_connect(&self) -> Result<(Connection, Events, Value), WireError> {
        let token = &self.tokens.access_token;
        Connection::connect(self.rest.base(), token, &self.device, Codec::Json).await
    }

    async fn refresh(&mut self) -> Result<(), WireError> {
        self.tokens = self.rest.refresh(&self.tokens.refresh_token).await?;
        self.until = good_until(&self.tokens);
        Ok(())
    }

    pub(super) fn server(&self) -> &str {
        self.rest.base()
    }
}

fn good_until(tokens: &Tokens) -> Instant {
    let good = Duration::from_secs(tokens.expires_in);
    Instant::now() + good.saturating_sub(EARLY)
}
