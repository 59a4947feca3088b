//! The real component in the test kit: what is matched is matched by the guest alone,
//! with no host around it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

const MANY: usize = 64;

/// Some words of three characters each, none of which is in another.
fn many_words(count: u32) -> Value {
    let han = |n: u32| char::from_u32(0x4E00 + n).expect("Han");
    let word = |n: u32| -> String {
        [han(n % 5000), han(6000 + n / 5000), han(7000)]
            .iter()
            .collect()
    };
    (0..count)
        .map(|n| json!({"word": word(n), "level": "mask"}))
        .collect()
}

/// Anonymous memory of this process, bytes.
fn anonymous() -> usize {
    let rollup =
        std::fs::read_to_string("/proc/self/smaps_rollup").expect("a kernel with smaps_rollup");
    let line = rollup
        .lines()
        .find(|line| line.starts_with("Anonymous:"))
        .expect("the line");
    let number = line.split_whitespace().nth(1).map(str::parse::<usize>);
    number.expect("a column").expect("a number") * 1024
}

#[test]
fn the_component_alone_finds_every_hit() {
    let words = json!([
        {"word": "赌博", "level": "mask"},
        {"word": "spam", "level": "reject", "category": "ads"},
        {"word": "maybe", "level": "hold"},
    ]);
    let filter = kith_testkit::load(kith_testkit::built("word-filter"), json!({"words": words}))
        .expect("built by `cargo xtask build`");
    let found = filter
        .scan("賭\u{200b}博, SPAM, Ｍaybe; spammer")
        .expect("scans");
    let hits: Vec<_> = found
        .iter()
        .map(|hit| (hit.start, hit.end, hit.level, hit.rule.as_str()))
        .collect();
    assert_eq!(
        hits,
        [
            (0, 3, kith_testkit::Level::Mask, "words"),
            (5, 9, kith_testkit::Level::Reject, "ads"),
            (11, 16, kith_testkit::Level::Hold, "words"),
        ]
    );
}

#[test]
fn a_configuration_the_guest_refuses_is_refused_with_its_words() {
    let words = json!([{"word": "...", "level": "mask"}]);
    let refused = kith_testkit::load(kith_testkit::built("word-filter"), json!({"words": words}));
    assert!(refused.is_err_and(|error| error.to_string().contains("word 1")));
}

#[test]
fn the_worst_texts_are_answered_with_few_hits_and_open_no_breaker() {
    let words = json!([
        {"word": "a", "level": "mask"},
        {"word": "的", "level": "hold"},
        {"word": "赌博", "level": "reject", "category": "x"},
    ]);
    let filter = kith_testkit::load(
        kith_testkit::built("word-filter"),
        json!({"words": words, "pinyin": true}),
    )
    .expect("built");
    // More calls than a breaker bears slow ones.
    for _ in 0..150 {
        for (text, most) in [
            ("a ".repeat(4_000), 256),
            ("的".repeat(8_000), 1),
            // Read twice, with its tones and without: each reading has its own bound.
            ("a 的 赌博 dǔ bó ".repeat(8_000 / 14), 2 * 260),
        ] {
            let hits = filter.scan(&text).expect("answers in time").len();
            assert!((1..=most).contains(&hits), "{hits} hits");
        }
    }
}

#[test]
fn no_way_of_writing_a_word_hides_it_from_the_component() {
    let words = json!([
        {"word": "赌博", "level": "mask"},
        {"word": "カジノ", "level": "mask"},
        {"word": "café", "level": "mask"},
        {"word": "妇女", "level": "mask"},
    ]);
    let filter = kith_testkit::load(
        kith_testkit::built("word-filter"),
        json!({"words": words, "pinyin": true}),
    )
    .expect("built");
    for (text, place) in [
        ("赌\u{3164}\u{FFA0}\u{115F}\u{1160}博", (0, 6)),
        ("ｶｼﾞﾉ", (0, 4)),
        ("a cafe\u{301}", (2, 7)),
        ("dǔ bó", (0, 5)),
        ("fu nü", (0, 5)),
    ] {
        let hits = filter.scan(text).expect("scans");
        let places: Vec<_> = hits.iter().map(|hit| (hit.start, hit.end)).collect();
        assert_eq!(places, [place], "{text}");
    }
}

#[test]
fn sixty_four_instances_with_a_hundred_thousand_words_add_less_than_8_mb() {
    // In a process of its own: other tests allocate meanwhile.
    if std::env::var_os("KITH_TEST_ALONE").is_none() {
        let alone = std::process::Command::new(std::env::current_exe().expect("this test"))
            .args([
                "--exact",
                "sixty_four_instances_with_a_hundred_thousand_words_add_less_than_8_mb",
            ])
            .env("KITH_TEST_ALONE", "1")
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&alone.stdout);
        assert!(
            alone.status.success() && said.contains("1 passed"),
            "{said}"
        );
        return;
    }
    let file = kith_testkit::built("word-filter");
    let filter = kith_testkit::load(file, json!({"words": many_words(100_000)})).expect("built");
    assert!(filter.is_baked());
    filter.warm_up(1).expect("one");
    filter.scan("你好").expect("scans");
    let one = anonymous();
    filter.warm_up(MANY).expect("many");
    let scan = || drop(filter.scan("网络赌博 hello").expect("scans"));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..1000).for_each(|_| scan()));
        }
    });
    assert_eq!(filter.stats().live_instances as usize, MANY);
    let added = anonymous().saturating_sub(one);
    assert!(added < 8 << 20, "{MANY} instances added {added} bytes");
}

/// The filter has no way to trap that a text could find; an answer over the output cap ends an instance the same way.
#[test]
fn after_an_instance_was_ended_the_next_call_waits_less_than_a_millisecond() {
    let mut words = many_words(100_000);
    let rows = words.as_array_mut().expect("rows");
    rows.push(json!({"word": "a", "level": "mask"}));
    let file = kith_testkit::built("word-filter");
    let filter = kith_testkit::load_with(file, json!({"words": words}), |settings| {
        settings.max_output_bytes = 4_096;
    })
    .expect("built");
    assert!(filter.is_baked());
    let mut waits = Vec::new();
    for _ in 0..2 {
        assert!(filter.scan(&"a ".repeat(1_000)).is_err());
        let began = Instant::now();
        assert_eq!(filter.scan("well").expect("scans"), []);
        waits.push(began.elapsed());
    }
    assert!(filter.stats().retired >= 2);
    waits.sort_unstable();
    assert!(waits[0] < Duration::from_millis(1), "{waits:?}");
}
