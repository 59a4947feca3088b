//! Searching among very many messages of mixed Chinese and English: what it costs, and that nothing is missed.
//! A tenth of the size in every run; a million, with the bound that is promised, under `KITH_LONG`.

use std::time::{Duration, Instant};

use kith::ids::{ConversationId, UserId};
use kith::journey::search::Wanted;
use kith::search::Order;

use super::library::{Library, message, texts};

/// The one who searches; half of everything is said in conversations of theirs.
const READER: UserId = UserId(1);
/// Conversations of the reader.
const PEERS: u64 = 1000;
/// One of so many messages has a word of its own.
const NEEDLE_EVERY: u64 = 1000;
/// What a page of hits may take, at the full size.
const PROMISED: Duration = Duration::from_millis(50);

const CHINESE: [&str; 40] = [
    "的",
    "我们",
    "今天",
    "明天",
    "会议",
    "项目",
    "什么时候",
    "可以",
    "没有问题",
    "谢谢",
    "北京市",
    "上海",
    "长安街",
    "吃饭",
    "周末",
    "时间",
    "工作",
    "文件",
    "发给我",
    "收到",
    "好的",
    "再见",
    "电话",
    "地址",
    "价格",
    "合同",
    "客户",
    "公司",
    "老板",
    "同事",
    "孩子",
    "学校",
    "医院",
    "火车站",
    "飞机",
    "天气",
    "下雨",
    "生日快乐",
    "新年",
    "江大桥",
];
const ENGLISH: [&str; 40] = [
    "the",
    "to",
    "and",
    "meeting",
    "project",
    "tomorrow",
    "please",
    "thanks",
    "okay",
    "budget",
    "report",
    "review",
    "deploy",
    "kubernetes",
    "server",
    "release",
    "customer",
    "invoice",
    "contract",
    "call",
    "lunch",
    "weekend",
    "train",
    "flight",
    "weather",
    "rain",
    "birthday",
    "party",
    "school",
    "hospital",
    "doctor",
    "price",
    "address",
    "phone",
    "video",
    "photo",
    "file",
    "link",
    "update",
    "done",
];

/// The same numbers in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    /// Of a list, the first ones far more often, as words are.
    fn word(&mut self, words: &[&'static str]) -> &'static str {
        let (one, other) = (
            self.below(words.len() as u64),
            self.below(words.len() as u64),
        );
        words[(one * other) as usize / words.len()]
    }
}

fn text(dice: &mut Dice, n: u64) -> String {
    let mut text = String::new();
    for _ in 0..3 + dice.below(10) {
        if dice.below(3) == 0 {
            text.push(' ');
            text.push_str(dice.word(&ENGLISH));
            text.push(' ');
        } else {
            text.push_str(dice.word(&CHINESE));
        }
    }
    if n.is_multiple_of(NEEDLE_EVERY) {
        text.push_str(&format!(" needle{n} "));
    }
    text
}

fn said(dice: &mut Dice, n: u64) -> kith::store::Append {
    let peer = UserId(10 + dice.below(PEERS));
    let text = text(dice, n);
    match dice.below(4) {
        0 => message(READER, peer, &text),
        1 => message(peer, READER, &text),
        _ => message(peer, UserId(peer.0 + PEERS), &text),
    }
}

fn queries(dice: &mut Dice) -> Vec<Wanted> {
    let mut queries = Vec::new();
    for round in 0..40_u64 {
        let (chinese, english) = (dice.word(&CHINESE), dice.word(&ENGLISH));
        let first: String = chinese.chars().take(1).collect();
        for words in [
            chinese.to_owned(),
            first,
            english.to_owned(),
            format!("{chinese}{}", dice.word(&CHINESE)),
            format!("{chinese} {english}"),
            format!("the {english}"),
        ] {
            let mut wanted = Wanted {
                words,
                limit: 20,
                ..Wanted::default()
            };
            match round % 4 {
                1 => wanted.from = Some(UserId(10 + dice.below(PEERS))),
                2 => {
                    let peer = UserId(10 + dice.below(PEERS));
                    wanted.conversation = Some(ConversationId::direct(READER, peer));
                }
                3 => wanted.order = Order::Best,
                _ => {}
            }
            queries.push(wanted);
        }
    }
    queries
}

/// Of what was taken, in order, the time under which a share of a hundred is.
fn at(taken: &[(Duration, &Wanted)], share: usize) -> Duration {
    taken[(taken.len() - 1) * share / 100].0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_hits_among_very_many_messages_comes_at_once() {
    let long = std::env::var_os("KITH_LONG").is_some();
    let messages: u64 = if long { 1_000_000 } else { 100_000 };
    let mut library = Library::open();
    let began = Instant::now();
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let all: Vec<u64> = (1..=messages).collect();
    for part in all.chunks(8_000) {
        let appended: Vec<_> = part.iter().map(|n| said(&mut dice, *n)).collect();
        library.commit(appended).await;
    }
    let appended = began.elapsed();
    library.index().await;
    let indexed = began.elapsed() - appended;

    let queries = queries(&mut dice);
    let mut best: Option<Vec<(Duration, &Wanted)>> = None;
    // What other work on the machine adds to a round is not the search's.
    for _ in 0..3 {
        let mut taken = Vec::new();
        let mut hits = 0;
        for wanted in &queries {
            let asked = Instant::now();
            let found = library.finder.find(READER, wanted).await.expect("found");
            taken.push((asked.elapsed(), wanted));
            hits += found.hits.len();
        }
        assert!(hits > 1000, "{hits}");
        taken.sort_by_key(|(time, _)| *time);
        if best
            .as_ref()
            .is_none_or(|best| at(&taken, 99) < at(best, 99))
        {
            best = Some(taken);
        }
    }
    let taken = best.expect("rounds");
    let (p50, p99) = (at(&taken, 50), at(&taken, 99));
    println!(
        "{messages} messages: appended in {appended:.1?}, indexed in {indexed:.1?}; {} searches: p50 {p50:.1?}, p99 {p99:.1?}",
        taken.len()
    );
    for (time, wanted) in taken.iter().rev().take(3) {
        println!("slowest: {time:.1?} for {wanted:?}");
    }
    assert!(!long || p99 <= PROMISED, "p99 {p99:?}");

    // Nothing that is the reader's is missed, nothing else is found.
    let mut mine = 0;
    let needles = (1..=messages / NEEDLE_EVERY).map(|n| n * NEEDLE_EVERY);
    for needle in needles.take(100) {
        let found = library.texts(READER, &format!("needle{needle}")).await;
        assert!(found.len() <= 1, "{found:?}");
        mine += found.len();
    }
    assert!(
        (25..=75).contains(&mine),
        "half of 100 are the reader's, not {mine}"
    );
    let everything = Wanted {
        words: "needle".into(),
        limit: 10,
        ..Wanted::default()
    };
    assert!(
        texts(&library.find(READER, everything).await).is_empty(),
        "words are whole"
    );
}
