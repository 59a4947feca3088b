//! Every setting: its type, its default,
//! and the comment that the example file shows. Units stand in the names.

use serde::{Deserialize, Serialize};

use crate::gateway::listen::AddressRange;

/// What the example file is made of: sections, what they are about, their fields with their comments.
pub type SectionDocs = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static [&'static str])],
);

macro_rules! sections {
    ($( #[doc = $about:literal] $section:ident: $type:ident { $( $(#[doc = $doc:literal])+ $field:ident: $kind:ty = $default:expr, )+ } )+) => {
        $(
            #[doc = $about]
            #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
            #[serde(deny_unknown_fields, default)]
            pub struct $type { $( $(#[doc = $doc])+ pub $field: $kind, )+ }

            impl Default for $type {
                fn default() -> Self {
                    Self { $( $field: $default.into(), )+ }
                }
            }
        )+

        /// The whole configuration.
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct Config { $( #[doc = $about] pub $section: $type, )+ }

        /// Every section and field, for the example file.
        pub const SECTIONS: &[SectionDocs] = &[
            $( (stringify!($section), $about, &[ $( (stringify!($field), &[$($doc),+]), )+ ]), )+
        ];
    };
}

macro_rules! engines {
    ($( $(#[doc = $doc:literal])+ $name:ident { $($case:ident),+ } )+) => {
        $(
            $(#[doc = $doc])+
            #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
            #[serde(rename_all = "lowercase")]
            pub enum $name { $($case),+ }
        )+
    };
}

engines! {
    /// Where users and messages are kept.
    StoreEngine { Embedded, Mongodb }
    /// How nodes reach each other.
    BusEngine { Local, Redis }
    /// What searches.
    SearchEngine { Embedded, Elasticsearch, None }
    /// Where media are kept.
    MediaEngine { Local, S3, None }
    /// Whether plugins must be signed.
    SignaturePolicy { Off, Warn, Require }
}

sections! {
    /// Addresses and folders; the flags of `kith serve` are over these.
    server: ServerConfig {
        /// Where clients connect. Not reloadable.
        listen: String = "127.0.0.1:7700",
        /// Where administrators connect; keep it private. Not reloadable.
        admin_listen: String = "127.0.0.1:7701",
        /// The folder everything embedded is kept in. Not reloadable.
        data: String = "data",
        /// Addresses of proxies in front, or their networks as 10.0.0.0/8, whose X-Forwarded-For says whom a request came
        /// from; without, limits by address count all that comes through a proxy as one. Not reloadable.
        proxies: Vec<AddressRange> = Vec::new(),
        /// Where clients reach this server, such as https://chat.example.org, for links to uploads; empty is the
        /// host each client asked for. Not reloadable.
        public_url: String = "",
        /// Components loaded and activated at first start; empty is the folder `plugins` beside the program.
        plugins: String = "",
    }
    /// The store of users and messages.
    store: StoreConfig {
        /// "embedded" or "mongodb". Not reloadable.
        engine: StoreEngine = StoreEngine::Embedded,
        /// mongodb://host/database. Not reloadable.
        url: String = "",
        /// How long one request to MongoDB may take, milliseconds; after that it is unknown what it did, and looked up. Not
        /// reloadable.
        timeout_ms: u64 = 5_000_u64,
    }
    /// What connects nodes.
    bus: BusConfig {
        /// "local" or "redis". Not reloadable.
        engine: BusEngine = BusEngine::Local,
        /// redis://user:password@host:port/db, redis+sentinel://host:port,host:port/master/db (Sentinels' own login as
        /// ?sentinel_user= and &sentinel_password=) or redis+cluster://host:port,host:port. Not reloadable.
        url: String = "",
    }
    /// What searches messages.
    search: SearchConfig {
        /// "embedded", "elasticsearch" or "none" (only a conversation without words can be looked through). Not reloadable.
        engine: SearchEngine = SearchEngine::Embedded,
        /// Of an Elasticsearch or OpenSearch server, http://host:port or https://user:password@host:port. Not reloadable.
        url: String = "",
        /// What index names begin with; deployments that share a server need one each. Not reloadable.
        prefix: String = "kith",
        /// Over the url's. Not reloadable.
        user: String = "",
        /// Of that user. Not reloadable.
        password: String = "",
    }
    /// Where media are kept.
    media: MediaConfig {
        /// "local", "s3" or "none" (uploads answer `unavailable`). Not reloadable.
        engine: MediaEngine = MediaEngine::Local,
        /// s3://bucket, or s3://bucket/prefix. Not reloadable.
        url: String = "",
        /// Of an S3-compatible server; empty is the region's at Amazon. Not reloadable.
        endpoint: String = "",
        /// Empty is us-east-1. Not reloadable.
        region: String = "",
        /// Not reloadable.
        access_key: String = "",
        /// Not reloadable.
        secret_key: String = "",
        /// With s3: clients upload to the store and download from it by themselves; false: through this server.
        /// Not reloadable.
        direct: bool = true,
        /// Bytes of one picture. Not reloadable.
        image_bytes: u64 = 20_971_520_u64,
        /// Width times height of one picture. Not reloadable.
        image_pixels: u64 = 100_000_000_u64,
        /// Bytes of one voice message. Not reloadable.
        voice_bytes: u64 = 20_971_520_u64,
        /// Bytes of one video. Not reloadable.
        video_bytes: u64 = 209_715_200_u64,
        /// Bytes of one file of any other type. Not reloadable.
        file_bytes: u64 = 104_857_600_u64,
        /// Types that may be uploaded, as the bytes say: "image/png", "image/*", "*/*". Not reloadable.
        types: Vec<String> = vec!["*/*".to_owned()],
        /// Seconds an upload ticket is good, 1 to 604800. Not reloadable.
        ticket_ttl_s: u64 = 900_u64,
        /// Seconds a link to a download is good, 1 to 604800. Not reloadable.
        link_ttl_s: u64 = 300_u64,
        /// Seconds a complete upload is kept that no message names and nobody has as an avatar. Not reloadable.
        orphan_ttl_s: u64 = 86_400_u64,
        /// Tickets a user may have open. Not reloadable.
        open_tickets: u64 = 20_u64,
        /// Bytes a user may upload in a day; counts as a rate (see limits.rate). Not reloadable.
        daily_bytes: u64 = 2_147_483_648_u64,
        /// Uploads through this server at once, and checks of uploads at once, of all users. Not reloadable.
        uploads: usize = 64_usize,
        /// The same of one user. Not reloadable.
        uploads_of_one: usize = 8_usize,
    }
    /// This node.
    node: NodeConfig {
        /// Unique in a cluster, 1 to 64 letters, digits, -, _ and .; empty is the host's name and the process's start. Not
        /// reloadable.
        name: String = "",
    }
    /// Passwords and tokens.
    auth: AuthConfig {
        /// KiB of memory of one password hash, at least 8. For new hashes. Not reloadable.
        argon2_memory_kib: u32 = 19_456_u32,
        /// Passes over that memory, at least 1. Not reloadable.
        argon2_passes: u32 = 2_u32,
        /// Seconds an access token is good. Not reloadable.
        access_ttl_s: u64 = 900_u64,
        /// Seconds a refresh token is good after its last use. Not reloadable.
        refresh_ttl_s: u64 = 5_184_000_u64,
    }
    /// Devices.
    devices: DevicesConfig {
        /// Devices of one kind of one user online at once; with more the one longest idle goes. Not reloadable.
        per_kind: usize = 5_usize,
        /// Devices a user may be signed in on, at least 1; with more the one longest unseen is signed out. Not reloadable.
        signed_in: usize = 100_usize,
    }
    /// Sessions.
    session: SessionConfig {
        /// Milliseconds a connection may take to say hello. Not reloadable.
        hello_ms: u64 = 10_000_u64,
        /// A connection silent for two of these (milliseconds) is closed. Not reloadable.
        heartbeat_ms: u64 = 30_000_u64,
        /// Bytes that may wait for one session before pushes are left out. Not reloadable.
        queue_bytes: usize = 262_144_usize,
        /// Milliseconds a session's queue may stay full, and the reader of an export may take nothing. Not reloadable.
        slow_ms: u64 = 30_000_u64,
        /// Bytes that may wait for all sessions together before each is cut to its share. Not reloadable.
        total_queue_bytes: usize = 33_554_432_usize,
        /// In a cluster: milliseconds after which a node that says nothing counts as gone, with its sessions; at least 1000.
        /// It is renewed at a third of it. Not reloadable.
        lease_ms: u64 = 30_000_u64,
    }
    /// How long entries are kept; what is over is erased for good.
    retention: RetentionConfig {
        /// Days an entry is kept; 0 is for ever. Not reloadable.
        days: u64 = 0_u64,
        /// Entries of one conversation that are kept, the newest; 0 is all. Not reloadable.
        count: u64 = 0_u64,
    }
    /// Limits.
    limits: LimitsConfig {
        /// false turns the rates per user and per address off, for load tests. Not reloadable.
        rate: bool = true,
        /// Messages a user may send a second, on average. Not reloadable.
        sends_per_s: u32 = 20_u32,
        /// Messages a user may send at once. Not reloadable.
        sends_burst: u32 = 60_u32,
        /// REST requests a user may make a second, on average. Not reloadable.
        requests_per_s: u32 = 50_u32,
        /// REST requests a user may make at once. Not reloadable.
        requests_burst: u32 = 200_u32,
        /// Requests a connected device may make a second, on average; one that goes on though refused is closed. Not reloadable.
        device_requests_per_s: u32 = 100_u32,
        /// Requests a connected device may make at once. Not reloadable.
        device_requests_burst: u32 = 400_u32,
        /// Searches a user may make a second, on average. Not reloadable.
        searches_per_s: u32 = 5_u32,
        /// Searches a user may make at once. Not reloadable.
        searches_burst: u32 = 20_u32,
        /// Friend requests a user may make in an hour. Not reloadable.
        friend_requests_per_hour: u32 = 60_u32,
        /// Friend requests of a user that may wait for an answer; as many again that wait for the user's. Not reloadable.
        friend_requests_waiting: u64 = 500_u64,
        /// Friends a user may have. Not reloadable.
        friends: u64 = 5000_u64,
        /// Reports a user may file in an hour. Not reloadable.
        reports_per_hour: u32 = 30_u32,
        /// REST requests and handshakes from one address a second, on average. Not reloadable.
        requests_per_s_per_address: u32 = 200_u32,
        /// REST requests and handshakes from one address at once. Not reloadable.
        requests_burst_per_address: u32 = 1000_u32,
        /// Sign-ins and token refreshes from one address in a minute. Not reloadable.
        sign_ins_per_minute_per_address: u32 = 60_u32,
        /// Sign-ins as one user from one address in a minute; ten times as many from everywhere. Not reloadable.
        sign_ins_per_minute_per_user: u32 = 10_u32,
        /// Users registered from one address in an hour. Not reloadable.
        registers_per_hour_per_address: u32 = 30_u32,
        /// WebSocket connections open from one address, and as many other sockets; 0 is no limit. Not reloadable.
        connections_per_address: usize = 1000_usize,
        /// Open sockets of all clients; one more is refused at once. Not reloadable.
        connections: usize = 200_000_usize,
        /// Bytes of one frame, at least 1024. Not reloadable.
        frame_bytes: usize = 65_536_usize,
        /// Unicode scalar values of one text. Not reloadable.
        text_chars: usize = 8000_usize,
        /// Items of one page. Not reloadable.
        batch: usize = 200_usize,
        /// Members one group may have. Not reloadable.
        group_members: usize = 100_000_usize,
        /// Groups with more members are sent no receipts. Not reloadable.
        receipt_members: usize = 500_usize,
    }
    /// Plugins.
    plugins: PluginsConfig {
        /// "off", "warn" (an answer to `push` says what is not signed) or "require": nothing without the signature of a
        /// trusted key is taken in or activated. Not reloadable.
        signatures: SignaturePolicy = SignaturePolicy::Warn,
        /// Keys plugins may be signed with, "ed25519:BASE64" each, as `kith plugin sign` prints them. Not reloadable.
        trusted_keys: Vec<String> = Vec::new(),
        /// Milliseconds after which a call on the message path is stopped. Not reloadable.
        hard_stop_ms: u64 = 100_u64,
        /// Milliseconds after which a call after the commit is stopped. Not reloadable.
        after_stop_ms: u64 = 30_000_u64,
        /// MiB of memory of one instance. Not reloadable.
        memory_mib: u64 = 64_u64,
        /// MiB of memory of all instances together, besides what they share. What is idle gives way to what is called;
        /// when nothing is idle, calls wait. Not reloadable.
        memory_budget_mib: u64 = 1024_u64,
        /// Milliseconds without a call after which a plugin leaves the memory; its next call loads it from the code
        /// cache. Not reloadable.
        idle_ms: u64 = 300_000_u64,
        /// Plugins whose code is in memory at once; those not called longest leave first. Not reloadable.
        resident: u32 = 1024_u32,
        /// Seconds an activation is watched: till then it is rolled back by itself when it fails, is slow, grows or decides
        /// otherwise, or unbound when it fails or is slow and there is nothing to go back to. Not reloadable.
        watch_s: u64 = 60_u64,
        /// By how many of a hundred decisions a fresh or canary version's share of rejected, held, dropped or replaced may
        /// differ from the other version's, 0 to 100; 0 is any. Not reloadable.
        drift_percent: u8 = 20_u8,
        /// Decisions of each of the two versions before their shares are compared. Not reloadable.
        drift_least: u64 = 100_u64,
        /// Commands a replay goes back over at most; of as many entries what their hooks read beside the log is kept. Not
        /// reloadable.
        replay_commands: usize = 10_000_usize,
        /// MiB of what hooks read beside the log. Not reloadable.
        replay_mib: u64 = 64_u64,
        /// Days it is kept. Not reloadable.
        replay_days: u64 = 7_u64,
        /// Commands that left no entry (refused, dropped, answered), and as many occasions of rules, kept in memory alone for a
        /// day; 0 keeps none. Not reloadable.
        replay_refused: usize = 1000_usize,
        /// Replay files about calls that failed, the newest; 0 writes none. Not reloadable.
        replay_files: usize = 100_usize,
        /// Replay files are written with what people wrote. Not reloadable.
        replay_text: bool = false,
    }
}
