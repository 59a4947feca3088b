//! Every command by an example, and what is wrong with others.
//! A command without an example here is a failure.

use serde_json::json;

use super::*;
use crate::chat::people::About;

fn action(line: &str) -> Action {
    read(line)
        .expect("not empty")
        .unwrap_or_else(|hint| panic!("{line}: {hint}"))
}

fn bob() -> String {
    "bob".to_owned()
}

#[test]
fn lines_are_messages_unless_one_colon_begins_them() {
    for (line, text) in [
        ("hello there", "hello there"),
        ("/weather Paris", "/weather Paris"),
        ("::smile", ":smile"),
        ("@bob come", "@bob come"),
    ] {
        assert_eq!(action(line), Action::Say(text.to_owned()));
    }
    assert_eq!(read("   "), None);
}

fn talking() -> Vec<(&'static str, Action)> {
    use requests::Deed::*;
    [
        (":help", Help(None)),
        (":help :open", Help(Some(":open".into()))),
        (":open 小明", Open("小明".into())),
        (":open our team", Open("our team".into())),
        (":history", History(requests::PAGE)),
        (":history 3 ", History(3)),
        (":more", More),
        (":held", Held),
        (":sync", Sync),
        (":who", Who),
        (":quit", Quit),
    ]
    .map(|(line, deed)| (line, Action::Client(deed)))
    .into()
}

fn messages() -> Vec<(&'static str, Action)> {
    use messages::Deed::*;
    [
        (":reply #3 yes, we do", Reply(3, "yes, we do".into())),
        (":edit 3 better", Edit(Some(3), "better".into())),
        (":edit so much better", Edit(None, "so much better".into())),
        (":edit 42", Edit(None, "42".into())),
        (":recall #7", Recall(Some(7))),
        (":recall", Recall(None)),
        (":react 3 👍", React(3, "👍".into(), true)),
        (":unreact #3 👍", React(3, "👍".into(), false)),
        (":readers 3", Readers(3)),
        (":typing", Typing(true)),
        (":typing off", Typing(false)),
    ]
    .map(|(line, deed)| (line, Action::Message(deed)))
    .into()
}

fn files() -> Vec<(&'static str, Action)> {
    use files::Deed::*;
    use files::Whose::*;
    let cat = || Some("my cat.png".into());
    [
        (":send cat.png", Send("cat.png".into())),
        (":send my cat.png", Send("my cat.png".into())),
        (":send \"my cat.png\"", Send("my cat.png".into())),
        (":save #7 ../my cat.png", Save(7, "../my cat.png".into())),
        (":avatar", Avatar(Mine, None)),
        (":avatar my cat.png", Avatar(Mine, cat())),
        (":group avatar", Avatar(TheGroups, None)),
        (":group avatar my cat.png", Avatar(TheGroups, cat())),
    ]
    .map(|(line, deed)| (line, Action::File(deed)))
    .into()
}

fn lists() -> Vec<(&'static str, Action)> {
    use lists::Deed::*;
    [
        (":list", List),
        (":pin", Mark("pinned", true)),
        (":unpin", Mark("pinned", false)),
        (":quiet", Mark("muted", true)),
        (":loud", Mark("muted", false)),
        (":hide", Mark("hidden", true)),
        (":unhide", Mark("hidden", false)),
        (":draft not yet", Draft(Some("not yet".into()))),
        (":draft", Draft(None)),
    ]
    .map(|(line, deed)| (line, Action::List(deed)))
    .into()
}

fn groups() -> Vec<(&'static str, Action)> {
    use groups::Deed::*;
    let ask = Some("let me in".to_owned());
    let slow = crate::chat::groups::setting("slow 5").expect("a setting");
    [
        (":group new us", New("us".into(), vec![])),
        (
            ":group new \"our team\" @bob carol",
            New("our team".into(), vec![bob(), "carol".into()]),
        ),
        (
            ":group new “我们 的” bob",
            New("我们 的".into(), vec![bob()]),
        ),
        (":join 42", Join("42".into(), None)),
        (":join 42 let me in", Join("42".into(), ask)),
        (":members", Members),
        (":add bob carol", Add(vec![bob(), "carol".into()])),
        (":remove bob", Remove(bob())),
        (":leave", Leave),
        (":role bob admin", Role(bob(), "admin")),
        (":mute bob", Mute(bob(), None)),
        (":mute bob 5", Mute(bob(), Some(5))),
        (":unmute bob", Unmute(bob())),
        (":nick the bold", Nick(Some("the bold".into()))),
        (":nick", Nick(None)),
        (":title our team", Title("our team".into())),
        (":settings", Settings),
        (":settings slow 5", Set(slow)),
        (":requests", Requests),
        (":admit bob", Answer(bob(), true)),
        (":deny bob", Answer(bob(), false)),
        (":dissolve", Dissolve),
    ]
    .map(|(line, deed)| (line, Action::Group(deed)))
    .into()
}

fn people() -> Vec<(&'static str, Action)> {
    use people::Deed::*;
    let named = || vec![bob(), "carol".to_owned()];
    let about = About::User;
    [
        (":friends", Friends),
        (":ask bob", Ask(bob(), None)),
        (":ask bob it is me", Ask(bob(), Some("it is me".into()))),
        (":accept bob", Answer(bob(), true)),
        (":refuse @bob", Answer(bob(), false)),
        (":unfriend bob", End(bob())),
        (":block bob", Block(bob(), true)),
        (":unblock bob", Block(bob(), false)),
        (":blocks", Blocks),
        (":here bob carol", Here(named())),
        (":unwatch bob carol", Unwatch(named())),
        (
            ":report bob  much spam",
            Report(about(bob()), "much spam".into()),
        ),
        (
            ":report @007 spam",
            Report(about("007".into()), "spam".into()),
        ),
        (":report #7 spam", Report(About::Entry(7), "spam".into())),
    ]
    .map(|(line, deed)| (line, Action::People(deed)))
    .into()
}

fn yourself() -> Vec<(&'static str, Action)> {
    use profile::Deed::*;
    [
        (":me", Me),
        (":name 安 娜", Name("安 娜".into())),
        (":devices", Devices),
        (":signout phone", SignOut("phone".into())),
    ]
    .map(|(line, deed)| (line, Action::Profile(deed)))
    .into()
}

fn examples() -> Vec<(&'static str, Action)> {
    let search = finding::Search {
        words: vec!["walrus".into()],
        here: true,
        ..finding::Search::default()
    };
    let mut examples = vec![(":search walrus in:here", Action::Search(search))];
    for subject in [
        talking(),
        messages(),
        files(),
        lists(),
        groups(),
        people(),
        yourself(),
    ] {
        examples.extend(subject);
    }
    examples
}

#[test]
fn commands_take_what_their_usage_says() {
    for (line, expected) in examples() {
        assert_eq!(action(line), expected, "{line}");
    }
}

#[test]
fn every_command_has_an_example_and_a_name_of_its_own() {
    let examples = examples();
    for command in all() {
        let named = |line: &str| behind(&line[1..], command.name()).is_some();
        assert!(
            examples.iter().any(|(line, _)| named(line)),
            "{}",
            command.usage
        );
        let same = all().filter(|other| other.name() == command.name());
        assert_eq!(same.count(), 1, "{}", command.usage);
    }
}

#[test]
fn what_a_command_does_not_take_is_answered_with_its_usage() {
    for (wrong, usage) in [
        (":open", ":open NAME|TITLE|ID"),
        (":history none", ":history [N]"),
        (":history 0", ":history [N]"),
        (":quit now", ":quit"),
        (":reply 3", ":reply SEQ TEXT"),
        (":reply no", ":reply SEQ TEXT"),
        (":edit", ":edit [SEQ] TEXT"),
        (":recall it", ":recall [SEQ]"),
        (":react 3", ":react SEQ EMOJI"),
        (":react 3 👍 👎", ":react SEQ EMOJI"),
        (":typing on", ":typing [off]"),
        (":send", ":send FILE"),
        (":save cat.png", ":save SEQ FILE"),
        (":save 7", ":save SEQ FILE"),
        (":pin it", ":pin"),
        (":search", ":search WORDS"),
        (":search x after:then", ":search WORDS"),
        (":group", ":group new TITLE"),
        (":group old us", ":group new TITLE"),
        (":group new", ":group new TITLE"),
        (":group new \"us", ":group new TITLE"),
        (":add", ":add NAME…"),
        (":role bob king", ":role NAME member|admin|owner"),
        (":mute bob ever", ":mute NAME [MINUTES]"),
        (":settings join", ":settings [KEY VALUE]"),
        (":ask", ":ask NAME [TEXT]"),
        (":accept a b", ":accept NAME"),
        (":report bob", ":report NAME|SEQ REASON"),
        (":name", ":name TEXT"),
    ] {
        let hint = read(wrong).expect("not empty").expect_err(wrong);
        assert!(
            hint.starts_with(&format!("it is {usage}")),
            "{wrong}: {hint}"
        );
    }
    let hint = read(":nope").expect("not empty").expect_err("unknown");
    assert_eq!(hint, "there is no :nope; :help shows what there is");
}

#[test]
fn the_help_shows_every_command_under_its_subject_in_one_column() {
    let help = help();
    for command in all() {
        let at = help.iter().position(|line| {
            let rest = line.trim_start().strip_prefix(command.usage);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        });
        let line = &help[at.expect(command.usage)];
        let about = match line.contains(command.about) {
            true => line,
            false => &help[at.expect("there") + 1],
        };
        let place = about.find(command.about).expect(command.about);
        assert_eq!(render::width(&about[..place]), USAGE_WIDTH + 2, "{about}");
    }
    assert!(
        SECTIONS
            .iter()
            .all(|section| help.contains(&section.heading.to_owned()))
    );
    assert!(help_on("group").is_some_and(|line| line.starts_with(":group new")));
    assert_eq!(help_on("nope"), None);
}

#[test]
fn quotes_make_one_word_of_several() {
    let two = |a: &str, b: &str| Some(vec![a.to_owned(), b.to_owned()]);
    assert_eq!(words("\"a b\" c"), two("a b", "c"));
    assert_eq!(words("a\"b c\"  ''"), two("ab c", "''"));
    assert_eq!(words("“a b” \"\""), two("a b", ""));
    assert_eq!(words("a \"b"), None);
    assert_eq!(json!(words("")), json!([]));
}
