//! Who talks: users of a Kith server, signed in and connected, or numbered clients of the other contenders.
//! Also the words the filter watches for and the texts in which it finds none.

use std::fmt::Write;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::{StreamExt, TryStreamExt, stream};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::Method;
use serde_json::{Value, json};

use super::contender::Contender;
use super::link::Link;
use super::load::{Load, Pair};
use super::speech::{Address, Speech};
use crate::cli::api::{Api, Body, Server, block_on};
use crate::client::{Device, Rest};

/// What half of the texts is made of: everyday words of two scripts.
pub const FILLER: &str = "今天 下午 我们 一起 去 公园 散步 好吗 the train leaves at seven and we should be there early 晚上 再 联系 ";

/// A user's id and access token.
#[derive(Debug, Clone)]
pub struct User {
    pub id: String,
    pub token: String,
}

const DEVICE: &str = "bench";
/// Requests that are under way while users are made.
const AT_ONCE: usize = 8;

/// Registers users and signs each in. `label` keeps names apart.
pub fn make_users(contender: &Contender, label: &str, count: usize) -> Result<Vec<User>> {
    let base = format!("http://{}", contender.address);
    block_on(async {
        let rest = Rest::new(&base)?;
        let made = stream::iter(0..count).map(|index| {
            let rest = rest.clone();
            async move {
                let name = format!("{label}{index}");
                let password = format!("bench-{:032x}", rand::random::<u128>());
                let user = rest.register(&name, &password, None).await?;
                let device = Device::new(DEVICE, "bot", "kith bench");
                let tokens = rest.sign_in(&name, &password, &device).await?;
                let id = user["id"].as_str().context("a user without an id")?;
                anyhow::Ok(User {
                    id: id.to_owned(),
                    token: tokens.access_token,
                })
            }
        });
        made.buffered(AT_ONCE).try_collect().await
    })
}

/// Connects a user.
pub fn connect(address: SocketAddr, user: &User) -> Result<Link> {
    let mut link = Link::open(address, Speech::Kith)?;
    link.request(&json!({
        "id": 1_000_000_001_u64, "op": "hello", "token": user.token,
        "device": {"id": DEVICE, "kind": "bot", "name": "kith bench"},
    }))?;
    Ok(link)
}

/// Connects a client of the anchor.
pub fn connect_number(address: SocketAddr, number: u32) -> Result<Link> {
    let mut link = Link::open(address, Speech::Anchor)?;
    link.queue(&number.to_le_bytes());
    link.flush()?;
    link.wait_any()?;
    Ok(link)
}

/// Lets two users exchange a message each, so that they are no strangers; the conversation's id.
pub fn introduce(one: &mut Link, other: &mut Link, other_id: &str) -> Result<String> {
    let say = |id: u64, to: Value| {
        json!({
            "id": id, "op": "send", "to": to, "client_id": format!("{:032x}", rand::random::<u128>()),
            "content": {"type": "text", "text": "hello"},
        })
    };
    let said = one.request(&say(1_000_000_002, json!({"user": other_id})))?;
    let conversation = said["conversation"]
        .as_str()
        .context("an answer without its conversation")?
        .to_owned();
    let is_entry = |frame: &Value| frame["ev"] == "entry";
    other.wait(is_entry)?;
    other.request(&say(1_000_000_003, json!({"conversation": conversation})))?;
    one.wait(is_entry)?;
    Ok(conversation)
}

/// Pairs of connections to a contender, ready to talk.
#[derive(Debug, Default)]
pub struct Pairs {
    pub links: Vec<Link>,
    pub pairs: Vec<Pair>,
    pub pair_of: Vec<usize>,
}

impl Pairs {
    /// Adds pairs that are measured.
    pub fn add(&mut self, contender: &Contender, label: &str, count: usize) -> Result<()> {
        let users = match contender.speech {
            Speech::Kith => make_users(contender, label, 2 * count)?,
            Speech::Anchor | Speech::Echo => Vec::new(),
        };
        for pair in 0..count {
            let sender = self.links.len();
            let mut to = Address::default();
            match contender.speech {
                Speech::Echo => self
                    .links
                    .push(Link::open(contender.address, Speech::Echo)?),
                Speech::Anchor => {
                    let number = u32::try_from(sender)?;
                    self.links.push(connect_number(contender.address, number)?);
                    self.links
                        .push(connect_number(contender.address, number + 1)?);
                    to.number = number + 1;
                }
                Speech::Kith => {
                    let (one, other) = (&users[2 * pair], &users[2 * pair + 1]);
                    let mut one = connect(contender.address, one)?;
                    let mut receiver = connect(contender.address, other)?;
                    to.conversation = introduce(&mut one, &mut receiver, &other.id)?;
                    self.links.extend([one, receiver]);
                }
            }
            self.pair_of.resize(self.links.len(), self.pairs.len());
            self.pairs.push(Pair::new(sender, to));
        }
        Ok(())
    }

    pub fn load(self, speech: Speech) -> Result<Load> {
        Load::new(speech, self.links, self.pairs, self.pair_of)
    }
}

/// Gives the filter its words and waits until they are in force.
pub fn watch_for(contender: &Contender, token: &str, words: usize) -> Result<Duration> {
    let api = administration(contender, token)?;
    let started = std::time::Instant::now();
    block_on(api.call(Method::POST, "/words/import", Body::Csv(word_list(words))))?;
    Ok(started.elapsed())
}

/// The administration of a server that was started here.
pub fn administration(contender: &Contender, token: &str) -> Result<Api> {
    Api::new(&Server {
        admin_url: format!("http://{}", contender.admin.context("no administration")?),
        admin_token: Some(token.to_owned()),
        json: false,
    })
}

/// `count` different words, half of them Chinese, as `kith admin words import` takes them; always the same ones.
pub fn word_list(count: usize) -> String {
    const HAN: std::ops::Range<u32> = 0x4E00..0x5E00;
    let mut random = StdRng::seed_from_u64(7);
    let mut csv = String::from("word,level,category\n");
    let mut seen = std::collections::HashSet::new();
    while seen.len() < count {
        let word: String = if seen.len() % 2 == 0 {
            let length = random.random_range(3..6);
            (0..length)
                .filter_map(|_| char::from_u32(random.random_range(HAN)))
                .collect()
        } else {
            let length = random.random_range(7..12);
            (0..length)
                .map(|_| char::from(random.random_range(b'a'..=b'z')))
                .collect()
        };
        if seen.insert(word.clone()) {
            // Writing to memory cannot fail.
            let _ = writeln!(csv, "{word},mask,bench");
        }
    }
    csv
}
