//! What Redis is asked to do in one step, as scripts, with the names of the keys they touch. Every script touches the
//! keys of one hash tag, so that a Cluster runs it; times are the server's own, so that nodes need not agree on one.

use redis::{Cmd, ErrorKind, FromRedisValue, RedisResult, ServerErrorKind};

use super::link::Wire;
use crate::ids::UserId;

/// A script, sent by its name where the server knows it.
pub struct Script {
    text: String,
    hash: String,
}

/// One call of a script.
pub struct Call<'a> {
    script: &'a Script,
    keys: Vec<String>,
    arguments: Vec<String>,
}

impl Script {
    fn new(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            hash: redis::Script::new(text).get_hash().to_owned(),
        }
    }

    pub fn key(&self, key: impl Into<String>) -> Call<'_> {
        Call {
            script: self,
            keys: vec![key.into()],
            arguments: Vec::new(),
        }
    }
}

impl Call<'_> {
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.keys.push(key.into());
        self
    }

    pub fn arg(mut self, argument: impl ToString) -> Self {
        self.arguments.push(argument.to_string());
        self
    }

    pub async fn run<T: FromRedisValue>(&self, mut wire: Wire) -> RedisResult<T> {
        let named = self
            .command("EVALSHA", &self.script.hash)
            .query_async(&mut wire)
            .await;
        match named {
            // A server that was started anew, or took over, learns it by being told it.
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.command("EVAL", &self.script.text)
                    .query_async(&mut wire)
                    .await
            }
            answered => answered,
        }
    }

    fn command(&self, name: &str, script: &str) -> Cmd {
        let mut command = redis::cmd(name);
        command
            .arg(script)
            .arg(self.keys.len())
            .arg(&self.keys)
            .arg(&self.arguments);
        command
    }
}

/// Buckets of users; those of one are asked for together, also in a Cluster.
pub const BUCKETS: u64 = 64;

pub fn bucket(user: UserId) -> u64 {
    // Ids rise with time: their low bits alone would put one moment's users together.
    (user.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) % BUCKETS
}

/// A user's sessions: a hash from device to session.
pub fn sessions(user: UserId) -> String {
    format!("kith:{{who{}}}:{user}", bucket(user))
}

/// Any key of a bucket, to see whether its server answers.
pub fn probe(bucket: u64) -> String {
    format!("kith:{{who{bucket}}}:0")
}

pub fn rate(key: &str) -> String {
    format!("kith:rate:{key}")
}

/// The nodes there are: a hash from name to what each says of itself.
pub const LIVE: &str = "kith:{nodes}:live";
/// When each node's lease ends.
pub const ENDS: &str = "kith:{nodes}:ends";
/// The nodes that are gone, and when they were last seen.
pub const GONE: &str = "kith:{nodes}:gone";

/// Where a node hears what is said to it. A Cluster keeps the channel at the server of its slot.
pub fn channel(db: i64, node: &str) -> String {
    format!("kith:{db}:node:{{{node}}}")
}

const NOW: &str = "local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
";

/// KEYS: `LIVE`, `ENDS`, `GONE`. ARGV: name, process, incarnation, its state, lease in ms, and `join`, `rejoin`, `renew`
/// or `leave`. Whoever joins gets the name. Answers `taken` when another process has it, `lost` when this incarnation is not
/// known (any more), else `fine`; then, always: the time, `LIVE`, `ENDS` and `GONE` as lists of pairs.
pub fn beat() -> Script {
    let body = "
local name, process, incarnation = ARGV[1], ARGV[2], ARGV[3]
local lease, what = tonumber(ARGV[5]), ARGV[6]
local said = 'fine'
local known = redis.call('HGET', KEYS[1], name)
local theirs, was = nil, nil
if known then theirs, was = string.match(known, '^([^|]*)|([^|]*)|') end
local ends = tonumber(redis.call('ZSCORE', KEYS[2], name) or '0')
if (what == 'renew' or what == 'rejoin') and known and theirs ~= process then
  said = 'taken'
elseif what == 'leave' then
  if theirs == process then
    redis.call('HDEL', KEYS[1], name)
    redis.call('ZREM', KEYS[2], name)
    redis.call('HSET', KEYS[3], name, string.format('%.0f', now))
  end
elseif what == 'renew' and (was ~= incarnation or ends <= now) then
  said = 'lost'
else
  redis.call('HSET', KEYS[1], name, process .. '|' .. incarnation .. '|' .. ARGV[4])
  redis.call('ZADD', KEYS[2], string.format('%.0f', now + lease), name)
  redis.call('HDEL', KEYS[3], name)
end
for _, dead in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now))) do
  local seen = tonumber(redis.call('ZSCORE', KEYS[2], dead)) - lease
  redis.call('HSET', KEYS[3], dead, string.format('%.0f', seen))
  redis.call('HDEL', KEYS[1], dead)
  redis.call('ZREM', KEYS[2], dead)
end
local gone = redis.call('HGETALL', KEYS[3])
for i = 1, #gone, 2 do
  if tonumber(gone[i + 1]) < now - 86400000 then redis.call('HDEL', KEYS[3], gone[i]) end
end
return {said, string.format('%.0f', now), redis.call('HGETALL', KEYS[1]),
  redis.call('ZRANGE', KEYS[2], 0, -1, 'WITHSCORES'), redis.call('HGETALL', KEYS[3])}
";
    Script::new(&format!("{NOW}{body}"))
}

/// KEYS: a user's sessions. ARGV: device, node, incarnation, session, kind, epoch (0 for a new connection), ms after
/// which the whole is forgotten, ms since the connection was made. Answers the epoch (0: the device has a newer
/// connection), then the sessions that were there, as a list of pairs. An epoch is when a connection was made; one in the
/// future is of a server whose clock was ahead, and keeps nobody new out.
pub fn lease() -> Script {
    let body = "
local device, epoch = ARGV[1], tonumber(ARGV[6])
local all = redis.call('HGETALL', KEYS[1])
local held = redis.call('HGET', KEYS[1], device)
local known = 0
if held then known = tonumber(string.match(held, '^(%d+)|')) end
if epoch == 0 then
  local made = now - tonumber(ARGV[8])
  if known > made and known <= now then return {'0', all} end
  epoch = math.max(made, known + 1)
elseif known > epoch then
  return {'0', all}
end
local text = string.format('%.0f', epoch)
redis.call('HSET', KEYS[1], device, text .. '|' .. ARGV[2] .. '|' .. ARGV[3] .. '|' .. ARGV[4] .. '|' .. ARGV[5])
redis.call('PEXPIRE', KEYS[1], ARGV[7])
return {text, all}
";
    Script::new(&format!("{NOW}{body}"))
}

/// KEYS: a user's sessions. ARGV: device, node, session. Takes the device's session away if it is that one.
pub fn release() -> Script {
    Script::new(
        "
local held = redis.call('HGET', KEYS[1], ARGV[1])
if held then
  local node, session = string.match(held, '^%d+|([^|]*)|[^|]*|([^|]*)|')
  if node == ARGV[2] and session == ARGV[3] then return redis.call('HDEL', KEYS[1], ARGV[1]) end
end
return 0
",
    )
}

/// KEYS: a rate. ARGV: its burst, microseconds after which one comes back. Answers 0, or after how many microseconds
/// there is one again. Kept is when the bucket is full.
pub fn take() -> Script {
    Script::new(
        "
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local burst, refill = tonumber(ARGV[1]), tonumber(ARGV[2])
local full = tonumber(redis.call('GET', KEYS[1]) or '0')
if full < now then full = now end
full = full + refill
local wait = full - now - burst * refill
if wait > 0 then return string.format('%.0f', wait) end
redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', string.format('%.0f', math.ceil((full - now) / 1000) + 1))
return '0'
",
    )
}
